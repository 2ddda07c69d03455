"""Notebook 07: right answers, written in other ways than the core, pass its checks; what only looks right does not."""

import math

import pytest
import torch
from torch import nn

from nanokimi.mask import causal_mask
from nanokimi.optim import FUSED_ROWS, TABLES, Muon, newton_schulz
from tests.course.keys import judge_answer


def newton_schulz_one_by_one(g, steps=5, dtype=torch.bfloat16):
    if g.ndim > 2:
        return torch.stack([newton_schulz_one_by_one(each, steps, dtype) for each in g])
    x = (g / torch.maximum(g.square().sum().sqrt(), torch.tensor(1e-7))).to(dtype)
    for _ in range(steps):
        x = 3.4445 * x - 4.7750 * (x @ x.T) @ x + 2.0315 * x @ (x.T @ x) @ (x.T @ x)
    return x


def newton_schulz_by_einsum(g, steps=5, dtype=torch.bfloat16):
    x = g.to(dtype)
    x = x / x.square().sum((-2, -1), keepdim=True).sqrt().clamp(min=1e-7)
    for _ in range(steps):
        gram = torch.einsum("...ij,...kj->...ik", x, x)
        x = 3.4445 * x + torch.einsum("...ij,...jk->...ik", -4.7750 * gram + 2.0315 * gram @ gram, x)
    return x


class MuonBase(torch.optim.Optimizer):
    def __init__(self, groups, lr, weight_decay=0.1, momentum=0.95, ns_steps=5, ns_dtype=torch.bfloat16):
        defaults = dict(lr=lr, weight_decay=weight_decay, momentum=momentum, ns_steps=ns_steps, fused_rows=1)
        super().__init__(groups, defaults)
        self.ns_dtype = ns_dtype

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.change(p, group)


class MuonWithASum(MuonBase):
    """Momentum as a plain sum, and a loop over experts and fused parts."""

    def change(self, p, group):
        total = self.state[p].setdefault("sum", torch.zeros_like(p))
        total.mul_(group["momentum"]).add_(p.grad)
        update = p.grad + group["momentum"] * total
        p.mul_(1 - group["lr"] * group["weight_decay"])
        for matrix, change in zip(p.reshape(-1, *p.shape[-2:]), update.reshape(-1, *p.shape[-2:])):
            for rows, part in zip(matrix.chunk(group["fused_rows"]), change.chunk(group["fused_rows"])):
                orthogonal = newton_schulz(part, group["ns_steps"], self.ns_dtype).to(p.dtype)
                rows -= group["lr"] * 0.2 * max(part.shape) ** 0.5 * orthogonal


class MuonWithNewTensors(MuonBase):
    """Nothing in place but the last step."""

    def change(self, p, group):
        state, mu = self.state[p], group["momentum"]
        state["average"] = mu * state.get("average", torch.zeros_like(p)) + (1 - mu) * p.grad
        update = mu * state["average"] + (1 - mu) * p.grad
        parts = update.reshape(*p.shape[:-2], group["fused_rows"], -1, p.shape[-1])
        orthogonal = newton_schulz(parts, group["ns_steps"], self.ns_dtype)
        change = 0.2 * math.sqrt(max(parts.shape[-2:])) * orthogonal.reshape(p.shape)
        p.copy_((1 - group["lr"] * group["weight_decay"]) * p - group["lr"] * change)


def a_group_a_parameter(model, cfg):
    matrices, decayed, free = [], [], []
    for name, p in model.named_parameters():
        if p.ndim == 1:
            free.append(p)
        elif any(part in TABLES for part in name.split(".")) or cfg.optimizer != "muon":
            decayed.append(p)
        else:
            fused_rows = next((n for part, n in FUSED_ROWS.items() if part in name.split(".")), 1)
            matrices.append({"params": [p], "fused_rows": fused_rows})
    groups = [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, cfg.lr, (cfg.beta1, cfg.beta2), weight_decay=cfg.weight_decay)
    if not matrices:
        return [adamw]
    settings = (cfg.lr, cfg.weight_decay, cfg.muon_momentum, cfg.ns_steps, torch.float32)
    return [Muon(matrices, *settings), adamw]


def rate_by_squared_cosine(step, cfg):
    peak, last = cfg.optim.lr, cfg.steps - 1
    floor = peak * cfg.min_lr_ratio
    if step + 1 <= cfg.warmup_steps:
        return (step + 1) * (peak / cfg.warmup_steps)
    if cfg.schedule == "wsd":
        return min(
            peak, floor + (peak - floor) * (last - step) / max(1, round(cfg.decay_fraction * cfg.steps))
        )
    way = 0.0 if last == cfg.warmup_steps else (step - cfg.warmup_steps) / (last - cfg.warmup_steps)
    return floor + (peak - floor) * math.cos(math.pi * way / 2) ** 2


def max_logit_pair_by_pair(q, k, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    pairs = visible.nonzero().tolist()
    best = [
        max(scale * torch.dot(q[b, h, t], k[b, h, s]).item() for b in range(len(q)) for t, s in pairs)
        for h in range(q.shape[1])
    ]
    return torch.tensor(best)


def max_logit_by_where(q, k, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    logits = torch.einsum("bhtd,bhsd->hbts", q * scale, k)
    return torch.where(visible, logits, -1e30).flatten(1).max(dim=1).values.float()


@torch.no_grad()
def clip_qk_of_the_data(self, max_qk_logit, tau):
    n, r, v = self.cfg.qk_nope_head_dim, self.cfg.qk_rope_head_dim, self.cfg.v_head_dim
    projection = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
    for h, largest in enumerate(max_qk_logit.tolist()):
        if largest > tau:
            q_rows = projection.weight.data[h * (n + r) : (h + 1) * (n + r)]
            q_rows[:n] *= math.sqrt(tau / largest)
            q_rows[n:] *= tau / largest
            self.kv_b_proj.weight.data[h * (n + v) : h * (n + v) + n] *= math.sqrt(tau / largest)


@torch.no_grad()
def clip_qk_by_a_factor_a_row(self, max_qk_logit, tau):
    n, r, v = self.cfg.qk_nope_head_dim, self.cfg.qk_rope_head_dim, self.cfg.v_head_dim
    projection = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
    g = torch.where(max_qk_logit > tau, tau / max_qk_logit, 1.0)[:, None]
    q_rows = torch.cat([g.sqrt().expand(-1, n), g.expand(-1, r)], dim=1).flatten()
    kv_rows = torch.cat([g.sqrt().expand(-1, n), torch.ones(len(g), v)], dim=1).flatten()
    projection.weight.copy_(q_rows[:, None] * projection.weight)
    self.kv_b_proj.weight.copy_(torch.diag(kv_rows) @ self.kv_b_proj.weight)


def test_that_a_bank_is_its_matrices(candidate):
    bank = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0))
    whole = candidate(bank, 5, torch.float32)
    for matrix, result in zip(bank, whole):
        assert torch.allclose(result, candidate(matrix, 5, torch.float32), atol=1e-3)


def test_that_experts_do_not_meet(candidate):
    bank = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0))
    before = candidate(bank, 5, torch.float32)
    bank[0] *= 50
    assert torch.allclose(before[1:], candidate(bank, 5, torch.float32)[1:], atol=1e-4)


def test_that_a_turned_gradient_turns_the_update(optimizer):
    generator = torch.Generator().manual_seed(0)
    g, turn = torch.randn(5, 5, generator=generator), torch.randn(5, 5, generator=generator)
    turn, moved = torch.linalg.qr(turn)[0], []
    for gradient in (g, turn @ g):
        p = nn.Parameter(torch.zeros(5, 5))
        p.grad = gradient
        optimizer([{"params": [p]}], lr=1.0, weight_decay=0.0, ns_dtype=torch.float32).step()
        moved.append(p.detach())
    assert torch.allclose(turn @ moved[0], moved[1], atol=1e-3)


def test_that_the_rope_rows_take_all_of_g(clip_qk_, layer, largest_logits):
    largest, n = largest_logits(), layer.cfg.qk_nope_head_dim
    before = layer.q_proj.weight.detach().clone().unflatten(0, (4, -1))[:, n:]
    clip_qk_(layer, largest, 3.0)
    after = layer.q_proj.weight.unflatten(0, (4, -1))[:, n:]
    assert torch.allclose(after, before * (3.0 / largest)[:, None, None])


for hunt in (  # they are answers to exercises, with arguments of their own
    test_that_a_bank_is_its_matrices,
    test_that_experts_do_not_meet,
    test_that_a_turned_gradient_turns_the_update,
    test_that_the_rope_rows_take_all_of_g,
):
    hunt.__test__ = False

RIGHT = [
    ("newton_schulz", newton_schulz_one_by_one),
    ("newton_schulz", newton_schulz_by_einsum),
    ("Muon", MuonWithASum),
    ("Muon", MuonWithNewTensors),
    ("build_optimizers", a_group_a_parameter),
    ("lr_at", rate_by_squared_cosine),
    ("max_logit", max_logit_pair_by_pair),
    ("max_logit", max_logit_by_where),
    ("clip_qk_", clip_qk_of_the_data),
    ("clip_qk_", clip_qk_by_a_factor_a_row),
    ("test_sound_newton_schulz", test_that_a_bank_is_its_matrices),
    ("test_sound_newton_schulz", test_that_experts_do_not_meet),
    ("test_sound_muon", test_that_a_turned_gradient_turns_the_update),
    ("test_sound_clip", test_that_the_rope_rows_take_all_of_g),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_a_right_answer_passes(name, answer):
    result = judge_answer(name, answer)
    assert result.status == "passed", result


class MuonOverwritingGradients(MuonBase):
    """Right updates, but lerp_ where lerp was meant: what accumulates gradients over micro-batches would notice."""

    def change(self, p, group):
        buffer = self.state[p].setdefault("buffer", torch.zeros_like(p))
        buffer.lerp_(p.grad, 1 - group["momentum"])
        parts = p.grad.lerp_(buffer, group["momentum"]).unflatten(-2, (group["fused_rows"], -1))
        orthogonal = newton_schulz(parts, group["ns_steps"], self.ns_dtype).reshape(p.shape)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(0.2 * math.sqrt(max(parts.shape[-2:])) * orthogonal, alpha=group["lr"])


def test_an_optimizer_that_overwrites_gradients_is_told_so():
    result = judge_answer("Muon", MuonOverwritingGradients)
    assert result.status == "failed" and "p.grad" in repr(result)
