"""Tests that cannot tell: the known wrong answers to test_sound_clip, of notebook 07."""

import torch

from lab_utils.course.exercise import mistake
from lab_utils.course.probes import OR_EQUAL_NUMBERS


@mistake(
    "The test passes for every clip that was tried, even for one that does nothing and one that makes logits larger.",
    "Is there an `assert` that a wrong clip breaks?",
)
def clip_test_that_never_fails(clip_qk_, layer, largest_logits):
    clip_qk_(layer, largest_logits(), 1.0)


@mistake(
    f"It passes for no clip that was tried, the sound ones included: {OR_EQUAL_NUMBERS}",
    "Run it on a right clip_qk_, and print both sides of what it compares: which of them did you not expect?",
)
def clip_test_that_always_fails(clip_qk_, layer, largest_logits):
    raise AssertionError


@mistake(
    "It passes for a clip that takes 1% off, and refuses those that leave a head as it is: it asks whether "
    "the logits have become smaller. They have, but not enough.",
    "Which number exactly should the largest logit have afterwards?",
)
def clip_test_of_smaller_logits(clip_qk_, layer, largest_logits):
    before = largest_logits()
    clip_qk_(layer, before, before.min().item() / 2)
    assert (largest_logits() < before).all()


@mistake(
    "It passes for a clip that does nothing, and refuses those that make a head's logit larger: it asks that none "
    "has grown. Under the broken piece none has.",
    "Which number exactly should the largest logit of a clipped head be?",
)
def clip_test_of_no_growth(clip_qk_, layer, largest_logits):
    before = largest_logits()
    clip_qk_(layer, before, before.mean().item())
    assert (largest_logits() <= before + 1e-4).all()


@mistake(
    "It passes for all clips that were tried but one that makes the logits much larger, and one that gives nan: it "
    "asks for a bound which they keep without a clip, as a tau above them all.",
    "How large are the largest logits before the clip, and how large may they be afterwards? Choose a tau below "
    "some of them.",
)
def clip_test_below_a_high_tau(clip_qk_, layer, largest_logits):
    before = largest_logits()
    tau = 2 * before.max().item()
    clip_qk_(layer, before, tau)
    assert (largest_logits() < tau + 1e-3).all()


@mistake(
    "It passes for a clip that does nothing, and for all that touch only heads above tau: no head is above it, as "
    "where tau is above all logits.",
    "Measure the largest logits first, and choose a tau below some of them.",
)
def clip_test_with_a_high_tau(clip_qk_, layer, largest_logits):
    before = largest_logits()
    clip_qk_(layer, before, 2 * before.max().item())
    assert torch.allclose(largest_logits(), before, rtol=1e-4)


@mistake(
    "It refuses the sound clips, and passes for one that brings every head to tau. A head that was below must stay "
    "where it was.",
    "A tau lies between the heads' logits: what should become of each head?",
)
def clip_test_of_every_head_at_tau(clip_qk_, layer, largest_logits):
    before = largest_logits()
    tau = before.mean().item()
    clip_qk_(layer, before, tau)
    assert torch.allclose(largest_logits(), torch.full_like(before, tau), rtol=1e-4)


@mistake(
    "It refuses the sound clips, and passes for one of every head by the same factor. Each head has a factor of its "
    "own, by its own largest logit.",
    "A tau lies between the heads' logits: what should become of each head?",
)
def clip_test_of_one_factor(clip_qk_, layer, largest_logits):
    before = largest_logits()
    tau = before.max().item() / 2
    clip_qk_(layer, before, tau)
    assert torch.allclose(largest_logits(), before / 2, rtol=1e-4)


@mistake(
    "It passes for a clip that does nothing, and refuses those that move a head below tau: it looks at these heads "
    "only. The piece leaves them alone, as it should.",
    "What should become of a head above tau?",
)
def clip_test_of_the_heads_below(clip_qk_, layer, largest_logits):
    before = largest_logits()
    tau = before.mean().item()
    clip_qk_(layer, before, tau)
    below = before < tau
    assert torch.allclose(largest_logits()[below], before[below], rtol=1e-4)


def clip_at_the_mean(clip_qk_, layer, largest_logits):
    """The largest logits before and after a clip at their mean, and that tau."""
    before = largest_logits()
    tau = before.mean().item()
    clip_qk_(layer, before, tau)
    return before, largest_logits(), tau


@mistake(
    "It passes for a clip that takes 1% off, and for one to half of tau: it asks whether the logits above "
    "tau have become smaller. They have, but not enough.",
    "Which number exactly should the largest logit have afterwards?",
)
def clip_test_of_smaller_logits_above(clip_qk_, layer, largest_logits):
    before, after, tau = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert (after[before > tau] < before[before > tau]).all()


@mistake(
    "It passes for a clip of the largest head alone, and for one that takes 1% off: it asks whether the "
    "largest of all logits has become smaller. It has, but not enough.",
    "Which number exactly should the largest logit of each head have afterwards?",
)
def clip_test_of_the_largest_of_all(clip_qk_, layer, largest_logits):
    before, after, _ = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert after.max() < before.max()


@mistake(
    "It passes for a clip that takes 1% off, and for one of the heads below tau alone: it asks whether the "
    "logits have become smaller in the mean, or in all. They have, but not enough.",
    "Which number exactly should the largest logit of each head have afterwards?",
)
def clip_test_of_the_mean(clip_qk_, layer, largest_logits):
    before, after, _ = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert after.mean() < before.mean()


@mistake(
    "It passes for clips to zero, to half of tau and by the broken pieces: it asks that logits lie below a bound, "
    "with much room above tau. Those of the broken piece are within it.",
    "How far above tau are the logits under the piece, and how far under the core's clip?",
)
def clip_test_with_much_room(clip_qk_, layer, largest_logits):
    _, after, tau = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert (after <= 1.5 * tau).all()


@mistake(
    "It refuses sound clips that leave a logit above tau in the last digit, and passes for some that bring them far "
    "below it: it leaves less room than float32 rounding takes.",
    "How far above tau is the largest logit under a right clip_qk_, and how far above does your test let it be?",
)
def clip_test_without_room(clip_qk_, layer, largest_logits):
    _, after, tau = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert (after <= tau).all()


@mistake(
    "It refuses every clip that brings logits to tau, and passes for some that bring them far below it, as where it "
    "leaves no room for rounding. There a sound clip may leave a logit above tau.",
    "How far above tau is the largest logit under a right clip_qk_, and how far above does your test let it be?",
)
def clip_test_without_room_at_several_taus(clip_qk_, layer, largest_logits):
    before = largest_logits()
    for share in (0.9, 0.7, 0.5, 0.3):
        tau = share * before.max().item()
        clip_qk_(layer, largest_logits(), tau)
        assert (largest_logits() <= tau).all()


@mistake(
    "It refuses the sound clips, and passes for one that does nothing. Heads above tau must come down.",
    "What should become of a head above tau?",
)
def clip_test_of_no_change(clip_qk_, layer, largest_logits):
    before, after, _ = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert torch.allclose(after, before, rtol=1e-4)


@mistake(
    "It does the opposite: it refuses the sound clips, and passes for those that leave other logits, the broken "
    "ones too.",
    "What must hold for a right clip_qk_, and does your test ask for that? Is there a `not` or a sign too many?",
)
def clip_test_of_the_opposite(clip_qk_, layer, largest_logits):
    before, after, tau = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert not torch.allclose(after, before.clamp(max=tau), rtol=1e-4)


@mistake(
    "It passes for all clips that were tried but those that give nan.",
    "Which number exactly should the largest logit of each head have afterwards?",
)
def clip_test_of_finite_numbers(clip_qk_, layer, largest_logits):
    assert clip_at_the_mean(clip_qk_, layer, largest_logits)[1].isfinite().all()


@mistake(
    "It passes for all clips that were tried but one of the key that all heads share: it asks whether that stays. "
    "In the piece above it does.",
    "Which number exactly should the largest logit of each head have afterwards?",
)
def clip_test_of_the_shared_weights(clip_qk_, layer, largest_logits):
    shared = layer.kv_a_proj.weight.clone()
    clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert torch.equal(layer.kv_a_proj.weight, shared)


@mistake(
    "It passes for all clips that were tried but those that leave the heads' weights as they are: it asks whether "
    "weights have changed. Under the piece above they have.",
    "Which number exactly should the largest logit of each head have afterwards?",
)
def clip_test_of_changed_weights(clip_qk_, layer, largest_logits):
    weights = layer.q_proj.weight.clone()
    clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert not torch.equal(layer.q_proj.weight, weights)


@mistake(
    "It refuses the sound clips, and passes for those that keep the heads in their order, from the smallest logit "
    "to the largest. A clip may bring several heads to tau, and rounding decides their order.",
    "Which number exactly should the largest logit of each head have afterwards?",
)
def clip_test_of_the_order(clip_qk_, layer, largest_logits):
    before, after, _ = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert torch.equal(before.argsort(), after.argsort())


@mistake(
    "It refuses the sound clips, and passes for one that does nothing: its two clips with the same logits must give "
    "what one gives. The second one shrinks heads that are at tau already: a sound one does too.",
    "Which logits does your second call get, and which would a training give it?",
)
def clip_test_of_clipping_twice_with_old_logits(clip_qk_, layer, largest_logits):
    before = largest_logits()
    tau = before.median().item()
    clip_qk_(layer, before, tau)
    once = largest_logits()
    clip_qk_(layer, before, tau)
    assert torch.allclose(once, largest_logits(), rtol=1e-3)


@mistake(
    "It passes for a clip that takes 1% off, and for one to half of tau: it asks whether the logits above tau "
    "have become smaller, and the others are as they were. They have, but not enough.",
    "Which number exactly should the largest logit have afterwards?",
)
def clip_test_of_smaller_logits_above_alone(clip_qk_, layer, largest_logits):
    before, after, tau = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert (after[before > tau] < before[before > tau]).all()
    assert torch.allclose(after[before <= tau], before[before <= tau], rtol=1e-4)


CLIP_TESTS = (
    clip_test_of_clipping_twice_with_old_logits,
    clip_test_that_never_fails,
    clip_test_that_always_fails,
    clip_test_of_smaller_logits,
    clip_test_of_no_growth,
    clip_test_below_a_high_tau,
    clip_test_with_a_high_tau,
    clip_test_of_every_head_at_tau,
    clip_test_of_one_factor,
    clip_test_of_the_heads_below,
    clip_test_of_smaller_logits_above,
    clip_test_of_the_largest_of_all,
    clip_test_of_the_mean,
    clip_test_with_much_room,
    clip_test_without_room,
    clip_test_without_room_at_several_taus,
    clip_test_of_no_change,
    clip_test_of_the_opposite,
    clip_test_of_finite_numbers,
    clip_test_of_the_shared_weights,
    clip_test_of_changed_weights,
    clip_test_of_the_order,
    clip_test_of_smaller_logits_above_alone,
)
