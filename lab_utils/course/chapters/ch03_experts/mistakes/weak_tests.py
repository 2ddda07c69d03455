"""Tests that cannot tell: the known wrong answers to the bug hunts of notebook 03."""

import torch
import torch.nn.functional as F

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from nanokimi.experts import ExpertBank, swiglu

# ---------------------------------------------------------------- test_sound_swiglu


@mistake(*LOOKS_AT_NOTHING)
def gate_test_that_never_fails(swiglu):
    swiglu(torch.ones(1, 2), torch.ones(4, 2), torch.ones(2, 2))


@mistake("The test fails for every function, the sound one too.", "Run it on the core's swiglu first.")
def gate_test_that_always_fails(swiglu):
    raise AssertionError


@mistake("The test looks at the shape only.", "Which number comes out different in the broken piece?")
def gate_test_of_the_shape(swiglu):
    assert swiglu(torch.ones(5, 2), torch.ones(6, 2), torch.ones(2, 3)).shape == (5, 2)


@mistake(
    "The test uses the same numbers for gate and up, so an exchange of the two changes nothing.",
    "Give the gate's rows other numbers than the up rows.",
)
def gate_test_with_equal_halves(swiglu):
    x = torch.ones(1, 1)
    expected = F.silu(torch.tensor(2.0)) * 2.0
    assert torch.allclose(swiglu(x, torch.full((2, 1), 2.0), torch.ones(1, 1)), expected)


@mistake(
    "The input of the test is zeros: in either order zero comes out.",
    "Choose an input for which gate and up are not zero, and not equal.",
)
def gate_test_with_zeros(swiglu):
    assert torch.equal(swiglu(torch.zeros(3, 2), torch.ones(4, 2), torch.ones(2, 2)), torch.zeros(3, 2))


@mistake(*LOOKS_AT_NO_NUMBER)
def gate_test_of_the_kind(swiglu):
    assert swiglu(torch.ones(1, 2), torch.ones(4, 2), torch.ones(2, 2)) is not None


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def gate_test_of_finite_numbers(swiglu):
    assert swiglu(torch.ones(1, 2), torch.ones(4, 2), torch.ones(2, 2)).isfinite().all()


SWIGLU_TESTS = (
    gate_test_that_never_fails,
    gate_test_of_the_kind,
    gate_test_that_always_fails,
    gate_test_of_the_shape,
    gate_test_with_equal_halves,
    gate_test_with_zeros,
    gate_test_of_finite_numbers,
)

# ---------------------------------------------------------------- test_sound_dispatch


def _layer():
    bank = ExpertBank(4, 2, 3)
    with torch.no_grad():
        for p in bank.parameters():
            p.copy_(torch.linspace(-1, 1, p.numel()).view_as(p))
    x = torch.tensor([[1.0, 2.0], [-1.0, 0.5]])
    return x, torch.tensor([[0], [2]]), torch.ones(2, 1), bank


@mistake(*LOOKS_AT_NOTHING)
def chosen_test_that_never_fails(dispatch):
    dispatch(*_layer())


@mistake("The test fails for every function, the sound one too.", "Run it on the core's dispatch first.")
def chosen_test_that_always_fails(dispatch):
    raise AssertionError


@mistake(
    "The test compares the numbers. They are right: the experts that should not run are multiplied by 0.",
    "The defect is work that nobody needs. What can be counted?",
)
def chosen_test_of_the_numbers(dispatch):
    x, idx, weights, bank = _layer()
    expected = torch.stack(
        [swiglu(x[t], bank.gate_up_proj[idx[t, 0]], bank.down_proj[idx[t, 0]]) for t in range(2)]
    )
    assert torch.allclose(dispatch(x, idx, weights, bank), expected, atol=1e-5)


@mistake(
    "The test looks at the shape only.",
    "The defect is work that nobody needs. What can be counted?",
)
def chosen_test_of_the_shape(dispatch):
    x, idx, weights, bank = _layer()
    assert dispatch(x, idx, weights, bank).shape == x.shape


@mistake(
    "The test looks at the gradients. Those of an idle expert are 0 in both: it was multiplied by 0.",
    "Count the operations, or the rows that the bank gets.",
)
def chosen_test_of_the_gradients(dispatch):
    x, idx, weights, bank = _layer()
    dispatch(x, idx, weights, bank).sum().backward()
    assert bank.down_proj.grad[1].abs().max() == 0
    assert bank.down_proj.grad[0].abs().max() > 0


@mistake(*LOOKS_AT_NO_NUMBER)
def chosen_test_of_the_kind(dispatch):
    assert dispatch(*_layer()) is not None


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def chosen_test_of_finite_numbers(dispatch):
    assert dispatch(*_layer()).isfinite().all()


DISPATCH_TESTS = (
    chosen_test_that_never_fails,
    chosen_test_of_the_kind,
    chosen_test_that_always_fails,
    chosen_test_of_the_numbers,
    chosen_test_of_the_shape,
    chosen_test_of_the_gradients,
    chosen_test_of_finite_numbers,
)
