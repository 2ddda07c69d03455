"""The training loop: a generator that yields a `StepRecord` per optimizer step, so the caller may stop it at any time.

`step` takes one step, `evaluate` measures, `checkpoint` saves, `steering` says what may be changed on the way.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from nanokimi import checkpoint, ranks
from nanokimi.checkpoint import TrainingState
from nanokimi.compiled.choice import choose_compile
from nanokimi.compiled.graph import CompiledLosses
from nanokimi.config import ConfigError, TrainConfig, to_dict
from nanokimi.device import choose_device, choose_dtype
from nanokimi.evaluate import Evaluation, evaluate
from nanokimi.model import Model
from nanokimi.optim import build_optimizers
from nanokimi.record import StepRecord
from nanokimi.runs import folder
from nanokimi.runs.log import StepLog
from nanokimi.runs.longer import check_steps
from nanokimi.runs.shared import check_ranks
from nanokimi.runs.state import MAY_DIFFER, refuse_other
from nanokimi.steering import (
    EndTraining,
    Intervention,
    Steer,
    Steering,
    check_interventions,
    read_answer,
    use_inference_top_k,
)
from nanokimi.step import StepFacts, TrainingDiverged, take_step
from nanokimi.system.checked import checked
from nanokimi.system.devices import explain_lack
from nanokimi.system.finite import NotFiniteError, check_trainable
from nanokimi.system.paths import AnyPath
from nanokimi.system.refusals import require
from nanokimi.system.replaced import recompute
from nanokimi.text.corpus import Corpus, check_fits
from nanokimi.torchrun import ask_first, name_lost


@checked
def train(
    model: Model,
    corpus: Corpus,
    cfg: TrainConfig,
    run_dir: AnyPath | None = None,
    resume: bool = False,
    steer: Steer | None = None,
) -> Iterator[StepRecord]:
    """Train `model` in place and yield the record of every optimizer step.

    run_dir: the folder of the run. Every evaluation saves a checkpoint there, and so does closing the generator, so
        that a stopped run can go on; `steps.jsonl` gets a line per record. None writes nothing. An exception inside a
        step, Ctrl-C too, saves nothing: a program that wants to go on lets the step end and closes the generator.
    resume: go on with the run in `run_dir` as if it had never stopped: on a CPU with as many threads, bit for bit.
        `cfg.steps` may differ where the finished steps would have been the same: until the rate has begun to fall.
    steer: is asked what to change (see `steering`) before every step, after every forward and backward pass in it,
        and after every batch of an evaluation, so that a change acts within a fraction of a step. What it has
        changed holds after resuming too.

    Under torchrun every rank calls this with the same arguments and closes it after the same step. Rank 0 writes, and
    its `steer` alone is asked, between two steps. A run may be resumed on another number of ranks.

    Raises `ConfigError` where `model`, `corpus` and `cfg` do not fit each other, or not the run to resume, before
    anything is written; `TrainingDiverged` where a number is no longer finite: then the last checkpoint stays.

    >>> from nanokimi import DataConfig, TrainConfig, build_model, load_corpus, load_model_config, train
    >>> corpus = load_corpus(DataConfig(n_stories=200, tokenizer="char"))
    >>> model = build_model(load_model_config("kimi-smoke"))
    >>> cfg = TrainConfig(steps=2, warmup_steps=0, batch_size=2, seq_len=32, eval_windows=2)
    >>> [record.step for record in train(model, corpus, cfg)]
    [1, 2]
    """
    # A caller may change the current folder between two steps.
    run_dir = None if run_dir is None else folder.locate(run_dir)
    with (
        contextlib.nullcontext() if run_dir is None or ranks.rank() > 0 else folder.own(run_dir),
        recompute(model.layers if cfg.recompute else ()),
        explain_lack(cfg.device),
        name_lost(),
    ):
        run = _prepare(model, corpus, cfg, run_dir, resume, steer)
        try:
            while run.state.step < cfg.steps:
                yield run.advance()
        except (EndTraining, GeneratorExit):
            model.zero_grad(set_to_none=True)  # gradients of a step that was given up
            run.save()


@torch.inference_mode(False)  # also where the caller computes without gradients
def _prepare(
    model: Model, corpus: Corpus, cfg: TrainConfig, run_dir: Path | None, resume: bool, steer: Steer | None
) -> "_Run":
    """The run before its first step, or after the step of the checkpoint that it resumes from."""
    device = choose_device(cfg.device)
    dtype = choose_dtype(cfg.dtype, device)
    check_fits(corpus, model.cfg, cfg.seq_len)
    check_trainable(model)
    check_ranks(model, corpus, cfg)
    model.to(device).train()
    graph = CompiledLosses(model, dtype) if _choose_compile(model, cfg, device) else None
    optimizers = build_optimizers(model, cfg.optim)
    if resume:
        state = _restore(model, optimizers, corpus, cfg, run_dir)
    else:
        state = TrainingState(step=0, seconds=0.0, corpus_fingerprint=corpus.fingerprint)
    saved_step = state.step if resume else None
    return _Run(
        model, optimizers, corpus, cfg, dtype, graph, run_dir, steer, state, saved_step, ranks.n_ranks()
    )


def _choose_compile(model: Model, cfg: TrainConfig, device: torch.device) -> bool:
    """Whether the step is compiled: not where other ranks hold parts of the weights."""
    whole = not ranks.is_part(next(model.parameters()))
    require(
        whole or cfg.compile != "on",
        "compile=on: not for a sharded model; use compile=off or --layout=replicated",
    )
    return whole and choose_compile(cfg.compile, device)


def _restore(
    model: Model,
    optimizers: list[torch.optim.Optimizer],
    corpus: Corpus,
    cfg: TrainConfig,
    run_dir: Path | None,
) -> TrainingState:
    """Load the run's newest checkpoint into model and optimizers, after checking that it is of the same run."""
    if run_dir is None:
        raise ConfigError("resume needs the folder of the run")
    ask_first(partial(folder.bring_back, run_dir))
    found = checkpoint.load_checkpoint(run_dir, next(model.parameters()).device)
    ours = replace(cfg, **{name: getattr(found.train, name) for name in MAY_DIFFER})
    refuse_other(run_dir, "model", to_dict(found.model.cfg), to_dict(model.cfg))
    refuse_other(run_dir, "training", to_dict(found.train) | {"steps": cfg.steps}, to_dict(ours))
    check_steps(run_dir, found.state.step, found.train, cfg)
    refuse_other(run_dir, "corpus", {"is": found.state.corpus_fingerprint}, {"is": corpus.fingerprint})
    checkpoint.restore_(model, optimizers, found)
    return found.state


class _StepGivenUp(Exception):
    """The caller has changed its mind about the step under way, which is taken anew."""


@dataclass
class _Run:
    """A training under way: what it works on, and how far it is."""

    model: Model
    optimizers: list[torch.optim.Optimizer]
    corpus: Corpus
    cfg: TrainConfig
    dtype: torch.dtype
    graph: CompiledLosses | None
    run_dir: Path | None
    steer: Steer | None
    state: TrainingState
    saved_step: int | None
    n_ranks: int
    log: StepLog | None = None
    seconds_waited: float = 0.0  # for answers of the caller, since the step under way was begun

    @torch.inference_mode(False)
    @torch.enable_grad()
    def advance(self) -> StepRecord:
        """Take the next step, evaluate and save where that is due, and return the step's record."""
        facts, interventions, seconds = self._take_step()
        self.state = replace(
            self.state,
            step=self.state.step + 1,
            seconds=self.state.seconds + seconds,
            interventions=(*self.state.interventions, *interventions),
        )
        is_due = self.state.step % self.cfg.eval_every == 0 or self.state.step == self.cfg.steps
        tokens_per_step = self.cfg.batch_size * self.cfg.seq_len * self.cfg.grad_accum
        record = StepRecord(
            step=self.state.step,
            n_steps=self.cfg.steps,
            tokens=self.state.step * tokens_per_step,
            seconds=self.state.seconds,
            tokens_per_s=tokens_per_step / seconds,
            compile_seconds=0.0 if self.graph is None else self.graph.take_seconds(),
            evaluation=self._evaluate() if is_due else None,
            interventions=interventions,
            **vars(facts),
        )
        if self.run_dir is not None and ranks.rank() == 0:
            self._open_log(self.run_dir).write(record.to_dict())
        if is_due:
            self.save(evaluated=record.evaluation is not None)
        return record

    def save(self, evaluated: bool = False) -> None:
        """Write a checkpoint, unless there is no folder for it or it is already there.

        Raises `TrainingDiverged`, and leaves the last checkpoint in its place, where the weights give no finite loss.
        """
        if self.run_dir is not None and self.saved_step != self.state.step:
            if not evaluated:
                self._measure(replace(self.cfg, eval_windows=1))
            if ranks.rank() == 0:
                self._open_log(self.run_dir).sync()
            checkpoint.save_checkpoint(
                self.run_dir, self.model, self.optimizers, self.corpus.tokenizer, self.cfg, self.state
            )
            self.saved_step = self.state.step

    def _open_log(self, run_dir: Path) -> StepLog:
        """The log. It is begun when the first step is done: a start that fails leaves the folder as it was."""
        if self.log is None:
            folder.begin(run_dir, self.saved_step)
            self.log = StepLog(run_dir, keep_steps=self.saved_step or 0)
        return self.log

    def _take_step(self) -> tuple[StepFacts, tuple[Intervention, ...], float]:
        """The facts of the next step, the interventions that it was taken with, and its seconds.

        Whenever the caller changes its mind about the interventions, the step is given up and taken anew.
        """
        require(
            ranks.n_ranks() == self.n_ranks,
            "the number of ranks has changed: stop the training, and resume it",
        )
        while True:
            interventions = check_interventions(self._ask(), self.state.step + 1, self.model)
            settings = self._settings(interventions)
            if self.graph is not None and not self.graph.prepare(settings.apply_to(self.cfg)):
                self.graph = None
            started, self.seconds_waited = time.perf_counter(), 0.0
            try:
                facts = take_step(
                    self.model,
                    self.optimizers,
                    self.corpus,
                    self.cfg,
                    settings,
                    self.state.step,
                    self.dtype,
                    interrupt=partial(self._give_up_unless, interventions),
                    graph=self.graph,
                )
            except _StepGivenUp:
                self.model.zero_grad(set_to_none=True)
            else:
                return facts, interventions, time.perf_counter() - started - self.seconds_waited

    def _evaluate(self) -> Evaluation | None:
        """The evaluation after a step; None where the caller ends the training in the middle of it."""
        # The step is done and counts all the same: the next question, which is about the next step, ends the training.
        with (
            use_inference_top_k(self.model, self._settings().inference_top_k),
            contextlib.suppress(EndTraining),
        ):
            return self._measure(self.cfg, interrupt=self._ask if self.n_ranks == 1 else lambda: None)

    def _measure(self, cfg: TrainConfig, interrupt: Callable[[], object] = lambda: None) -> Evaluation:
        try:
            return evaluate(self.model, self.corpus, cfg, interrupt)
        except NotFiniteError as error:
            steered = self._settings().apply_to(self.cfg)
            raise TrainingDiverged(str(error), self.state.step, "", steered) from None

    def _settings(self, interventions: tuple[Intervention, ...] = ()) -> Steering:
        """The steered settings after all interventions so far and these."""
        return Steering.from_config(self.cfg).intervene((*self.state.interventions, *interventions))

    def _ask(self) -> tuple[Intervention, ...]:
        """What the caller wants changed from the next step on. The caller may wait, or raise `EndTraining`."""
        asked = time.perf_counter()
        answer = ask_first(self._ask_here)
        self.seconds_waited += time.perf_counter() - asked
        if answer is None:
            raise EndTraining
        return answer

    def _ask_here(self) -> tuple[Intervention, ...] | None:
        """The caller's answer, in this process; None where it ends the training."""
        try:
            return () if self.steer is None else read_answer(self.steer(self.state.step + 1))
        except EndTraining:
            return None

    def _give_up_unless(self, interventions: tuple[Intervention, ...]) -> None:
        # Several ranks are told between two steps: within one they are at different places.
        if self.n_ranks == 1 and self._ask() != interventions:
            raise _StepGivenUp
