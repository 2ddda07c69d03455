"""Steering: what each setting does; a log fed back gives the same numbers bit for bit; what is refused."""

import json
from dataclasses import replace

import pytest
import torch

from nanokimi import checkpoint
from nanokimi.checkpoint import TrainingState
from nanokimi.config import BalanceConfig, ConfigError, OptimConfig
from nanokimi.evaluate import evaluate
from nanokimi.generate import generate
from nanokimi.loss import next_token_loss
from nanokimi.model import build_model
from nanokimi.optim import lr_at
from nanokimi.router import scaling_factor
from nanokimi.steering import Intervention, Steering, check_interventions, replay, use_inference_top_k
from nanokimi.train import train
from tests import tiny
from tests.training import (
    ADAMW,
    EVERYTHING,
    MUON,
    drop_clock,
    intervene,
    make_kimi,
    run_steered,
    stop_after,
    take_batch,
)


@pytest.mark.parametrize("cfg", [ADAMW, MUON], ids=["adamw", "muon"])
def test_a_log_fed_back_gives_the_same_run_bit_for_bit(cfg, tmp_path):
    steered, again = make_kimi(), make_kimi()
    expected = run_steered(cfg, *EVERYTHING, model=steered, run_dir=tmp_path)
    log = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert log == [record.to_dict() for record in expected]
    found = list(train(again, tiny.corpus(), cfg, steer=replay(log)))
    assert drop_clock(found) == drop_clock(expected)
    assert all(
        torch.equal(a, b)
        for a, b in zip(steered.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert [r.loss for r in run_steered(cfg)] != [r.loss for r in expected]  # the interventions did something


def test_asking_for_nothing_changes_nothing():
    assert drop_clock(run_steered(ADAMW)) == drop_clock(train(make_kimi(), tiny.corpus(), ADAMW))


@pytest.mark.parametrize("stop", [2, 4, 5, 7])
@pytest.mark.parametrize("cfg", [ADAMW, MUON], ids=["adamw", "muon"])
def test_a_steered_run_goes_on_as_if_never_stopped(cfg, stop, tmp_path):
    expected = run_steered(cfg, *EVERYTHING)
    before = stop_after(make_kimi(), cfg, stop, tmp_path, steer=intervene(*EVERYTHING))
    saved = checkpoint.load_checkpoint(tmp_path).state.interventions
    assert saved == tuple(each for each in EVERYTHING if each.step <= stop)
    after = run_steered(cfg, *EVERYTHING, run_dir=tmp_path, resume=True)
    assert drop_clock(before + after) == drop_clock(expected)


def test_a_checkpoint_of_before_steering_is_read(tmp_path):
    assert TrainingState.from_dict({"step": 3, "seconds": 1.0, "corpus_fingerprint": "x"}) == TrainingState(
        3, 1.0, "x"
    )


# ---------------------------------------------------------------- what each setting does


def test_the_rate_is_the_schedules_times_the_factor():
    records = run_steered(ADAMW, Intervention(3, "lr_factor", 0.25), Intervention(6, "lr_factor", 1.0))
    factors = [1, 1, 0.25, 0.25, 0.25, 1, 1, 1]
    assert [r.lr for r in records] == pytest.approx(
        [f * lr_at(i, ADAMW) for i, f in enumerate(factors)], rel=1e-12
    )


def test_balancing_switched_off_leaves_the_biases_where_they_are():
    """And switched on, the term of the coefficient appears in the record."""
    model, seen = make_kimi(), []
    for record in train(
        model,
        tiny.corpus(),
        ADAMW,
        steer=intervene(Intervention(4, "bias_update_rate", 0.0), Intervention(6, "switch_coef", 0.5)),
    ):
        seen.append((model.layers[1].mlp.expert_bias.clone(), record.balance_loss))
    biases = [bias for bias, _ in seen]
    assert not torch.equal(biases[1], biases[2])
    assert all(torch.equal(biases[2], later) for later in biases[3:])
    assert [extra > 0 for _, extra in seen] == [False] * 5 + [True] * 3


@pytest.mark.parametrize("first", [1, 4], ids=["before any momentum", "with momentum"])
@pytest.mark.parametrize("cfg", [ADAMW, MUON], ids=["adamw", "muon"])
def test_a_frozen_expert_does_not_move_at_all(cfg, first, tmp_path):
    """Weights and momenta are bit for bit what they were; all other experts move. Decay is 0.1 in both recipes."""
    assert cfg.optim.weight_decay == 0.1
    model, bank = make_kimi(), lambda m: m.layers[1].mlp.experts
    frozen = intervene(Intervention(first, "frozen_experts", ((1, 2),)))
    steps = train(model, tiny.corpus(), cfg, tmp_path, steer=frozen)
    for _ in range(first - 1):
        next(steps)
    before = {name: p.detach().clone() for name, p in bank(model).named_parameters()}
    for _ in range(3):
        next(steps)
    for name, p in bank(model).named_parameters():
        assert [torch.equal(p[e], before[name][e]) for e in range(4)] == [False, False, True, False], name
    steps.close()
    state = checkpoint.load_checkpoint(tmp_path).optimizer_state
    if first == 1:
        momenta = [v for k, v in state.items() if ".mlp.experts." in k and v.ndim == 3]
        assert momenta and all(v[2].abs().max() == 0 < v[1].abs().max() for v in momenta)


def test_momenta_of_a_frozen_expert_wait(tmp_path):
    """Stopped at step 3, and again after two frozen steps: the expert's momenta are the same."""
    for steps, folder in ((3, "a"), (5, "b")):
        frozen = intervene(Intervention(4, "frozen_experts", ((1, 2),)))
        stop_after(make_kimi(), MUON, steps, tmp_path / folder, steer=frozen)
    a, b = (checkpoint.load_checkpoint(tmp_path / folder).optimizer_state for folder in "ab")
    for key in [key for key in a if ".mlp.experts." in key]:
        assert torch.equal(a[key][2], b[key][2]) and not torch.equal(a[key][1], b[key][1]), key


def test_a_frozen_expert_counts_in_no_gradient_norm():
    """The norm is that of all gradients but its own."""
    model, cfg = make_kimi(), replace(ADAMW, balance=BalanceConfig())
    inputs, targets = take_batch(cfg)
    next_token_loss(model(inputs).logits, targets).backward()
    for p in model.layers[1].mlp.experts.parameters():
        assert p.grad[2].abs().max() > 0
        p.grad[2] = 0
    expected = torch.stack([p.grad.norm() for p in model.parameters()]).norm().item()
    records = run_steered(cfg, Intervention(1, "frozen_experts", ((1, 2),)))
    assert records[0].grad_norm == pytest.approx(expected, rel=1e-5)
    assert run_steered(cfg)[0].grad_norm != pytest.approx(expected, rel=1e-5)


def test_top_k_at_inference_changes_evaluations_only():
    plain, steered = run_steered(ADAMW), run_steered(ADAMW, Intervention(5, "inference_top_k", 1))
    assert [r.loss for r in plain] == [r.loss for r in steered]
    losses = [[r.evaluation.loss for r in records if r.evaluation] for records in (plain, steered)]
    assert losses[0][0] == losses[1][0]  # step 3
    assert all(a != b for a, b in zip(losses[0][1:], losses[1][1:], strict=True))


def test_inference_top_k_keeps_the_scaling_factor_and_puts_everything_back():
    """Against a model that was built with one expert per token and the factor of two."""
    model, other = make_kimi(), make_kimi()
    before = model.layers[1].mlp.cfg
    moe = other.layers[1].mlp
    moe.cfg = replace(before, top_k=1, routed_scaling_factor=scaling_factor(before))
    with use_inference_top_k(model, 1):
        assert model.layers[1].mlp.cfg == moe.cfg
        assert evaluate(model, tiny.corpus(), ADAMW) == evaluate(other, tiny.corpus(), ADAMW)
        assert list(generate(model, [1, 2], 5)) == list(generate(other, [1, 2], 5))
    assert model.layers[1].mlp.cfg is before
    with pytest.raises(KeyError), use_inference_top_k(model, 3):
        raise KeyError
    assert model.layers[1].mlp.cfg is before
    with use_inference_top_k(model, None):
        assert model.layers[1].mlp.cfg is before


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("step", "what", "value", "message"),
    [
        (1, "lr", 1.0, "what='lr' cannot be steered; allowed are lr_factor, "),
        (0, "lr_factor", 1.0, "step=0 of an intervention must be a whole number of at least 1"),
        (1, "lr_factor", 0.0, "lr_factor=0.0 must be above 0"),
        (1, "lr_factor", float("inf"), "lr_factor=inf"),
        (1, "lr_factor", "fast", "lr_factor='fast'"),
        (1, "switch_coef", -1.0, "switch_coef=-1.0 must be 0 or more"),
        (1, "inference_top_k", 0, "inference_top_k=0 must be 1 or more"),
        (1, "frozen_experts", [1, 2], "frozen_experts"),
        (1, "frozen_experts", None, "frozen_experts"),
    ],
)
def test_a_bad_intervention_is_one_line(step, what, value, message):
    with pytest.raises(ConfigError) as error:
        Intervention(step, what, value)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "what", "value", "message"),
    [
        ("gpt", "bias_update_rate", 0.1, "this model has no experts"),
        ("gpt", "inference_top_k", 1, "this model has no experts"),
        ("kimi-mla", "inference_top_k", 5, "top_k=5 must lie in 1..n_routed_experts=4"),
        ("kimi-mla", "frozen_experts", ((0, 1),), "layer 0 has no experts; allowed are 1..1"),
        ("kimi-mla", "frozen_experts", ((1, 4),), "layer 1 has no expert 4; allowed are 0..3"),
    ],
)
def test_what_the_model_lacks_is_refused_before_the_step(name, what, value, message, tmp_path):
    model = build_model(tiny.model_config(name))
    steps = train(
        model, tiny.corpus(), tiny.train_config(), tmp_path, steer=intervene(Intervention(2, what, value))
    )
    next(steps)
    with pytest.raises(ConfigError) as error:
        next(steps)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert len((tmp_path / "steps.jsonl").read_text().splitlines()) == 1


def test_a_refusal_takes_nothing_from_the_evaluated_step_before_it(tmp_path):
    """The evaluation after step 3 asks about step 4 already, whose intervention does not fit."""
    steer = intervene(Intervention(4, "inference_top_k", 99))
    steps = train(make_kimi(), tiny.corpus(), ADAMW, tmp_path, steer=steer)
    assert [next(steps).step for _ in range(3)] == [1, 2, 3]
    with pytest.raises(ConfigError, match="top_k=99"):
        next(steps)
    assert checkpoint.load_checkpoint(tmp_path).state.step == 3


def test_an_intervention_of_another_step_is_refused():
    with pytest.raises(ConfigError, match=r"lr_factor=2.0 of step 7 came at step 2"):
        check_interventions((Intervention(7, "lr_factor", 2.0),), 2, make_kimi())


def test_interventions_survive_json():
    for each in EVERYTHING:
        assert Intervention(**json.loads(json.dumps(each.to_dict()))) == each


def test_settings_begin_with_the_configuration_and_take_the_last_value():
    cfg = tiny.train_config(balance=BalanceConfig(switch_coef=0.5), optim=OptimConfig(lr=1.0))
    assert Steering.from_config(cfg) == Steering(switch_coef=0.5)
    found = Steering.from_config(cfg).intervene(EVERYTHING)
    assert found == Steering(lr_factor=2.0, switch_coef=0.1, sequence_coef=0.01, inference_top_k=1)
    assert found.apply_to(cfg) == replace(
        cfg, optim=OptimConfig(lr=2.0), balance=BalanceConfig(switch_coef=0.1, sequence_coef=0.01)
    )
