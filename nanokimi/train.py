"""The training loop: a generator of `StepRecord`s, one an optimizer step, that the caller may stop at any time.

All policy is here: the loss and its balancing terms, the bias update, QK-clip, the schedule, when to evaluate
and when to save. The layers only report facts. What may be changed on the way is defined in `steering`.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from nanokimi import checkpoint
from nanokimi.config import BalanceConfig, ConfigError, TrainConfig, to_dict
from nanokimi.evaluate import Evaluation, autocast, evaluate, resolve_device
from nanokimi.kimi import Kimi
from nanokimi.memory import keep_freed_memory
from nanokimi.model import Model
from nanokimi.optim import build_optimizers, lr_at
from nanokimi.output import ModelOutput
from nanokimi.router import (
    RouterStats,
    expert_load,
    load_balance_loss,
    max_violation,
    sequence_balance_loss,
    update_expert_bias_,
    z_loss,
)
from nanokimi.steering import (
    EndTraining,
    Intervention,
    Steer,
    Steering,
    check_interventions,
    freeze_experts,
    use_inference_top_k,
)
from nanokimi.text.corpus import Corpus, batch


class TrainingDiverged(RuntimeError):
    """The loss is no longer a finite number."""


@dataclass(frozen=True)
class StepRecord:
    """The facts of one optimizer step, detached and small: what bars, panels, logs and reports are made from."""

    step: int  # from 1
    n_steps: int
    tokens: int  # seen so far
    seconds: float  # of training so far; evaluating, saving, waiting and steps given up left out
    tokens_per_s: float  # of this step
    lr: float
    loss: float  # nats a token on this step's batch, balancing terms left out
    balance_loss: float  # the balancing terms, weighted by their coefficients
    grad_norm: float  # before clipping
    expert_load: list[list[float]]  # MoE layers x experts; 1.0 is an even share
    max_vio: list[float]  # a MoE layer
    router_entropy: list[float]  # nats, of the mean normalised scores' distribution, a MoE layer
    max_qk_logit: list[list[float]] | None  # layers x heads, where QK-clip asks for it
    evaluation: Evaluation | None
    interventions: tuple[Intervention, ...] = ()  # what the caller changed from this step on

    def to_dict(self) -> dict:
        """Plain data for JSON."""
        return asdict(self) | {"interventions": [each.to_dict() for each in self.interventions]}


def next_token_loss(
    logits: Float[Tensor, "batch seq vocab"], targets: Int[Tensor, "batch seq"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy in nats a token; log(vocab_size) before any training. Targets are already shifted."""
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def balance_term(routing: tuple[RouterStats, ...], cfg: BalanceConfig) -> Float[Tensor, ""]:
    """The balancing losses that the configuration switches on, weighted, mean over the MoE layers; 0 if none."""
    terms = (
        (cfg.switch_coef, load_balance_loss),
        (cfg.sequence_coef, sequence_balance_loss),
        (cfg.z_coef, z_loss),
    )
    wanted = [coef * loss(stats) for coef, loss in terms if coef for stats in routing]
    return torch.stack(wanted).sum() / len(routing) if wanted else torch.zeros(())


class _RoutingTally:
    """Expert counts and mean scores over the micro-batches of one step, a MoE layer each."""

    def __init__(self, routing: tuple[RouterStats, ...]):
        self.load = [0] * len(routing)
        self.probability = [0.0] * len(routing)

    @torch.no_grad()
    def add(self, routing: tuple[RouterStats, ...]) -> None:
        for i, stats in enumerate(routing):
            self.load[i] = self.load[i] + expert_load(stats.expert_idx, stats.scores.shape[-1])
            share = stats.scores / stats.scores.sum(dim=-1, keepdim=True)
            self.probability[i] = self.probability[i] + share.flatten(0, -2).mean(dim=0)

    def facts(self) -> dict[str, list]:
        load = [count.float() for count in self.load]
        probability = [p / p.sum() for p in self.probability]
        return {
            "expert_load": [(count / count.mean()).tolist() for count in load],
            "max_vio": [max_violation(count) for count in load],
            "router_entropy": [-(p * p.clamp(min=1e-30).log()).sum().item() for p in probability],
        }


def train(
    model: Model,
    corpus: Corpus,
    cfg: TrainConfig,
    run_dir: Path | None = None,
    resume: bool = False,
    steer: Steer | None = None,
) -> Iterator[StepRecord]:
    """Train `model` in place, yielding a record after every optimizer step.

    With `run_dir`, every evaluation saves a checkpoint there and `steps.jsonl` gets a line a record; closing the
    generator saves too, so a stopped run can go on. `resume` continues the run in `run_dir` as if it had never
    stopped: on a CPU, bit for bit. `steer` is asked what to change (see `steering`) before every step, after every
    forward and backward pass in it, and after every batch of an evaluation, so that it acts in a fraction of a
    step; what it has changed holds after resuming too. On a CPU the process keeps the memory that a step frees (see
    `memory`). Raises `TrainingDiverged` when the loss is not finite.
    """
    device = resolve_device(cfg.device)
    autocast(cfg, device)  # refuses a number format that the device lacks, before anything is written
    if cfg.seq_len > model.cfg.max_seq_len:
        raise ConfigError(f"seq_len={cfg.seq_len} is above max_seq_len={model.cfg.max_seq_len} of the model")
    if corpus.tokenizer.n_vocab > model.cfg.vocab_size:
        raise ConfigError(
            f"vocab_size={model.cfg.vocab_size} of the model is below the tokenizer's {corpus.tokenizer.n_vocab}"
        )
    if device.type == "cpu":
        keep_freed_memory()
    model.to(device).train()
    optimizers = build_optimizers(model, cfg.optim)
    done = checkpoint.TrainingState(0, 0.0, corpus.fingerprint)
    if resume:
        done = _resume(run_dir, model, optimizers, cfg, corpus)
    waited = 0.0
    log = _StepLog(run_dir, done.step)
    saved_step = done.step if resume else -1

    def save() -> None:
        nonlocal saved_step
        if run_dir is not None and saved_step != done.step:
            checkpoint.save_checkpoint(run_dir, model, optimizers, corpus.tokenizer, cfg, done)
            saved_step = done.step

    def wanted() -> tuple[Intervention, ...]:
        """What the caller wants changed from the next step on; the time that the answer takes is not training's."""
        nonlocal waited
        asked = time.perf_counter()
        answer = () if steer is None else tuple(steer(done.step + 1))
        waited += time.perf_counter() - asked
        return answer

    def changed() -> bool:
        return wanted() != interventions

    try:
        while done.step < cfg.steps:
            interventions = check_interventions(wanted(), done.step + 1, model)
            steering = Steering.of(cfg).after((*done.interventions, *interventions))
            started, waited = time.perf_counter(), 0.0
            facts = _optimizer_step(model, optimizers, corpus, cfg, steering, done.step, device, changed)
            if facts is None:
                model.zero_grad(set_to_none=True)
                continue
            seconds = time.perf_counter() - started - waited
            done = replace(
                done,
                step=done.step + 1,
                seconds=done.seconds + seconds,
                interventions=(*done.interventions, *interventions),
            )
            tokens_a_step = cfg.batch_size * cfg.seq_len * cfg.grad_accum
            due = done.step % cfg.eval_every == 0 or done.step == cfg.steps
            evaluation = None
            if due:
                # Cut short by the end it is none. The step is done all the same; the next question ends the training.
                with use_inference_top_k(model, steering.inference_top_k), contextlib.suppress(EndTraining):
                    evaluation = evaluate(model, corpus, cfg, after_batch=wanted)
            record = StepRecord(
                step=done.step,
                n_steps=cfg.steps,
                tokens=done.step * tokens_a_step,
                seconds=done.seconds,
                tokens_per_s=tokens_a_step / seconds,
                evaluation=evaluation,
                interventions=interventions,
                **facts,
            )
            log.write(record)
            if due:
                save()
            yield record
    except EndTraining:
        model.zero_grad(set_to_none=True)
        save()
    except GeneratorExit:
        save()
        raise


def _optimizer_step(
    model: Model,
    optimizers: list[torch.optim.Optimizer],
    corpus: Corpus,
    cfg: TrainConfig,
    steering: Steering,
    step: int,
    device: torch.device,
    changed: Callable[[], bool],
) -> dict | None:
    """Forward and backward over the micro-batches, the update, the bias update, QK-clip; the record's facts.

    None, and no update, where the caller has changed its mind while the gradients were made.
    """
    cfg = steering.applied_to(cfg)
    lr = lr_at(step, cfg)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr
    clip = cfg.qk_clip_tau is not None
    total_loss = total_balance = 0.0
    tally, max_qk_logit = None, None
    for micro in range(cfg.grad_accum):
        inputs, targets = batch(
            corpus.train,
            step * cfg.grad_accum + micro,
            batch_size=cfg.batch_size,
            seq_len=cfg.seq_len,
            seed=cfg.seed,
        )
        with autocast(cfg, device):
            out: ModelOutput = model(inputs.to(device), with_max_qk_logit=clip)
            loss = next_token_loss(out.logits, targets.to(device))
            balance = balance_term(out.routing, cfg.balance)
        if changed():
            return None
        ((loss + balance) / cfg.grad_accum).backward()
        total_loss += loss.item() / cfg.grad_accum
        total_balance += balance.item() / cfg.grad_accum
        tally = tally or _RoutingTally(out.routing)
        tally.add(out.routing)
        if clip:
            seen = out.max_qk_logit
            max_qk_logit = seen if max_qk_logit is None else torch.maximum(max_qk_logit, seen)
        if changed():
            return None
    if not math.isfinite(total_loss):
        raise TrainingDiverged(
            f"the loss is {total_loss} at step {step + 1}: try a lower lr than {cfg.optim.lr}"
        )
    with freeze_experts(model, optimizers, steering.frozen_experts):
        grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), cfg.grad_clip).item()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    if isinstance(model, Kimi) and cfg.balance.bias_update_rate:
        for layer, load in zip(model.moe_layers(), tally.load, strict=True):
            update_expert_bias_(layer.expert_bias, load, cfg.balance.bias_update_rate)
    if clip:
        for layer, layer_max in zip(model.layers, max_qk_logit, strict=True):
            layer.clip_qk_(layer_max, cfg.qk_clip_tau)
    return {
        "lr": lr,
        "loss": total_loss,
        "balance_loss": total_balance,
        "grad_norm": grad_norm,
        "max_qk_logit": max_qk_logit.tolist() if clip else None,
        **tally.facts(),
    }


def _resume(
    run_dir: Path | None,
    model: Model,
    optimizers: list[torch.optim.Optimizer],
    cfg: TrainConfig,
    corpus: Corpus,
) -> checkpoint.TrainingState:
    """Put the run's newest checkpoint into the model and the optimizers, after checking that it is the same run."""
    if run_dir is None:
        raise ConfigError("resume needs the folder of the run")
    found = checkpoint.load_checkpoint(run_dir, next(model.parameters()).device)
    pairs = (
        ("model", to_dict(found.model.cfg), to_dict(model.cfg)),
        ("training", to_dict(found.train), to_dict(cfg)),
        ("corpus", {"fingerprint": found.progress.corpus_fingerprint}, {"fingerprint": corpus.fingerprint}),
    )
    for what, theirs, ours in pairs:
        for field in ours:
            if theirs.get(field) != ours[field]:
                raise ConfigError(
                    f"cannot resume {run_dir}: its {what} has {field}={theirs.get(field)}, yours {ours[field]}"
                )
    model.load_state_dict(found.model.state_dict())
    checkpoint.unpack_optimizers(model, optimizers, found.optimizer_state)
    return found.progress


class _StepLog:
    """`steps.jsonl`: one JSON line a record; on resuming, lines after the checkpoint are dropped."""

    def __init__(self, run_dir: Path | None, keep_steps: int):
        self.path = None if run_dir is None else run_dir / "steps.jsonl"
        if self.path is None:
            return
        run_dir.mkdir(parents=True, exist_ok=True)
        kept = []
        if keep_steps and self.path.exists():
            kept = self.path.read_text(encoding="utf-8").splitlines()[:keep_steps]
        self.path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def write(self, record: StepRecord) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record.to_dict()) + "\n")
