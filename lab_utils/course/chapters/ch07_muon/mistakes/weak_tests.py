"""Tests that cannot tell: the known wrong answers to the bug hunts of notebook 07."""

import torch
from torch import nn

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from nanokimi.optim import Muon, newton_schulz

# ---------------------------------------------------------------- test_sound_newton_schulz


def bank(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@mistake(*LOOKS_AT_NOTHING)
def newton_schulz_test_that_never_fails(newton_schulz):
    newton_schulz(bank(2, 3, 4), 5, torch.float32)


@mistake("The test fails for every function, the sound one too.", "Run it on the core's newton_schulz first.")
def newton_schulz_test_that_always_fails(newton_schulz):
    raise AssertionError


@mistake(
    "The test looks at the shape only. The broken piece gives the right shape.",
    "Which *number* would be different?",
)
def newton_schulz_test_of_the_shape(newton_schulz):
    assert newton_schulz(bank(2, 3, 4), 5, torch.float32).shape == (2, 3, 4)


@mistake(
    "The test tries a single matrix. There the piece is right.",
    "Where does the piece treat three dimensions in another way than two?",
)
def newton_schulz_test_of_one_matrix(newton_schulz):
    s = torch.linalg.svdvals(newton_schulz(bank(6, 4), 5, torch.float32))
    assert s.min() > 0.6 and s.max() < 1.3


@mistake(
    "The test asks for singular values of exactly 1. Five steps of the quintic come only near it, so the core's "
    "fails too.",
    "Between which bounds do the core's singular values lie?",
)
def newton_schulz_test_of_exactly_one(newton_schulz):
    s = torch.linalg.svdvals(newton_schulz(bank(2, 3, 4), 5, torch.float32))
    assert torch.allclose(s, torch.ones_like(s), atol=1e-3)


@mistake(
    "The test asks for the same bits as the core's own: a sound function that computes in another way fails.",
    "Test for what every sound result has: a property, with a tolerance.",
)
def newton_schulz_test_of_equal_bits(candidate):
    g = bank(2, 3, 4)
    assert torch.equal(candidate(g, 5, torch.float32), newton_schulz(g, 5, torch.float32))


@mistake(
    "The test asks for the core's numbers, with little room. A sound function may be exact, and then differs more.",
    "Which property does every sound result have, the quintic's and the exact one?",
)
def newton_schulz_test_to_the_digit(candidate):
    g = bank(2, 3, 4)
    assert torch.allclose(candidate(g, 5, torch.float32), newton_schulz(g, 5, torch.float32), atol=1e-3)


@mistake(*LOOKS_AT_NO_NUMBER)
def newton_schulz_test_of_the_kind(newton_schulz):
    assert newton_schulz(bank(2, 3, 4), 5, torch.float32) is not None


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def newton_schulz_test_of_finite_numbers(newton_schulz):
    assert newton_schulz(bank(2, 3, 4), 5, torch.float32).isfinite().all()


NEWTON_SCHULZ_TESTS = (
    newton_schulz_test_that_never_fails,
    newton_schulz_test_of_the_kind,
    newton_schulz_test_that_always_fails,
    newton_schulz_test_of_the_shape,
    newton_schulz_test_of_one_matrix,
    newton_schulz_test_of_exactly_one,
    newton_schulz_test_of_equal_bits,
    newton_schulz_test_to_the_digit,
    newton_schulz_test_of_finite_numbers,
)

# ---------------------------------------------------------------- test_sound_muon


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
    "Run it on the core's Muon first.",
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
    "The test only checks whether the loss falls. It falls under every optimizer with the right sign.",
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
    "The test asks for singular values that are all equal. Five steps of the quintic come only near it, so the core's "
    "update fails too.",
    "How far apart do the singular values of the core's own update lie?",
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


MUON_TESTS = (
    muon_test_that_never_fails,
    muon_test_that_always_fails,
    muon_test_of_the_size,
    muon_test_of_the_loss,
    muon_test_of_one_row,
    muon_test_to_the_digit,
    muon_test_of_exactly_equal,
    muon_test_of_a_diagonal,
    muon_test_of_scaled_gradients,
)

# ---------------------------------------------------------------- test_sound_clip


@mistake(
    "The test passes for every clip that was tried, even for one that does nothing and one that makes logits larger.",
    "Is there an `assert` that a wrong clip breaks?",
)
def clip_test_that_never_fails(clip_qk_, layer, largest_logits):
    clip_qk_(layer, largest_logits(), 1.0)


@mistake(
    "The test fails for every clip, the sound one too.",
    "Run it on the core's clip_qk_ first.",
)
def clip_test_that_always_fails(clip_qk_, layer, largest_logits):
    raise AssertionError


@mistake(
    "The test asks whether the logits have become smaller. They have, but not enough.",
    "Which number exactly should the largest logit have afterwards?",
)
def clip_test_of_smaller_logits(clip_qk_, layer, largest_logits):
    before = largest_logits()
    clip_qk_(layer, before, before.min().item() / 2)
    assert (largest_logits() < before).all()


@mistake(
    "The test asks that no logit has grown. Under the broken piece none has.",
    "Which number exactly should the largest logit of a clipped head be?",
)
def clip_test_of_no_growth(clip_qk_, layer, largest_logits):
    before = largest_logits()
    clip_qk_(layer, before, before.mean().item())
    assert (largest_logits() <= before + 1e-4).all()


@mistake(
    "The test asks that all logits be below a threshold that lies above them already.",
    "Measure the largest logits first, and choose a tau below some of them.",
)
def clip_test_below_a_high_tau(clip_qk_, layer, largest_logits):
    before = largest_logits()
    tau = 2 * before.max().item()
    clip_qk_(layer, before, tau)
    assert (largest_logits() < tau + 1e-3).all()


@mistake(
    "The threshold of the test lies above all logits, so nothing is clipped.",
    "Measure the largest logits first, and choose a tau below some of them.",
)
def clip_test_with_a_high_tau(clip_qk_, layer, largest_logits):
    before = largest_logits()
    clip_qk_(layer, before, 2 * before.max().item())
    assert torch.allclose(largest_logits(), before, rtol=1e-4)


@mistake(
    "The test asks that every head be at tau afterwards. A head that was below must stay where it was.",
    "A tau lies between the heads' logits: what should become of each head?",
)
def clip_test_of_every_head_at_tau(clip_qk_, layer, largest_logits):
    before = largest_logits()
    tau = before.mean().item()
    clip_qk_(layer, before, tau)
    assert torch.allclose(largest_logits(), torch.full_like(before, tau), rtol=1e-4)


@mistake(
    "The test looks only at the heads below tau. The piece leaves those alone, as it should.",
    "What should become of a head above tau?",
)
def clip_test_of_the_heads_below(clip_qk_, layer, largest_logits):
    before = largest_logits()
    tau = before.mean().item()
    clip_qk_(layer, before, tau)
    below = before < tau
    assert torch.allclose(largest_logits()[below], before[below], rtol=1e-4)


CLIP_TESTS = (
    clip_test_that_never_fails,
    clip_test_that_always_fails,
    clip_test_of_smaller_logits,
    clip_test_of_no_growth,
    clip_test_below_a_high_tau,
    clip_test_with_a_high_tau,
    clip_test_of_every_head_at_tau,
    clip_test_of_the_heads_below,
)
