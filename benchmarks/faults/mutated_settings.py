"""Presets, run.yaml and overrides are altered: with other bytes, words and values they are read, or refused in a line.

Values become others of wrong types, ranges and absurd sizes; lines are doubled, moved, indented; anchors, tags, control
characters and other encodings come in; bytes flip. What is accepted is used: a model is counted and, if small, built.
"""

import random
import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.batches import judge, run_in_batches
from benchmarks.faults.outcome import Outcome
from lab_utils.bench.plan import BenchPreset
from nanokimi.cli.settings import RUN_FILE, Run, read_run, write_run
from nanokimi.config import ConfigError, DataConfig, ModelConfig, TrainConfig
from nanokimi.count import count_parameters
from nanokimi.model import build_model
from nanokimi.presets.plain_yaml import MOST_BYTES
from nanokimi.presets.yaml_config import (
    PRESETS,
    build,
    load_model_config,
    load_train_config,
    preset_names,
    read_yaml,
)

NAME = "a settings file altered"
RELEASE, SAMPLE = 3000, 60

ODD = (
    *(
        "",
        "~",
        "null",
        "true",
        "no",
        "yes",
        "-1",
        "0",
        "1",
        "3",
        "010",
        "1:30",
        "1e-3",
        "1_000",
        "2024-01-01",
    ),
    *("1.5", ".nan", ".inf", "-.inf", "1e400", "1e308", "1e-320", "1000000000000", "9" * 25, "7" * 5000),
    *(
        "18446744073709551616",
        "-9223372036854775809",
        "word",
        "'quoted",
        '"\\x1b[2J"',
        '"\\ud800"',
        '"a\\0b"',
    ),
    *(
        "[]",
        "{}",
        "[1, 2]",
        "{a: 1}",
        "[[[[[]]]]]",
        "[" * 3000,
        "{a: " * 500,
        "&a [*a]",
        "*a",
        "!!binary aGk=",
    ),
    *("!!python/object/apply:os.system ['true']", "!!set {a, b}", "!x 3", "|\n  x", ">-\n  y", "x" * 50_000),
    *("\x1b]0;x\x07", "\u202e", "\t", "#", "%", "@", "`", "? a", "- b", ": c", "a: b: c", "<<: {a: 1}"),
)
BOMB = "b0: &b0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{i + 1}: &b{i + 1} [{', '.join([f'*b{i}'] * 9)}]\n" for i in range(8)
)


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Alter settings `tries` times."""
    return run_in_batches("mutated_settings", tries, seed, folder, on_progress)


def prepare(folder: Path) -> None:
    """The settings of a run, as the command line writes them; and everything imported that is needed once."""
    out = folder / "run"
    out.mkdir(exist_ok=True)
    write_run(out, Run(DataConfig(), load_model_config("kimi-tiny"), load_train_config("train-tiny")))
    build_model(load_model_config("kimi-smoke"))


def try_one(folder: Path, draw: random.Random) -> str:
    """What is wrong with how one altered text is read and used."""
    if draw.random() < 0.25:
        name = draw.choice(preset_names())
        field = draw.choice(
            re.findall(r"^ *([a-z_]+):", (PRESETS / f"{name}.yaml").read_text(), re.MULTILINE)
        )
        override = f"{field}={draw.choice(ODD)}"
        load = load_train_config if name.startswith("train-") else load_model_config
        verdict = judge(lambda: use(load(name, [override])), ConfigError)
        return verdict and f"{name} with {override[:60]!r}: {verdict}"
    name = draw.choice([*preset_names(), "run"])
    original = folder / "run" / RUN_FILE if name == "run" else PRESETS / f"{name}.yaml"
    content = alter(original.read_text(encoding="utf-8"), draw)
    altered = folder / "altered" / RUN_FILE
    altered.parent.mkdir(exist_ok=True)
    altered.write_bytes(content)
    verdict = judge(lambda: read(name, altered), ConfigError)
    return verdict and f"{name} as {content[:60]!r}: {verdict}"


def read(name: str, path: Path) -> None:
    """Read the file as what it was, and use what it says."""
    if name == "run":
        found = read_run(path.parent, [])
        use(found.model)
    elif name.startswith("bench-"):
        build(BenchPreset, read_yaml(path), where=str(path))
    elif name.startswith("train-"):
        use(load_train_config(path))
    else:
        use(load_model_config(path))


def use(cfg: ModelConfig | TrainConfig) -> None:
    """Count the model, and build it where that is quick; or be refused because it is too large."""
    if isinstance(cfg, TrainConfig) or cfg.n_layers > 100:  # a thousand layers are allowed, and take seconds
        return
    n = count_parameters(cfg).total
    if n < 10**6 or n > 10**11:
        build_model(cfg)


# ---------------------------------------------------------------- what is done to a text


def alter(text: str, draw: random.Random) -> bytes:
    """The text after one to three changes."""
    for _ in range(draw.randint(1, 3)):
        text = draw.choice((change_value, change_value, change_value, change_lines, insert, cut))(text, draw)
    return draw.choice((encode, encode, encode, flip))(text, draw)


def change_value(text: str, draw: random.Random) -> str:
    """One value becomes an odd one."""
    places = list(re.finditer(r"(?<=: )[^\n{}\[\],]+", text))
    if not places:
        return text
    place = draw.choice(places)
    return text[: place.start()] + draw.choice(ODD) + text[place.end() :]


def change_lines(text: str, draw: random.Random) -> str:
    """A line is doubled, deleted, moved, or indented otherwise."""
    lines = text.split("\n")
    i, j = draw.randrange(len(lines)), draw.randrange(len(lines))
    what = draw.randrange(5)
    if what == 0:
        lines.insert(j, lines[i])
    elif what == 1:
        del lines[i]
    elif what == 2:
        lines[i], lines[j] = lines[j], lines[i]
    else:
        lines[i] = ("\t" if what == 3 else " " * draw.randint(1, 60)) + lines[i].lstrip()
    return "\n".join(lines)


def insert(text: str, draw: random.Random) -> str:
    """Something odd, or aliases that stand for gigabytes, at any place."""
    i = draw.randrange(len(text) + 1)
    what = draw.choice((BOMB, "\n---\n", "\n...\n", "%YAML 1.1\n", "- " * 3000, "x" * (MOST_BYTES + 1), *ODD))
    return text[:i] + what + text[i:]


def cut(text: str, draw: random.Random) -> str:
    """A part of the text is missing."""
    i, j = sorted(draw.randrange(len(text) + 1) for _ in range(2))
    return text[:i] + text[j:] if draw.random() < 0.5 else text[i:j]


def encode(text: str, draw: random.Random) -> bytes:
    """The bytes of the text, now and then in another encoding than UTF-8."""
    return text.encode(
        draw.choice(("utf-8",) * 6 + ("utf-8-sig", "utf-16", "utf-16-le", "latin-1")), "replace"
    )


def flip(text: str, draw: random.Random) -> bytes:
    """Bytes of the text become others."""
    content = bytearray(text.encode("utf-8", "replace"))
    for _ in range(draw.randint(1, 4) if content else 0):
        content[draw.randrange(len(content))] = draw.randrange(256)
    return bytes(content)
