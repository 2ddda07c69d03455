"""The exercises of notebook 07: Muon, what goes where, schedules, QK-clip."""

from lab_utils.course.chapters.ch07_muon import hunts, mistakes
from lab_utils.course.chapters.ch07_muon.cases import muon, optimizers, qk_clip
from lab_utils.course.exercise import Exercise, Property, run_test
from nanokimi.mla import MultiHeadLatentAttention
from nanokimi.optim import Muon, build_optimizers, lr_at, newton_schulz
from nanokimi.qk_clip import max_logit

clip_qk_ = MultiHeadLatentAttention.clip_qk_


EXERCISES = (
    Exercise(
        name="newton_schulz",
        notebook="07",
        core=newton_schulz,
        cases=muon.newton_schulz_cases,
        observe=muon.observe_newton_schulz,
        mistakes=mistakes.NEWTON_SCHULZ_NORM
        + mistakes.NEWTON_SCHULZ_EPS
        + mistakes.NEWTON_SCHULZ_ROUNDS
        + mistakes.NEWTON_SCHULZ_POWERS,
        properties=(
            Property("no singular value is above 1.21 after five steps or more", muon.nothing_above),
        ),
        hints=(
            "First one matrix: divide it by its norm, then a loop of `steps` rounds with two products inside.",
            "In a round: gram = x @ x.mT, then x = a·x + (b·gram + c·gram @ gram) @ x. `.mT` transposes the last two "
            "dimensions, so all of it works for a bank, if the norm does.",
            "x = g.to(dtype); x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7); then the loop.",
        ),
        moral="The core transposes tall matrices first: the result is the same, and the gram matrix is smaller.",
    ),
    Exercise(
        name="Muon",
        notebook="07",
        core=Muon,
        cases=muon.muon_cases,
        observe=muon.observe_muon,
        mistakes=mistakes.MUON_MOMENTUM
        + mistakes.MUON_SCALE
        + mistakes.MUON_WEIGHTS
        + mistakes.MUON_SETTINGS
        + mistakes.MUON_MEMORY,
        hints=(
            "For every group, for every parameter with a gradient: momentum, matrices, Newton-Schulz, scale, decay.",
            "self.state[p] is a dictionary that stays; buffer.lerp_(p.grad, 1 - mu) averages in place; "
            "p.grad.lerp(buffer, mu) is Nesterov's update. update.unflatten(-2, (fused_rows, -1)) cuts the rows apart.",
            "orthogonal = newton_schulz(matrices, group['ns_steps'], self.ns_dtype).reshape(p.shape); the scale takes "
            "max(matrices.shape[-2:]); first p.mul_(1 - lr·weight_decay), then p.sub_(orthogonal·scale, alpha=lr).",
        ),
        moral="The core gathers the matrices of one shape from the whole model and orthogonalises them in one batch.",
        tolerance=1e-4,
    ),
    Exercise(
        name="test_sound_newton_schulz",
        notebook="07",
        core=hunts.test_sound_newton_schulz,
        cases=hunts.newton_schulz_cases,
        observe=hunts.run_seeded_test,
        mistakes=mistakes.NEWTON_SCHULZ_TESTS,
        hints=(
            "Give the piece a bank of two different matrices. What should be true of each of the two results?",
            "torch.linalg.svdvals takes a bank too and gives the singular values of every matrix.",
            "All of them must lie between 0.6 and 1.3: the quintic leaves 0.68 to 1.14, an exact method 1.",
        ),
        moral="Stacked, the experts share one budget, and those with large gradients take most of it.",
    ),
    Exercise(
        name="test_sound_muon",
        notebook="07",
        core=hunts.test_sound_muon,
        cases=hunts.muon_cases,
        observe=run_test,
        mistakes=mistakes.MUON_TESTS + mistakes.MUON_TESTS_OF_THE_SIZE,
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
        cases=optimizers.build_optimizers_cases,
        observe=optimizers.observe_build_optimizers,
        mistakes=mistakes.OPTIMIZER_GROUPS + mistakes.OPTIMIZER_SETTINGS + mistakes.OPTIMIZER_NAMES,
        hints=(
            "One loop over model.named_parameters() sorts them into three: Muon, AdamW with decay, without.",
            "One dimension: no decay. Muon: cfg.optimizer says so, and no part of name.split('.') is in TABLES. "
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
        cases=optimizers.lr_at_cases,
        observe=optimizers.observe_lr_at,
        mistakes=mistakes.LR_AT_COSINE + mistakes.LR_AT_WSD + mistakes.LR_AT_ENDS,
        properties=(
            Property("the last step has the rate lr·min_lr_ratio", optimizers.ends_at_the_floor),
            Property("no step has a rate above the peak", optimizers.below_the_peak),
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
        cases=qk_clip.max_logit_cases,
        mistakes=mistakes.MAX_LOGIT + mistakes.MAX_LOGIT_PAIRS,
        properties=(
            Property("no visible logit is above the head's maximum", qk_clip.none_above),
            Property("some visible logit reaches the head's maximum", qk_clip.one_reaches),
        ),
        hints=(
            "Logits of all pairs, hide those that are not visible, take the maximum of each head.",
            "causal_mask(n_queries, n_keys, device) says what is visible; a hidden logit becomes -inf.",
            "logits = (q @ k.mT).masked_fill(~visible, -torch.inf); .amax(dim=(0, 2, 3)) leaves one number per head; "
            "then .float() * scale.",
        ),
        moral="The core takes 64 queries at a time: the same number, without storing a square of the context.",
    ),
    Exercise(
        name="clip_qk_",
        notebook="07",
        core=clip_qk_,
        cases=qk_clip.clip_cases,
        observe=qk_clip.observe_clip,
        mistakes=mistakes.CLIP_QK_PARTS + mistakes.CLIP_QK_HEADS,
        properties=(
            Property("what all heads share (latent and rope key) and the values stay", qk_clip.shared_stays),
        ),
        hints=(
            "g = tau / max(largest, tau), one number per head: 1 where the head is below tau.",
            "weight.unflatten(0, (n_heads, -1)) shows the rows head by head, without a copy; g must become "
            "g[:, None, None] to fit. A head's nope rows come first, in q_proj (or q_b_proj) and in kv_b_proj.",
            "Query nope rows times sqrt(g), query rope rows times g, the nope rows of kv_b_proj times sqrt(g); .mul_ "
            "changes in place.",
        ),
        moral="A product shrinks by g if both sides take sqrt(g), or if one takes g because the other is shared.",
    ),
    Exercise(
        name="test_sound_clip",
        notebook="07",
        core=hunts.test_sound_clip,
        cases=hunts.clip_cases,
        observe=hunts.run_clip_test,
        mistakes=mistakes.CLIP_TESTS,
        hints=(
            "What exactly should the largest logits be after a clip, above tau and below?",
            "Measure first: before = largest_logits(). Choose a tau between the heads, the mean for instance.",
            "Afterwards largest_logits() must be close to before.clamp(max=tau).",
        ),
        moral="The rope key is shared and cannot shrink, so the query must take all of g there.",
    ),
)
