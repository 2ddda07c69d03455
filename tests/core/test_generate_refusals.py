"""What generate refuses in one line, and what it does at the edge of the ranges that it allows."""

import inspect
import math

import numpy as np
import pytest
import torch

from nanokimi.config import ConfigError
from nanokimi.generate import generate, next_token_probs
from nanokimi.model import build_model
from nanokimi.system.printable import quote
from tests import tiny
from tests.core.test_generate import Fixed

HUGE = 10**5000  # a number of 5,001 digits, which Python does not even write
LISTED = "prompt is a tensor: give a list of ids, as its .tolist() for a tensor of one dimension"
WHOLE = "must be a whole number of at least 1"
HOT = "must be 0 (greedy) or more, at most 1e30"
P = "must lie in 0..1, 0 left out"
THOUSANDS = "a number of thousands of digits"
IDS = "must be a whole number in 0..vocab_size-1=23"


@pytest.mark.parametrize(
    ("prompt", "n", "options", "message"),
    [
        ([], 5, {}, "the prompt has 0 tokens; allowed are 1 to 16 (max_seq_len)"),
        ([1] * 17, 5, {}, "the prompt has 17 tokens; allowed are 1 to 16 (max_seq_len)"),
        ("Once", 5, {}, "prompt='Once' is text: give the ids of its tokens, tokenizer.encode(text)"),
        ([1, -1], 5, {}, f"prompt[1]=-1 {IDS}"),
        ([1, 24], 5, {}, f"prompt[1]=24 {IDS}"),
        ([1, HUGE], 5, {}, f"prompt[1]={THOUSANDS} {IDS}"),
        ([1, 2.0], 5, {}, f"prompt[1]=2.0 {IDS}"),
        (["a\x1b[2J"], 5, {}, f"prompt[0]='a\\x1b[2J' {IDS}"),
        ({1, 2}, 5, {}, "prompt={1, 2} must be a list of ids"),
        ({1: 2}, 5, {}, "prompt={1: 2} must be a list of ids"),
        (torch.tensor([1, 2]), 5, {}, LISTED),
        ([1], 5, {"temperature": True}, f"temperature=True {HOT}"),
        ([1], 5, {"top_p": True}, f"top_p=True {P}"),
        ([1], 0, {}, f"max_new_tokens=0 {WHOLE}"),
        ([1], 2.5, {}, f"max_new_tokens=2.5 {WHOLE}"),
        ([1], "many", {}, f"max_new_tokens='many' {WHOLE}"),
        ([1], 5, {"seed": 2**64}, "seed=18446744073709551616 must be a whole number in -2^63..2^64-1"),
        ([1], 5, {"seed": HUGE}, f"seed={THOUSANDS} must be a whole number in -2^63..2^64-1"),
        ([1], 5, {"seed": None}, "seed=None must be a whole number in -2^63..2^64-1"),
        ([1], 5, {"temperature": -0.1}, f"temperature=-0.1 {HOT}"),
        ([1], 5, {"temperature": float("nan")}, f"temperature=nan {HOT}"),
        ([1], 5, {"temperature": float("inf")}, f"temperature=inf {HOT}"),
        ([1], 5, {"temperature": HUGE}, f"temperature={THOUSANDS} {HOT}"),
        ([1], 5, {"temperature": "hot"}, f"temperature='hot' {HOT}"),
        ([1], 5, {"temperature": None}, f"temperature=None {HOT}"),
        ([1], 5, {"top_k": 0}, f"top_k=0 {WHOLE}"),
        ([1], 5, {"top_k": 2.5}, f"top_k=2.5 {WHOLE}"),
        ([1], 5, {"top_k": "3"}, f"top_k='3' {WHOLE}"),
        ([1], 5, {"top_p": 0.0}, f"top_p=0.0 {P}"),
        ([1], 5, {"top_p": 1.5}, f"top_p=1.5 {P}"),
        ([1], 5, {"top_p": HUGE}, f"top_p={THOUSANDS} {P}"),
        ([1], 5, {"top_p": float("nan")}, f"top_p=nan {P}"),
        ([1], 5, {"top_p": [0.5]}, f"top_p=[0.5] {P}"),
    ],
    ids=lambda value: quote(value, 20),
)
def test_bad_input_is_told_in_one_line(prompt, n, options, message):
    """Also of another type: called without the tests' own check of the annotations."""
    generator = inspect.unwrap(generate)
    with pytest.raises(ConfigError) as error:
        next(generator(build_model(tiny.gpt()), prompt, n, **options))
    assert str(error.value) == message
    if options.keys() - {"seed"}:
        with pytest.raises(ConfigError) as error:
            inspect.unwrap(next_token_probs)(torch.zeros(3), **options)
        assert str(error.value) == message


def test_settings_at_the_edge_of_their_range_generate():
    model = tiny.harsh_(build_model(tiny.kimi()))
    for options in (
        {"top_k": HUGE},
        {"top_k": tiny.VOCAB + 1},
        {"temperature": 1e30},
        {"seed": -(2**63)},
        {"seed": 2**64 - 1},
        {"top_p": 1.0},
        {"top_p": 1e-300},
    ):
        assert len(list(inspect.unwrap(generate)(model, [1], 3, **options))) == 3
    assert list(inspect.unwrap(generate)(model, np.array([1, 2]), 3)) == list(generate(model, [1, 2], 3))


@pytest.mark.parametrize("temperature", [1e-300, 5e-324, 1e-45, 1e-38, 1e-36])
@pytest.mark.parametrize("shift", [0.0, -30.0, 30.0])
def test_a_temperature_near_zero_is_greedy(temperature, shift):
    """The quotients overflow, below, above and on both sides of 0; the limit is the likeliest token."""
    logits = torch.tensor([0.0, 3.0, -8.0, 2.5]) + shift
    assert next_token_probs(logits, temperature).tolist() == [0.0, 1.0, 0.0, 0.0]
    assert next_token_probs(logits, temperature, 2, 0.9).tolist() == [0.0, 1.0, 0.0, 0.0]
    model = tiny.harsh_(build_model(tiny.kimi()))
    assert list(generate(model, [1], 6, temperature=temperature)) == list(
        generate(model, [1], 6, temperature=0.0)
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused_by_name(value):
    for name in tiny.MODELS:
        model = build_model(tiny.model_config(name))
        with torch.no_grad():
            model.embed_tokens.weight[0, 0] = value
        with pytest.raises(ValueError, match=r"^the weight embed_tokens.weight is not finite$"):
            next(generate(model, [0], 5, temperature=0.0))
    with pytest.raises(ValueError, match=r"^the largest logit is nan$"):
        next(generate(Fixed(torch.tensor([1.0, math.nan])), [1], 5))


def test_tokens_that_are_ruled_out_stay_so():
    """Logits of minus infinity are a mask, not a mistake."""
    probs = next_token_probs(torch.tensor([0.0, -math.inf, 0.0]), temperature=0.7)
    assert probs.tolist() == [0.5, 0.0, 0.5]
