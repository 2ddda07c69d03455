"""Tests that cannot tell: the known wrong answers to test_sound_clip, of notebook 07."""

import torch

from lab_utils.course.exercise import mistake


@mistake(
    "The test passes for every clip that was tried, even for one that does nothing and one that makes logits larger.",
    "Is there an `assert` that a wrong clip breaks?",
)
def clip_test_that_never_fails(clip_qk_, layer, largest_logits):
    clip_qk_(layer, largest_logits(), 1.0)


@mistake(
    "The test fails for every clip, the sound one too.",
    "Run it on a right clip_qk_, and print both sides of what it compares: which of them did you not expect?",
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


def clip_at_the_mean(clip_qk_, layer, largest_logits):
    """The largest logits before and after a clip at their mean, and that tau."""
    before = largest_logits()
    tau = before.mean().item()
    clip_qk_(layer, before, tau)
    return before, largest_logits(), tau


@mistake(
    "The test asks whether the logits above tau have become smaller. They have, but not enough.",
    "Which number exactly should the largest logit have afterwards?",
)
def clip_test_of_smaller_logits_above(clip_qk_, layer, largest_logits):
    before, after, tau = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert (after[before > tau] < before[before > tau]).all()


@mistake(
    "The test asks whether the largest of all logits has become smaller. It has, but not enough.",
    "Which number exactly should the largest logit of each head have afterwards?",
)
def clip_test_of_the_largest_of_all(clip_qk_, layer, largest_logits):
    before, after, _ = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert after.max() < before.max()


@mistake(
    "The test asks whether the logits have become smaller in the mean. They have, but not enough.",
    "Which number exactly should the largest logit of each head have afterwards?",
)
def clip_test_of_the_mean(clip_qk_, layer, largest_logits):
    before, after, _ = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert after.mean() < before.mean()


@mistake(
    "The test leaves much room above tau. The broken piece's logits are within it.",
    "How far above tau are the logits under the piece, and how far under the core's clip?",
)
def clip_test_with_much_room(clip_qk_, layer, largest_logits):
    _, after, tau = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert (after <= 1.5 * tau).all()


@mistake(
    "The test leaves no room for rounding: under a sound clip a logit may be above tau in the last digit.",
    "Compare with a tolerance.",
)
def clip_test_without_room(clip_qk_, layer, largest_logits):
    _, after, tau = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert (after <= tau).all()


@mistake(
    "The test refuses every clip that brings logits to tau, and passes for some that bring them far below it: so does "
    "one that leaves no room for rounding, at several taus. There a sound clip may leave a logit above tau.",
    "How far above tau is the largest logit under a right clip_qk_? Compare with a tolerance.",
)
def clip_test_without_room_at_several_taus(clip_qk_, layer, largest_logits):
    before = largest_logits()
    for share in (0.9, 0.7, 0.5, 0.3):
        tau = share * before.max().item()
        clip_qk_(layer, largest_logits(), tau)
        assert (largest_logits() <= tau).all()


@mistake(
    "The test asks that nothing changes. Heads above tau must come down.",
    "What should become of a head above tau?",
)
def clip_test_of_no_change(clip_qk_, layer, largest_logits):
    before, after, _ = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert torch.allclose(after, before, rtol=1e-4)


@mistake(
    "The test says the opposite: it refuses sound clips and lets broken ones through.",
    "Run it on a right clip_qk_ first. Is there a `not` too many?",
)
def clip_test_of_the_opposite(clip_qk_, layer, largest_logits):
    before, after, tau = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert not torch.allclose(after, before.clamp(max=tau), rtol=1e-4)


@mistake(
    "Of all clips that were tried, the test refuses only those that give nan.",
    "Which number exactly should the largest logit of each head have afterwards?",
)
def clip_test_of_finite_numbers(clip_qk_, layer, largest_logits):
    assert clip_at_the_mean(clip_qk_, layer, largest_logits)[1].isfinite().all()


@mistake(
    "The test asks whether what all heads share stays as it is. In the piece above it does.",
    "Which number exactly should the largest logit of each head have afterwards?",
)
def clip_test_of_the_shared_weights(clip_qk_, layer, largest_logits):
    shared = layer.kv_a_proj.weight.clone()
    clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert torch.equal(layer.kv_a_proj.weight, shared)


@mistake(
    "The test asks whether the weights have changed. Under the piece above they have.",
    "Which number exactly should the largest logit of each head have afterwards?",
)
def clip_test_of_changed_weights(clip_qk_, layer, largest_logits):
    weights = layer.q_proj.weight.clone()
    clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert not torch.equal(layer.q_proj.weight, weights)


@mistake(
    "The test asks that the order of the heads stays, from the smallest logit to the largest. A clip may bring several "
    "heads to tau, and rounding decides their order.",
    "Which number exactly should the largest logit of each head have afterwards?",
)
def clip_test_of_the_order(clip_qk_, layer, largest_logits):
    before, after, _ = clip_at_the_mean(clip_qk_, layer, largest_logits)
    assert torch.equal(before.argsort(), after.argsort())


@mistake(
    "The test clips twice with the logits of before the first clip. The second clip then shrinks heads that are at tau "
    "already: a sound one does too.",
    "Which logits does your second call get, and which would a training give it?",
)
def clip_test_of_clipping_twice_with_old_logits(clip_qk_, layer, largest_logits):
    before = largest_logits()
    tau = before.median().item()
    clip_qk_(layer, before, tau)
    once = largest_logits()
    clip_qk_(layer, before, tau)
    assert torch.allclose(once, largest_logits(), rtol=1e-3)


CLIP_TESTS = (
    clip_test_of_clipping_twice_with_old_logits,
    clip_test_that_never_fails,
    clip_test_that_always_fails,
    clip_test_of_smaller_logits,
    clip_test_of_no_growth,
    clip_test_below_a_high_tau,
    clip_test_with_a_high_tau,
    clip_test_of_every_head_at_tau,
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
)
