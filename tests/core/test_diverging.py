"""A training that diverges: told at once and by name, and the last good state is never replaced by a bad one."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nanokimi import checkpoint
from nanokimi.config import BalanceConfig, OptimConfig, TrainConfig
from nanokimi.steering import Intervention
from nanokimi.step import TrainingDiverged
from nanokimi.system.finite import NotFiniteError, all_finite, check_weights, name_layer
from nanokimi.train import train
from tests import tiny
from tests.training import intervene, make_kimi, make_model, run, take_batch

WILD = tiny.train_config(
    warmup_steps=0,
    steps=8,
    eval_every=1,
    balance=BalanceConfig(bias_update_rate=1e-2, sequence_coef=1e-2),
    qk_clip_tau=10.0,
)


def wild(lr: float, optimizer: str = "adamw", **changes) -> TrainConfig:
    return replace(WILD, optim=OptimConfig(lr=lr, optimizer=optimizer), **changes)


def read_strictly(run_dir: Path) -> list[dict]:
    """The lines of steps.jsonl, by a reader that knows no NaN and no Infinity; none before the first good step."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    path = run_dir / "steps.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def break_after(model: torch.nn.Module, steps: int, tensor: torch.Tensor, value: float) -> None:
    """Put `value` into the tensor as soon as the model has made its gradients `steps` times more."""
    left = [steps]

    @torch.no_grad()
    def spoil(*_) -> None:
        left[0] -= 1
        if left[0] == 0:
            tensor.view(-1)[0] = value

    next(iter(model.parameters())).register_post_accumulate_grad_hook(spoil)


@pytest.mark.parametrize("eval_every", [1, 100])
@pytest.mark.parametrize("lr", [1e4, 1e10, 1e30])
@pytest.mark.parametrize(
    ("name", "optimizer"), [("gpt", "adamw"), ("kimi-mla", "muon"), ("kimi-mla", "adamw")]
)
def test_the_last_good_state_stays(name, optimizer, lr, eval_every, tmp_path):
    """What any divergence leaves on the disk is finite, and the log is JSON: docs/mistakes.md, number 33."""
    model = make_model(name)
    records = train(model, tiny.corpus(), wild(lr, optimizer, eval_every=eval_every), tmp_path)
    seen = []
    with pytest.raises(TrainingDiverged) as error:
        for record in records:
            seen.append(record.step)
    records.close()
    assert "\n" not in str(error.value)
    assert f"at step {error.value.step}" in str(error.value)
    assert f"a lower optim.lr than {lr:g}, or more warmup_steps than 0" in str(error.value)
    assert [line["step"] for line in read_strictly(tmp_path)] == seen == list(range(1, error.value.step))
    if checkpoint.has_checkpoint(tmp_path):
        found = checkpoint.load_checkpoint(tmp_path)
        assert found.state.step < error.value.step
        assert all_finite(found.model)
        assert all(tensor.isfinite().all() for tensor in found.optimizer_state.values())


def test_a_loss_without_a_perplexity_is_a_divergence(tmp_path):
    """Thousands of nats per token, and still finite: nothing in the log or a result may be an infinity."""
    with pytest.raises(
        TrainingDiverged, match=r"the validation loss is [0-9.]+ nats per token, too large for a perpl"
    ):
        run(make_model("gpt"), wild(30.0, eval_every=3), run_dir=tmp_path)
    assert [line["step"] for line in read_strictly(tmp_path)] == [1, 2]
    assert not checkpoint.has_checkpoint(tmp_path)


def test_weights_are_checked_after_the_update_and_before_anything_is_written(tmp_path):
    """At the last step too, which no later step would find out."""
    cfg = tiny.train_config(eval_every=1)
    for step in (2, cfg.steps):
        model, folder = make_model("kimi-mla"), tmp_path / str(step)
        # A gradient of 0 in a weight that is not finite leaves the loss of the step itself finite.
        break_after(model, step, model.embed_tokens.weight, math.inf)
        with pytest.raises(
            TrainingDiverged,
            match=rf"diverged at step {step}: the weight embed_tokens.weight is not finite\.",
        ):
            run(model, cfg, run_dir=folder)
        assert checkpoint.load_checkpoint(folder).state.step == step - 1
        assert [line["step"] for line in read_strictly(folder)] == list(range(1, step))


@pytest.mark.parametrize("tau", [None, 1e-300])
def test_experts_biases_and_clipped_weights_are_checked_too(tau, tmp_path):
    """Neither is in the gradient: the check comes after all that a step changes."""
    model = make_kimi()
    if tau is None:
        model.layers[1].mlp.expert_bias[0] = math.inf
    with pytest.raises(
        TrainingDiverged, match=r"diverged at step [12]: the weight [a-z0-9._]+ is not finite\."
    ):
        run(model, tiny.train_config(warmup_steps=0, qk_clip_tau=tau), run_dir=tmp_path)
    assert not checkpoint.has_checkpoint(tmp_path)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_steps_nothing(value, tmp_path):
    model = make_model("kimi-mla")
    target = model.layers[1].mlp.gate

    def spoil(p: torch.Tensor) -> None:
        p.grad.view(-1)[0] = value

    target.register_post_accumulate_grad_hook(spoil)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(
        TrainingDiverged,
        match=r"diverged at step 1: the norm of the gradient is (nan|inf); .*layers.1.mlp.gate",
    ):
        run(model, tiny.train_config(balance=BalanceConfig(bias_update_rate=1e-2)), run_dir=tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_the_error_names_the_first_layer_that_is_not_finite():
    model = tiny.harsh_(make_model("kimi-mla"))
    with torch.no_grad():
        model.layers[1].self_attn.o_proj.weight.fill_(3e38)
    with pytest.raises(TrainingDiverged) as error:
        run(model, tiny.train_config())
    assert str(error.value) == (
        "the training diverged at step 1: the loss is nan; the first that is not finite: the output of "
        "layers.1.self_attn.o_proj. "
        "What may help in a new run: a lower optim.lr than 0.01, or more warmup_steps than 2"
    )
    assert name_layer(make_model("kimi-mla"), torch.tensor([[1, 2]])) == ""
    assert len(model.layers[1].self_attn._forward_hooks) == 0


def test_a_steered_rate_is_the_one_that_is_named():
    with pytest.raises(TrainingDiverged, match=r"lower optim.lr than 1e\+18"):
        run(make_model("gpt"), WILD, steer=intervene(Intervention(2, "lr_factor", 1e20)))


def test_closing_saves_no_weights_that_give_no_loss(tmp_path):
    """Finite weights of 1e30 give a loss of NaN. They come between two evaluations, and the user stops there."""
    cfg = tiny.train_config(eval_every=2, steps=20, warmup_steps=0)
    model = make_model("gpt")
    records = train(model, tiny.corpus(), cfg, tmp_path)
    for _ in range(3):
        next(records)
    with torch.no_grad():
        model.layers[0].up_proj.weight.fill_(1e30)
    with pytest.raises(
        TrainingDiverged, match=r"diverged at step 3: the validation loss is nan nats per token"
    ):
        records.close()
    assert checkpoint.load_checkpoint(tmp_path).state.step == 2


def test_a_checkpoint_with_a_nan_is_refused_and_the_one_before_it_taken(tmp_path):
    """No training of this version writes such a checkpoint."""
    run(model := make_model("gpt"), cfg := tiny.train_config(), run_dir=tmp_path)
    with torch.no_grad():
        model.layers[0].up_proj.weight[0, 0] = math.nan
    state = replace(checkpoint.load_checkpoint(tmp_path).state, step=7)
    bad = checkpoint.save_checkpoint(tmp_path, model, [], tiny.corpus().tokenizer, cfg, state)
    damaged = r"'layers.0.up_proj.weight' is not finite: it was damaged or altered"
    with pytest.raises(checkpoint.CheckpointError, match=damaged):
        checkpoint.load_checkpoint(bad)
    found = checkpoint.load_checkpoint(tmp_path)
    assert found.state.step == 6
    assert "'layers.0.up_proj.weight' is not finite" in found.skipped[0]


@pytest.mark.parametrize(("lr", "weight_decay"), [(0.01, 1e9), (2.0, 1e6)])
def test_a_weight_decay_that_turns_the_weights_round_is_named(lr, weight_decay):
    optim = OptimConfig(lr=lr, optimizer="adamw", weight_decay=weight_decay)
    with pytest.raises(TrainingDiverged) as error:
        run(make_model("gpt"), replace(WILD, optim=optim, steps=30))
    assert str(error.value).endswith(
        f"an optim.weight_decay below {1 / lr:g}, which is 1 divided by optim.lr"
    )


def test_every_kind_of_tensor_is_looked_at():
    for name in (
        "embed_tokens.weight",
        "norm.weight",
        "layers.1.mlp.expert_bias",
        "layers.1.mlp.experts.down_proj",
    ):
        for value in (math.nan, math.inf, -math.inf):
            model = make_model("kimi-mla")
            check_weights(model)
            with torch.no_grad():
                dict([*model.named_parameters(), *model.named_buffers()])[name].view(-1)[-1] = value
            with pytest.raises(NotFiniteError, match=f"^the weight {name} is not finite$"):
                check_weights(model)


class CountingReads:
    """Counts how often numbers of a tensor are asked for: there a program waits for an accelerator."""

    def __init__(self, monkeypatch):
        self.n = 0
        for name in ("item", "tolist", "__bool__", "__float__", "__int__"):
            monkeypatch.setattr(torch.Tensor, name, self.count(getattr(torch.Tensor, name)))

    def count(self, method):
        def counting(tensor):
            self.n += 1
            return method(tensor)

        return counting


@pytest.mark.parametrize("grad_accum", [1, 3])
def test_a_step_reads_twice(monkeypatch, grad_accum):
    """Losses and the norm of the gradient before the update; the facts and the largest weight after it."""
    prepared = take_batch(WILD)
    monkeypatch.setattr("nanokimi.step.batch", lambda *_, **__: prepared)
    steps = train(make_model("gpt"), tiny.corpus(), tiny.train_config(grad_accum=grad_accum))
    next(steps)
    counting = CountingReads(monkeypatch)
    next(steps)
    assert counting.n == 2
