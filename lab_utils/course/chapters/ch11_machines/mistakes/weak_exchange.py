"""Tests that cannot tell: the known wrong answers to test_sound_exchange, of notebook 11."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from lab_utils.course.probes import (
    ASKS_FOR_SHAPE_AND_FINITE,
    COMPARES_WITH_ITSELF,
    LEAVES_MUCH_ROOM,
    LOOKS_AT_THE_SHAPE,
    REFUSES_EVERYTHING,
    REFUSES_THE_RIGHT,
)
from nanokimi.experts import ExpertBank
from nanokimi.moe import dispatch

IN_TURN = torch.tensor([[0], [1], [2], [3], [0], [1], [2], [3]])
SORTED = torch.tensor([[0], [0], [1], [1], [2], [2], [3], [3]])
ONE = torch.zeros(8, 1, dtype=torch.long)


def layer(idx, weight=1.0):
    """Eight tokens of three numbers with these choices, their weights, and a bank of four experts."""
    bank, generator = ExpertBank(4, 3, 2), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in bank.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return torch.randn(len(idx), 3, generator=generator), idx, torch.full(idx.shape, weight), bank


def is_right(exchange, idx, n_ranks, weight=1.0, room=1e-4):
    given = layer(idx, weight)
    return torch.allclose(exchange(*given, n_ranks), dispatch(*given), atol=room)


@mistake(*LOOKS_AT_NOTHING)
def exchange_test_that_never_fails(exchange):
    exchange(*layer(IN_TURN), 2)


@mistake(*LOOKS_AT_NO_NUMBER)
def exchange_test_of_the_kind(exchange):
    assert exchange(*layer(IN_TURN), 2) is not None


@mistake(*REFUSES_EVERYTHING)
def exchange_test_that_always_fails(exchange):
    raise AssertionError


@mistake(*LOOKS_AT_THE_SHAPE)
def exchange_test_of_the_shape(exchange):
    assert exchange(*layer(IN_TURN), 2).shape == (8, 3)


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def exchange_test_of_finite_numbers(exchange):
    assert exchange(*layer(IN_TURN), 2).isfinite().all()


BY_EXPERT = (
    "In the test the rows of every rank lie by expert as they arrive. So they do with one rank, with a rank for each "
    "expert, and where all tokens choose the same expert.",
    "In which order do rows arrive at a rank, and in which order are they computed? For which choices of experts and "
    "of n_ranks are these two orders different?",
)


@mistake(*BY_EXPERT)
def exchange_test_of_one_rank(exchange):
    assert is_right(exchange, IN_TURN, 1)


@mistake(
    "The test looks at the sum of all results. Rows that come back to the wrong tokens do not change it.",
    "Which tokens get the answer of another one?",
)
def exchange_test_of_the_sum(exchange):
    given = layer(IN_TURN)
    assert torch.allclose(exchange(*given, 2).sum(dim=0), dispatch(*given).sum(dim=0), atol=1e-4)


@mistake(
    "It passes for the broken pieces, and for one whose last rank gets nothing back: the rows that it looks at lie at "
    "the same place in both orders, as that of the first token does.",
    "Which tokens get the answer of another one?",
)
def exchange_test_of_the_first_token(exchange):
    given = layer(IN_TURN)
    assert torch.allclose(exchange(*given, 2)[0], dispatch(*given)[0], atol=1e-4)


@mistake(
    "In the test all weights are 0, and so is every result, whichever row comes back.",
    "For which weights does another row give another result?",
)
def exchange_test_of_zero_weights(exchange):
    assert is_right(exchange, IN_TURN, 2, weight=0.0)


@mistake(
    "The test leaves the weights out of what it expects.",
    "What should a token get from an expert whose weight is 1/2?",
)
def exchange_test_without_the_weights(exchange):
    x, idx, weights, bank = layer(IN_TURN, 0.5)
    assert torch.allclose(exchange(x, idx, weights, bank, 2), dispatch(x, idx, 2 * weights, bank), atol=1e-4)


@mistake(
    ASKS_FOR_SHAPE_AND_FINITE,
    "Which tokens get the answer of another one? Compare their numbers with those of one process.",
)
def exchange_test_of_the_shape_and_finite_numbers(exchange):
    out = exchange(*layer(IN_TURN), 2)
    assert out.shape == (8, 3) and out.isfinite().all()


@mistake(*LEAVES_MUCH_ROOM)
def exchange_test_with_much_room(exchange):
    assert is_right(exchange, IN_TURN, 2, room=100.0)


@mistake(*REFUSES_THE_RIGHT)
def exchange_test_upside_down(exchange):
    assert not is_right(exchange, IN_TURN, 2)


@mistake(*COMPARES_WITH_ITSELF)
def exchange_test_of_two_calls(exchange):
    assert torch.allclose(exchange(*layer(IN_TURN), 2), exchange(*layer(IN_TURN), 2), atol=1e-4)


@mistake(*BY_EXPERT)
def exchange_test_of_two_choices_and_a_rank_for_each_expert(exchange):
    idx = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 0], [0, 2], [1, 3]])
    given = layer(idx, 0.5)
    assert torch.allclose(exchange(*given, 4), dispatch(*given), atol=1e-4)


EXCHANGE_TESTS = (
    exchange_test_that_never_fails,
    exchange_test_of_the_kind,
    exchange_test_that_always_fails,
    exchange_test_of_the_shape,
    exchange_test_of_finite_numbers,
    exchange_test_of_the_shape_and_finite_numbers,
    exchange_test_of_one_rank,
    exchange_test_of_the_sum,
    exchange_test_of_the_first_token,
    exchange_test_of_zero_weights,
    exchange_test_without_the_weights,
    exchange_test_with_much_room,
    exchange_test_upside_down,
    exchange_test_of_two_calls,
    exchange_test_of_two_choices_and_a_rank_for_each_expert,
)
