"""QK-clip in a step: the largest logits of a head end on tau, and the right rows are scaled."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nanokimi.config import OptimConfig
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
