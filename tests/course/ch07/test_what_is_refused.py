"""Notebook 07: answers with one habit that a training would pay for are refused, and told which."""

import math

import pytest
import torch

from lab_utils.course.chapters.ch07_muon.mistakes.muon import MuonByParameter
from nanokimi.mask import causal_mask
from nanokimi.optim import FUSED_ROWS, TABLES, Muon, newton_schulz
from nanokimi.qk_clip import max_logit
from tests.course.keys import judge_answer
from tests.sample import sample

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


def clip(logits_of, below=lambda scale, part: part.mul_(scale)):
    """A clip in plain lines: `logits_of(max_qk_logit, tau)` is the divisor, `below` multiplies rows."""

    def clip_qk_(self, max_qk_logit, tau):
        n, g = self.cfg.qk_nope_head_dim, (tau / logits_of(max_qk_logit, tau))[:, None, None]
        q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
        q = q_proj.weight.unflatten(0, (self.n_heads, -1))
        k = self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1))
        below(g.sqrt(), q[:, :n])
        below(g, q[:, n:])
        below(g.sqrt(), k[:, :n])

    return clip_qk_


clip_with_gradients_on = clip(lambda s, tau: s.clamp(min=tau))
clip_of_the_callers_logits = torch.no_grad()(clip(lambda s, tau: s.clamp_(min=tau)))
clip_rightly = torch.no_grad()(clip(lambda s, tau: s.clamp(min=tau)))


class MuonByShape(MuonByParameter):
    def change(self, p, buffer, group):
        super().change(p, group.setdefault(f"momentum of {p.shape}", buffer), group)


class MuonInFloat32(MuonByParameter):
    def orthogonal(self, matrices, group):
        wide = torch.promote_types(matrices.dtype, torch.float32)
        return newton_schulz(matrices, group["ns_steps"], wide)


class MuonWithADictionary(MuonByParameter):
    def change(self, p, buffer, group):
        if not hasattr(self, "by_id"):
            self.by_id = {}
        super().change(p, self.by_id.setdefault(id(p), torch.zeros_like(p)), group)


class MuonWithAnEntryOfItsOwn(MuonByParameter):
    """Right: the momentum lies in self.state under another name, as a sum, beside a count."""

    def change(self, p, buffer, group):
        state, mu = self.state[p], group["momentum"]
        state["n"] = state.get("n", 0) + 1
        state["total"] = mu * state.get("total", torch.zeros_like(p)) + p.grad
        matrices = self.matrices(p.grad + mu * state["total"], group)
        update = self.orthogonal(matrices, group) * 0.2 * math.sqrt(max(matrices.shape[-2:]))
        self.apply(p, update.reshape(p.shape), group)


class MuonWithOneBuffer(MuonByParameter):
    def change(self, p, buffer, group):
        if not hasattr(self, "m"):
            self.m = torch.zeros_like(p)
        super().change(p, self.m, group)


def sort(is_table, fused, keep=lambda p: True):
    """build_optimizers with another way to look names up."""

    def build_optimizers(model, cfg):
        matrices, decayed, free = [], [], []
        for name, p in model.named_parameters():
            if not keep(p):
                continue
            if p.ndim == 1:
                free.append(p)
            elif is_table(name) or cfg.optimizer != "muon":
                decayed.append(p)
            else:
                matrices.append({"params": [p], "fused_rows": fused(name)})
        groups = [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
        adamw = torch.optim.AdamW(groups, cfg.lr, (cfg.beta1, cfg.beta2), weight_decay=cfg.weight_decay)
        settings = (cfg.lr, cfg.weight_decay, cfg.muon_momentum, cfg.ns_steps, torch.float32)
        return [adamw, *([Muon(matrices, *settings)] if matrices else [])]

    return build_optimizers


def is_table(name):
    return not set(TABLES).isdisjoint(name.split("."))


def fused(name):
    return max((n for part, n in FUSED_ROWS.items() if part in name.split(".")), default=1)


by_letters = sort(lambda name: any(t in name for t in TABLES), fused)
fused_by_letters = sort(
    is_table, lambda name: max((n for f, n in FUSED_ROWS.items() if f in name), default=1)
)
without_frozen = sort(is_table, fused, lambda p: p.requires_grad)
by_whole_parts = sort(is_table, fused)
by_the_first_part = sort(lambda name: name.startswith(tuple(TABLES)), fused)
by_the_last_part_but_one = sort(lambda name: name.split(".")[-2] in TABLES, fused)
fused_by_the_last_part_but_one = sort(is_table, lambda name: FUSED_ROWS.get(name.split(".")[-2], 1))


def sort_with(no_decay, name_first=False):
    """build_optimizers with one AdamW group a parameter, and with `no_decay` where there is none."""

    def build_optimizers(model, cfg):
        adamw, matrices = [], []
        for name, p in model.named_parameters():
            if p.ndim == 1 and not (name_first and is_table(name)):
                adamw.append({"params": [p], "weight_decay": no_decay})
            elif is_table(name) or cfg.optimizer != "muon":
                adamw.append({"params": [p]})
            else:
                matrices.append({"params": [p], "fused_rows": fused(name)})
        settings = (cfg.lr, cfg.weight_decay, cfg.muon_momentum, cfg.ns_steps, torch.float32)
        built = [Muon(matrices, *settings)] if matrices else []
        betas = (cfg.beta1, cfg.beta2)
        return [*built, torch.optim.AdamW(adamw, cfg.lr, betas, weight_decay=cfg.weight_decay)]

    return build_optimizers


def newton_schulz_with_b_in_both(g, steps=5, dtype=torch.bfloat16):
    x = g.to(dtype)
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        third = -4.7750 * gram @ x
        x = 3.4445 * x + third + 2.0315 * gram @ third
    return x


@torch.no_grad()
def clip_of_the_first_rows(self, max_qk_logit, tau):
    g, n = tau / max_qk_logit.clamp(min=tau), self.cfg.qk_nope_head_dim
    q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
    q = q_proj.weight.unflatten(0, (self.n_heads, -1))
    q[:, :n] *= g.sqrt()[:, None, None]
    q[:, n:] *= g[:, None, None]
    self.kv_b_proj.weight[: self.n_heads * n] *= g.sqrt().repeat_interleave(n)[:, None]


def bank_of_one(rows, columns, low, high):
    def test_of_a_bank_of_one(newton_schulz):
        g = torch.randn(1, rows, columns, generator=torch.Generator().manual_seed(rows))
        s = torch.linalg.svdvals(newton_schulz(g, 5, torch.float32)[0])
        assert low < s.min() and s.max() < high

    return test_of_a_bank_of_one


def hidden_at(number):
    def max_logit(q, k, scale, visible=None):
        visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
        return torch.where(visible, q @ k.mT * scale, number).float().amax(dim=(0, 2, 3))

    return max_logit


class MuonOfItsOwnRateAndMomentum(MuonByParameter):
    """It keeps what it was made with, as attributes, and does not look at the group."""

    def __init__(self, groups, lr, weight_decay=0.1, momentum=0.95, ns_steps=5, ns_dtype=torch.bfloat16):
        super().__init__(groups, lr, weight_decay, momentum, ns_steps, ns_dtype)
        self.lr, self.mu = lr, momentum

    def change(self, p, buffer, group):
        super().change(p, buffer, group | {"lr": self.lr, "momentum": self.mu})


class MuonOfItsOwnDecayAndSteps(MuonByParameter):
    def change(self, p, buffer, group):
        own = {name: self.defaults[name] for name in ("weight_decay", "ns_steps")}
        super().change(p, buffer, group | own)


def rate(length, at_none=None):
    """lr_at with another length of wsd's decay; `at_none` is the progress where it is 0."""

    def lr_at(step, cfg):
        peak, last = cfg.optim.lr, cfg.steps - 1
        floor = peak * cfg.min_lr_ratio
        if step < cfg.warmup_steps:
            return peak * (step + 1) / cfg.warmup_steps
        if cfg.schedule == "cosine":
            way = (step - cfg.warmup_steps) / max(1, last - cfg.warmup_steps)
            return floor + (peak - floor) * (1 + math.cos(math.pi * way)) / 2
        n = length(cfg.decay_fraction * cfg.steps)
        way = at_none if n == 0 and at_none is not None else max(0.0, (step - (last - n)) / n)
        return peak + (floor - peak) * way

    return lr_at


def singular_values(low, high, shape=(6, 6), lr=1.0, divided=False, seed=0):
    """A test of test_sound_muon that asks for singular values between two bounds."""

    def test_of_the_bounds(optimizer):
        p = torch.nn.Parameter(torch.zeros(shape))
        p.grad = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        optimizer([{"params": [p]}], lr=lr, weight_decay=0.0, ns_dtype=torch.float32).step()
        s = torch.linalg.svdvals(p.detach()) / (lr if divided else 1.0)
        assert low < s.min() and s.max() < high

    return test_of_the_bounds


WRONG = [
    ("newton_schulz", newton_schulz_with_b_in_both, "has the factor b·c"),
    ("clip_qk_", clip_of_the_first_rows, "the keys of all heads are looked for in the first rows"),
    ("test_sound_newton_schulz", bank_of_one(6, 8, 0.3, 1.4), "bank has one matrix"),
    ("test_sound_newton_schulz", bank_of_one(4, 9, 0.6, 1.3), "bank has one matrix"),
    ("test_sound_newton_schulz", bank_of_one(3, 7, 0.5, 1.3), "where there is a single matrix"),
    ("Muon", MuonOfItsOwnRateAndMomentum, "The rate and momentum are what Muon was made with"),
    ("Muon", MuonOfItsOwnDecayAndSteps, "The decay and number of steps are what Muon was made with"),
    ("lr_at", rate(int, 0.0), "is rounded down, and may be 0"),
    ("lr_at", rate(int), "is rounded down, and may be 0"),
    ("lr_at", rate(lambda n: max(1, int(n))), "is rounded down."),
    ("lr_at", rate(round, 0.0), "n is at least 1"),
    ("lr_at", rate(round), "n is at least 1"),
    ("test_sound_muon", singular_values(0.6, 1.3, seed=3), "of another size"),
    ("test_sound_muon", singular_values(0.6, 1.3, (4, 8), seed=1), "of another size"),
    ("test_sound_muon", singular_values(0.6, 1.3, (5, 7), 0.05, True), "of another size"),
    ("test_sound_muon", singular_values(0.6, 1.3, (5, 7), 0.05), "of another size"),
    ("test_sound_muon", singular_values(0.3, 0.7, (5, 7), 0.05), "passes for one without the learning rate"),
    ("test_sound_muon", singular_values(5.0, 9.0), "refuses every optimizer"),
    ("clip_qk_", clip_with_gradients_on, "Which line stands above"),
    ("clip_qk_", clip_of_the_callers_logits, "`max_qk_logit` is changed"),
    ("Muon", MuonByShape, "share one momentum"),
    ("Muon", MuonInFloat32, "`ns_dtype` makes no difference"),
    ("Muon", MuonWithADictionary, "state_dict() does not save it"),
    ("Muon", MuonWithOneBuffer, "All parameters share one momentum"),
    ("max_logit", lambda *args: max_logit(*args).clamp(max=1e4), "every number is 1e+04"),
    ("build_optimizers", sort(lambda name: "qkv_proj" not in name, fused), "only those of the queries"),
    ("build_optimizers", sort(lambda name: fused(name) == 1, fused), "Muon gets only what FUSED_ROWS names."),
    ("build_optimizers", by_letters, "holds the letters"),
    ("build_optimizers", fused_by_letters, "holds the letters"),
    ("build_optimizers", without_frozen, "requires_grad=False"),
    ("build_optimizers", by_the_first_part, "only by the beginning of its name"),
    ("build_optimizers", by_the_last_part_but_one, "only by the last part of its name but one"),
    ("build_optimizers", fused_by_the_last_part_but_one, "`fused_rows` is found only by"),
    ("build_optimizers", sort_with(0.0, name_first=True), "as the bias of a head"),
    ("max_logit", hidden_at(-100.0), "not small enough"),
    ("max_logit", hidden_at(-1000.0), "not small enough"),
]


@pytest.mark.parametrize(("name", "answer", "says"), sample(WRONG, 3))
def test_a_habit_that_costs_is_refused_and_named(name, answer, says):
    result = judge_answer(name, answer)
    assert result.status == "failed", result
    assert says in repr(result)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("clip_qk_", clip_rightly),
        ("Muon", MuonWithAnEntryOfItsOwn),
        ("build_optimizers", by_whole_parts),
        ("build_optimizers", sort_with(0)),
        ("build_optimizers", sort_with(0.0)),
        ("max_logit", hidden_at(-1e30)),
        ("lr_at", rate(lambda n: max(1, round(n)))),
        ("test_sound_muon", singular_values(0.2, 0.7, (4, 8))),
    ],
)
def test_the_same_without_the_habit_passes(name, answer):
    result = judge_answer(name, answer)
    assert result.status == "passed", result
