"""The commands of the command line: nanokimi prepare | train | generate | bench | presets | export.

YAML presets, which you can copy and edit (`nanokimi presets kimi-tiny > my.yaml`), and `--set` hold all settings.
Every mistake ends in one line on stderr and exit code 2, before anything is written.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from nanokimi import checkpoint, hub
from nanokimi.cli import settings
from nanokimi.cli.terminal import Interrupt, decode, draw_bar, keep_printable, load_corpus_with_bars
from nanokimi.config import ConfigError
from nanokimi.count import count_parameters, flops_per_token
from nanokimi.device import choose_device
from nanokimi.generate import generate as generate_tokens
from nanokimi.model import build_model
from nanokimi.presets.yaml_config import (
    PRESETS,
    load_model_config,
    load_train_config,
    preset_names,
    read_yaml,
)
from nanokimi.step import TrainingDiverged
from nanokimi.system.interpreter import python
from nanokimi.system.memory import keep_freed_memory
from nanokimi.text import corpus
from nanokimi.text.tokenizer import END_OF_TEXT
from nanokimi.train import train

app = typer.Typer(
    help="Build, train and compare a small Kimi K2 and a GPT.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Data = Annotated[str, typer.Option(help="storyworld, tinystories, a text file, a folder, or a .yaml file")]
Overrides = Annotated[
    list[str], typer.Option("--set", help="section.name=value; sections: model, train, data. Repeatable")
]
CheckpointPath = Annotated[Path, typer.Option("--checkpoint", help="a folder that `nanokimi train` wrote")]


@app.command(name="prepare")
def prepare_text(data: Data = "storyworld", overrides: Overrides = []) -> None:  # noqa: B006  typer reads it once
    """Tokenize a text once, and print its size."""
    cfg = settings.load_data_config(data, settings.sort_overrides(overrides, "data")["data"])
    loaded = load_corpus_with_bars(cfg)
    size = len(loaded.train) + len(loaded.val)
    print(f"{loaded.name}: {len(loaded.train):,} training and {len(loaded.val):,} validation tokens")
    mean = _compute_mean_bytes(loaded)
    print(f"vocabulary {loaded.tokenizer.n_vocab:,}, {mean:.2f} bytes per token, {size:,} tokens in all")
    if loaded.floor is not None:
        print(f"floor {loaded.floor:.4f} bits per byte: no model can beat it on average")


@app.command(name="train")
def train_model(
    model: Annotated[str, typer.Option(help="a model preset or a .yaml file")] = "kimi-tiny",
    training: Annotated[
        str, typer.Option("--train", help="a training preset or a .yaml file")
    ] = "train-tiny",
    data: Data = "storyworld",
    out: Annotated[Path | None, typer.Option(help="folder of the run [default: out/MODEL]")] = None,
    overrides: Overrides = [],  # noqa: B006  typer reads it once
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda")] = None,
    resume: Annotated[bool, typer.Option(help="continue the run in --out with its own settings")] = False,
) -> None:
    """Train a model; Ctrl-C saves and stops, and --resume continues."""
    out = out or Path("out") / Path(model).stem
    if resume:
        if overrides:
            raise ConfigError("--resume continues with the run's own settings; leave --set out")
        data_cfg, model_cfg, train_cfg = settings.read_run(out)
    else:
        sets = settings.sort_overrides(overrides, "data", "model", "train")
        data_cfg = settings.load_data_config(data, sets["data"])
        model_cfg = load_model_config(model, sets["model"])
        train_cfg = load_train_config(training, sets["train"] + ([f"device={device}"] if device else []))
        if settings.has_run(out) or checkpoint.has_checkpoint(out):
            raise ConfigError(
                f"{out} already holds a run: add --resume to continue it, or name another --out"
            )
    on_cpu = choose_device(train_cfg.device).type == "cpu"
    loaded = load_corpus_with_bars(data_cfg, train_cfg.seq_len)
    if not resume:
        # The text decides how many tokens there are: in a larger embedding some rows would never be used.
        model_cfg = replace(model_cfg, vocab_size=loaded.tokenizer.n_vocab)
        settings.check_fits(model_cfg, train_cfg)
        settings.write_run(out, data_cfg, model_cfg, train_cfg)
    network = build_model(model_cfg, train_cfg.seed)
    counted = count_parameters(model_cfg)
    print(
        f"{model_cfg.kind}: {counted.total:,} parameters, {counted.active:,} active, "
        f"{flops_per_token(model_cfg, train_cfg.seq_len):,.0f} FLOPs per token; {loaded.name}; {out}"
    )
    if on_cpu:
        keep_freed_memory()
    started = resume and checkpoint.has_checkpoint(out)
    with Interrupt() as interrupt:
        for record in draw_bar(train(network, loaded, train_cfg, out, started), train_cfg):
            if interrupt.requested:
                print(
                    f"stopped after step {record.step} and saved; to continue: nanokimi train --resume --out {out}"
                )
                raise typer.Exit(130)
    if started and checkpoint.load_checkpoint(out).state.step == train_cfg.steps:
        print(f"{out} is trained to its last step, {train_cfg.steps}")


@app.command(name="generate")
def generate_text(
    checkpoint_path: CheckpointPath,
    prompt: Annotated[str, typer.Option(help="the text to continue; empty starts a new document")] = "",
    max_new_tokens: Annotated[int, typer.Option(help="the most tokens to write")] = 200,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token")] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="keep the k likeliest tokens")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="keep the likeliest tokens that reach p together")
    ] = None,
    seed: Annotated[int, typer.Option(help="the same seed writes the same text")] = 0,
) -> None:
    """Continue a prompt."""
    loaded = checkpoint.load_checkpoint(checkpoint_path)
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
    )
    print(keep_printable(prompt), end="")
    for piece in decode(encoding.decode_single_token_bytes, tokens):
        print(keep_printable(piece), end="", flush=True)
    print()


@app.command(name="bench", context_settings={"ignore_unknown_options": True, "help_option_names": []})
def run_bench(options: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Compare Kimi with GPT; see `nanokimi bench --help`."""
    # In a process of its own: the core knows the name of the lab and nothing else of it.
    done = subprocess.run(python("-m", "lab_utils.bench", *(options or [])), check=False)
    raise typer.Exit(done.returncode)


@app.command(name="presets")
def list_presets(
    name: Annotated[str | None, typer.Argument(help="print the YAML of this preset, to copy it")] = None,
) -> None:
    """List the presets, or print one."""
    if name is not None:
        read_yaml(name)
        print((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"), end="")
        return
    for each in preset_names():
        first = (PRESETS / f"{each}.yaml").read_text(encoding="utf-8").splitlines()[0]
        print(f"{each:22s} {first.removeprefix('# ')}")


@app.command(name="export")
def export_checkpoint(
    checkpoint_path: CheckpointPath,
    to: Annotated[Path, typer.Option(help="the folder to write")],
) -> None:
    """Write a Kimi checkpoint for transformers."""
    loaded = checkpoint.load_checkpoint(checkpoint_path)
    hub.save_pretrained(loaded.model, loaded.tokenizer, to)
    print(f"wrote {to}: transformers.AutoModelForCausalLM.from_pretrained({str(to)!r}) loads it")


def _compute_mean_bytes(loaded: corpus.Corpus) -> float:
    """Bytes per token on the first million tokens of the validation split."""
    sample = torch.from_numpy(loaded.val.tokens[:1_000_000].astype("int64"))
    return loaded.token_bytes[sample].double().mean().item()


def main() -> None:
    """Run the command line: an error that a user can correct becomes one line on stderr and exit code 2."""
    try:
        sys.exit(app(args=sys.argv[1:] or ["--help"], standalone_mode=False))
    except typer.TyperException as error:  # a wrong option, a missing value
        print(f"nanokimi: {' '.join(error.format_message().split())}", file=sys.stderr)
        sys.exit(2)
    except (ValueError, OSError, TrainingDiverged) as error:
        print(f"nanokimi: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        print("nanokimi: stopped", file=sys.stderr)
        sys.exit(130)
