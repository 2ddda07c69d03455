"""Tests that cannot tell: known wrong answers to test_sound_muon that expect another size, or no change."""

import torch
from torch import nn

from lab_utils.course.chapters.ch07_muon.mistakes.weak_muon import measure_update
from lab_utils.course.chapters.ch07_muon.mistakes.weak_newton_schulz import bank
from lab_utils.course.exercise import mistake

WITHOUT_SCALE = (
    "It refuses the sound pieces, and passes where the factors before U·Vᵀ are missing: it expects an update of "
    "another size. Sound singular values are near lr·0.2·sqrt(max(A, B)), not near 1, nor near lr.",
    "Which factors does Muon put before U·Vᵀ? Or ask only how the singular values compare with one another.",
)
WITHOUT_RATE = (
    "It refuses the sound pieces, and passes for one without the learning rate, by which every update is "
    "multiplied.",
    "How large is the change of the parameter for lr = 0.1, and how large for lr = 1? Which one does your test "
    "expect?",
)


def _lie_between(update, low, high):
    s = torch.linalg.svdvals(update)
    assert low < s.min() and s.max() < high


def _nearly_singular():
    """A gradient with a direction so small that five steps of the quintic do not bring it near 1."""
    u, s, vt = torch.linalg.svd(torch.randn(6, 6, generator=torch.Generator().manual_seed(3)))
    return u * torch.cat([s[:-1], torch.tensor([1e-3])]) @ vt


def _with_rows_apart():
    """A gradient whose rows are nearly orthogonal: to make them equally long is nearly enough."""
    return torch.diag(torch.tensor([1.0, 2, 3, 4])) @ torch.eye(4, 8) + 0.1 * bank(4, 8)


@mistake(*WITHOUT_SCALE)
def muon_test_without_scale(optimizer):
    _lie_between(measure_update(optimizer), 0.6, 1.3)


@mistake(*WITHOUT_SCALE)
def muon_test_without_scale_at_a_rate_of_one(optimizer):
    _lie_between(measure_update(optimizer, lr=1.0), 0.6, 1.3)


@mistake(*WITHOUT_SCALE)
def muon_test_without_scale_of_a_hard_gradient(optimizer):
    _lie_between(measure_update(optimizer, shape=(6, 6), grad=_nearly_singular()), 0.6, 1.3)


@mistake(*WITHOUT_SCALE)
def muon_test_without_scale_of_a_hard_gradient_at_a_rate_of_one(optimizer):
    _lie_between(measure_update(optimizer, shape=(6, 6), lr=1.0, grad=_nearly_singular()), 0.6, 1.3)


@mistake(*WITHOUT_SCALE)
def muon_test_without_scale_of_an_easy_gradient(optimizer):
    _lie_between(measure_update(optimizer, shape=(4, 8), grad=_with_rows_apart()), 0.6, 1.3)


@mistake(*WITHOUT_SCALE)
def muon_test_without_scale_of_an_easy_gradient_at_a_rate_of_one(optimizer):
    _lie_between(measure_update(optimizer, shape=(4, 8), lr=1.0, grad=_with_rows_apart()), 0.6, 1.3)


@mistake(
    "It refuses the sound pieces, and passes where both factors before U·Vᵀ are missing: it expects a change of "
    "another size. Sound singular values are near lr·0.2·sqrt(max(A, B)), not near 1.",
    "Which two factors does Muon put before U·Vᵀ? Or ask only how the singular values compare with one another.",
)
def muon_test_without_rate_and_scale(optimizer):
    _lie_between(0.1 * measure_update(optimizer), 0.6, 1.3)


@mistake(*WITHOUT_RATE)
def muon_test_without_rate(optimizer):
    _lie_between(0.1 * measure_update(optimizer) / (0.2 * 8**0.5), 0.6, 1.3)


@mistake(
    "It passes for the piece above, with bounds on the size: its gradient is diagonal, and there a division entry by "
    "entry makes directions alike too.",
    "Which gradient has directions that are not single entries?",
)
def muon_test_of_the_size_of_a_diagonal(optimizer):
    diagonal = torch.diag(torch.tensor([1.0, 0.6, 0.4, 0.2]))
    _lie_between(measure_update(optimizer, shape=(4, 4), lr=1.0, grad=diagonal) / 0.4, 0.5, 1.4)


@mistake(
    "It passes for gradient descent with an RMS of 0.2: it looks at the size of the update. The broken piece was "
    "made to have the same.",
    "What does Muon do to the *directions* of a gradient?",
)
def muon_test_of_the_size_in_narrow_bounds(optimizer):
    assert 0.12 < measure_update(optimizer, shape=(8, 12)).square().mean().sqrt() < 0.28


@mistake(
    "It refuses the sound pieces, and passes for one that puts its update in the place of the parameter: it looks at "
    "the parameter after the step, and Muon says something of its change.",
    "What was the parameter before the step, and what is the difference?",
)
def muon_test_of_the_parameter(optimizer):
    p = nn.Parameter(bank(6, 8).flip(0))
    p.grad = bank(6, 8)
    optimizer([{"params": [p]}], lr=0.1, weight_decay=0.0, ns_dtype=torch.float32).step()
    s = torch.linalg.svdvals(p.detach())
    assert s.max() < 2 * s.min()


MUON_TESTS_OF_THE_SIZE = (
    muon_test_of_the_parameter,
    muon_test_without_scale,
    muon_test_without_scale_at_a_rate_of_one,
    muon_test_without_scale_of_a_hard_gradient,
    muon_test_without_scale_of_a_hard_gradient_at_a_rate_of_one,
    muon_test_without_scale_of_an_easy_gradient,
    muon_test_without_scale_of_an_easy_gradient_at_a_rate_of_one,
    muon_test_without_rate_and_scale,
    muon_test_without_rate,
    muon_test_of_the_size_of_a_diagonal,
    muon_test_of_the_size_in_narrow_bounds,
)
