"""Notebook 07: wrong answers, written in other ways than the known mistakes, are told as what they are."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.course.keys import judge_answer

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


def rate_cut_off(step, cfg):
    peak, last = cfg.optim.lr, cfg.steps - 1
    floor = peak * cfg.min_lr_ratio
    if step < cfg.warmup_steps:
        return peak * (step + 1) / cfg.warmup_steps
    if cfg.schedule == "cosine":
        way = (step - cfg.warmup_steps) / (last - cfg.warmup_steps) if last > cfg.warmup_steps else 0
        return floor + (peak - floor) * (1 + math.cos(math.pi * way)) / 2
    return max(floor, peak * min(1.0, (last - step) / max(1, round(cfg.decay_fraction * cfg.steps))))


@torch.no_grad()
def clip_rope_twice(self, max_qk_logit, tau):
    g = (tau / max_qk_logit.clamp(min=tau))[:, None, None]
    q = (self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj).weight
    query, nope = q.unflatten(0, (self.n_heads, -1)), self.cfg.qk_nope_head_dim
    query.mul_(g.sqrt())
    query[:, nope:].mul_(g)
    self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1))[:, :nope].mul_(g.sqrt())


def rounds_after(divide):
    """A newton_schulz whose matrices are divided by `divide`."""

    def newton_schulz(g, steps=5, dtype=torch.bfloat16):
        x = divide(g.to(dtype))
        for _ in range(steps):
            square = x @ x.mT
            x = 3.4445 * x + (2.0315 * square @ square - 4.7750 * square) @ x
        return x

    return newton_schulz


def looks_at_the_loud_matrix(newton_schulz):
    bank = torch.linalg.qr(torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(0)))[0]
    bank[1:] *= 0.001
    s = torch.linalg.svdvals(newton_schulz(bank, 5, torch.float32)[0])
    assert (s > 0.5).all() and (s < 1.3).all()


def step_of(optimizer, start, grad, lr):
    p = nn.Parameter(start.clone())
    p.grad = grad
    optimizer([{"params": [p]}], lr=lr, weight_decay=0.0, ns_dtype=torch.float32).step()
    return (p.detach() - start) / lr


def asks_for_sizes_of_a_diagonal(optimizer):
    grad = torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.5]))
    s = torch.linalg.svdvals(step_of(optimizer, torch.zeros(4, 4), grad, 1.0)) / 0.4
    assert (s > 0.5).all() and (s < 1.4).all()


def asks_for_the_rms(optimizer):
    start, grad = torch.randn(2, 8, 12, generator=torch.Generator().manual_seed(0)).unbind()
    assert 0.12 < step_of(optimizer, start, grad, 0.1).square().mean().sqrt() < 0.28


def asks_whether_logits_came_down(clip_qk_, layer, largest_logits):
    before = largest_logits()
    above = before > (tau := before.mean().item())
    clip_qk_(layer, before.clone(), tau)
    after = largest_logits()
    assert (after[above] < before[above]).all()
    assert torch.allclose(after[~above], before[~above], rtol=1e-4)


NAMED = [
    ("newton_schulz", rounds_after(lambda x: x / (x.norm() + 1e-7)), "newton_schulz_with_one_norm_and_eps"),
    (
        "newton_schulz",
        rounds_after(lambda x: x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-12)),
        "newton_schulz_with_a_low_bound",
    ),
    (
        "newton_schulz",
        rounds_after(lambda x: F.normalize(x, dim=0, eps=1e-7)),
        "newton_schulz_with_the_norm_of_the_first_dimension",
    ),
    (
        "newton_schulz",
        rounds_after(lambda x: x * (x.pow(2).sum((-2, -1), keepdim=True) + 1e-7).rsqrt()),
        "newton_schulz_adding_eps_to_the_squares",
    ),
    ("lr_at", rate_cut_off, "lr_whose_decay_is_cut_off_at_the_floor"),
    ("clip_qk_", clip_rope_twice, "clip_qk_with_root_and_all_on_rope"),
    ("test_sound_newton_schulz", looks_at_the_loud_matrix, "newton_schulz_test_of_the_loud_one"),
    ("test_sound_muon", asks_for_sizes_of_a_diagonal, "muon_test_of_the_size_of_a_diagonal"),
    ("test_sound_muon", asks_for_the_rms, "muon_test_of_the_size_in_narrow_bounds"),
    ("test_sound_clip", asks_whether_logits_came_down, "clip_test_of_smaller_logits_above_alone"),
]


@pytest.mark.parametrize(("name", "answer", "mistake"), NAMED, ids=[each[2] for each in NAMED])
def test_a_wrong_answer_is_named(name, answer, mistake):
    result = judge_answer(name, answer)
    assert [each.name for each in result.diagnoses] == [mistake], result
