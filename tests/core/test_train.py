"""Training: the same numbers twice, records that hold the facts, and what is refused before anything is written."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nanokimi.config import ConfigError, OptimConfig
from nanokimi.model import build_model
from tests import tiny
from tests.training import RECIPES, assert_same_tensors, drop_clock, make_model, read_refusal, run, take_batch


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_seed_gives_the_same_numbers_bit_for_bit(recipe):
    """Whatever the global generator holds, which training neither reads nor moves."""
    name, cfg = RECIPES[recipe]
    first, second = make_model(name), make_model(name)
    records = run(first, cfg)
    torch.manual_seed(1234)
    before = torch.get_rng_state()
    assert drop_clock(run(second, cfg)) == drop_clock(records)
    assert_same_tensors(first.state_dict(), second.state_dict())
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_gives_other_batches_and_other_weights_another_loss():
    cfg = tiny.train_config()
    losses = [r.loss for r in run(make_model("gpt"), cfg)]
    assert losses[0] != run(make_model("gpt"), replace(cfg, seed=4))[0].loss
    assert losses[0] != run(make_model("gpt", seed=1), cfg)[0].loss


def test_every_model_sees_the_same_batches_in_the_same_order():
    """Fairness: which batches a training takes depends on step, sizes and seed alone."""
    seen: dict[str, list[Tensor]] = {}
    for recipe, (name, cfg) in RECIPES.items():
        model, mine = make_model(name), seen.setdefault(recipe, [])
        model.register_forward_pre_hook(
            lambda _, inputs, mine=mine: mine.append(inputs[0]) if torch.is_grad_enabled() else None
        )
        run(model, cfg)
    expected = [take_batch(tiny.train_config(), i)[0] for i in range(12)]
    for recipe, batches in seen.items():
        assert len(batches) == (12 if recipe == "kimi-accumulated" else 6)
        assert all(torch.equal(x, y) for x, y in zip(batches, expected, strict=False))


# ---------------------------------------------------------------- records


def test_record_holds_the_facts_of_its_step():
    """Loads, MaxVio and entropy from a forward pass of this test; and plain data that JSON keeps."""
    cfg = tiny.muon_clip()
    model = make_model("kimi-mla", harsh=True, n_layers=3)
    with torch.no_grad():
        routing = model(take_batch(cfg)[0]).routing
    records = run(model, cfg)
    loads, violations, entropies = [], [], []
    for stats in routing:
        count = [(stats.expert_idx == e).sum().item() for e in range(4)]
        loads.append([c / (sum(count) / 4) for c in count])
        violations.append(max(count) / (sum(count) / 4) - 1)
        mean = (stats.scores / stats.scores.sum(-1, keepdim=True)).double().mean((0, 1)).tolist()
        entropies.append(-sum(p * math.log(p) for p in mean))
    first = records[0]
    assert [x for row in first.expert_load for x in row] == pytest.approx([x for row in loads for x in row])
    assert first.max_vio == pytest.approx(violations, abs=1e-6)
    assert first.router_entropy == pytest.approx(entropies, rel=1e-5)
    for i, r in enumerate(records):
        assert (r.step, r.n_steps, r.tokens) == (i + 1, 6, (i + 1) * 4 * 8)
        assert (
            all(sum(row) == pytest.approx(4, rel=1e-6) for row in r.expert_load) and len(r.expert_load) == 2
        )
        assert all(
            v == pytest.approx(max(row) - 1, abs=1e-6)
            for v, row in zip(r.max_vio, r.expert_load, strict=True)
        )
        assert all(0 < h <= math.log(4) + 1e-6 for h in r.router_entropy)
        assert [len(row) for row in r.max_qk_logit] == [2, 2, 2]
        assert json.loads(json.dumps(r.to_dict())) == r.to_dict()
        assert r.tokens_per_s > 0 and r.seconds > (records[i - 1].seconds if i else 0)


def test_a_dense_model_has_no_routing_facts():
    record = run(make_model("gpt"), tiny.train_config())[0]
    assert record.expert_load == record.max_vio == record.router_entropy == []
    assert record.balance_loss == 0.0


@pytest.mark.parametrize(("steps", "due"), [(6, [3, 6]), (7, [3, 6, 7]), (2, [2])])
def test_evaluations_come_when_due_and_at_the_end(steps, due):
    records = run(make_model("gpt"), tiny.train_config(steps=steps, warmup_steps=1))
    assert [r.step for r in records if r.evaluation is not None] == due


def test_training_learns():
    """Forty steps on sentences of eight words: from log 24 = 3.2 nats to below 2."""
    cfg = tiny.train_config(steps=40, eval_every=40, batch_size=16)
    for name, optim in (("gpt", cfg.optim), ("kimi-mla", OptimConfig(optimizer="muon", lr=1e-2))):
        last = run(make_model(name), replace(cfg, optim=optim))[-1]
        assert last.evaluation.loss < 2.0, name


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("model", "cfg", "message"),
    [
        (tiny.gpt(max_seq_len=7), tiny.train_config(), "seq_len=8 is above max_seq_len=7 of the model"),
        (
            tiny.gpt(vocab_size=12),
            tiny.train_config(),
            "vocab_size=12 of the model is below the tokenizer's 16",
        ),
        (tiny.gpt(), tiny.train_config(dtype="bfloat16"), "dtype=bfloat16 needs device=cuda"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(model, cfg, message, tmp_path):
    line = read_refusal(ConfigError, build_model(model), tiny.corpus(), cfg, tmp_path / "run")
    assert line.startswith(message)
    assert not (tmp_path / "run").exists()


def test_windows_as_long_as_the_models_context_are_taken():
    cfg = tiny.train_config(seq_len=tiny.CONTEXT, batch_size=2, eval_windows=1)
    assert run(make_model("gpt"), cfg)[-1].step == 6
