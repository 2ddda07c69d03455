"""QK-clip in a step: the largest logits of a head end on tau, and the right rows are scaled."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nanokimi.config import OptimConfig
from nanokimi.qk_clip import _queries_at_once, max_logit
from tests import tiny
from tests.training import make_model, run, take_batch


@pytest.mark.parametrize(
    ("name", "seed"), [("gpt", 2), ("kimi-mha", 1), ("kimi-mla", 3), ("kimi-block_latent", 0)]
)
@pytest.mark.parametrize("grad_accum", [1, 2])
def test_mistake_25_after_a_step_the_largest_logits_are_tau(name, seed, grad_accum):
    """One head passes tau and ends on it, the other stays; at a rate so low that the step itself moves nothing.

    The seeds are such that the heads differ, and that the second micro-batch has the larger maximum.
    """
    model = make_model(name, seed, harsh=True, n_layers=1)
    cfg = tiny.train_config(
        steps=1, warmup_steps=0, grad_accum=grad_accum, optim=OptimConfig(lr=1e-12, weight_decay=0.0)
    )
    micro_batches = [take_batch(cfg, i)[0] for i in range(grad_accum)]

    def maxima() -> Tensor:
        with torch.no_grad():
            seen = [model(x, with_max_qk_logit=True).max_qk_logit for x in micro_batches]
        return torch.stack(seen).amax(0)

    before = maxima()
    tau = before.mean().item()
    assert before.min() < 0.95 * tau < 1.05 * tau < before.max()
    (record,) = run(model, replace(cfg, qk_clip_tau=tau))
    torch.testing.assert_close(torch.tensor(record.max_qk_logit), before, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(maxima(), before.clamp(max=tau), rtol=1e-5, atol=1e-5)


def test_mistake_25_the_clip_comes_after_the_step_and_takes_the_right_rows():
    """The weights are those of the step without a clip, times sqrt(g) or g; the shared rope key and v stay."""
    cfg = tiny.train_config(steps=1, warmup_steps=0, optim=OptimConfig(optimizer="muon", lr=0.1))
    free, clipped = make_model("kimi-mla", harsh=True), make_model("kimi-mla", harsh=True)
    run(free, cfg)
    (record,) = run(clipped, replace(cfg, qk_clip_tau=1.0))
    maxima = torch.tensor(record.max_qk_logit)
    assert maxima.min() > 1.5
    expected = {name: value.clone() for name, value in free.state_dict().items()}
    for layer, g in enumerate(1.0 / maxima):
        q = expected[f"layers.{layer}.self_attn.q_proj.weight"].view(
            2, 8, 16
        )  # heads, nope 4 and rope 4, d_model
        kv = expected[f"layers.{layer}.self_attn.kv_b_proj.weight"].view(
            2, 12, 8
        )  # heads, nope 4 and v 8, latent
        for head in range(2):
            q[head, :4] *= g[head].sqrt()
            q[head, 4:] *= g[head]
            kv[head, :4] *= g[head].sqrt()
    for name, value in clipped.state_dict().items():
        torch.testing.assert_close(
            value, expected[name], rtol=1e-6, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_without_a_tau_nothing_is_measured_and_nothing_clipped(monkeypatch):
    model, asked = make_model("kimi-mla"), []
    model.register_forward_pre_hook(
        lambda module, inputs, more: asked.append(more.get("with_max_qk_logit")), with_kwargs=True
    )
    monkeypatch.setattr(
        "nanokimi.kimi.KimiBlock.clip_qk_", lambda *a: pytest.fail("QK-clip was not asked for")
    )
    assert [r.max_qk_logit for r in run(model, tiny.train_config())] == [None] * 6
    assert asked and not any(asked)


@pytest.mark.parametrize("at_once", [1, 3, 7, 100])
@pytest.mark.parametrize("n_keys", [7, 10])
def test_the_largest_logit_does_not_depend_on_the_block(monkeypatch, at_once, n_keys):
    """A GPU takes more queries at a time than a CPU. In bfloat16 the products are made in float32 all the same."""
    monkeypatch.setattr("nanokimi.qk_clip._queries_at_once", lambda *_: at_once)
    generator = torch.Generator().manual_seed(n_keys)
    q, k = (torch.randn(2, 3, n, 4, generator=generator).bfloat16() for n in (7, n_keys))
    logits = 0.5 * (q.double() @ k.double().mT)
    hidden = torch.arange(n_keys)[None] > torch.arange(7)[:, None] + n_keys - 7
    wanted = logits.masked_fill(hidden, -torch.inf).amax(dim=(0, 2, 3)).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = max_logit(q, k, 0.5)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)


def test_a_gpu_takes_many_queries_and_at_least_64():
    q = torch.empty(32, 8, 1024, 4, device="meta")
    assert _queries_at_once(q, 1024) == 1024
    assert _queries_at_once(q, 2**22) == 64
    assert _queries_at_once(q.new_empty(0, 8, 5, 4), 5) >= 5
    assert _queries_at_once(torch.empty(1, 1, 1, 1), 1) == 64
