"""The exercises of notebook 07: Muon, what goes where, schedules, QK-clip. Their inputs stand in `muon_cases`."""

import torch
from torch import nn

from lab_utils.course.chapters.ch07_muon import bugs, cases
from lab_utils.course.chapters.ch07_muon.mistakes import muon as mistakes
from lab_utils.course.chapters.ch07_muon.mistakes import qk_clip as clip_mistakes
from lab_utils.course.chapters.ch07_muon.mistakes import schedules as schedule_mistakes
from lab_utils.course.chapters.ch07_muon.mistakes import weak_tests as test_mistakes
from lab_utils.course.exercise import Case, Exercise, Property, verdict
from nanokimi.attention import max_logit
from nanokimi.mla import MultiHeadLatentAttention
from nanokimi.optim import Muon, build_optimizers, lr_at, newton_schulz

clip_qk_ = MultiHeadLatentAttention.clip_qk_

# ---------------------------------------------------------------- find the bug: the reference tests


def test_sound_newton_schulz(newton_schulz) -> None:
    """Two different matrices in one bank: each must come out with singular values near 1."""
    bank = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    s = torch.linalg.svdvals(newton_schulz(bank, 5, torch.float32))
    assert s.min() > 0.6 and s.max() < 1.3


def test_sound_muon(optimizer) -> None:
    """One step from zero: all singular values of what was added must be about the same."""
    p = nn.Parameter(torch.zeros(6, 8))
    p.grad = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    optimizer([{"params": [p]}], lr=0.1, weight_decay=0.0, ns_dtype=torch.float32).step()
    s = torch.linalg.svdvals(p.detach())
    assert s.max() < 2 * s.min()


def test_sound_clip(clip_qk_, layer, largest_logits) -> None:
    """tau between the heads: those above must come down to it exactly, the others must stay."""
    before = largest_logits()
    tau = before.mean().item()
    clip_qk_(layer, before, tau)
    assert torch.allclose(largest_logits(), before.clamp(max=tau), rtol=1e-4)


# ---------------------------------------------------------------- sound versions, written otherwise


def orthogonal_by_svd(g, steps=5, dtype=torch.bfloat16):
    """Exactly U·Vᵀ, a matrix at a time."""
    u, _, vt = torch.linalg.svd(g.float(), full_matrices=False)
    return (u @ vt).to(dtype)


class MuonBySVD(mistakes.MuonByParameter):
    """Muon with exact singular values, a parameter at a time."""

    def orthogonal(self, matrices, group):
        return orthogonal_by_svd(matrices, dtype=matrices.dtype)


@torch.no_grad()
def clip_qk_head_by_head(self, max_qk_logit, tau):
    """QK-clip in a loop over the heads."""
    n, r, v = self.cfg.qk_nope_head_dim, self.cfg.qk_rope_head_dim, self.cfg.v_head_dim
    q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
    for h, largest in enumerate(max_qk_logit.double().tolist()):
        g = min(1.0, tau / largest) if largest > 0 else 1.0
        q_proj.weight[h * (n + r) : h * (n + r) + n] *= g**0.5
        q_proj.weight[h * (n + r) + n : (h + 1) * (n + r)] *= g
        self.kv_b_proj.weight[h * (n + v) : h * (n + v) + n] *= g**0.5


EXERCISES = (
    Exercise(
        name="newton_schulz",
        notebook="07",
        core=newton_schulz,
        cases=cases.newton_schulz_cases,
        observe=cases.observe_newton_schulz,
        mistakes=mistakes.NEWTON_SCHULZ,
        properties=(
            Property("no singular value is above 1.21 after five steps or more", cases.nothing_above),
        ),
        hints=(
            "First one matrix: divide it by its norm, then a loop of `steps` rounds with two products inside.",
            "In a round: gram = x @ x.mT, then x = a·x + (b·gram + c·gram @ gram) @ x. `.mT` transposes the last two "
            "dimensions, so all of it works for a bank, if the norm does.",
            "x = g.to(dtype); x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7); then the loop.",
        ),
        moral="The core transposes tall matrices first: the result is the same, and the gram matrix the smaller one.",
    ),
    Exercise(
        name="Muon",
        notebook="07",
        core=Muon,
        cases=cases.muon_cases,
        observe=cases.observe_muon,
        mistakes=mistakes.MUON,
        hints=(
            "For every group, for every parameter with a gradient: momentum, matrices, Newton-Schulz, scale, decay.",
            "self.state[p] is a dictionary that lasts; buffer.lerp_(p.grad, 1 - mu) averages in place; "
            "p.grad.lerp(buffer, mu) is Nesterov's update. update.unflatten(-2, (fused_rows, -1)) cuts the rows apart.",
            "orthogonal = newton_schulz(matrices, group['ns_steps'], self.ns_dtype).reshape(p.shape); the scale takes "
            "max(matrices.shape[-2:]); first p.mul_(1 - lr·weight_decay), then p.sub_(orthogonal·scale, alpha=lr).",
        ),
        moral="The core gathers the matrices of one shape, the whole model over, and orthogonalises them in one batch.",
        tolerance=1e-4,
    ),
    Exercise(
        name="test_sound_newton_schulz",
        notebook="07",
        core=test_sound_newton_schulz,
        cases=lambda: [
            Case("the broken piece", (bugs.newton_schulz_of_a_colleague,)),
            Case("the core's newton_schulz", (newton_schulz,)),
            Case("a sound version by singular value decomposition", (orthogonal_by_svd,)),
            Case("a piece that gives zeros", (lambda g, *_: torch.zeros_like(g),), judged=False),
            Case("a piece of another shape", (lambda g, *_: g[..., :1],), judged=False),
            Case("the core's, in another order", (cases.newton_schulz_written_out,), judged=False),
            Case("a piece that gives ones", (lambda g, *_: torch.ones_like(g),), judged=False),
        ],
        observe=verdict,
        mistakes=test_mistakes.NEWTON_SCHULZ_TESTS,
        hints=(
            "Give the piece a bank of two different matrices. What should be true of each of the two results?",
            "torch.linalg.svdvals takes a bank too and gives the singular values of every matrix.",
            "All of them must lie between 0.6 and 1.3: the quintic leaves 0.68 to 1.14, an exact method 1.",
        ),
        moral="Stacked, the experts share one budget, and those with large gradients take the most of it.",
    ),
    Exercise(
        name="test_sound_muon",
        notebook="07",
        core=test_sound_muon,
        cases=lambda: [
            Case("the broken piece", (bugs.MuonOfAColleague,)),
            Case("the core's Muon", (Muon,)),
            Case("a sound version by singular value decomposition", (MuonBySVD,)),
            Case("Muon without scale", (mistakes.MuonWithoutScale.wrong,), judged=False),
            Case("an optimizer that does nothing", (cases.Standstill,), judged=False),
            Case("an optimizer that climbs", (cases.Climber,), judged=False),
            Case("plain gradient descent", (cases.Descent,), judged=False),
        ],
        observe=verdict,
        mistakes=test_mistakes.MUON_TESTS,
        hints=(
            "What is the one thing that Muon's update has and Adam's lacks?",
            "A parameter of zeros, a random gradient, one step without decay: what it holds then is the update.",
            "torch.linalg.svdvals(p.detach()): the largest must be less than twice the smallest.",
        ),
        moral="A name proves nothing. Singular values of the update do.",
    ),
    Exercise(
        name="build_optimizers",
        notebook="07",
        core=build_optimizers,
        cases=cases.build_optimizers_cases,
        observe=cases.observe_build_optimizers,
        mistakes=schedule_mistakes.BUILD_OPTIMIZERS,
        hints=(
            "One loop over model.named_parameters() sorts them into three: Muon, AdamW with decay, without.",
            "One dimension: no decay. Muon: cfg.optimizer says so, and no part of name.split('.') stands in TABLES. "
            "Everything else: AdamW with decay.",
            "Keep Muon's parameters in a dictionary by their FUSED_ROWS number (1 where no part of the name has one); "
            "each entry is a group {'params': ..., 'fused_rows': n}. Then AdamW with two groups.",
        ),
        moral="Sort by name and shape once, at the start, and test it: a parameter in no group never learns.",
    ),
    Exercise(
        name="lr_at",
        notebook="07",
        core=lr_at,
        cases=cases.lr_at_cases,
        observe=cases.observe_lr_at,
        mistakes=schedule_mistakes.LR_AT,
        properties=(
            Property("the last step has the rate lr·min_lr_ratio", cases.ends_at_the_floor),
            Property("no step has a rate above the peak", cases.below_the_peak),
        ),
        hints=(
            "Three branches: warm-up, cosine, wsd. Write down peak and floor first.",
            "In both schedules the way down is a number from 0 to 1, progress = (step - first) / (last - first); the "
            "last step is steps-1.",
            "cosine: floor + (peak - floor)·(1 + cos(pi·progress))/2, where first = warmup_steps. wsd: first = last - "
            "max(1, round(decay_fraction·steps)), progress not below 0, rate = peak + (floor - peak)·progress.",
        ),
        moral="Cosine must know its end from the start; wsd can go on, and decide late when to decay.",
    ),
    Exercise(
        name="max_logit",
        notebook="07",
        core=max_logit,
        cases=cases.max_logit_cases,
        mistakes=clip_mistakes.MAX_LOGIT,
        properties=(
            Property("no visible logit is above the head's maximum", cases.none_above),
            Property("some visible logit reaches the head's maximum", cases.one_reaches),
        ),
        hints=(
            "Logits of all pairs, hide those that are not visible, take the maximum of each head.",
            "causal_mask(n_queries, n_keys, device) says what is visible; a hidden logit becomes -inf.",
            "logits = (q @ k.mT).masked_fill(~visible, -torch.inf); .amax(dim=(0, 2, 3)) leaves one number a head; "
            "then .float() * scale.",
        ),
        moral="The core takes 64 queries at a time: the same number, without storing a square of the context.",
    ),
    Exercise(
        name="clip_qk_",
        notebook="07",
        core=clip_qk_,
        cases=cases.clip_cases,
        observe=cases.observe_clip,
        mistakes=clip_mistakes.CLIP_QK_,
        properties=(
            Property("what all heads share (latent and rope key) and the values stay", cases.shared_stays),
        ),
        hints=(
            "g = tau / max(largest, tau), one number a head: 1 where the head is below tau.",
            "weight.unflatten(0, (n_heads, -1)) shows the rows head by head, without a copy; g must become "
            "g[:, None, None] to fit. A head's nope rows come first, in q_proj (or q_b_proj) and in kv_b_proj.",
            "Query nope rows times sqrt(g), query rope rows times g, the nope rows of kv_b_proj times sqrt(g); .mul_ "
            "changes in place.",
        ),
        moral="A product shrinks by g if both sides take sqrt(g), or one side, where the other is shared, takes g.",
    ),
    Exercise(
        name="test_sound_clip",
        notebook="07",
        core=test_sound_clip,
        cases=lambda: [
            Case("the broken piece", (bugs.clip_qk_of_a_colleague,)),
            Case("the core's clip_qk_", (clip_qk_,)),
            Case("a sound version, head by head", (clip_qk_head_by_head,)),
            Case("a clip that does nothing", (lambda *_: None,), judged=False),
            Case("a clip of every head to tau", (clip_mistakes.clip_qk_that_blows_up.wrong,), judged=False),
            Case(
                "a clip of every head by the same", (clip_mistakes.clip_qk_of_every_head.wrong,), judged=False
            ),
            Case("a clip of zero", (cases.clip_to_zero,), judged=False),
            Case("a clip that makes logits larger", (cases.clip_the_wrong_way,), judged=False),
        ],
        observe=cases.verdict_on_clip,
        mistakes=test_mistakes.CLIP_TESTS,
        hints=(
            "What exactly should the largest logits be after a clip, above tau and below?",
            "Measure first: before = largest_logits(). Choose a tau between the heads, the mean for instance.",
            "Afterwards largest_logits() must be close to before.clamp(max=tau).",
        ),
        moral="The rope key is shared and cannot shrink, so the query must take all of g there.",
    ),
)
