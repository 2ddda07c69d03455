"""Tests that cannot tell: the known wrong answers to test_sound_capacity, of notebook 04."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from lab_utils.course.probes import (
    ASKS_FOR_A_GRADIENT,
    ASKS_FOR_SHAPE_AND_FINITE,
    COMPARES_WITH_ITSELF,
    LEAVES_MUCH_ROOM,
    LOOKS_AT_THE_SHAPE,
    REFUSES_EVERYTHING,
    REFUSES_THE_RIGHT,
)
from nanokimi.experts import ExpertBank, swiglu

ONE, EVEN = torch.zeros(8, 1, dtype=torch.long), (torch.arange(8) % 4)[:, None]


def layer(idx, weight=0.5):
    """Eight tokens of three channels with these choices, their weights, and a bank of four experts."""
    bank, generator = ExpertBank(4, 3, 2), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in bank.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return torch.randn(len(idx), 3, generator=generator), idx, torch.full(idx.shape, weight), bank


def by_hand(x, idx, weights, bank):
    def one(t, e):
        return swiglu(x[t], bank.gate_up_proj[e], bank.down_proj[e])

    rows = [sum(w * one(t, e) for w, e in zip(weights[t], idx[t].tolist())) for t in range(len(x))]
    return torch.stack(rows)


def close(one, other):
    return torch.allclose(one, other, atol=1e-4)


@mistake(*LOOKS_AT_NOTHING)
def capacity_test_that_never_fails(dispatch):
    dispatch(*layer(ONE))


@mistake(*LOOKS_AT_NO_NUMBER)
def capacity_test_of_the_kind(dispatch):
    assert dispatch(*layer(ONE)) is not None


@mistake(*REFUSES_EVERYTHING)
def capacity_test_that_always_fails(dispatch):
    raise AssertionError


@mistake(*LOOKS_AT_THE_SHAPE)
def capacity_test_of_the_shape(dispatch):
    assert dispatch(*layer(ONE)).shape == (8, 3)


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def capacity_test_of_finite_numbers(dispatch):
    assert dispatch(*layer(ONE)).isfinite().all()


@mistake(
    "No dropped token has a part in what it compares: no expert gets more rows than there is room for, 1.25 fair "
    "shares and one row more, or the tokens beyond it are not looked at.",
    "For which choice of experts is the room too small, and for which tokens?",
)
def capacity_test_of_an_even_load(dispatch):
    assert close(dispatch(*layer(EVEN)), by_hand(*layer(EVEN)))


@mistake(
    "It passes for zeros and the negative, and refuses pieces that serve only some of the tokens: it compares "
    "results of a piece with each other, and no expert gets more rows than fit, 1.25 fair shares and one row more.",
    "For which choice of experts would the room be too small?",
)
def capacity_test_of_an_even_load_and_single_tokens(dispatch):
    x, idx, weights, bank = layer(EVEN)
    together = dispatch(x, idx, weights, bank)
    alone = [dispatch(x[t : t + 1], idx[t : t + 1], weights[t : t + 1], bank) for t in range(len(x))]
    assert close(together, torch.cat(alone))


@mistake(
    "It passes for a piece that serves the first token only, and for one that serves the last only: it has a single "
    "token. With one, no expert gets more rows than fit.",
    "How many tokens must choose the same expert for the room to be too small?",
)
def capacity_test_of_one_token(dispatch):
    assert close(dispatch(*layer(ONE[:1])), by_hand(*layer(ONE[:1])))


@mistake(
    "It passes for a piece that serves the first token only: it asks nothing of the last, which are dropped.",
    "Which tokens lose their place when an expert is full?",
)
def capacity_test_of_the_first_token(dispatch):
    assert close(dispatch(*layer(ONE))[0], by_hand(*layer(ONE))[0])


@mistake(
    "It passes for zeros, the negative and other numbers in every call: with its numbers the right result is 0, as "
    "with weights or tokens of 0, and a dropped token gets 0 too.",
    "For which weights and tokens does a dropped token get another result?",
)
def capacity_test_of_zero_weights(dispatch):
    assert close(dispatch(*layer(ONE, 0.0)), torch.zeros(8, 3))


@mistake(
    "It refuses the sound pieces, and passes for one that doubles the weights: it expects others than it gives.",
    "What should a token get from an expert whose weight is 1/2?",
)
def capacity_test_without_the_weights(dispatch):
    x, idx, weights, bank = layer(ONE)
    assert close(dispatch(x, idx, weights, bank), by_hand(x, idx, torch.ones_like(weights), bank))


@mistake(
    "It refuses sound pieces that call the bank expert by expert, or token by token: it allows one call, or few.",
    "Look at the results: what do the last tokens get?",
)
def capacity_test_of_one_call(dispatch):
    x, idx, weights, bank = layer(ONE)
    seen = []
    bank.register_forward_pre_hook(lambda *_: seen.append(1))
    dispatch(x, idx, weights, bank)
    assert len(seen) == 1


@mistake(
    "It refuses a piece that runs everything twice, and passes for zeros and the broken pieces: it counts the rows "
    "that the bank gets, for a load for which there is room.",
    "For which choice of experts would the room be too small?",
)
def capacity_test_of_the_rows(dispatch):
    x, idx, weights, bank = layer(EVEN)
    seen = []
    bank.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    dispatch(x, idx, weights, bank)
    assert sum(seen) == idx.numel()


@mistake(
    "It passes for all pieces that were tried but zeros and nothing: it asks whether something other than 0 comes "
    "out. For the first tokens it does.",
    "Which tokens lose their place when an expert is full?",
)
def capacity_test_of_anything(dispatch):
    assert dispatch(*layer(ONE)).sum() != 0


@mistake(ASKS_FOR_A_GRADIENT, "What do the last tokens get?")
def capacity_test_of_the_gradient(dispatch):
    x, idx, weights, bank = layer(ONE)
    x.requires_grad_()
    dispatch(x, idx, weights, bank).sum().backward()
    assert x.grad.abs().sum() > 0


@mistake(*LEAVES_MUCH_ROOM)
def capacity_test_with_much_room(dispatch):
    assert torch.allclose(dispatch(*layer(ONE)), by_hand(*layer(ONE)), atol=100)


@mistake(*REFUSES_THE_RIGHT)
def capacity_test_upside_down(dispatch):
    assert not close(dispatch(*layer(ONE)), by_hand(*layer(ONE)))


@mistake(*COMPARES_WITH_ITSELF)
def capacity_test_of_repetition(dispatch):
    assert torch.equal(dispatch(*layer(ONE)), dispatch(*layer(ONE)))


@mistake(
    "It passes for a piece that serves only the first half of the tokens. The last ones are dropped.",
    "Which tokens lose their place when an expert is full?",
)
def capacity_test_of_the_first_tokens(dispatch):
    assert close(dispatch(*layer(ONE))[:3], by_hand(*layer(ONE))[:3])


@mistake(
    "It refuses a sound piece that calls the bank token by token: it leaves less room than float32 rounding takes, "
    "or counts the calls.",
    "What differs between two sound pieces, and how far apart may their results be?",
)
def capacity_test_against_many_calls(dispatch):
    x, idx, weights, bank = layer(ONE)
    seen = []
    bank.register_forward_pre_hook(lambda *_: seen.append(1))
    assert close(dispatch(x, idx, weights, bank), by_hand(x, idx, weights, bank))
    assert len(seen) <= bank.down_proj.shape[0]


@mistake(ASKS_FOR_SHAPE_AND_FINITE, "What should the last tokens get?")
def capacity_test_of_shape_and_finite_numbers(dispatch):
    y = dispatch(*layer(ONE))
    assert y.shape == (8, 3) and y.isfinite().all()


SOMETHING_FOR_EVERYBODY = (
    "It passes for the negative and a thousand times as much, and refuses pieces that leave a token with 0: it asks "
    "whether every token gets something. With its choices every token keeps an expert that has room.",
    "Which choice of experts leaves a token with nothing, and what should each token get?",
)
HALF_TO_ONE = torch.stack([torch.zeros(30, dtype=torch.long), 1 + torch.arange(30) % 3], dim=1)


@mistake(*SOMETHING_FOR_EVERYBODY)
def capacity_test_of_anything_for_everybody(dispatch):
    assert (dispatch(*layer(HALF_TO_ONE)).abs().sum(dim=-1) > 0).all()


@mistake(*SOMETHING_FOR_EVERYBODY)
def capacity_test_of_the_shape_and_anything_for_everybody(dispatch):
    y = dispatch(*layer(HALF_TO_ONE))
    assert y.shape == (30, 3) and (y.abs().sum(dim=-1) > 0).all()


@mistake(
    "It refuses the sound pieces, and passes for the broken ones: it asks that no expert gets more rows than there "
    "is room for. A sound piece gives an expert all its tokens.",
    "What should an expert do that everybody chooses?",
)
def capacity_test_of_a_limit(dispatch):
    x, idx, weights, bank = layer(ONE)
    seen = torch.zeros(4)

    def count(_, args):
        seen.add_(torch.tensor(args[1]))

    bank.register_forward_pre_hook(count)
    dispatch(x, idx, weights, bank)
    assert seen.max() <= 1.25 * 8 / 4 + 1


@mistake(
    "It passes for zeros, the negative and another shape, and refuses only what is far off: it looks at one number "
    "of all tokens, as their mean or the largest, and leaves much room.",
    "What do the last tokens get, each by itself?",
)
def capacity_test_of_the_mean(dispatch):
    assert abs(dispatch(*layer(ONE)).mean() - by_hand(*layer(ONE)).mean()) < 50


@mistake(
    "It passes for zeros, and so for a dropped token: a number may be off by as much as the right ones are large, "
    "be it that the tolerance is wide or that the numbers are small.",
    "How large are the right numbers, and how far may a piece be off? It must be much less.",
)
def capacity_test_that_takes_zeros(dispatch):
    right = by_hand(*layer(ONE))
    assert torch.allclose(dispatch(*layer(ONE)), right, atol=1.2 * float(right.abs().max()), rtol=0)


@mistake(
    "It passes for zeros, the negative and the broken pieces, and refuses one that is off by 0.02: it compares "
    "results of a piece, as for weights twice as large. In the broken piece they go together too.",
    "Which number should come out? Work it out by hand, or by the formula.",
)
def capacity_test_of_doubled_weights(dispatch):
    one, two = (dispatch(*layer(ONE, weight)) for weight in (0.5, 1.0))
    assert close(2 * one, two)


CAPACITY_TESTS = (
    capacity_test_of_doubled_weights,
    capacity_test_that_never_fails,
    capacity_test_of_the_kind,
    capacity_test_that_always_fails,
    capacity_test_of_the_shape,
    capacity_test_of_finite_numbers,
    capacity_test_of_an_even_load,
    capacity_test_of_an_even_load_and_single_tokens,
    capacity_test_of_one_token,
    capacity_test_of_the_first_token,
    capacity_test_of_zero_weights,
    capacity_test_without_the_weights,
    capacity_test_of_one_call,
    capacity_test_of_the_rows,
    capacity_test_of_anything,
    capacity_test_of_the_gradient,
    capacity_test_with_much_room,
    capacity_test_upside_down,
    capacity_test_of_repetition,
    capacity_test_of_the_first_tokens,
    capacity_test_against_many_calls,
    capacity_test_of_shape_and_finite_numbers,
    capacity_test_of_anything_for_everybody,
    capacity_test_of_the_shape_and_anything_for_everybody,
    capacity_test_of_a_limit,
    capacity_test_of_the_mean,
    capacity_test_that_takes_zeros,
)
