"""Training: a step worked out by hand; the same numbers twice; and a stopped run that goes on bit for bit."""

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nanokimi import checkpoint
from nanokimi.config import BalanceConfig, ConfigError, OptimConfig
from nanokimi.gpt import GPT
from nanokimi.kimi import Kimi
from nanokimi.loss import balance_term, next_token_loss
from nanokimi.model import build_model
from nanokimi.optim import lr_at
from nanokimi.output import ModelOutput
from nanokimi.record import StepRecord
from nanokimi.router import load_balance_loss, sequence_balance_loss, z_loss
from nanokimi.step import TrainingDiverged
from nanokimi.text.corpus import batch
from nanokimi.train import train
from tests import tiny

RECIPES = {
    "gpt-adamw": ("gpt", tiny.train_config()),
    "kimi-bias": (
        "kimi-mla",
        tiny.train_config(balance=BalanceConfig(bias_update_rate=1e-3, sequence_coef=1e-2)),
    ),
    "kimi-muonclip": ("kimi-mla", tiny.muon_clip()),
    "kimi-accumulated": ("kimi-block_latent", tiny.muon_clip(grad_accum=2)),
}


def start(name: str, seed: int = 0, harsh: bool = False, **changes) -> GPT | Kimi:
    model = build_model(replace(tiny.model_config(name), **changes), seed)
    return tiny.harsh_(model, seed) if harsh else model


def facts(records: list[StepRecord]) -> list[dict]:
    """Everything but the clock."""
    return [
        {k: v for k, v in record.to_dict().items() if k not in ("seconds", "tokens_per_s")}
        for record in records
    ]


def run(model, cfg, **more) -> list[StepRecord]:
    return list(train(model, tiny.corpus(), cfg, **more))


def assert_same_state(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def first_batch(cfg, micro: int = 0) -> tuple[Tensor, Tensor]:
    return batch(tiny.corpus().train, micro, batch_size=cfg.batch_size, seq_len=cfg.seq_len, seed=cfg.seed)


# ---------------------------------------------------------------- the same numbers twice


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_seed_gives_the_same_numbers_bit_for_bit(recipe):
    """Whatever the global generator holds, which training neither reads nor moves."""
    name, cfg = RECIPES[recipe]
    first, second = start(name), start(name)
    records = run(first, cfg)
    torch.manual_seed(1234)
    before = torch.get_rng_state()
    assert facts(run(second, cfg)) == facts(records)
    assert_same_state(first.state_dict(), second.state_dict())
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_gives_other_batches_and_other_weights_another_loss():
    cfg = tiny.train_config()
    losses = [r.loss for r in run(start("gpt"), cfg)]
    assert losses[0] != run(start("gpt"), replace(cfg, seed=4))[0].loss
    assert losses[0] != run(start("gpt", seed=1), cfg)[0].loss


def test_every_model_sees_the_same_batches_in_the_same_order(monkeypatch):
    """Fairness: what is asked for depends on step, sizes and seed alone."""
    asked: dict[str, list[Tensor]] = {}
    for name, cfg in RECIPES.values():
        seen = asked.setdefault(f"{name} {cfg.grad_accum}", [])

        def spy(*args, seen=seen, **kwargs):
            seen.append(batch(*args, **kwargs)[0])
            return seen[-1], batch(*args, **kwargs)[1]

        monkeypatch.setattr("nanokimi.step.batch", spy)
        run(start(name), cfg)
    single = [torch.stack(seen) for key, seen in asked.items() if key.endswith(" 1")]
    assert len(single) == 2 and torch.equal(single[0][:6], single[1][:6])
    (doubled,) = [seen for key, seen in asked.items() if key.endswith(" 2")]
    assert torch.equal(torch.stack(doubled)[:6], single[0][:6]) and len(doubled) == 12


# ---------------------------------------------------------------- one step by hand


@pytest.mark.parametrize("name", tiny.MODELS)
def test_the_loss_before_training_is_that_of_guessing(name):
    first = run(start(name), tiny.train_config(steps=3))[0]
    assert first.loss == pytest.approx(math.log(tiny.VOCAB), abs=0.05)


class Counting(GPT):
    """A model that is sure that the next token is `ahead` more than this one."""

    def __init__(self, ahead: int, n_ids: int):
        super().__init__(tiny.gpt())
        self.ahead, self.n_ids = ahead, n_ids

    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        sure = torch.nn.functional.one_hot((tokens + self.ahead) % self.n_ids, tiny.VOCAB)
        return ModelOutput(100.0 * sure + 0.0 * self.embed_tokens.weight.sum(), (), None)


@pytest.mark.parametrize(("ahead", "loss"), [(0, 100.0), (1, 0.0), (2, 100.0)])
def test_mistake_26_the_targets_are_shifted_once(ahead, loss):
    """In a text that counts 0 1 2 ..., one ahead is right; copying, or two ahead, is as wrong as can be."""
    corpus = tiny.corpus()
    n = corpus.tokenizer.n_vocab
    counting = (torch.arange(len(corpus.train)) % n).numpy().astype("uint16")
    corpus = replace(corpus, train=replace(corpus.train, tokens=counting))
    record = next(train(Counting(ahead, n), corpus, tiny.train_config()))
    assert record.loss == pytest.approx(loss, abs=1e-5)


def test_next_token_loss_by_hand():
    logits = torch.tensor([[[0.0, math.log(3)], [0.0, 0.0]]])
    wanted = (math.log(4) + math.log(2)) / 2
    assert next_token_loss(logits, torch.tensor([[0, 1]])).item() == pytest.approx(wanted, rel=1e-6)


def test_balance_term_is_the_weighted_sum_over_the_mean_layer():
    inputs, _ = first_batch(tiny.train_config())
    model = start("kimi-mla", harsh=True, n_layers=3)
    routing = model(inputs).routing
    assert len(routing) == 2
    losses = [
        torch.stack([f(r) for r in routing]).mean()
        for f in (load_balance_loss, sequence_balance_loss, z_loss)
    ]
    for coefs in ((0.5, 0.0, 0.0), (0.0, 0.25, 0.0), (0.0, 0.0, 0.125), (0.5, 0.25, 0.125)):
        cfg = BalanceConfig(switch_coef=coefs[0], sequence_coef=coefs[1], z_coef=coefs[2])
        wanted = sum(c * loss.item() for c, loss in zip(coefs, losses, strict=True))
        assert balance_term(routing, cfg).item() == pytest.approx(wanted, rel=1e-6)
    assert balance_term(routing, BalanceConfig()).item() == 0.0
    assert balance_term((), cfg).item() == 0.0


@pytest.mark.parametrize("term", ["switch_coef", "sequence_coef", "z_coef"])
def test_mistake_8_the_balance_loss_is_added(term):
    """The step's gradient is that of loss + coefficient · balance, and the gate's differs from the loss's alone."""
    model, inputs_targets = start("kimi-mla", harsh=True), first_batch(tiny.train_config())
    balance = BalanceConfig(**{term: 2.0})
    gradients = {}
    for cfg in (BalanceConfig(), balance):
        model.zero_grad()
        out = model(inputs_targets[0])
        loss, extra = next_token_loss(out.logits, inputs_targets[1]), balance_term(out.routing, cfg)
        (loss + extra).backward()
        norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm().item()
        gradients[cfg] = (model.layers[1].mlp.gate.grad.clone(), norm, loss.item(), extra.item())
    (plain, plain_norm, *_), (balanced, norm, loss, extra) = gradients.values()
    assert (plain - balanced).norm() > 1e-3 * plain.norm()
    assert abs(norm / plain_norm - 1) > 1e-4

    record = run(start("kimi-mla", harsh=True), tiny.train_config(balance=balance))[0]
    assert record.grad_norm == pytest.approx(norm, rel=1e-5)
    assert record.loss == pytest.approx(loss, rel=1e-6)
    assert record.balance_loss == pytest.approx(extra, rel=1e-6)


def test_gradients_are_clipped_to_the_norm(tmp_path):
    """AdamW's first moment after one step is a tenth of the gradient that it was given."""
    for grad_clip in (1e-3, 1e3):
        cfg = tiny.train_config(grad_clip=grad_clip, steps=1, warmup_steps=0)
        (record,) = run(start("gpt"), cfg, run_dir=tmp_path / str(grad_clip))
        state = checkpoint.load_checkpoint(tmp_path / str(grad_clip)).optimizer_state
        moments = torch.stack([m.norm() for key, m in state.items() if key.endswith("|exp_avg")])
        assert 1e-3 < record.grad_norm < 1e3
        assert moments.norm().item() == pytest.approx(0.1 * min(record.grad_norm, grad_clip), rel=1e-4)


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
def test_every_step_has_the_rate_of_the_schedule(schedule):
    """The record's, and the one that moved the weights: AdamW's first step moves a used weight by lr."""
    cfg = tiny.train_config(schedule=schedule, optim=OptimConfig(lr=1e-2, weight_decay=0.0))
    model = start("gpt")
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
    """Loss, gradient norm, weights, logit maxima; and MISTAKES 11: loads and bias as of one batch, not doubled."""
    one = tiny.train_config(
        steps=1,
        warmup_steps=0,
        optim=OptimConfig(optimizer=optimizer, lr=1e-2),
        balance=BalanceConfig(bias_update_rate=1e-2),
        qk_clip_tau=0.5,
    )
    large, small = start(name, harsh=True), start(name, harsh=True)
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
    model = start("kimi-mla", harsh=True)
    bias = model.layers[1].mlp.expert_bias.clone()
    count = torch.zeros(4, dtype=torch.long)
    for micro in range(2):
        stats = model(first_batch(cfg, micro)[0]).routing[0]
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
    model = start("kimi-mla", harsh=True)
    bias = model.layers[1].mlp.expert_bias.clone()
    run(model, tiny.train_config())
    assert torch.equal(model.layers[1].mlp.expert_bias, bias)


@pytest.mark.parametrize(
    ("name", "seed"), [("gpt", 2), ("kimi-mha", 1), ("kimi-mla", 3), ("kimi-block_latent", 0)]
)
@pytest.mark.parametrize("grad_accum", [1, 2])
def test_mistake_25_after_a_step_the_largest_logits_are_tau(name, seed, grad_accum):
    """One head passes tau and ends on it, the other stays; at a rate so low that the step itself moves nothing.

    The seeds are such that the heads differ, and that the second micro-batch has the larger maximum.
    """
    model = start(name, seed, harsh=True, n_layers=1)
    cfg = tiny.train_config(
        steps=1, warmup_steps=0, grad_accum=grad_accum, optim=OptimConfig(lr=1e-12, weight_decay=0.0)
    )
    micro_batches = [first_batch(cfg, i)[0] for i in range(grad_accum)]

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
    free, clipped = start("kimi-mla", harsh=True), start("kimi-mla", harsh=True)
    run(free, cfg)
    (record,) = run(clipped, replace(cfg, qk_clip_tau=1.0))
    maxima = torch.tensor(record.max_qk_logit)
    assert maxima.min() > 1.5
    wanted = {name: value.clone() for name, value in free.state_dict().items()}
    for layer, g in enumerate(1.0 / maxima):
        q = wanted[f"layers.{layer}.self_attn.q_proj.weight"].view(
            2, 8, 16
        )  # heads, nope 4 and rope 4, d_model
        kv = wanted[f"layers.{layer}.self_attn.kv_b_proj.weight"].view(
            2, 12, 8
        )  # heads, nope 4 and v 8, latent
        for head in range(2):
            q[head, :4] *= g[head].sqrt()
            q[head, 4:] *= g[head]
            kv[head, :4] *= g[head].sqrt()
    for name, value in clipped.state_dict().items():
        torch.testing.assert_close(
            value, wanted[name], rtol=1e-6, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_without_a_tau_nothing_is_measured_and_nothing_clipped(monkeypatch):
    asked = []
    forward = Kimi.forward
    monkeypatch.setattr(
        Kimi,
        "forward",
        lambda self, *a, **k: (asked.append(k.get("with_max_qk_logit")), forward(self, *a, **k))[1],
    )
    monkeypatch.setattr(
        "nanokimi.kimi.KimiBlock.clip_qk_", lambda *a: pytest.fail("QK-clip was not asked for")
    )
    assert [r.max_qk_logit for r in run(start("kimi-mla"), tiny.train_config())] == [None] * 6
    assert True not in asked


# ---------------------------------------------------------------- records


def test_record_holds_the_facts_of_its_step():
    """Loads, MaxVio and entropy from a forward of one's own; and plain data that JSON keeps."""
    cfg = tiny.muon_clip()
    model = start("kimi-mla", harsh=True, n_layers=3)
    with torch.no_grad():
        routing = model(first_batch(cfg)[0]).routing
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
    record = run(start("gpt"), tiny.train_config())[0]
    assert (record.expert_load, record.max_vio, record.router_entropy, record.balance_loss) == (
        [],
        [],
        [],
        0.0,
    )


@pytest.mark.parametrize(("steps", "due"), [(6, [3, 6]), (7, [3, 6, 7]), (2, [2])])
def test_evaluations_come_when_due_and_at_the_end(steps, due):
    records = run(start("gpt"), tiny.train_config(steps=steps, warmup_steps=1))
    assert [r.step for r in records if r.evaluation is not None] == due


def test_training_learns():
    """Forty steps on sentences of eight words: from log 24 = 3.2 nats to below 2."""
    cfg = tiny.train_config(steps=40, eval_every=40, batch_size=16)
    for name, optim in (("gpt", cfg.optim), ("kimi-mla", OptimConfig(optimizer="muon", lr=1e-2))):
        last = run(start(name), replace(cfg, optim=optim))[-1]
        assert last.evaluation.loss < 2.0, name


# ---------------------------------------------------------------- stopping and going on


def stop_after(model, cfg, steps: int, run_dir) -> list[StepRecord]:
    """Take `steps` records, then close the generator, as a stop button or Ctrl-C does."""
    running = train(model, tiny.corpus(), cfg, run_dir)
    records = [next(running) for _ in range(steps)]
    running.close()
    return records


def logged(run_dir) -> list[dict]:
    lines = [json.loads(line) for line in (run_dir / "steps.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_s")} for line in lines]


@pytest.mark.parametrize("stop", [1, 3, 5])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_stopped_run_goes_on_bit_for_bit(recipe, stop, tmp_path):
    """Losses, weights, expert bias, optimizer state and log are those of the run that was never stopped."""
    name, cfg = RECIPES[recipe]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    model = start(name)
    wanted = facts(run(model, cfg, run_dir=whole))

    before = facts(stop_after(start(name), cfg, stop, stopped))
    # Of a new model nothing may be left: other weights, and a bias that never was.
    resumed = start(name, seed=77, harsh=True)
    after = facts(run(resumed, cfg, run_dir=stopped, resume=True))
    assert before + after == wanted
    assert_same_state(resumed.state_dict(), model.state_dict())
    ends = [checkpoint.load_checkpoint(folder) for folder in (whole, stopped)]
    assert_same_state(ends[0].optimizer_state, ends[1].optimizer_state)
    assert_same_state(ends[0].model.state_dict(), ends[1].model.state_dict())
    assert {end.state.step for end in ends} == {6}
    assert logged(stopped) == logged(whole) == wanted


def test_what_a_killed_run_logged_after_its_checkpoint_is_dropped(tmp_path):
    """Killed after step 5 with a checkpoint of step 3: lines 4 and 5 are written anew, not twice."""
    cfg = tiny.train_config()
    running = train(start("gpt"), tiny.corpus(), cfg, tmp_path / "run")
    for _ in range(5):
        next(running)
    shutil.copytree(tmp_path / "run", tmp_path / "killed")
    running.close()
    assert len(logged(tmp_path / "killed")) == 5
    assert [r.step for r in run(start("gpt"), cfg, run_dir=tmp_path / "killed", resume=True)] == [4, 5, 6]
    assert logged(tmp_path / "killed") == facts(run(start("gpt"), cfg))


def test_seconds_go_on_counting_and_leave_evaluation_out(tmp_path, monkeypatch):
    """By a clock of our own: a batch takes a second, an evaluation a hundred."""
    now = [0.0]

    def lasting(seconds, function):
        def slow(*args, **more):
            now[0] += seconds
            return function(*args, **more)

        return slow

    monkeypatch.setattr("nanokimi.train.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("nanokimi.step.batch", lasting(1, batch))
    monkeypatch.setattr("nanokimi.train.evaluate", lasting(100, lambda *args, **more: None))
    cfg = tiny.train_config()
    first = stop_after(start("gpt"), cfg, 4, tmp_path)
    rest = run(start("gpt"), cfg, run_dir=tmp_path, resume=True)
    assert [r.seconds for r in first + rest] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert {r.tokens_per_s for r in first + rest} == {32.0}


def test_a_finished_run_has_nothing_to_go_on_with(tmp_path):
    cfg = tiny.train_config()
    run(start("gpt"), cfg, run_dir=tmp_path)
    log = (tmp_path / "steps.jsonl").read_bytes()
    assert run(start("gpt"), cfg, run_dir=tmp_path, resume=True) == []
    assert (tmp_path / "steps.jsonl").read_bytes() == log


def test_a_new_run_in_an_old_folder_starts_from_nothing(tmp_path):
    cfg = tiny.train_config()
    wanted = run(start("gpt"), cfg, run_dir=tmp_path)
    assert facts(run(start("gpt"), cfg, run_dir=tmp_path)) == facts(wanted)
    assert logged(tmp_path) == facts(wanted)


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(start("gpt"), tiny.train_config())
    assert list(tmp_path.iterdir()) == []


def test_closing_before_the_first_step_writes_nothing(tmp_path):
    running = train(start("gpt"), tiny.corpus(), tiny.train_config(), tmp_path / "run")
    running.close()
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- what is refused


def refused(kind: type[Exception], *args, **more) -> str:
    with pytest.raises(kind) as error:
        next(train(*args, **more))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("model", "cfg", "message"),
    [
        (tiny.gpt(n_layers=3), tiny.train_config(), "its model has n_layers=2, yours 3"),
        (tiny.gpt(), tiny.train_config(batch_size=5), "its training has batch_size=4, yours 5"),
        (tiny.gpt(), tiny.train_config(seed=4), "its training has seed=3, yours 4"),
        (tiny.gpt(), tiny.train_config(steps=7), "its training has steps=6, yours 7"),
    ],
)
def test_resuming_with_another_configuration_is_refused(model, cfg, message, tmp_path):
    stop_after(start("gpt"), tiny.train_config(), 3, tmp_path)
    log = (tmp_path / "steps.jsonl").read_bytes()
    line = refused(ConfigError, build_model(model), tiny.corpus(), cfg, tmp_path, resume=True)
    assert line == f"cannot resume {tmp_path}: {message}"
    assert (tmp_path / "steps.jsonl").read_bytes() == log


def test_resuming_with_another_optimizer_names_it(tmp_path):
    stop_after(start("gpt"), tiny.train_config(), 3, tmp_path)
    cfg = tiny.train_config(optim=OptimConfig(lr=1e-2, optimizer="muon"))
    line = refused(ConfigError, start("gpt"), tiny.corpus(), cfg, tmp_path, resume=True)
    assert "its training has optim" in line and "adamw" in line and "muon" in line


def test_resuming_with_another_kind_of_model_is_refused(tmp_path):
    stop_after(start("gpt"), tiny.train_config(), 3, tmp_path)
    line = refused(ConfigError, start("kimi-mla"), tiny.corpus(), tiny.train_config(), tmp_path, resume=True)
    assert line == f"cannot resume {tmp_path}: its model has kind=gpt, yours kimi"


def test_resuming_with_another_text_is_refused(tmp_path):
    stop_after(start("gpt"), tiny.train_config(), 3, tmp_path)
    line = refused(ConfigError, start("gpt"), tiny.corpus(seed=1), tiny.train_config(), tmp_path, resume=True)
    assert line == f"cannot resume {tmp_path}: its corpus has fingerprint=tiny-0, yours tiny-1"


def test_resuming_needs_a_checkpoint(tmp_path):
    cfg, corpus = tiny.train_config(), tiny.corpus()
    assert "resume needs the folder" in refused(ConfigError, start("gpt"), corpus, cfg, resume=True)
    folder = tmp_path / "none"
    line = refused(checkpoint.CheckpointError, start("gpt"), corpus, cfg, folder, resume=True)
    assert line.startswith(f"no checkpoint in {folder}")
    assert not folder.exists()


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
        (tiny.gpt(), tiny.train_config(seq_len=16, batch_size=2, eval_windows=1), None),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(model, cfg, message, tmp_path):
    if message is None:  # the longest window that the model takes
        assert run(build_model(model), cfg, run_dir=tmp_path / "run")[-1].step == 6
    else:
        line = refused(ConfigError, build_model(model), tiny.corpus(), cfg, tmp_path / "run")
        assert line.startswith(message)
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["gpt", "kimi-mla"])
def test_a_diverging_run_says_so(name, tmp_path):
    """In one line with the step and the rate, and without a checkpoint of numbers that are none."""
    cfg = tiny.train_config(warmup_steps=0, optim=OptimConfig(lr=1e30), eval_every=100)
    with pytest.raises(
        TrainingDiverged, match=r"^the loss is (nan|inf) at step [2-6]: try a lower lr than 1e\+30$"
    ):
        run(start(name), cfg, run_dir=tmp_path)
    assert not checkpoint.has_checkpoint(tmp_path)


def test_a_run_that_goes_astray_is_still_evaluated():
    """A finite loss of thousands of nats has no finite perplexity."""
    cfg = tiny.train_config(warmup_steps=0, optim=OptimConfig(lr=30.0), eval_every=1)
    records = run(start("gpt"), cfg)
    assert max(r.evaluation.loss for r in records) > 800
    assert math.inf in {r.evaluation.perplexity for r in records}
