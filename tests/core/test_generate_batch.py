"""Several prompts at a time: every text is the one that its prompt gives alone."""

import inspect

import pytest
import torch

from nanokimi.cache import PaddedCache, visible_entries
from nanokimi.config import ConfigError
from nanokimi.generate import generate
from nanokimi.model import build_model
from tests import tiny

SETTINGS = [
    {"temperature": 0.0},
    {"temperature": 0.8, "top_k": 9, "top_p": 0.95, "seed": 5},
    {"seed": 3, "stop_id": 7},
]


def prompts_of(*lengths: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(tiny.VOCAB, (n,), generator=generator).tolist() for n in lengths]


def texts_of(steps: list[list[int | None]]) -> list[list[int]]:
    """The text of every prompt, up to its first None, behind which there must be nothing else."""
    texts = []
    for row in zip(*steps, strict=True):
        text = [token for token in row if token is not None]
        assert list(row[: len(text)]) == text
        texts.append(text)
    return texts


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_every_text_is_that_of_its_prompt_alone(name, settings):
    """Forty tokens, past the end of a context of sixteen, from prompts that fill it at different times."""
    model = tiny.harsh_(build_model(tiny.model_config(name)))
    prompts = prompts_of(1, 4, 7, 15, 16, 4)
    alone = [list(generate(model, prompt, 40, **settings)) for prompt in prompts]
    steps = list(generate(model, prompts, 40, **settings))
    assert texts_of(steps) == alone
    assert len(steps) == max(map(len, alone))


def test_the_longest_text_may_end_first():
    """Then columns are left in which no text stands, and the context is full before any text fills it."""
    model = tiny.harsh_(build_model(tiny.kimi()))
    prompts = prompts_of(15, 2, 3)
    first = next(generate(model, prompts[0], 1, temperature=0.0))
    alone = [list(generate(model, p, 30, temperature=0.0, stop_id=first)) for p in prompts]
    assert alone[0] == []
    assert texts_of(list(generate(model, prompts, 30, temperature=0.0, stop_id=first))) == alone


def test_it_ends_when_all_texts_have_ended():
    model = tiny.harsh_(build_model(tiny.gpt()))
    token = next(generate(model, [1], 1, temperature=0.0))
    assert list(generate(model, [[1], [1]], 9, temperature=0.0, stop_id=token)) == []


def test_one_pass_serves_all_texts(monkeypatch):
    model, shapes = tiny.harsh_(build_model(tiny.kimi())), []
    forward = type(model).forward

    def watched(self, tokens, *rest):
        shapes.append(tuple(tokens.shape))
        return forward(self, tokens, *rest)

    monkeypatch.setattr(type(model), "forward", watched)
    assert len(list(generate(model, prompts_of(2, 5, 3), 6))) == 6
    assert shapes == [(3, 5)] + [(3, 1)] * 5


def test_tokens_come_one_by_one():
    model = tiny.harsh_(build_model(tiny.gpt()))
    assert next(generate(model, [[1], [2]], 10**9))


@pytest.mark.parametrize(
    ("prompts", "says"),
    [
        ([[1], []], "the prompt[1] has 0 tokens"),
        ([[1], [tiny.VOCAB]], f"prompt[1][0]={tiny.VOCAB} must be"),
        ([[1], 2], "prompt[1]=2 must be a list of ids"),
        ([[1], "two"], "prompt[1]='two' is text"),
        ([1, [2]], "prompt[1]=[2] must be a whole number"),
    ],
    ids=str,
)
def test_a_wrong_prompt_among_them_is_named(prompts, says):
    model = build_model(tiny.gpt())
    with pytest.raises(ConfigError) as caught:
        next(inspect.unwrap(generate)(model, prompts, 3))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_who_sees_whom_in_a_cache_with_padding():
    """Worked out by hand: a row of one padding and two tokens, and one of three tokens."""
    cache = PaddedCache([1, 0], torch.device("cpu"))
    cache.append(torch.zeros(2, 1, 3, 4))
    wanted = [[[1, 0, 0], [0, 1, 0], [0, 1, 1]], [[1, 0, 0], [1, 1, 0], [1, 1, 1]]]
    assert visible_entries(cache, torch.zeros(2, 1, 3, 4))[:, 0].int().tolist() == wanted
    assert visible_entries(cache, torch.zeros(2, 1, 1, 4))[:, 0].int().tolist() == [
        [row[-1]] for row in wanted
    ]
