"""What `nanokimi train` does before its first step: it reads the settings, refuses some, and builds the model."""

import contextlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nanokimi import checkpoint, ranks
from nanokimi.cli import settings
from nanokimi.cli.memory import check_memory, explain_shortage
from nanokimi.cli.models import Found, load_newest
from nanokimi.cli.origin import check_tokens, describe_origin, read_beginning
from nanokimi.cli.terminal import load_corpus_with_bars, say, tell
from nanokimi.cli.training import resume_command, run_training
from nanokimi.compiled.choice import choose_compile
from nanokimi.config import ConfigError
from nanokimi.count import count_parameters, flops_per_token
from nanokimi.device import choose_device, choose_dtype
from nanokimi.model import build_model
from nanokimi.presets.idle import idle_settings
from nanokimi.runs import folder
from nanokimi.runs.log import describe_gaps
from nanokimi.runs.longer import check_steps, describe_steps
from nanokimi.system.memory import keep_freed_memory
from nanokimi.system.printable import one_line, quote
from nanokimi.system.refusals import require
from nanokimi.text.corpus import Corpus
from nanokimi.torchrun import ask_first, n_restarts
from nanokimi.tracking.tracker import check_tool


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the command says. sharded: several ranks hold a part of every weight each. log: what tracks the run."""

    model: str | None
    training: str | None
    data: str | None
    out: Path
    overrides: list[str]
    device: str | None
    resume: bool
    init_from: Path | None
    sharded: bool
    log: str | None


def begin_training(words: Words) -> int:
    """Begin a run, or go on with one; the exit code."""
    is_again = int(ranks.maxima(torch.tensor(float(n_restarts())))) > 0
    if is_again and not words.resume and checkpoint.has_checkpoint(words.out):
        # torchrun repeats the words that began the run, which hold its settings.
        nothing: dict[str, Any] = dict.fromkeys(("model", "training", "data", "init_from"))
        words = replace(words, resume=True, overrides=[], **nothing)
    out, sharded = words.out, words.sharded
    if words.log is not None:
        check_tool(words.log)
    found: Found | None = None
    done, about = None, list[str]()
    if words.resume:
        saved, run = _read_run(words)
        done = saved.state.step
        if done >= run.train.steps:
            # Where the folder is in use, or read-only, what a killed process has left stays.
            with contextlib.suppress(ConfigError):
                ask_first(partial(_clean_up, out, done))
            say(one_line(f"{out} is trained to its last step, {run.train.steps}"))
            return 0
        _check_shares(run.train.grad_accum)
        about.append(f"resuming after step {done} of {run.train.steps}, from {saved.path}")
        if run.train.steps != saved.train.steps:
            about.append(describe_steps(saved.train, run.train))
    elif words.init_from is not None:
        found, run = read_beginning(words.init_from, words.model, words.training, words.data, words.overrides)
        about.append(f"beginning with the weights of {describe_origin(found)}, and a fresh optimizer")
    else:
        run = _read_settings(
            "kimi-tiny" if words.model is None else words.model,
            words.training,
            "storyworld" if words.data is None else words.data,
            words.overrides,
        )
    if not words.resume:
        settings.check_name(out)
    if words.device is not None:
        run = replace(run, train=replace(run.train, device=words.device))
    ask_first(partial(_check_free, out, words.resume))  # before any work is done
    computes_on = choose_device(run.train.device)
    choose_dtype(run.train.dtype, computes_on)
    compiles = choose_compile(run.train.compile, computes_on) and not sharded
    if sharded and ranks.n_ranks() == 1:
        tell("--layout=sharded does nothing for one process: torchrun starts several")
    n_parts = ranks.n_ranks() if sharded else 1
    # The text decides the vocabulary. What is too big with any is refused before the text is made.
    check_memory(replace(run.model, vocab_size=1), run.train, n_parts)
    made: list[Corpus] = []  # by rank 0, so that the others find the tokens of a new text
    ask_first(lambda: made.append(load_corpus_with_bars(run.data, run.train.seq_len)))
    loaded = made[0] if made else load_corpus_with_bars(run.data, run.train.seq_len)
    if not words.resume:
        run = _fit_to_text(run, loaded, words.overrides, found)
    check_memory(run.model, run.train, n_parts)
    with explain_shortage(run.train):
        network = build_model(run.model, run.train.seed) if found is None else found.model
    counted = count_parameters(run.model)
    flops = flops_per_token(run.model, run.train.seq_len)
    about.append(
        f"{run.model.kind}: {counted.total:,} parameters, {counted.active:,} active, "
        f"{flops:,.0f} FLOPs per token; {loaded.name}; {out}"
    )
    if compiles:
        about.append("compiling the training step before the first one, which takes a while")
    if computes_on.type == "cpu":
        keep_freed_memory()
    if sharded:
        ranks.shard(network, computes_on)
    origin = "" if found is None else describe_origin(found)
    return run_training(network, loaded, run, out, done, about, origin, words.log)


def _fit_to_text(
    run: settings.Run, loaded: Corpus, overrides: list[str], found: Found | None
) -> settings.Run:
    """A new run, its model with as many tokens as the text has; what does nothing beside the others is told."""
    # In a larger embedding some rows would never be used.
    n_vocab = loaded.tokenizer.n_vocab
    if any(each.partition("=")[0].strip() == "model.vocab_size" for each in overrides):
        tell(f"model.vocab_size does nothing: it is the number of tokens of the text, {n_vocab}")
    if found is None:
        run = replace(run, model=replace(run.model, vocab_size=n_vocab))
    else:
        check_tokens(found, loaded)
    for line in idle_settings(run.data, run.model, run.train, len(loaded.val)):
        tell(line)
    return run


def _check_shares(n_micro: int) -> None:
    """`ConfigError` where the ranks cannot share the micro-batches of a run that has begun: these stay as they are."""
    n = ranks.n_ranks()
    fits = ", ".join(str(each) for each in range(1, n_micro + 1) if n_micro % each == 0)
    says = f"this run has {n_micro} micro-batches per step, which {n} ranks cannot share evenly: resume it on {fits}"
    require(n_micro % n == 0, says)


def _clean_up(out: Path, done: int) -> None:
    with folder.own(out):
        folder.begin(out, done)


def _check_free(out: Path, resume: bool) -> None:
    """`ConfigError` where a training is running in the folder, and where a new one would find a run there."""
    with folder.own(folder.locate(out)):
        if not resume and checkpoint.has_checkpoint(out):
            raise ConfigError(
                f"{quote(str(out))} already holds a run; to continue it: {resume_command(out)}; "
                "or name another folder with --out"
            )


def _read_settings(model: str, training: str | None, data: str, overrides: list[str]) -> settings.Run:
    """The settings of a new run, from the words of the command; without a training, the usual one of the model."""
    sets = settings.sort_overrides(overrides, "data", "model", "train")
    text, network = (
        settings.load_data_config(data, sets["data"]),
        settings.load_model_config(model, sets["model"]),
    )
    usual = settings.USUAL_TRAINING[network.kind]
    run = settings.Run(
        text, network, settings.load_train_config(usual if training is None else training, sets["train"])
    )
    settings.check_fits(run.model, run.train)
    return run


def _read_run(words: Words) -> tuple[checkpoint.Checkpoint, settings.Run]:
    """The checkpoint that a run goes on from, and its settings."""
    out = words.out
    given = ("--model", words.model), ("--train", words.training), ("--data", words.data)
    for option, value in (*given, ("--init-from", words.init_from)):
        if value is not None:
            raise ConfigError(
                f"--resume continues with the run's own settings: leave {option} out, and name the run's folder "
                f"with --out: {resume_command(out)}"
            )
    if not checkpoint.has_checkpoint(out):
        raise ConfigError(
            f"nothing to resume in {quote(str(out))}: it has no checkpoint (the first comes with the first "
            "evaluation); name the --out of a run, or start this one again without --resume"
        )
    run = settings.read_run(out, words.overrides)
    found = load_newest(out)
    check_steps(out, found.state.step, found.train, run.train)
    # Until a new run has a checkpoint, those of the older one, and its log, have names that say so.
    aside = folder.REPLACED if found.path.name.startswith(folder.REPLACED) else ""
    if gaps := describe_gaps(out / f"{aside}{folder.LOG}", found.state.step):
        tell(gaps)
    return found, run
