"""Tests that cannot tell: the known wrong answers to test_sound_muon, of notebook 07."""

import torch
from torch import nn

from lab_utils.course.chapters.ch07_muon.mistakes.weak_newton_schulz import bank
from lab_utils.course.exercise import mistake
from lab_utils.course.probes import OR_EQUAL_NUMBERS
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
    f"It passes for no optimizer that was tried, the sound ones included: {OR_EQUAL_NUMBERS}",
    "Run it on a right Muon, and print both sides of what it compares: which of them did you not expect?",
)
def muon_test_that_always_fails(optimizer):
    raise AssertionError


@mistake(
    "It passes for gradient descent with an RMS of 0.2: it looks at the size of the update. The broken piece was "
    "made to have the same.",
    "What does Muon do to the *directions* of a gradient?",
)
def muon_test_of_the_size(optimizer):
    assert 0.1 < measure_update(optimizer).square().mean().sqrt() < 0.3


@mistake(
    "It passes for every optimizer that moves against the gradient, and refuses those that climb or do nothing: it "
    "asks for the direction, or whether the loss falls.",
    "What does Muon do to the *directions* of a gradient? A plausible wrong optimizer trains too.",
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
    "It passes for every optimizer that moves, plain gradient descent too: with its gradient there are no two "
    "singular values that may differ, as where it has one row.",
    "How many singular values does your gradient have?",
)
def muon_test_of_one_row(optimizer):
    s = torch.linalg.svdvals(measure_update(optimizer, shape=(1, 8)))
    assert s.max() < 2 * s.min()


@mistake(
    "It passes for the core's Muon, and refuses a sound piece with exact singular values: it asks for the core's "
    "update, with less room than the quintic takes.",
    "How far apart are the singular values of two sound updates? The quintic's lie between 0.68 and 1.14.",
)
def muon_test_to_the_digit(optimizer):
    assert torch.allclose(measure_update(optimizer), measure_update(Muon), atol=1e-4)


@mistake(
    "It refuses the core's update, and passes for exact ones: it asks for singular values more alike than five "
    "steps of the quintic make them, be it by a small tolerance, or with one of the gradient at 0 or near it.",
    "How far apart do the singular values of the core's own update lie, with your gradient, and is one of them 0?",
)
def muon_test_of_exactly_equal(optimizer):
    s = torch.linalg.svdvals(measure_update(optimizer))
    assert s.min() > 0.99 * s.max()


@mistake(
    "It passes for an optimizer that makes all rows equally long, and for the broken pieces: with its gradient this "
    "makes directions alike too, as where it is diagonal, or its bounds are wide.",
    "Which gradient has directions that are not single entries or rows, and how far apart may the singular values "
    "be?",
)
def muon_test_of_a_diagonal(optimizer):
    s = torch.linalg.svdvals(
        measure_update(optimizer, shape=(4, 4), grad=torch.diag(torch.tensor([1.0, 0.6, 0.4, 0.2])))
    )
    assert s.max() < 2 * s.min()


@mistake(
    "It refuses plain gradient descent, and passes for an optimizer that does nothing: it asks whether a longer "
    "gradient gives the same update. It does in the broken piece, as under Adam.",
    "What does Muon do to the *directions* of a gradient?",
)
def muon_test_of_scaled_gradients(optimizer):
    one, other = (measure_update(optimizer, grad=size * bank(6, 8)) for size in (1.0, 100.0))
    assert torch.allclose(one, other, atol=1e-3)


@mistake(
    "It passes for all optimizers that were tried but one that does nothing, and one that gives nan: it asks "
    "whether the parameter moves, or its gradient has a single singular value. The broken piece moves it too.",
    "What does Muon do to the *directions* of a gradient, and how many of them has yours?",
)
def muon_test_of_moving(optimizer):
    assert measure_update(optimizer).abs().sum() > 0


@mistake(
    "It passes for plain gradient descent and the broken pieces: it lets singular values be far apart, be it that "
    "its bounds are wide, or that those of its gradient are nearly alike already.",
    "How far apart are the singular values of your gradient, of the core's update, and of the piece's? How far may "
    "they be?",
)
def muon_test_with_much_room(optimizer):
    s = torch.linalg.svdvals(measure_update(optimizer))
    assert s.max() < 1000 * s.min()


@mistake(
    "It passes for plain gradient descent and the broken pieces: with its gradient there is nothing to make equal, "
    "be it that its singular values are alike already, or nearly so for the bounds.",
    "How far apart are the singular values of your gradient, of the core's update, and of the piece's? How far may "
    "they be?",
)
def muon_test_of_the_identity(optimizer):
    s = torch.linalg.svdvals(measure_update(optimizer, shape=(4, 4), grad=torch.eye(4)))
    assert s.max() < 2 * s.min()


@mistake(
    "It passes for Muon that only decays, and for the broken pieces: it asks whether weights decay. In the broken "
    "pieces they do.",
    "What does Muon do to the *directions* of a gradient?",
)
def muon_test_of_the_decay(optimizer):
    p = nn.Parameter(torch.ones(3, 3))
    found = optimizer([{"params": [p]}], lr=0.1, weight_decay=0.5, ns_dtype=torch.float32)
    p.grad = torch.zeros(3, 3)
    found.step()
    assert torch.allclose(p, torch.full((3, 3), 0.95), atol=1e-3)


@mistake(
    "It passes for plain gradient descent and the piece above: it asks for an update with one direction, as its "
    "gradient has. Entry by entry a gradient of rank 1 stays one as well.",
    "How many singular values does your gradient have, and which of those of the update should be alike?",
)
def muon_test_of_rank_one(optimizer):
    grad = torch.outer(bank(6), bank(8).flip(0))
    s = torch.linalg.svdvals(measure_update(optimizer, grad=grad))
    assert s[1:].max() < 1e-3 * s[0]


@mistake(
    "It refuses the piece above, and passes for the same fault in others and for Muon that only decays: it asks "
    "what an optimizer remembers, not what it does.",
    "What does the update look like, and what does Muon do to the *directions* of a gradient?",
)
def muon_test_of_the_state(optimizer):
    p = nn.Parameter(torch.zeros(3, 3))
    found = optimizer([{"params": [p]}], lr=0.1, weight_decay=0.0, ns_dtype=torch.float32)
    p.grad = bank(3, 3)
    found.step()
    assert len(found.state[p]) == 1


@mistake(
    "It passes for plain gradient descent, and for one that does nothing: it asks whether the opposite gradient "
    "gives the opposite update. It does in the broken pieces too.",
    "Look at the singular values of the update.",
)
def muon_test_of_the_opposite_gradient(optimizer):
    one, other = measure_update(optimizer), measure_update(optimizer, grad=-bank(6, 8))
    assert torch.allclose(one, -other, atol=1e-4)


@mistake(
    "It refuses the sound pieces, and passes for those that move nothing: it asks that a turned gradient gives the "
    "turned update, with exactly equal numbers and no room for float32 rounding.",
    "How far apart are the two in a sound piece, and how far apart may they be?",
)
def muon_test_of_a_turned_gradient_to_the_bit(optimizer):
    turn = torch.linalg.qr(bank(6, 6))[0]
    assert torch.equal(turn @ measure_update(optimizer), measure_update(optimizer, grad=turn @ bank(6, 8)))


@mistake(
    "It refuses the core's update, and passes for an exact one: it asks for U·Vᵀ with less room than five steps of "
    "the quintic take.",
    "How far from 1 may a singular value be? The quintic's lie between 0.68 and 1.14.",
)
def muon_test_of_exactly_uv(optimizer):
    u, _, vt = torch.linalg.svd(bank(6, 8), full_matrices=False)
    assert torch.allclose(measure_update(optimizer), -0.2 * 8**0.5 * u @ vt, atol=1e-3)


@mistake(
    "It does the opposite: it refuses the sound pieces, and passes for updates whose singular values lie far apart, "
    "as in the broken ones.",
    "What must hold for a right Muon, and does your test ask for that? Is a sign the wrong way round, or a `not` "
    "too many?",
)
def muon_test_of_the_opposite(optimizer):
    s = torch.linalg.svdvals(measure_update(optimizer))
    assert s.max() > 2 * s.min()


@mistake(
    "It passes for all optimizers that were tried but those that give nan.",
    "What does Muon do to the *directions* of a gradient?",
)
def muon_test_of_finite_numbers(optimizer):
    assert measure_update(optimizer).isfinite().all()


@mistake(
    "It refuses two broken pieces, whose updates have entries of nearly one size, and passes for a third, whose "
    "entries differ, and for plain gradient descent: it looks at entries.",
    "Look at the singular values of the update: are they alike?",
)
def muon_test_of_uneven_entries(optimizer):
    update = measure_update(optimizer).abs()
    assert update.max() > 1.2 * update.min()


@mistake(
    "It passes for all optimizers that were tried but those that give nan, or another update each time.",
    "Look at the singular values of the update.",
)
def muon_test_of_repeating(optimizer):
    assert torch.allclose(measure_update(optimizer), measure_update(optimizer), atol=1e-5)


@mistake(
    "It passes for the broken pieces, and for an optimizer that makes every row as long: it looks at the length of "
    "rows, or of something else that is no direction. Rows may be equally long and far from orthogonal.",
    "Look at the singular values of the update.",
)
def muon_test_of_equal_rows(optimizer):
    rows = measure_update(optimizer).norm(dim=1)
    assert rows.max() < 1.7 * rows.min()


@mistake(
    "It refuses a sound, exact piece and passes for plain gradient descent: it looks at one direction, as with a "
    "gradient of rank one. There one singular value is not zero, and nothing is to be made equal.",
    "How many singular values of your gradient are not zero, and which of those of the update should be alike?",
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
    muon_test_of_a_turned_gradient_to_the_bit,
    muon_test_of_exactly_uv,
    muon_test_of_the_opposite,
    muon_test_of_finite_numbers,
    muon_test_of_uneven_entries,
    muon_test_of_repeating,
    muon_test_of_equal_rows,
)
