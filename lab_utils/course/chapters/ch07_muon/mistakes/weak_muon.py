"""Tests that cannot tell: the known wrong answers to test_sound_muon, of notebook 07."""

import torch
from torch import nn

from lab_utils.course.chapters.ch07_muon.mistakes.weak_newton_schulz import bank
from lab_utils.course.exercise import mistake
from nanokimi.optim import Muon


def measure_update(optimizer, shape=(6, 8), lr=0.1, grad=None) -> torch.Tensor:
    """What one step without decay has added to the parameter, divided by the rate."""
    p = nn.Parameter(torch.zeros(shape))
    p.grad = bank(*shape) if grad is None else grad
    optimizer([{"params": [p]}], lr=lr, weight_decay=0.0, ns_dtype=torch.float32).step()
    return p.detach() / lr


@mistake(
    "The test passes for every optimizer that was tried, even for one that does nothing and one that climbs.",
    "Is there an `assert` that a wrong update breaks?",
)
def muon_test_that_never_fails(optimizer):
    measure_update(optimizer)


@mistake(
    "The test fails for every optimizer, the sound one too.",
    "Run it on a right Muon, and print both sides of what it compares: which of them did you not expect?",
)
def muon_test_that_always_fails(optimizer):
    raise AssertionError


@mistake(
    "The test measures the size of the update. The broken piece was made to have the same.",
    "What does Muon do to the *directions* of a gradient?",
)
def muon_test_of_the_size(optimizer):
    assert 0.1 < measure_update(optimizer).square().mean().sqrt() < 0.3


@mistake(
    "The test asks only whether the step goes against the gradient, or whether the loss falls. It does under every "
    "optimizer with the right sign.",
    "A plausible wrong optimizer trains too. Look at the update itself.",
)
def muon_test_of_the_loss(optimizer):
    p = nn.Parameter(bank(4, 4))
    found = optimizer([{"params": [p]}], lr=0.05, weight_decay=0.0, ns_dtype=torch.float32)
    before = p.square().sum().item()
    for _ in range(5):
        p.grad = p.detach().clone()
        found.step()
    assert p.square().sum().item() < before


@mistake(
    "The gradient of the test has one row. There is a single singular value, and every update is orthogonal up to its "
    "size.",
    "How many singular values does your gradient have?",
)
def muon_test_of_one_row(optimizer):
    s = torch.linalg.svdvals(measure_update(optimizer, shape=(1, 8)))
    assert s.max() < 2 * s.min()


@mistake(
    "The test asks for the core's update to the last digit, and rejects a sound one with exact singular values.",
    "Compare the singular values with one another, with room for the quintic's 0.68 to 1.14.",
)
def muon_test_to_the_digit(optimizer):
    assert torch.allclose(measure_update(optimizer), measure_update(Muon), atol=1e-4)


@mistake(
    "The test asks for singular values that are more alike than those of the core's update. Five steps of the quintic "
    "come only near 1, and a gradient of low rank keeps its values of 0.",
    "How far apart do the singular values of the core's own update lie, and is one of them 0?",
)
def muon_test_of_exactly_equal(optimizer):
    s = torch.linalg.svdvals(measure_update(optimizer))
    assert s.min() > 0.99 * s.max()


@mistake(
    "The gradient of the test is diagonal. Its singular values are its entries: what equalises entries equalises "
    "directions too.",
    "Which gradient has directions that are not single entries?",
)
def muon_test_of_a_diagonal(optimizer):
    s = torch.linalg.svdvals(
        measure_update(optimizer, shape=(4, 4), grad=torch.diag(torch.tensor([1.0, 0.6, 0.4, 0.2])))
    )
    assert s.max() < 2 * s.min()


@mistake(
    "The test asks whether a longer gradient gives the same update. It does here, as it does under Adam.",
    "What does Muon do to the *directions* of a gradient?",
)
def muon_test_of_scaled_gradients(optimizer):
    one, other = (measure_update(optimizer, grad=size * bank(6, 8)) for size in (1.0, 100.0))
    assert torch.allclose(one, other, atol=1e-3)


@mistake(
    "The test asks only whether the parameter moves. Under the broken piece it does.",
    "What does Muon do to the *directions* of a gradient?",
)
def muon_test_of_moving(optimizer):
    assert measure_update(optimizer).abs().sum() > 0


@mistake(
    "Updates whose singular values lie far apart pass too, those of the broken piece among them.",
    "How far apart are those of the core's update, and how far those of the piece's?",
)
def muon_test_with_much_room(optimizer):
    s = torch.linalg.svdvals(measure_update(optimizer))
    assert s.max() < 1000 * s.min()


@mistake(
    "The gradient of the test has equal singular values already. Nothing is left to make equal.",
    "Which gradient has some directions that are larger than others?",
)
def muon_test_of_the_identity(optimizer):
    s = torch.linalg.svdvals(measure_update(optimizer, shape=(4, 4), grad=torch.eye(4)))
    assert s.max() < 2 * s.min()


@mistake(
    "The test asks whether weights decay. In the broken piece they do.",
    "What does Muon do to the *directions* of a gradient?",
)
def muon_test_of_the_decay(optimizer):
    p = nn.Parameter(torch.ones(3, 3))
    found = optimizer([{"params": [p]}], lr=0.1, weight_decay=0.5, ns_dtype=torch.float32)
    p.grad = torch.zeros(3, 3)
    found.step()
    assert torch.allclose(p, torch.full((3, 3), 0.95), atol=1e-3)


@mistake(
    "The gradient of the test has rank 1, and the test asks that the update has it too. Entry by entry a gradient of "
    "rank 1 stays one as well.",
    "How many singular values does your gradient have?",
)
def muon_test_of_rank_one(optimizer):
    grad = torch.outer(bank(6), bank(8).flip(0))
    s = torch.linalg.svdvals(measure_update(optimizer, grad=grad))
    assert s[1:].max() < 1e-3 * s[0]


@mistake(
    "The test asks what an optimizer remembers, not what it does. Others may keep another state and be sound.",
    "Look at the update itself.",
)
def muon_test_of_the_state(optimizer):
    p = nn.Parameter(torch.zeros(3, 3))
    found = optimizer([{"params": [p]}], lr=0.1, weight_decay=0.0, ns_dtype=torch.float32)
    p.grad = bank(3, 3)
    found.step()
    assert len(found.state[p]) == 1


@mistake(
    "The test asks whether the opposite gradient gives the opposite update. It does under every optimizer here.",
    "Look at the singular values of the update.",
)
def muon_test_of_the_opposite_gradient(optimizer):
    one, other = measure_update(optimizer), measure_update(optimizer, grad=-bank(6, 8))
    assert torch.allclose(one, -other, atol=1e-4)


@mistake(
    "The test asks for U·Vᵀ to the digit. Five steps of the quintic come only near it, so the core's update fails.",
    "Compare the singular values with one another, with room for the quintic's 0.68 to 1.14.",
)
def muon_test_of_exactly_uv(optimizer):
    u, _, vt = torch.linalg.svd(bank(6, 8), full_matrices=False)
    assert torch.allclose(measure_update(optimizer), -0.2 * 8**0.5 * u @ vt, atol=1e-3)


@mistake(
    "The test says the opposite: it refuses sound optimizers and lets broken ones through.",
    "Run it on a right Muon first. Is a sign the wrong way round?",
)
def muon_test_of_the_opposite(optimizer):
    s = torch.linalg.svdvals(measure_update(optimizer))
    assert s.max() > 2 * s.min()


@mistake(
    "Of all optimizers that were tried, the test refuses only those that give nan.",
    "What does Muon do to the *directions* of a gradient?",
)
def muon_test_of_finite_numbers(optimizer):
    assert measure_update(optimizer).isfinite().all()


@mistake(
    "The test asks that the entries of the update are not all of one size. In a hidden broken piece they are not.",
    "Look at the singular values of the update, not at its entries.",
)
def muon_test_of_uneven_entries(optimizer):
    update = measure_update(optimizer).abs()
    assert update.max() > 1.2 * update.min()


@mistake(
    "Of all optimizers that were tried, the test refuses only those that give nan, or another update each time.",
    "Look at the singular values of the update.",
)
def muon_test_of_repeating(optimizer):
    assert torch.allclose(measure_update(optimizer), measure_update(optimizer), atol=1e-5)


@mistake(
    "The test asks that the rows of the update are equally long. Rows may be equally long and far from orthogonal.",
    "Look at the singular values of the update.",
)
def muon_test_of_equal_rows(optimizer):
    rows = measure_update(optimizer).norm(dim=1)
    assert rows.max() < 1.7 * rows.min()


@mistake(
    "The gradient of the test has rank one: one singular value is not zero, and there is nothing to make equal.",
    "How many singular values of your gradient are not zero?",
)
def muon_test_of_one_direction(optimizer):
    grad = torch.outer(torch.tensor([1.0, -2, 3, 4]), torch.tensor([1.0, 2, -3, 4, 5, 6]))
    s = torch.linalg.svdvals(measure_update(optimizer, shape=(4, 6), grad=grad, lr=1.0))
    assert s[0] > 0.3 and s[1] < 0.05


MUON_TESTS = (
    muon_test_of_one_direction,
    muon_test_that_never_fails,
    muon_test_that_always_fails,
    muon_test_of_the_size,
    muon_test_of_the_loss,
    muon_test_of_one_row,
    muon_test_to_the_digit,
    muon_test_of_exactly_equal,
    muon_test_of_a_diagonal,
    muon_test_of_scaled_gradients,
    muon_test_of_moving,
    muon_test_with_much_room,
    muon_test_of_the_identity,
    muon_test_of_the_decay,
    muon_test_of_rank_one,
    muon_test_of_the_state,
    muon_test_of_the_opposite_gradient,
    muon_test_of_exactly_uv,
    muon_test_of_the_opposite,
    muon_test_of_finite_numbers,
    muon_test_of_uneven_entries,
    muon_test_of_repeating,
    muon_test_of_equal_rows,
)
