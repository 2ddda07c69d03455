"""Tests that cannot tell: the known wrong answers to test_sound_dispatch, of notebook 03."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from lab_utils.course.probes import (
    ASKS_FOR_A_GRADIENT,
    ASKS_FOR_SHAPE_AND_FINITE,
    COMPARES_WITH_ITSELF,
    LOOKS_AT_THE_SHAPE,
    REFUSES_EVERYTHING,
)
from nanokimi.experts import ExpertBank, swiglu


def layer(n_experts=4, top_k=2, spread=3):
    """Six tokens of three channels, whose choices are among the first `spread` experts, and a bank."""
    bank, generator = ExpertBank(n_experts, 3, 2), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in bank.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    x = torch.randn(6, 3, generator=generator)
    idx = torch.stack([torch.randperm(spread, generator=generator)[:top_k] for _ in range(6)])
    return x, idx, torch.rand(6, top_k, generator=generator) + 0.5, bank


def right(x, idx, weights, bank):
    def one(t, k):
        return weights[t, k] * swiglu(x[t], bank.gate_up_proj[idx[t, k]], bank.down_proj[idx[t, k]])

    return torch.stack([sum(one(t, k) for k in range(idx.shape[1])) for t in range(len(x))])


def rows_of_calls(dispatch, x, idx, weights, bank):
    """How many rows the bank got in each call."""
    seen = []
    bank.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    dispatch(x, idx, weights, bank)
    return seen


@mistake(
    LOOKS_AT_NOTHING[0],
    "Is there an `assert`, and which piece would make it fail? Work that nobody needs shows in no result: what can be "
    "counted over all calls together?",
)
def chosen_test_that_never_fails(dispatch):
    dispatch(*layer())


@mistake(LOOKS_AT_NO_NUMBER[0], "The defect is work that nobody needs. What can be counted?")
def chosen_test_of_the_kind(dispatch):
    assert dispatch(*layer()) is not None


@mistake(*REFUSES_EVERYTHING)
def chosen_test_that_always_fails(dispatch):
    raise AssertionError


@mistake(
    "It passes for a piece that runs everything sixteen times: it asks for the right numbers, and the broken pieces "
    "give them. Experts that should not run are multiplied by 0.",
    "The defect is work that nobody needs. What can be counted?",
)
def chosen_test_of_the_numbers(dispatch):
    x, idx, weights, bank = layer()
    assert torch.allclose(dispatch(x, idx, weights, bank), right(x, idx, weights, bank), atol=1e-4)


@mistake(LOOKS_AT_THE_SHAPE[0], "The defect is work that nobody needs. What can be counted?")
def chosen_test_of_the_shape(dispatch):
    x, idx, weights, bank = layer()
    assert dispatch(x, idx, weights, bank).shape == x.shape


@mistake(
    "It passes for all pieces that were tried but one without gradients, and one that gives nothing. In the piece "
    "above a gradient comes back too.",
    "The defect is work that nobody needs. What can be counted?",
)
def chosen_test_of_some_gradient(dispatch):
    x, idx, weights, bank = layer()
    dispatch(x, idx, weights, bank).sum().backward()
    assert bank.down_proj.grad is not None


@mistake(ASKS_FOR_A_GRADIENT, "The defect is work that nobody needs. What can be counted?")
def chosen_test_of_any_gradient(dispatch):
    x, idx, weights, bank = layer()
    dispatch(x, idx, weights, bank).sum().backward()
    assert bank.down_proj.grad.abs().sum() > 0


@mistake(
    "It refuses a piece in which idle experts count a little, and passes for zeros: it asks whether an idle expert "
    "has a gradient. In the broken pieces that is 0 too: the expert was multiplied by 0.",
    "Count the operations, or the rows that the bank gets.",
)
def chosen_test_of_the_gradients(dispatch):
    x, idx, weights, bank = layer()
    dispatch(x, idx, weights, bank).sum().backward()
    assert bank.down_proj.grad[3].abs().max() == 0


@mistake(
    "It refuses a piece in which idle experts count a little, and passes for zeros and the negative: it asks "
    "whether an idle expert changes the result. The broken pieces multiply that expert by 0.",
    "0 times a number is 0. For which number is that not so?",
)
def chosen_test_of_another_idle_expert(dispatch):
    x, idx, weights, bank = layer()
    before = dispatch(x, idx, weights, bank).detach()
    with torch.no_grad():
        bank.down_proj[3] *= 100
    assert torch.allclose(dispatch(x, idx, weights, bank), before)


@mistake(LOOKS_FOR_FINITE_NUMBERS[0], "The defect is work that nobody needs. What can be counted?")
def chosen_test_of_finite_numbers(dispatch):
    assert dispatch(*layer()).isfinite().all()


@mistake(
    "It refuses a piece that runs everything sixteen times, and not the broken ones: be it that they run nothing in "
    "vain with its choices, as where every token chooses every expert, or that its limit is too high.",
    "How many rows must the bank get with your choices, how many does it get from the piece above, and how many do "
    "you allow?",
)
def chosen_test_without_idle_experts(dispatch):
    x, idx, weights, bank = layer(n_experts=2, spread=2)
    assert sum(rows_of_calls(dispatch, x, idx, weights, bank)) <= idx.numel()


@mistake(
    "It refuses sound pieces that call the bank expert by expert, or token by token: it allows one call, or few.",
    "Count the rows of all calls together.",
)
def chosen_test_of_one_call(dispatch):
    assert len(rows_of_calls(dispatch, *layer())) == 1


@mistake(
    "It refuses a sound piece that calls the bank token by token, and passes for the piece above, which calls it "
    "once for each expert: it counts the calls, not the rows in them.",
    "Count the rows of all calls together.",
)
def chosen_test_of_few_calls(dispatch):
    assert len(rows_of_calls(dispatch, *layer())) <= 4


@mistake(
    "It refuses a sound piece that calls the bank token by token, and passes for the piece above, which calls it "
    "once for each expert: it counts the calls, not the rows in them.",
    "Count the rows of all calls together.",
)
def chosen_test_of_some_calls(dispatch):
    assert 1 <= len(rows_of_calls(dispatch, *layer())) <= 4


@mistake(
    "It refuses the sound pieces, and passes for those that run the first choice alone, or nothing: it asks for "
    "fewer rows than a sound piece needs. Each token goes to K experts: there are tokens · K rows.",
    "How many (token, choice) pairs are there?",
)
def chosen_test_of_too_few_rows(dispatch):
    x, idx, weights, bank = layer()
    assert sum(rows_of_calls(dispatch, x, idx, weights, bank)) <= len(x)


@mistake(
    "It refuses sound pieces that call the bank with many rows, and passes for a broken one that calls it often, "
    "with few rows each time: it looks at the rows of a single call.",
    "Count the rows of all calls together.",
)
def chosen_test_of_rows_per_call(dispatch):
    x, idx, weights, bank = layer()
    assert max(rows_of_calls(dispatch, x, idx, weights, bank), default=0) <= len(x) - 1


@mistake(COMPARES_WITH_ITSELF[0], "The defect is work that nobody needs. What can be counted?")
def chosen_test_of_repetition(dispatch):
    assert torch.equal(dispatch(*layer()), dispatch(*layer()))


@mistake(
    "It refuses sound pieces that call the bank expert by expert, or token by token: it asks that several experts "
    "have rows in one call.",
    "Count the rows of all calls together.",
)
def chosen_test_of_calls_with_several_experts(dispatch):
    x, idx, weights, bank = layer()
    seen = []
    bank.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    dispatch(x, idx, weights, bank)
    assert all(sum(n > 0 for n in counts) > 1 for counts in seen)


@mistake(
    "It refuses sound pieces that call the bank with many rows, and passes for a broken one that calls it often, "
    "with few rows each time: it looks at the rows of each call by itself.",
    "Count the rows of all calls together.",
)
def chosen_test_of_few_rows_in_each_call(dispatch):
    x, idx, weights, bank = layer(spread=4)
    assert all(n < len(x) for n in rows_of_calls(dispatch, x, idx, weights, bank))


@mistake(
    "It passes for all pieces that were tried but a sound one, which calls the bank for an expert without rows. "
    "Such a call costs nothing, and the broken pieces make none: they give rows to every expert.",
    "Count the rows of all calls together.",
)
def chosen_test_of_no_empty_call(dispatch):
    assert all(n > 0 for n in rows_of_calls(dispatch, *layer()))


@mistake(
    "It passes for zeros, the negative and other numbers in every call: with its numbers the result is 0 whatever "
    "the experts give, as where the weights or the tokens are 0.",
    "The defect is work that nobody needs. What can be counted?",
)
def chosen_test_of_zero_weights(dispatch):
    x, idx, weights, bank = layer()
    assert (dispatch(x, idx, 0 * weights, bank) == 0).all()


@mistake(ASKS_FOR_SHAPE_AND_FINITE, "The defect is work that nobody needs. What can be counted?")
def chosen_test_of_the_shape_and_finite_numbers(dispatch):
    x, idx, weights, bank = layer()
    out = dispatch(x, idx, weights, bank)
    assert out.shape == x.shape and out.isfinite().all()


@mistake(
    "It refuses the sound pieces, and passes for one that runs the first choice alone: the second has no place in what "
    "it asks, be it that it counts one row per token, or that an expert of a second choice must not be seen.",
    "How many (token, choice) pairs are there, and which of your experts are chosen by nobody at all?",
)
def chosen_test_of_one_row_per_token(dispatch):
    x, idx, weights, bank = layer()
    assert sum(rows_of_calls(dispatch, x, idx, weights, bank)) == len(x)


@mistake(
    "It refuses the sound pieces, and passes for one that leaves out choices with a weight of 0: it expects that such "
    "an expert is not run. It was chosen, and a sound dispatch may run it.",
    "Which experts are in no row of your expert_idx? Of those alone nothing may be seen.",
)
def chosen_test_of_a_weight_of_zero(dispatch):
    x, idx, weights, bank = layer()
    last = (idx == 2).nonzero()
    weights[last[:, 0], last[:, 1]] = 0
    with torch.no_grad():
        bank.down_proj[2] = torch.nan
    assert dispatch(x, idx, weights, bank).isfinite().all()


@mistake(
    "It refuses only a piece that runs every expert on every token in one call of the bank: its limit holds for each "
    "call by itself. The broken pieces make many calls, each of them within it.",
    "Count the rows of all calls together.",
)
def chosen_test_of_a_limit_for_each_call(dispatch):
    assert all(n <= 12 for n in rows_of_calls(dispatch, *layer()))


DISPATCH_TESTS = (
    chosen_test_of_a_limit_for_each_call,
    chosen_test_of_a_weight_of_zero,
    chosen_test_that_never_fails,
    chosen_test_of_the_kind,
    chosen_test_that_always_fails,
    chosen_test_of_the_numbers,
    chosen_test_of_the_shape,
    chosen_test_of_some_gradient,
    chosen_test_of_any_gradient,
    chosen_test_of_the_gradients,
    chosen_test_of_another_idle_expert,
    chosen_test_of_finite_numbers,
    chosen_test_without_idle_experts,
    chosen_test_of_one_call,
    chosen_test_of_few_calls,
    chosen_test_of_some_calls,
    chosen_test_of_too_few_rows,
    chosen_test_of_rows_per_call,
    chosen_test_of_repetition,
    chosen_test_of_calls_with_several_experts,
    chosen_test_of_few_rows_in_each_call,
    chosen_test_of_no_empty_call,
    chosen_test_of_zero_weights,
    chosen_test_of_the_shape_and_finite_numbers,
    chosen_test_of_one_row_per_token,
)
