"""Muon against torch's own on every matrix, Newton-Schulz against the SVD, AdamW and the schedules by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nanokimi.config import OptimConfig, TrainConfig
from nanokimi.loss import next_token_loss
from nanokimi.model import build_model
from nanokimi.optim import Muon, build_optimizers, lr_at, newton_schulz
from tests import tiny
from tests.tiny import normal

repeatable = settings(max_examples=40, deadline=None, derandomize=True)


@pytest.fixture
def torch_muon_in_float32(monkeypatch):
    """torch's Muon rounds to bfloat16 before Newton-Schulz; without that it can be compared at 1e-6."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda t: t.float().clone())


# ---------------------------------------------------------------- Newton-Schulz


def five_steps(s: Tensor) -> Tensor:
    """What the quintic does to a singular value, worked out on numbers."""
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return s


@repeatable
@given(
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    seed=st.integers(0, 999),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_mistake_24_newton_schulz_keeps_u_and_v_and_maps_the_singular_values(rows, cols, seed, scale):
    """Wide, square and tall: U · f(S / |S|) · Vᵀ with f five times the quintic, from the SVD."""
    g = scale * normal(rows, cols, seed=seed, dtype=torch.float64)
    u, s, vt = torch.linalg.svd(g, full_matrices=False)
    wanted = u * five_steps(s / s.norm()) @ vt
    torch.testing.assert_close(newton_schulz(g, 5, torch.float64), wanted, rtol=1e-8, atol=1e-8)


def test_mistake_24_singular_values_of_the_result_are_near_one():
    """The quintic takes 0.01..1 to 0.68..1.13 in five steps, or a little lower at the very start."""
    values = five_steps(torch.linspace(0.01, 1, 100_001, dtype=torch.float64))
    assert 0.67 < values.min() < values.max() < 1.21
    for shape in ((8, 32), (32, 8), (16, 17)):
        s = torch.linalg.svdvals(newton_schulz(normal(*shape), 5, torch.float32))
        assert 0.67 < s.min() < s.max() < 1.21


def test_newton_schulz_takes_leading_dimensions_apart():
    g = normal(2, 3, 7, 4)
    together = newton_schulz(g, 5, torch.float32)
    assert together.shape == g.shape
    for i in range(2):
        for j in range(3):
            alone = newton_schulz(g[i, j], 5, torch.float32)
            torch.testing.assert_close(together[i, j], alone, rtol=1e-5, atol=1e-6)


def test_newton_schulz_leaves_its_input_alone_and_survives_zero():
    g = normal(3, 5)
    before = g.clone()
    newton_schulz(g, 5, torch.float32)
    assert torch.equal(g, before)
    assert torch.equal(newton_schulz(torch.zeros(3, 5), 5, torch.float32), torch.zeros(3, 5))


# ---------------------------------------------------------------- Muon against torch's


def separate_matrices(name: str, tensor: Tensor) -> list[Tensor]:
    """The matrices inside one parameter: each expert's, gate and up apart, and q, k and v apart."""
    if name.endswith("gate_up_proj"):
        parts = 2
    elif name.endswith("qkv_proj.weight"):
        parts = 3
    else:
        parts = 1
    experts = tensor if tensor.ndim == 3 else tensor[None]
    return [m for e in experts for m in e.chunk(parts)]


@pytest.mark.parametrize("name", tiny.MODELS)
def test_mistake_24_every_matrix_moves_as_under_torch_muon(name, torch_muon_in_float32):
    """Five steps at lr 0.05 and decay 0.1, tall and wide, experts each, gate and up each, momenta too."""
    model = tiny.harsh_(build_model(tiny.model_config(name)))
    muon = build_optimizers(model, OptimConfig(optimizer="muon", lr=0.05, weight_decay=0.1))[0]
    assert isinstance(muon, Muon)
    taken = {p for group in muon.param_groups for p in group["params"]}
    ours = {n: p for n, p in model.named_parameters() if p in taken}
    theirs = {
        n: [m.detach().clone().requires_grad_() for m in separate_matrices(n, p)] for n, p in ours.items()
    }
    reference = torch.optim.Muon(
        [m for matrices in theirs.values() for m in matrices],
        lr=0.05,
        weight_decay=0.1,
        momentum=0.95,
        nesterov=True,
        adjust_lr_fn="match_rms_adamw",
    )
    for step in range(5):
        for i, (n, p) in enumerate(ours.items()):
            p.grad = normal(*p.shape, seed=100 * step + i)
            for m, grad in zip(theirs[n], separate_matrices(n, p.grad), strict=True):
                m.grad = grad.clone()
        muon.step()
        reference.step()
        for n, p in ours.items():
            momenta = separate_matrices(n, muon.state[p]["momentum_buffer"])
            for part, m, momentum in zip(separate_matrices(n, p), theirs[n], momenta, strict=True):
                torch.testing.assert_close(part, m, rtol=1e-6, atol=3e-6, msg=lambda t, n=n: f"{n}: {t}")
                torch.testing.assert_close(
                    momentum, reference.state[m]["momentum_buffer"], rtol=1e-6, atol=1e-6
                )


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (16, 16)])
def test_muon_in_bfloat16_is_torch_muon_in_bfloat16(shape):
    p, q = (nn.Parameter(normal(*shape)) for _ in range(2))
    ours = Muon([{"params": [p]}], lr=0.05, ns_dtype=torch.bfloat16)
    theirs = torch.optim.Muon([q], lr=0.05, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        p.grad = normal(*shape, seed=step)
        q.grad = p.grad.clone()
        ours.step()
        theirs.step()
    moved = (p - normal(*shape)).norm()
    assert (p - q).norm() < 0.02 * moved


def test_mistake_24_stacking_experts_or_gate_and_up_would_give_another_update():
    """So the equality above is no accident of the shapes."""
    bank = normal(4, 16, 6)
    apart = newton_schulz(bank.unflatten(1, (2, 8)), 5, torch.float32).flatten(1, 2)
    gate_on_up = newton_schulz(bank, 5, torch.float32)
    all_experts = newton_schulz(bank.flatten(0, 1), 5, torch.float32).view_as(bank)
    for stacked in (gate_on_up, all_experts):
        assert (stacked - apart).norm() > 0.2 * apart.norm()
    p = nn.Parameter(torch.zeros(4, 16, 6))
    p.grad = bank
    Muon([{"params": [p], "fused_rows": 2}], lr=1.0, weight_decay=0.0, ns_dtype=torch.float32).step()
    # 0.2·sqrt(8): the longer side of the half, not of the stack.
    torch.testing.assert_close(p.detach(), -0.2 * math.sqrt(8) * apart, rtol=1e-5, atol=1e-5)


def test_muon_skips_what_has_no_gradient():
    p, q = nn.Parameter(normal(3, 4)), nn.Parameter(normal(3, 4))
    before = p.detach().clone()
    q.grad = normal(3, 4, seed=1)
    Muon([{"params": [p, q]}], lr=0.1, ns_dtype=torch.float32).step()
    assert torch.equal(p, before) and not torch.equal(q, before)


# ---------------------------------------------------------------- who takes which parameter


def groups_of(
    optimizers: list[torch.optim.Optimizer], model: nn.Module
) -> dict[str, list[tuple[str, float]]]:
    """Parameter -> the optimizers and weight decays that it is under."""
    names = {p: n for n, p in model.named_parameters()}
    found: dict[str, list[tuple[str, float]]] = {n: [] for n in names.values()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for p in group["params"]:
                found[names[p]].append((type(optimizer).__name__, group["weight_decay"]))
    return found


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_mistake_5_every_parameter_is_in_one_group_and_moves(name, optimizer):
    """Without weight decay, so that only a gradient moves it."""
    model = tiny.harsh_(build_model(tiny.model_config(name)), std=0.2)
    optimizers = build_optimizers(model, OptimConfig(optimizer=optimizer, weight_decay=0.0))
    assert {n: len(groups) for n, groups in groups_of(optimizers, model).items()} == dict.fromkeys(
        dict(model.named_parameters()), 1
    )
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    tokens = torch.randint(tiny.VOCAB, (4, tiny.CONTEXT), generator=torch.Generator().manual_seed(0))
    next_token_loss(model(tokens).logits, tokens.roll(-1, 1)).backward()
    for o in optimizers:
        o.step()
    assert [n for n, p in model.named_parameters() if torch.equal(p, before[n])] == []


@pytest.mark.parametrize("name", tiny.MODELS)
def test_muon_takes_every_matrix_but_tables_and_head(name):
    """Norms and biases: AdamW without decay. Embeddings, head, learned latents: AdamW with decay."""
    model = build_model(tiny.model_config(name))
    for n, (group,) in groups_of(build_optimizers(model, OptimConfig(optimizer="muon")), model).items():
        if n.endswith(("layernorm.weight", "norm.weight", "bias", "A_log")) or ".ln_" in n:
            assert group == ("AdamW", 0.0), n
        elif n in ("embed_tokens.weight", "embed_positions.weight", "lm_head.weight") or n.endswith(
            "latents"
        ):
            assert group == ("AdamW", 0.1), n
        else:
            assert group == ("Muon", 0.1), n


@pytest.mark.parametrize("name", tiny.MODELS)
def test_adamw_alone_decays_matrices_and_not_norms_or_biases(name):
    model = build_model(tiny.model_config(name))
    (optimizer,) = build_optimizers(model, OptimConfig(weight_decay=0.3))
    assert isinstance(optimizer, torch.optim.AdamW)
    for n, (group,) in groups_of([optimizer], model).items():
        assert group == ("AdamW", 0.3 if model.get_parameter(n).ndim > 1 else 0.0), n


def test_adamw_by_hand():
    """Three steps of Loshchilov & Hutter's formulas in double precision, betas 0.9 and 0.95, decay by lr."""
    model = tiny.harsh_(build_model(tiny.gpt()))
    (optimizer,) = build_optimizers(model, OptimConfig(lr=0.01, weight_decay=0.1))
    names = ("embed_tokens.weight", "layers.0.qkv_proj.weight", "layers.1.ln_2.weight", "norm.bias")
    wanted = {n: model.get_parameter(n).detach().double() for n in names}
    m = {n: torch.zeros_like(w) for n, w in wanted.items()}
    v = {n: torch.zeros_like(w) for n, w in wanted.items()}
    for t in (1, 2, 3):
        for i, n in enumerate(names):
            p = model.get_parameter(n)
            p.grad = normal(*p.shape, seed=10 * t + i)
            g = p.grad.double()
            m[n] = 0.9 * m[n] + 0.1 * g
            v[n] = 0.95 * v[n] + 0.05 * g**2
            decay = 0.1 if p.ndim > 1 else 0.0
            update = (m[n] / (1 - 0.9**t)) / ((v[n] / (1 - 0.95**t)).sqrt() + 1e-8)
            wanted[n] = wanted[n] * (1 - 0.01 * decay) - 0.01 * update
        optimizer.step()
    for n in names:
        torch.testing.assert_close(model.get_parameter(n).double(), wanted[n], rtol=1e-6, atol=1e-6)


# ---------------------------------------------------------------- schedules


def config(**changes) -> TrainConfig:
    return TrainConfig(optim=OptimConfig(lr=2.0), **changes)


def test_cosine_by_hand():
    """Two steps up, then from the peak 2.0 to a tenth over twelve."""
    cfg = config(steps=15, warmup_steps=2, schedule="cosine", min_lr_ratio=0.1)
    quarter = 0.9 * math.cos(math.pi / 4)
    wanted = {0: 1.0, 1: 2.0, 2: 2.0, 5: 1.1 + quarter, 8: 1.1, 11: 1.1 - quarter, 14: 0.2}
    assert {step: lr_at(step, cfg) for step in wanted} == pytest.approx(wanted, rel=1e-12)


def test_warmup_stable_decay_by_hand():
    cfg = config(steps=10, warmup_steps=4, schedule="wsd", min_lr_ratio=0.2, decay_fraction=0.4)
    wanted = [0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 1.6, 1.2, 0.8, 0.4]
    assert [lr_at(step, cfg) for step in range(10)] == pytest.approx(wanted, rel=1e-12)


def test_warmup_stable_decay_without_a_decay_falls_at_the_last_step_only():
    cfg = config(steps=5, warmup_steps=0, schedule="wsd", min_lr_ratio=0.5, decay_fraction=0.0)
    assert [lr_at(step, cfg) for step in range(5)] == [2.0, 2.0, 2.0, 2.0, 1.0]


@repeatable
@given(
    steps=st.integers(3, 400),
    warmup=st.integers(0, 400),
    schedule=st.sampled_from(["cosine", "wsd"]),
    ratio=st.floats(0, 1),
)
def test_every_schedule_rises_to_the_peak_then_falls_to_its_floor(steps, warmup, schedule, ratio):
    warmup = min(warmup, steps - 2)
    cfg = config(steps=steps, warmup_steps=warmup, schedule=schedule, min_lr_ratio=ratio)
    lrs = [lr_at(step, cfg) for step in range(steps)]
    assert lrs[:warmup] == pytest.approx([2.0 * (i + 1) / warmup for i in range(warmup)], rel=1e-12)
    assert all(a >= b - 1e-12 for a, b in zip(lrs[warmup:], lrs[warmup + 1 :], strict=False))
    assert lrs[-1] == pytest.approx(2.0 * ratio, abs=1e-12)
    assert max(lrs) <= 2.0 + 1e-12
