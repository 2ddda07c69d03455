"""The command line: nanokimi prepare | train | generate | bench | presets | export.

Everything is set by YAML presets that can be copied and edited (`nanokimi presets kimi-tiny > my.yaml`) and by
`--set`. Whatever is wrong ends in one line on stderr and exit code 2, before anything is written.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import yaml

from nanokimi import checkpoint, hub
from nanokimi.cli.terminal import Interrupt, decode, load_corpus, printable, with_bar
from nanokimi.config import ConfigError, DataConfig, ModelConfig, TrainConfig, to_dict
from nanokimi.count import count_parameters, flops_per_token
from nanokimi.device import choose_device
from nanokimi.generate import generate as generate_tokens
from nanokimi.memory import keep_freed_memory
from nanokimi.model import build_model
from nanokimi.step import TrainingDiverged
from nanokimi.text import corpus
from nanokimi.text.tokenizer import END_OF_TEXT
from nanokimi.train import train
from nanokimi.yaml_config import (
    PRESETS,
    build,
    build_model_config,
    load_model_config,
    load_train_config,
    preset_names,
    read_yaml,
)

app = typer.Typer(
    help="Build, train and compare a small Kimi K2 and a GPT.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
# The base of typer's own errors (a wrong option, a missing value), which it does not export by name.
UsageError = typer.BadParameter.__base__

Data = Annotated[str, typer.Option(help="storyworld, tinystories, a text file, a folder, or a .yaml file")]
Overrides = Annotated[
    list[str], typer.Option("--set", help="section.name=value; sections: model, train, data. Repeatable")
]
CheckpointPath = Annotated[Path, typer.Option("--checkpoint", help="a folder that `nanokimi train` wrote")]


# ---------------------------------------------------------------- commands


@app.command()
def prepare(data: Data = "storyworld", overrides: Overrides = ()) -> None:
    """Tokenize a text once, and say what came out."""
    cfg = _data_config(data, _by_section(overrides, "data")["data"])
    loaded = load_corpus(cfg)
    size = len(loaded.train) + len(loaded.val)
    print(f"{loaded.name}: {len(loaded.train):,} training and {len(loaded.val):,} validation tokens")
    print(
        f"vocabulary {loaded.tokenizer.n_vocab:,}, {_mean_bytes(loaded):.2f} bytes a token, {size:,} in all"
    )
    if loaded.floor is not None:
        print(f"floor {loaded.floor:.4f} bits a byte: no model can beat it on average")


@app.command(name="train")
def train_command(
    model: Annotated[str, typer.Option(help="a model preset or a .yaml file")] = "kimi-tiny",
    training: Annotated[
        str, typer.Option("--train", help="a training preset or a .yaml file")
    ] = "train-tiny",
    data: Data = "storyworld",
    out: Annotated[Path | None, typer.Option(help="folder of the run [default: out/MODEL]")] = None,
    overrides: Overrides = (),
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda")] = None,
    resume: Annotated[bool, typer.Option(help="continue the run in --out with its own settings")] = False,
) -> None:
    """Train a model; Ctrl-C stops after saving, and --resume goes on."""
    out = out or Path("out") / Path(model).stem
    if resume:
        if overrides:
            raise ConfigError("--resume continues with the run's own settings; leave --set out")
        data_cfg, model_cfg, train_cfg = _read_run(out)
    else:
        sets = _by_section(overrides, "data", "model", "train")
        data_cfg = _data_config(data, sets["data"])
        model_cfg = load_model_config(model, sets["model"])
        train_cfg = load_train_config(training, sets["train"] + ([f"device={device}"] if device else []))
        if (out / "run.yaml").exists() or checkpoint.has_checkpoint(out):
            raise ConfigError(f"{out} already holds a run: add --resume to go on, or name another --out")
    on_cpu = choose_device(train_cfg.device).type == "cpu"
    loaded = load_corpus(data_cfg, train_cfg.seq_len)
    if not resume:
        # The text decides how many tokens there are; a larger embedding would hold rows that are never used.
        model_cfg = replace(model_cfg, vocab_size=loaded.tokenizer.n_vocab)
        _check_fits(model_cfg, train_cfg)
        _write_run(out, data_cfg, model_cfg, train_cfg)
    network = build_model(model_cfg, train_cfg.seed)
    counted = count_parameters(model_cfg)
    print(
        f"{model_cfg.kind}: {counted.total:,} parameters, {counted.active:,} active, "
        f"{flops_per_token(model_cfg, train_cfg.seq_len):,.0f} FLOPs a token; {loaded.name}; {out}"
    )
    if on_cpu:
        keep_freed_memory()
    started = resume and checkpoint.has_checkpoint(out)
    with Interrupt() as interrupt:
        for record in with_bar(train(network, loaded, train_cfg, out, started), train_cfg):
            if interrupt.requested:
                print(
                    f"stopped after step {record.step} and saved; to go on: nanokimi train --resume --out {out}"
                )
                raise typer.Exit(130)
    if started and checkpoint.load_checkpoint(out).state.step == train_cfg.steps:
        print(f"{out} is trained to its last step, {train_cfg.steps}")


@app.command(name="generate")
def generate_command(
    checkpoint_path: CheckpointPath,
    prompt: Annotated[str, typer.Option(help="the text to continue; empty starts a new document")] = "",
    max_new_tokens: Annotated[int, typer.Option(help="at most so many")] = 200,
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
    # Documents follow the separator in training, so a prompt is the start of one.
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
    print(printable(prompt), end="")
    for piece in decode(encoding.decode_single_token_bytes, tokens):
        print(printable(piece), end="", flush=True)
    print()


@app.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
def bench(options: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Train Kimi against GPT headless and report it; `nanokimi bench --help` lists the options."""
    # A process of its own: the core knows the lab's name and nothing else of it.
    done = subprocess.run([sys.executable, "-m", "lab_utils.bench", *(options or [])], check=False)
    raise typer.Exit(done.returncode)


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="print this preset's YAML, to copy")] = None,
) -> None:
    """List the presets, or print one."""
    if name is not None:
        read_yaml(name)
        print((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"), end="")
        return
    for each in preset_names():
        first = (PRESETS / f"{each}.yaml").read_text(encoding="utf-8").splitlines()[0]
        print(f"{each:22s} {first.removeprefix('# ')}")


@app.command()
def export(
    checkpoint_path: CheckpointPath,
    to: Annotated[Path, typer.Option(help="the folder to write")],
) -> None:
    """Write a Kimi checkpoint as a folder that transformers loads (DeepseekV3)."""
    loaded = checkpoint.load_checkpoint(checkpoint_path)
    hub.save_pretrained(loaded.model, loaded.tokenizer, to)
    print(f"wrote {to}: transformers.AutoModelForCausalLM.from_pretrained({str(to)!r}) loads it")


# ---------------------------------------------------------------- settings


def _by_section(overrides: list[str], *sections: str) -> dict[str, list[str]]:
    """`model.top_k=4` under "model" as `top_k=4`."""
    found: dict[str, list[str]] = {section: [] for section in sections}
    for text in overrides:
        section, dot, rest = text.partition(".")
        if not dot or section not in found:
            allowed = ", ".join(f"{s}.name=value" for s in sections)
            raise ConfigError(f"--set {text!r} must look like {allowed}")
        found[section].append(rest)
    return found


def _data_config(data: str, overrides: list[str]) -> DataConfig:
    given = read_yaml(data) if data.endswith((".yaml", ".yml")) else {"source": data}
    return build(DataConfig, given, overrides, "data")


def _check_fits(model_cfg: ModelConfig, train_cfg: TrainConfig) -> None:
    if train_cfg.seq_len > model_cfg.max_seq_len:
        raise ConfigError(
            f"train.seq_len={train_cfg.seq_len} is above model.max_seq_len={model_cfg.max_seq_len}: "
            "lower the one or raise the other with --set"
        )


def _write_run(out: Path, data: DataConfig, model: ModelConfig, training: TrainConfig) -> None:
    out.mkdir(parents=True, exist_ok=True)
    sections: dict[str, Any] = {"data": to_dict(data), "model": to_dict(model), "train": to_dict(training)}
    (out / "run.yaml").write_text(yaml.safe_dump(sections, sort_keys=False), encoding="utf-8")


def _read_run(out: Path) -> tuple[DataConfig, ModelConfig, TrainConfig]:
    if not (out / "run.yaml").exists():
        raise ConfigError(f"nothing to resume in {out}: it has no run.yaml; name the --out of a run")
    saved = read_yaml(out / "run.yaml")
    where = str(out / "run.yaml")
    for section in ("data", "model", "train"):
        if not isinstance(saved.get(section), dict):
            raise ConfigError(f"{where} has no section {section}:")
    return (
        build(DataConfig, saved["data"], where=where),
        build_model_config(saved["model"], where=where),
        build(TrainConfig, saved["train"], where=where),
    )


def _mean_bytes(loaded: corpus.Corpus) -> float:
    sample = torch.from_numpy(loaded.val.tokens[:1_000_000].astype("int64"))
    return loaded.token_bytes[sample].double().mean().item()


def main() -> None:
    """Entry point: errors that a user can mend become one line on stderr and exit code 2."""
    try:
        sys.exit(app(args=sys.argv[1:] or ["--help"], standalone_mode=False))
    except UsageError as error:
        print(f"nanokimi: {' '.join(error.format_message().split())}", file=sys.stderr)
        sys.exit(2)
    except (ValueError, OSError, TrainingDiverged) as error:
        print(f"nanokimi: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        print("nanokimi: stopped", file=sys.stderr)
        sys.exit(130)
