"""Sampling against a slow reference, exact sets, counted draws; decoding with a cache against decoding without."""

import math
from itertools import islice

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nanokimi.generate import generate, next_token_probs
from nanokimi.gpt import GPT
from nanokimi.model import build_model
from nanokimi.output import ModelOutput
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


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("length", [1, 4, 7, 15, 16])
def test_greedy_decoding_with_the_cache_is_decoding_without(name, length):
    """Forty tokens, past the end of a context of sixteen; prompts that end within, at and after a block."""
    model = tiny.harsh_(build_model(tiny.model_config(name)))
    prompt = torch.randint(tiny.VOCAB, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    found = list(generate(model, prompt, 40, temperature=0.0))
    assert found == uncached(model, prompt, 40, lambda logits: int(logits.argmax()))


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
