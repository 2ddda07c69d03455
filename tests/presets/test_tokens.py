"""Tokens of a wrong kind are refused in one line by both models."""

import jaxtyping
import pytest
import torch

from nanokimi import build_model
from nanokimi.config import ConfigError, KimiConfig
from tests import tiny


@pytest.fixture(autouse=True)
def _as_a_user_calls(monkeypatch):
    """Without the tests' own check of the annotations."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize("kind", tiny.MODELS)
@pytest.mark.parametrize(
    ("tokens", "line"),
    [
        (
            torch.zeros(1, 3),
            "tokens are torch.float32; ids are whole numbers, torch.int64: use tokens.long()",
        ),
        (
            torch.ones(1, 3, dtype=torch.bool),
            "tokens are torch.bool; ids are whole numbers, torch.int64: use tokens.long()",
        ),
        (
            torch.tensor([1, 2]),
            "tokens have shape (2,); it must be (batch, seq): use tokens[None] for one text",
        ),
        (torch.zeros(1, 2, 3).long(), "tokens have shape (1, 2, 3); it must be (batch, seq)"),
        (torch.tensor([[1, 24, 3]]), "tokens hold the id 24; this model knows 0..vocab_size-1=23"),
        (torch.tensor([[1, -1, 99]]), "tokens hold the id -1; this model knows 0..vocab_size-1=23"),
        ([[1, 2]], "tokens=[[1, 2]] must be a tensor of ids: torch.tensor([[1, 2, 3]])"),
    ],
)
def test_wrong_tokens_are_one_line(kind, tokens, line):
    with pytest.raises(ConfigError) as refused:
        build_model(tiny.model_config(kind))(tokens)
    assert str(refused.value) == line


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_both_whole_numbers_that_a_table_takes_give_the_same(dtype):
    model, tokens = build_model(tiny.kimi()), torch.tensor([[0, 23, 5]])
    assert torch.equal(model(tokens.to(dtype)).logits, model(tokens).logits)


def test_a_configuration_without_a_word_is_a_model():
    assert build_model(KimiConfig())(torch.tensor([[0, 2047]])).logits.shape == (1, 2, 2048)
