"""Sampling against a slow reference, exact sets, counted draws; decoding with a cache against decoding without."""

import inspect
import math
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nanokimi.generate import generate, next_token_probs
from nanokimi.gpt import GPT
from nanokimi.model import build_model
from nanokimi.output import ModelOutput
from nanokimi.system.printable import quote
from tests import tiny

repeatable = settings(max_examples=150, deadline=None, derandomize=True)


def slow_probs(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None
) -> list[float]:
    """Temperature, then top-k (at a tie the lower id), then the fewest likeliest that reach p: token by token."""
    if temperature == 0:
        best = logits.index(max(logits))
        return [float(i == best) for i in range(len(logits))]
    ids = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    if top_k is not None:
        ids = ids[:top_k]
    weight = {i: math.exp((logits[i] - max(logits)) / temperature) for i in ids}
    probs = {i: w / math.fsum(weight.values()) for i, w in weight.items()}
    if top_p is not None:
        kept, reached = {}, 0.0
        for i in ids:
            if reached >= top_p:
                break
            kept[i] = probs[i]
            reached += probs[i]
        probs = {i: p / math.fsum(kept.values()) for i, p in kept.items()}
    return [probs.get(i, 0.0) for i in range(len(logits))]


@repeatable
@given(
    levels=st.lists(st.integers(-6, 6), min_size=1, max_size=12),
    temperature=st.sampled_from([0.0, 0.25, 0.7, 1.0, 3.0]),
    top_k=st.none() | st.integers(1, 14),
    top_p=st.none() | st.sampled_from([1e-6, 0.123, 0.377, 0.61, 0.899, 1.0]),
)
@example(levels=[1, 1, 1, 1], temperature=1.0, top_k=2, top_p=None)
@example(levels=[0, 3, 3, 0, 3], temperature=0.0, top_k=None, top_p=None)
def test_next_token_probs_is_the_slow_reference(levels, temperature, top_k, top_p):
    """Thirds of logits, so that ties are common; the values of p are none that sums of such weights meet."""
    logits = [level / 3 for level in levels]
    found = next_token_probs(torch.tensor(logits), temperature, top_k, top_p).tolist()
    wanted = slow_probs(torch.tensor(logits).tolist(), temperature, top_k, top_p)
    assert found == pytest.approx(wanted, rel=3e-6, abs=1e-9)
    assert sum(found) == pytest.approx(1.0, abs=1e-6)


def test_mistake_30_top_k_keeps_exactly_k_and_the_lower_ids_at_a_tie():
    logits = torch.tensor([0.0, 2.0, 1.0, 1.0, 1.0, 2.0])
    for k, kept in ((1, [1]), (2, [1, 5]), (3, [1, 2, 5]), (4, [1, 2, 3, 5]), (6, [0, 1, 2, 3, 4, 5])):
        assert next_token_probs(logits, top_k=k).nonzero().flatten().tolist() == kept
    many = torch.zeros(5000)
    assert next_token_probs(many, top_k=7).nonzero().flatten().tolist() == list(range(7))


def test_mistake_30_temperature_comes_before_top_p():
    """Probabilities 0.6, 0.3, 0.1: p = 0.85 keeps two. At temperature 2 they are 0.47, 0.33, 0.19: three are needed
    for p = 0.85, where before the temperature two were enough."""
    logits = torch.tensor([0.6, 0.3, 0.1]).log()
    assert next_token_probs(logits, top_p=0.85).count_nonzero() == 2
    assert next_token_probs(logits, temperature=2.0, top_p=0.85).count_nonzero() == 3
    # And 0.78, 0.19, 0.02 at temperature 1/2: one is enough for p = 0.7.
    assert next_token_probs(logits, temperature=0.5, top_p=0.7).count_nonzero() == 1


def test_mistake_30_top_k_comes_before_top_p():
    """0.4, 0.3, 0.2, 0.1: the best two are renormalised to 0.57 and 0.43, and 0.57 reaches p = 0.5."""
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    assert next_token_probs(logits, top_p=0.5).count_nonzero() == 2
    assert next_token_probs(logits, top_k=2, top_p=0.5).tolist() == [1.0, 0.0, 0.0, 0.0]


def test_top_p_keeps_at_least_one_and_stops_where_p_is_reached():
    half = torch.tensor([0.5, 0.25, 0.25]).log()
    assert next_token_probs(half, top_p=1e-9).tolist() == [1.0, 0.0, 0.0]
    assert next_token_probs(torch.tensor([0.0, 0.0]), top_p=0.5).tolist() == [1.0, 0.0]


def test_top_p_of_one_keeps_every_token():
    """Also the tail behind a sum that rounding has already brought to 1."""
    logits = 4 * torch.randn(50_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        next_token_probs(logits, top_p=1.0), next_token_probs(logits), rtol=1e-6, atol=0
    )


def test_temperature_zero_is_the_first_of_the_likeliest():
    assert next_token_probs(torch.tensor([0.0, 5.0, 5.0]), temperature=0.0).tolist() == [0.0, 1.0, 0.0]
    assert next_token_probs(torch.tensor([0.0, 5.0, 5.0]), temperature=1e-3, top_k=1).tolist() == [
        0.0,
        1.0,
        0.0,
    ]


def test_probs_are_computed_in_float32_and_leave_the_logits_alone():
    logits = torch.tensor([1.0, 3.0, 2.0, 2.5])
    before = logits.clone()
    assert next_token_probs(logits.bfloat16(), 0.7, 3, 0.9).dtype == torch.float32
    next_token_probs(logits, 0.7, 3, 0.9)
    assert torch.equal(logits, before)


# ---------------------------------------------------------------- drawing


class Fixed(GPT):
    """A model that answers every question with the same logits."""

    def __init__(self, logits: torch.Tensor):
        super().__init__(tiny.gpt(vocab_size=len(logits), max_seq_len=64))
        self.fixed = logits

    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        for entry in cache or []:
            entry.length += tokens.shape[1]
        return ModelOutput(self.fixed.expand(*tokens.shape, -1), (), None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, None, None), (0.6, None, None), (1.5, 4, None), (1.3, 5, 0.8)]
)
def test_mistake_30_drawn_tokens_follow_the_distribution(temperature, top_k, top_p):
    """Chi-square over 4,000 draws of one seed, at the 1-in-1,000 level; none falls where probability is 0."""
    logits = torch.tensor([0.3, 1.2, -0.5, 0.9, 0.0, -1.5])
    draws = list(
        generate(Fixed(logits), [0], 4000, temperature=temperature, top_k=top_k, top_p=top_p, seed=1)
    )
    wanted = slow_probs(logits.tolist(), temperature, top_k, top_p)
    counts = [draws.count(i) for i in range(6)]
    assert sum(counts) == 4000
    assert all(c == 0 for c, p in zip(counts, wanted, strict=True) if p == 0)
    live = [(c, 4000 * p) for c, p in zip(counts, wanted, strict=True) if p > 0]
    # The 99.9 % points of chi-square with 1 to 5 degrees of freedom.
    limit = (10.83, 13.82, 16.27, 18.47, 20.52)[len(live) - 2]
    assert sum((c - e) ** 2 / e for c, e in live) < limit


def test_one_seed_one_text():
    model = tiny.harsh_(build_model(tiny.kimi()))
    texts = [list(generate(model, [1, 2, 3], 12, seed=seed)) for seed in (0, 0, 1, 2)]
    assert texts[0] == texts[1]
    assert len({tuple(t) for t in texts}) == 3


def test_the_global_generator_is_neither_read_nor_moved():
    model = tiny.harsh_(build_model(tiny.gpt()))
    first = list(generate(model, [1], 10))
    torch.manual_seed(9)
    before = torch.get_rng_state()
    assert list(generate(model, [1], 10)) == first
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------- decoding


def uncached(model, prompt: list[int], n: int, choose) -> list[int]:
    """Every token from a forward over all that the model remembers: when the context is full, the newer half."""
    context = model.cfg.max_seq_len
    new, seen = [], list(prompt)
    with torch.no_grad():
        for _ in range(n):
            if len(seen) > context:
                seen = seen[-max(1, context // 2) :]
            token = choose(model(torch.tensor([seen])).logits[0, -1])
            new.append(token)
            seen.append(token)
    return new


@pytest.mark.slow
@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("length", [1, 4, 7, 15, 16])
def test_greedy_decoding_with_the_cache_is_decoding_without(name, length):
    """Forty tokens, past the end of a context of sixteen; prompts that end within, at and after a block."""
    model = tiny.harsh_(build_model(tiny.model_config(name)))
    prompt = torch.randint(tiny.VOCAB, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    found = list(generate(model, prompt, 40, temperature=0.0))
    assert found == uncached(model, prompt, 40, lambda logits: int(logits.argmax()))


@pytest.mark.slow
@pytest.mark.parametrize("name", tiny.MODELS)
def test_sampling_with_the_cache_is_sampling_without(name):
    model = tiny.harsh_(build_model(tiny.model_config(name)))
    generator = torch.Generator().manual_seed(5)

    def choose(logits):
        probs = torch.tensor(slow_probs(logits.tolist(), 0.8, 9, 0.95))
        return int(torch.multinomial(probs, 1, generator=generator))

    wanted = uncached(model, [3, 1, 4], 40, choose)
    assert list(generate(model, [3, 1, 4], 40, temperature=0.8, top_k=9, top_p=0.95, seed=5)) == wanted


@pytest.mark.parametrize("context", [1, 2, 3])
def test_the_shortest_contexts_decode_too(context):
    model = tiny.harsh_(build_model(tiny.gpt(max_seq_len=context)))
    found = list(generate(model, [5], 9, temperature=0.0))
    assert found == uncached(model, [5], 9, lambda logits: int(logits.argmax()))


def test_every_token_runs_through_the_model_once(monkeypatch):
    model, seen = tiny.harsh_(build_model(tiny.kimi())), []
    forward = type(model).forward
    monkeypatch.setattr(
        type(model),
        "forward",
        lambda self, tokens, *a: (seen.append(tokens.shape[1]), forward(self, tokens, *a))[1],
    )
    assert len(list(generate(model, [1, 2, 3], 13))) == 13
    assert seen == [3] + [1] * 12


def test_generation_ends_before_the_stop_token():
    model = tiny.harsh_(build_model(tiny.gpt()))
    free = list(generate(model, [1], 12, seed=3))
    stop = next(token for token in free[1:] if token != free[0])
    assert list(generate(model, [1], 12, seed=3, stop_id=stop)) == free[: free.index(stop)]
    assert list(generate(model, [stop], 12, seed=3, stop_id=tiny.VOCAB)) == list(
        generate(model, [stop], 12, seed=3)
    )


def test_tokens_come_one_by_one():
    """A caller may stop at any time, and nothing is computed ahead."""
    model = tiny.harsh_(build_model(tiny.gpt()))
    assert list(islice(generate(model, [1], 10**9, seed=3), 5)) == list(generate(model, [1], 5, seed=3))


HUGE = 10**5000  # a number of 5,001 digits, which Python does not even write
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
    with pytest.raises(ValueError) as error:
        next(generator(build_model(tiny.gpt()), prompt, n, **options))
    assert str(error.value) == message
    if options.keys() - {"seed"}:
        with pytest.raises(ValueError) as error:
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
