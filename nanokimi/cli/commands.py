"""The commands of the command line: nanokimi prepare | train | generate | chat | evaluate | bench | presets | export.

YAML presets, which you can copy and edit (`nanokimi presets kimi-tiny > my.yaml`), and `--set` hold all settings.
Every mistake ends in one line on stderr and exit code 2, before anything is written.
"""

import importlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
import typer.main

import nanokimi
from nanokimi import hub, ranks
from nanokimi.abilities.report import MOST_SAMPLES, N_SAMPLES, measure_abilities
from nanokimi.cli import options, settings
from nanokimi.cli.abilities import lines_of
from nanokimi.cli.begin import Words, begin_training
from nanokimi.cli.chat import run_chat
from nanokimi.cli.completion import make_script
from nanokimi.cli.models import load_its_text, load_model, name_of, step_of
from nanokimi.cli.program import BAD_INPUT
from nanokimi.cli.terminal import bars, hush, load_corpus_with_bars, say
from nanokimi.cli.writing import Sampling, check_samples, load_writer, print_json, show_texts
from nanokimi.config import ConfigError, to_dict
from nanokimi.presets.sampling import check_run
from nanokimi.presets.yaml_config import PRESETS, preset_names
from nanokimi.step import TrainingDiverged
from nanokimi.system.atomic import write_json
from nanokimi.system.printable import one_line, quote
from nanokimi.system.refusals import nearest
from nanokimi.text import corpus
from nanokimi.torchrun import RankLost, is_said, start

app = typer.Typer(
    help="Build, train and compare a small Kimi K2 and a GPT.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(is_asked: bool | None) -> None:
    if is_asked:
        say(f"nanokimi {nanokimi.__version__}")
        raise typer.Exit


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
        str | None,
        typer.Option(
            "--train", help="a training preset or a .yaml file [default: train-kimi; for a GPT train-tiny]"
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="storyworld, almanac, tinystories, a text file, a folder, or a .yaml file [default: storyworld]"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        options.folder("--out", "folder of the run [default: out/MODEL]"),
    ] = None,
    overrides: options.Overrides = [],  # noqa: B006  typer reads it once
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps")] = None,
    resume: Annotated[
        bool,
        typer.Option(
            help="continue the run in --out with its own settings; --set train.steps goes on to more"
        ),
    ] = False,
    init_from: Annotated[
        Path | None,
        options.folder(
            "--init-from", "begin with these weights: a run's folder, or a model's name; needs --out"
        ),
    ] = None,
    layout: Annotated[
        Literal["replicated", "sharded"],
        typer.Option(help="under torchrun: every process holds the whole model, or a part of every weight"),
    ] = "replicated",
    log: Annotated[
        Literal["tensorboard", "trackio", "wandb"] | None,
        typer.Option(help="show the run there too; name it again with --resume"),
    ] = None,
) -> None:
    """Train a model; Ctrl-C saves and stops, and --resume continues. Under torchrun several processes train it."""
    start()
    if init_from is not None and out is None:
        raise ConfigError("--init-from needs --out, the folder of the new run")
    out = out or Path("out") / Path(model or "kimi-tiny").stem
    words = Words(
        model=model,
        training=training,
        data=data,
        out=out,
        overrides=overrides,
        device=device,
        resume=resume,
        init_from=init_from,
        sharded=layout == "sharded",
        log=log,
    )
    try:
        with hush(ranks.rank() > 0):
            code = begin_training(words)
    except (ValueError, TrainingDiverged, RankLost) as error:
        if is_said(str(error)):
            raise typer.Exit(BAD_INPUT) from None
        raise
    raise typer.Exit(code)


@app.command(name="generate")
def generate_text(
    checkpoint_path: options.CheckpointPath,
    prompt: Annotated[str, typer.Option(help="the text to continue; empty starts a new document")] = "",
    max_new_tokens: options.MaxNewTokens = 200,
    temperature: options.Temperature = 0.8,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    seed: options.Seed = 0,
    num_samples: Annotated[int, options.whole("how many texts; each next one takes the next seed")] = 1,
    device: options.Device = "cpu",
    compile: Annotated[
        str, typer.Option(help="auto, on or off: a token as one compiled graph, made in a minute or so")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="print a line of JSON per text")] = False,
) -> None:
    """Continue a prompt."""
    how = Sampling(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        compile=compile,
    )
    check_samples(num_samples, seed)
    settings.check_letters(prompt, "--prompt", "write it in UTF-8")
    (print_json if as_json else show_texts)(load_writer(checkpoint_path, device), prompt, how, num_samples)


@app.command(name="chat")
def chat_with_model(
    checkpoint_path: options.CheckpointPath,
    max_new_tokens: options.MaxNewTokens = 60,
    temperature: options.Temperature = 0.8,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
) -> None:
    """Write a story in turns with a model: you type, it goes on. /reset begins a new one, /quit ends."""
    how = Sampling(
        max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
    )
    run_chat(load_writer(checkpoint_path, device), how)


@app.command(name="evaluate")
def evaluate_model(
    checkpoint_path: options.CheckpointPath,
    out: Annotated[
        Path | None, options.json_file("--out", "a .json file for the numbers [default: none]")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="the text that the model was trained on [default: that of its run]")
    ] = None,
    overrides: options.Overrides = [],  # noqa: B006  typer reads it once
    samples: Annotated[int, options.whole("how many texts the model writes")] = N_SAMPLES,
    seed: Annotated[int, options.whole("the same seed writes the same texts")] = 0,
) -> None:
    """Print what a trained model can do, beyond its loss."""
    if samples not in range(1, MOST_SAMPLES + 1):
        raise ConfigError(f"--samples={samples} must lie in 1..{MOST_SAMPLES}")
    with options.named_as_options():
        check_run(1, seed, None, "auto")
    loaded = load_model(checkpoint_path)
    cfg, text = load_its_text(loaded, data, overrides)
    with bars() as show:
        found = measure_abilities(loaded.model.eval(), text, cfg, loaded.train, samples, seed, show)
    if out is not None:
        about = {"checkpoint": name_of(loaded), "step": step_of(loaded), "data": to_dict(cfg)}
        write_json(out, about | asdict(found))
    count = sum(p.numel() for p in loaded.model.parameters())
    say(one_line(f"{name_of(loaded)}: {loaded.model.cfg.kind}, {count:,} parameters, trained on {text.name}"))
    for line in lines_of(found):
        say(line)


@app.command(name="bench", context_settings={"ignore_unknown_options": True, "help_option_names": []})
def run_bench(words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Compare Kimi with GPT; see `nanokimi bench --help`."""
    # Found by its name, when it is asked for: the core knows nothing else of the lab.
    try:
        bench = importlib.import_module("lab_utils.bench.command")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"bench needs {error.name}, which comes with the extra lab: in a checkout of the repository, make brings "
            "it, and so does pip install -c constraints.txt -e '.[lab]'"
        ) from None
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
    loaded = load_model(checkpoint_path)
    hub.save_pretrained(loaded.model, loaded.tokenizer, to)
    # Absolute, so that the line loads it from any folder; repr, so that it is Python whatever the name holds.
    say(f"wrote it; to load it: transformers.AutoModelForCausalLM.from_pretrained({str(to.absolute())!r})")


@app.command(name="completion")
def print_completion(shell: Annotated[Literal["bash", "zsh"], typer.Argument(help="bash or zsh")]) -> None:
    """Print a script that completes nanokimi: eval "$(nanokimi completion bash)" in ~/.bashrc."""
    found = typer.main.get_command(app)
    words = {
        name: [
            word for each in command.params for word in (*each.opts, *each.secondary_opts) if word[0] == "-"
        ]
        for name, command in getattr(found, "commands", {}).items()
    }
    say(make_script(shell, {name: [*having, "--help"] for name, having in words.items()}), end="")


@app.callback()
def _begin(
    version: Annotated[
        bool | None,
        typer.Option("--version", is_eager=True, callback=_print_version, help="print the version and exit"),
    ] = None,
) -> None: ...


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
    except (TrainingDiverged, RankLost) as error:
        raise ConfigError(str(error)) from None
    return 0
