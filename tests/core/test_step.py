"""One optimizer step worked out by hand: clipping, the learning rate, micro-batches, the experts' biases."""

from dataclasses import replace

import pytest
import torch

from nanokimi import checkpoint
from nanokimi.config import BalanceConfig, OptimConfig
from nanokimi.optim import lr_at
from nanokimi.train import train
from tests import tiny
from tests.training import make_model, run, take_batch


def test_gradients_are_clipped_to_the_norm(tmp_path):
    """AdamW's first moment after one step is a tenth of the gradient that it was given."""
    for grad_clip in (1e-3, 1e3):
        cfg = tiny.train_config(grad_clip=grad_clip, steps=1, warmup_steps=0)
        (record,) = run(make_model("gpt"), cfg, run_dir=tmp_path / str(grad_clip))
        state = checkpoint.load_checkpoint(tmp_path / str(grad_clip)).optimizer_state
        moments = torch.stack([m.norm() for key, m in state.items() if key.endswith("|exp_avg")])
        assert 1e-3 < record.grad_norm < 1e3
        assert moments.norm().item() == pytest.approx(0.1 * min(record.grad_norm, grad_clip), rel=1e-4)


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
def test_every_step_has_the_rate_of_the_schedule(schedule):
    """The record's, and the one that moved the weights: AdamW's first step moves a used weight by lr."""
    cfg = tiny.train_config(schedule=schedule, optim=OptimConfig(lr=1e-2, weight_decay=0.0))
    model = make_model("gpt")
    before = model.layers[0].up_proj.weight.detach().clone()
    records = []
    for record in train(model, tiny.corpus(), cfg):
        records.append(record)
        if record.step == 1:
            moved = (model.layers[0].up_proj.weight - before).abs()
            assert moved.median().item() == pytest.approx(lr_at(0, cfg), rel=1e-3)
    assert [r.lr for r in records] == [lr_at(i, cfg) for i in range(cfg.steps)]
    assert records[0].lr == pytest.approx(5e-3) and records[-1].lr == pytest.approx(1e-3)


@pytest.mark.parametrize("name", ["gpt", "kimi-mla"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_accumulated_micro_batches_are_one_large_batch(name, optimizer):
    """Loss, gradient norm, weights, logit maxima; loads and bias as of one batch: docs/mistakes.md, number 11."""
    one = tiny.train_config(
        steps=1,
        warmup_steps=0,
        optim=OptimConfig(optimizer=optimizer, lr=1e-2),
        balance=BalanceConfig(bias_update_rate=1e-2),
        qk_clip_tau=0.5,
    )
    large, small = make_model(name, harsh=True), make_model(name, harsh=True)
    (a,), (b,) = run(large, one), run(small, replace(one, batch_size=1, grad_accum=4))
    assert b.loss == pytest.approx(a.loss, rel=1e-6)
    assert b.grad_norm == pytest.approx(a.grad_norm, rel=1e-5)
    assert (b.tokens, b.expert_load, b.max_vio) == (a.tokens, a.expert_load, a.max_vio)
    assert b.router_entropy == pytest.approx(a.router_entropy, rel=1e-5)
    torch.testing.assert_close(
        torch.tensor(b.max_qk_logit), torch.tensor(a.max_qk_logit), rtol=1e-5, atol=1e-6
    )
    for key, value in large.state_dict().items():
        other = small.state_dict()[key]
        if key.endswith("qkv_proj.bias"):
            # Softmax does not see the key's bias: its gradient is rounding errors only, which AdamW blows up.
            value, other = (torch.cat([t[:16], t[32:]]) for t in (value, other))
        torch.testing.assert_close(other, value, rtol=1e-5, atol=1e-6, msg=lambda m, key=key: f"{key}: {m}")


def test_the_bias_moves_once_a_step_by_all_micro_batches():
    """u·sign(mean - c), less its mean, with the counts of both micro-batches together."""
    cfg = tiny.train_config(
        steps=1, warmup_steps=0, grad_accum=2, balance=BalanceConfig(bias_update_rate=0.01)
    )
    model = make_model("kimi-mla", harsh=True)
    bias = model.layers[1].mlp.expert_bias.clone()
    count = torch.zeros(4, dtype=torch.long)
    for micro in range(2):
        stats = model(take_batch(cfg, micro)[0]).routing[0]
        count += torch.stack([(stats.expert_idx == e).sum() for e in range(4)])
    assert count.sum() == 2 * 4 * 8 * 2
    delta = 0.01 * (count.float().mean() - count).sign()
    assert delta.abs().max() > 0
    (record,) = run(model, cfg)
    torch.testing.assert_close(
        model.layers[1].mlp.expert_bias, bias + delta - delta.mean(), rtol=0, atol=1e-7
    )
    torch.testing.assert_close(
        torch.tensor(record.expert_load[0]), count / count.float().mean(), rtol=1e-6, atol=0
    )


def test_without_a_rate_the_bias_stays():
    model = make_model("kimi-mla", harsh=True)
    bias = model.layers[1].mlp.expert_bias.clone()
    run(model, tiny.train_config())
    assert torch.equal(model.layers[1].mlp.expert_bias, bias)
