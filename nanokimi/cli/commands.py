"""The commands of the command line: nanokimi prepare | train | generate | bench | presets | export.

YAML presets, which you can copy and edit (`nanokimi presets kimi-tiny > my.yaml`), and `--set` hold all settings.
Every mistake ends in one line on stderr and exit code 2, before anything is written.
"""

import contextlib
import importlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
import typer.main

from nanokimi import checkpoint, hub
from nanokimi.cli import options, settings
from nanokimi.cli.memory import check_memory, explain_shortage
from nanokimi.cli.terminal import decode, load_corpus_with_bars, say, tell
from nanokimi.cli.training import resume_command, run_training
from nanokimi.compiled.choice import choose_compile
from nanokimi.config import ConfigError
from nanokimi.count import count_parameters, flops_per_token
from nanokimi.device import choose_device, choose_dtype
from nanokimi.generate import generate as generate_tokens
from nanokimi.model import build_model
from nanokimi.presets.idle import idle_settings
from nanokimi.presets.sampling import check_run, check_sampling
from nanokimi.presets.yaml_config import PRESETS, preset_names
from nanokimi.runs import folder
from nanokimi.runs.log import describe_gaps
from nanokimi.step import TrainingDiverged
from nanokimi.system.memory import keep_freed_memory
from nanokimi.system.printable import one_line, quote
from nanokimi.system.refusals import nearest
from nanokimi.text import corpus
from nanokimi.text.tokenizer import END_OF_TEXT

app = typer.Typer(
    help="Build, train and compare a small Kimi K2 and a GPT.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command(name="prepare")
def prepare_text(data: options.Data = "storyworld", overrides: options.Overrides = []) -> None:  # noqa: B006  typer reads it once
    """Tokenize a text once, and print its size."""
    cfg = settings.load_data_config(data, settings.sort_overrides(overrides, "data")["data"])
    loaded = load_corpus_with_bars(cfg)
    size = len(loaded.train) + len(loaded.val)
    say(one_line(f"{loaded.name}: {len(loaded.train):,} training and {len(loaded.val):,} validation tokens"))
    mean = _compute_mean_bytes(loaded)
    say(f"vocabulary {loaded.tokenizer.n_vocab:,}, {mean:.2f} bytes per token, {size:,} tokens in all")
    if loaded.floor is not None:
        say(f"floor {loaded.floor:.4f} bits per byte: no model can beat it on average")


@app.command(name="train")
def train_model(
    model: Annotated[
        str | None, typer.Option(help="a model preset or a .yaml file [default: kimi-tiny]")
    ] = None,
    training: Annotated[
        str | None, typer.Option("--train", help="a training preset or a .yaml file [default: train-tiny]")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="storyworld, tinystories, a text file, a folder, or a .yaml file [default: storyworld]"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        options.folder("--out", "folder of the run [default: out/MODEL]"),
    ] = None,
    overrides: options.Overrides = [],  # noqa: B006  typer reads it once
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps")] = None,
    resume: Annotated[bool, typer.Option(help="continue the run in --out with its own settings")] = False,
) -> None:
    """Train a model; Ctrl-C saves and stops, and --resume continues."""
    out = out or Path("out") / Path(model or "kimi-tiny").stem
    done, about = None, list[str]()
    if resume:
        for option, value in (("--model", model), ("--train", training), ("--data", data)):
            if value is not None:
                raise ConfigError(
                    f"--resume continues with the run's own settings: leave {option} out, and name the run's folder "
                    f"with --out: {resume_command(out)}"
                )
        done, found, run = _read_run(out, overrides)
        if done >= run.train.steps:
            # Where the folder is in use, or read-only, what a killed process has left stays.
            with contextlib.suppress(ConfigError), folder.own(out):
                folder.begin(out, done)
            say(one_line(f"{out} is trained to its last step, {run.train.steps}"))
            return
        about.append(f"resuming after step {done} of {run.train.steps}, from {found}")
    else:
        run = _read_settings(
            "kimi-tiny" if model is None else model,
            "train-tiny" if training is None else training,
            "storyworld" if data is None else data,
            overrides,
        )
        settings.check_name(out)
    if device is not None:
        run = replace(run, train=replace(run.train, device=device))
    with folder.own(folder.locate(out)):  # a training that is running there is told before any work is done
        if not resume and checkpoint.has_checkpoint(out):
            raise ConfigError(
                f"{quote(str(out))} already holds a run; to continue it: {resume_command(out)}; "
                "or name another folder with --out"
            )
    computes_on = choose_device(run.train.device)
    choose_dtype(run.train.dtype, computes_on)
    compiles = choose_compile(run.train.compile, computes_on)
    loaded = load_corpus_with_bars(run.data, run.train.seq_len)
    if not resume:
        # The text decides how many tokens there are: in a larger embedding some rows would never be used.
        n_vocab = loaded.tokenizer.n_vocab
        if any(each.partition("=")[0].strip() == "model.vocab_size" for each in overrides):
            tell(f"model.vocab_size does nothing: it is the number of tokens of the text, {n_vocab}")
        run = replace(run, model=replace(run.model, vocab_size=n_vocab))
        for line in idle_settings(run.data, run.model, run.train, len(loaded.val)):
            tell(line)
    check_memory(run.model, run.train)
    with explain_shortage(run.train):
        network = build_model(run.model, run.train.seed)
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
    raise typer.Exit(run_training(network, loaded, run, out, done, about))


def _read_settings(model: str, training: str, data: str, overrides: list[str]) -> settings.Run:
    """The settings of a new run, from the words of the command."""
    sets = settings.sort_overrides(overrides, "data", "model", "train")
    run = settings.Run(
        settings.load_data_config(data, sets["data"]),
        settings.load_model_config(model, sets["model"]),
        settings.load_train_config(training, sets["train"]),
    )
    settings.check_fits(run.model, run.train)
    return run


def _read_run(out: Path, overrides: list[str]) -> tuple[int, Path, settings.Run]:
    """The step after which a run stopped, its checkpoint, and its settings."""
    if not checkpoint.has_checkpoint(out):
        raise ConfigError(
            f"nothing to resume in {quote(str(out))}: it has no checkpoint (the first comes with the first "
            "evaluation); name the --out of a run, or start this one again without --resume"
        )
    run = settings.read_run(out, overrides)
    found = _load(out)
    # Until a new run has a checkpoint, those of the older one, and its log, have names that say so.
    aside = folder.REPLACED if found.path.name.startswith(folder.REPLACED) else ""
    if gaps := describe_gaps(out / f"{aside}{folder.LOG}", found.state.step):
        tell(gaps)
    return found.state.step, found.path, run


def _load(path: Path) -> checkpoint.Checkpoint:
    """The newest checkpoint that loads; where that is not the newest of all, a line says why."""
    found = checkpoint.load_checkpoint(path)
    for damaged in found.skipped:
        tell(f"{damaged}; the checkpoint before it is used")
    return found


@app.command(name="generate")
def generate_text(
    checkpoint_path: options.CheckpointPath,
    prompt: Annotated[str, typer.Option(help="the text to continue; empty starts a new document")] = "",
    max_new_tokens: Annotated[int, options.whole("the most tokens to write")] = 200,
    temperature: Annotated[float, options.number("0 always takes the likeliest token")] = 0.8,
    top_k: Annotated[int | None, options.whole("keep the k likeliest tokens")] = None,
    top_p: Annotated[float | None, options.number("keep the likeliest tokens that reach p together")] = None,
    seed: Annotated[int, options.whole("the same seed writes the same text")] = 0,
    compile: Annotated[
        str, typer.Option(help="auto, on or off: a token as one compiled graph, made in a minute or so")
    ] = "auto",
) -> None:
    """Continue a prompt."""
    with options.named_as_options():
        check_sampling(temperature, top_k, top_p)
        check_run(max_new_tokens, seed, None, compile)
    settings.check_letters(prompt, "--prompt", "write it in UTF-8")
    loaded = _load(checkpoint_path)
    encoding = loaded.tokenizer
    # In training every document follows a separator, so a prompt begins like a document.
    ids = [encoding.encode_single_token(END_OF_TEXT), *encoding.encode_ordinary(prompt)]
    tokens = generate_tokens(
        loaded.model.eval(),
        ids,
        max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop_id=ids[0],
        compile=compile,
    )
    written = decode(encoding.decode_single_token_bytes, tokens)
    first = next(written)  # a mistake shows here, before anything is printed
    if compile == "on":
        tell("compiling what a token takes before the second one, which takes a while")
    try:
        say(prompt + first, end="")
        for piece in written:
            say(piece, end="")
    finally:
        say("")  # what comes after an interruption is a line of its own


@app.command(name="bench", context_settings={"ignore_unknown_options": True, "help_option_names": []})
def run_bench(words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Compare Kimi with GPT; see `nanokimi bench --help`."""
    # Found by its name, when it is asked for: the core knows nothing else of the lab.
    try:
        bench = importlib.import_module("lab_utils.bench.command")
    except ModuleNotFoundError as error:
        raise ConfigError(f"bench needs {error.name}: pip install 'nanokimi[lab]' brings it") from None
    raise typer.Exit(bench.run(words or []))


@app.command(name="presets")
def list_presets(
    name: Annotated[str | None, typer.Argument(help="print the YAML of this preset, to copy it")] = None,
) -> None:
    """List the presets, or print one."""
    if name is not None:
        if name not in preset_names():
            raise ConfigError(f"preset {quote(name)} does not exist; {nearest(name, preset_names())}")
        say((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"), end="")
        return
    for each in preset_names():
        first = (PRESETS / f"{each}.yaml").read_text(encoding="utf-8").splitlines()[0]
        say(f"{each:22s} {first.removeprefix('# ')}")


@app.command(name="export")
def export_checkpoint(
    checkpoint_path: options.CheckpointPath,
    to: Annotated[Path, options.folder("--to", "the folder to write")],
) -> None:
    """Write a Kimi checkpoint for transformers."""
    settings.check_name(to)
    loaded = _load(checkpoint_path)
    hub.save_pretrained(loaded.model, loaded.tokenizer, to)
    # Absolute, so that the line loads it from any folder; repr, so that it is Python whatever the name holds.
    say(f"wrote it; to load it: transformers.AutoModelForCausalLM.from_pretrained({str(to.absolute())!r})")


def _compute_mean_bytes(loaded: corpus.Corpus) -> float:
    """Bytes per token on the first million tokens of the validation split."""
    sample = torch.from_numpy(loaded.val.tokens[:1_000_000].astype("int64"))
    return loaded.token_bytes[sample].double().mean().item()


def run_command(arguments: list[str]) -> int:
    """Run one command of the command line and return its exit code; `ValueError` for what a user can correct."""
    command = typer.main.get_command(app)
    try:
        with command.make_context("nanokimi", arguments or ["--help"]) as context:
            command.invoke(context)
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.TyperException as error:  # a wrong option, a missing value
        raise ConfigError(error.format_message()) from None
    except TrainingDiverged as error:
        raise ConfigError(str(error)) from None
    return 0
