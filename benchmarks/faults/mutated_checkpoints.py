"""Checkpoints are altered, most of them with checksums that fit: each is refused in one line, or trains on soundly.

Bytes are flipped, files cut, swapped and replaced by links, folders and pipes; values of JSON become others of wrong
types and absurd sizes; tensors get other names, shapes and types. A process of its own loads them, so that a death by
a signal is seen and counted.
"""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save, save_file

from benchmarks.faults.outcome import Outcome
from nanokimi import checkpoint
from nanokimi.config import OptimConfig, TrainConfig
from nanokimi.model import build_model
from nanokimi.optim import build_optimizers
from nanokimi.presets.yaml_config import load_model_config
from nanokimi.runs.optimizers import unpack_optimizers
from nanokimi.runs.reading import ABOUT, FILES, hash_about, hash_file
from nanokimi.system.printable import one_line
from nanokimi.text import tokenizer

NAME = "a checkpoint altered"
RELEASE, SAMPLE = 3000, 40
LIMIT_S, LONGEST_LINE = 2.0, 1000

# Marks in JSON that become text which no value of Python is written as.
RAW = {
    "@NAN@": "NaN",
    "@INF@": "1e999",
    "@LONG@": "7" * 5000,
    "@DEEP@": "[" * 100_000 + "]" * 100_000,
    "@NESTED@": "[" * 400 + "]" * 400,
    "@OBJECTS@": '{"a":' * 400 + "1" + "}" * 400,
}

VALUES = (
    *json.loads(
        "[null, true, false, -1, 0, 1, 3, 1000000, 2147483648, 9223372036854775808, 1.5, -0.5, 1e308, 1e-320]"
    ),
    *("", "x", "3", "auto", "/etc/passwd", "\x1b[2J\x1b]0;x\x07", "\u202e", "\ud800", "a" * 100_000),
    *([], {}, [1], [[]], {"a": 1}, 10**30),
    *RAW,
)


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Alter a checkpoint `tries` times."""
    make_originals(folder)
    lost: list[str] = []
    done = 0
    while done < tries:
        words = [sys.executable, "-P", "-m", "benchmarks.faults.mutated_checkpoints", str(folder), str(seed)]
        root = Path(__file__).parents[2]
        environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(
            [*words, str(done), str(tries)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=folder,
        ) as worker:
            assert worker.stdout is not None
            for line in worker.stdout:
                number, _, verdict = line.rstrip("\n").partition(" ")
                done = int(number) + 1
                if verdict:
                    lost.append(f"try {number} of seed {seed}: {verdict}")
                on_progress(done)
            told = worker.stderr.read().strip().splitlines()[-1:] if worker.stderr is not None else []
        if worker.returncode:
            lost.append(f"try {done} of seed {seed}: the process ended with {worker.returncode} {told}")
            done += 1
    return Outcome(tries, tries - len(lost), lost)


def make_originals(folder: Path) -> None:
    """A GPT with AdamW and a Kimi with Muon, each after two steps."""
    encoding = tokenizer.char(["a kimi cat sat on the né 雨."])
    for name, optimizer in (("gpt", "adamw"), ("kimi", "muon")):
        model = build_model(load_model_config(f"{name}-smoke"))
        train = TrainConfig(steps=6, warmup_steps=2, seq_len=8, optim=OptimConfig(optimizer=optimizer))
        optimizers = build_optimizers(model, train.optim)
        for p in model.parameters():
            p.grad = torch.full_like(p, 0.01)
        for each in optimizers:
            each.step()
        state = checkpoint.TrainingState(step=3, seconds=1.25, corpus_fingerprint="small")
        checkpoint.save_checkpoint(folder / name, model, optimizers, encoding, train, state)


def try_one(folder: Path, seed: int, number: int) -> str:
    """What is wrong with how the altered checkpoint `number` is read; empty for nothing."""
    draw = random.Random(f"{seed} {number}")
    altered = folder / f"try-{number}" / "altered"
    shutil.copytree(folder / draw.choice(("gpt", "kimi")) / "step-000003", altered)
    what = draw.choice((flip, cut, alter_json, alter_json, alter_json, alter_tensors, alter_tensors, replace))
    how = what(altered, draw)
    started = time.perf_counter()
    try:
        use(checkpoint.load_checkpoint(altered))
        verdict = ""
    except checkpoint.CheckpointError as error:
        line = str(error)
        verdict = "" if line == one_line(line, LONGEST_LINE) else f"not one plain line: {one_line(line)}"
    except Exception as error:
        verdict = f"{type(error).__name__}: {one_line(error)}"
    seconds = time.perf_counter() - started
    if not verdict and seconds > LIMIT_S:
        verdict = f"{seconds:.1f} s"
    shutil.rmtree(altered.parent)
    return verdict and f"{how}: {verdict}"


def use(found: checkpoint.Checkpoint) -> None:
    """Train a step and write a text with what was loaded: what is accepted must work."""
    optimizers = build_optimizers(found.model, found.train.optim)
    unpack_optimizers(found.model, optimizers, found.optimizer_state)
    for p in found.model.parameters():
        p.grad = torch.full_like(p, 0.01)
    for each in optimizers:
        each.step()
    found.model(
        torch.tensor([found.tokenizer.encode_ordinary("a cat")[: min(4, found.model.cfg.max_seq_len)]])
    )
    found.tokenizer.decode(list(range(found.tokenizer.n_vocab)))


# ---------------------------------------------------------------- what is done to a checkpoint


def flip(path: Path, draw: random.Random) -> str:
    """Bits flip on a disk: the checksums notice."""
    name = draw.choice((*FILES, ABOUT))
    content = bytearray((path / name).read_bytes())
    for _ in range(draw.randint(1, 8)):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    (path / name).write_bytes(content)
    return f"bits of {name}"


def cut(path: Path, draw: random.Random) -> str:
    """A file ends too early, or goes on too long; its checksum fits in half of the tries."""
    name = draw.choice((*FILES, ABOUT))
    content = (path / name).read_bytes()
    keep = draw.choice((0, 1, 7, 8, 9, len(content) // 2, len(content) - 1, len(content)))
    (path / name).write_bytes(content[:keep] + bytes(draw.choice((0, 1, 4096))))
    return f"{name} cut at {keep}{_settle(path, draw.random() < 0.5)}"


def replace(path: Path, draw: random.Random) -> str:
    """A file is missing, another one, a link, a folder, a pipe."""
    name, other = draw.sample((*FILES, ABOUT), 2)
    how = draw.choice("missing, swapped, folder, pipe, link, loop, zeros, noise, all a link".split(", "))
    if how == "swapped":
        (path / name).rename(path / "x")
        (path / other).rename(path / name)
        (path / "x").rename(path / other)
        return f"{name} and {other} swapped{_settle(path, True)}"
    if how == "all a link":
        moved = path.with_name("elsewhere")
        path.rename(moved)
        path.symlink_to(moved)
        return "a link to a checkpoint"
    (path / name).unlink()
    if how == "folder":
        (path / name).mkdir()
    elif how == "pipe":
        os.mkfifo(path / name)
    elif how != "missing":
        targets = {"link": other, "loop": name, "zeros": "/dev/zero", "noise": "/dev/urandom"}
        (path / name).symlink_to(targets[how])
    return f"{name}: {how}"


def alter_json(path: Path, draw: random.Random) -> str:
    """A value in a JSON file becomes another, and the checksums fit."""
    name = draw.choice((ABOUT, ABOUT, FILES[2]))
    content = json.loads((path / name).read_text())
    if draw.random() < 0.3 and name == ABOUT:
        content["progress"]["interventions"] = [{"step": 2, "what": "lr_factor", "value": 0.5}]
    how = _alter(content, draw)
    (path / name).write_text(_write(content), encoding="utf-8", errors="surrogatepass")
    return f"{name} {how}{_settle(path, True)}"


def alter_tensors(path: Path, draw: random.Random) -> str:
    """Tensors of other names, shapes, types and numbers, or a header that speaks of others; the checksums fit."""
    name = draw.choice(FILES[:2])
    file = path / name
    if draw.random() < 0.4:
        content = file.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        how = _alter(header, draw)
        text = _write(header)
        said = draw.choice((len(text), len(text), len(text), 0, 2**40, 2**63, 2**64 - 1))
        file.write_bytes(
            said.to_bytes(8, "little") + text.encode(errors="surrogatepass") + content[8 + length :]
        )
        return f"{name}'s header of {said} bytes, {how}{_settle(path, True)}"
    tensors = load_file(file)
    key = draw.choice(sorted(tensors))
    value = tensors[key]
    kind = draw.choice((torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool))
    changes: dict[str, Callable[[], Any]] = {
        "flat": lambda: {key: value.flatten()},
        "longer": lambda: {key: torch.cat([value.flatten(), value.flatten()])},
        "scalar": lambda: {key: torch.zeros(())},
        "empty": lambda: {key: torch.zeros(0)},
        "a row": lambda: {key: value.reshape(1, -1)},
        "transposed": lambda: {key: value.mT.contiguous() if value.ndim > 1 else value[None]},
        str(kind): lambda: {key: value.to(kind)},
        "nan": lambda: {key: torch.full_like(value, float("nan"))},
        "negative": lambda: {key: -value.abs() - 1},
        "another name": lambda: {draw.choice(("x", "\x1b[2J", f"{key}|x", "a" * 10_000, "", "|")): value},
        "one more": lambda: {key: value, f"{key}.more": value.clone()},
        "the other's state": lambda: {key: value, f"{key.split('|')[0]}|momentum_buffer": value.clone()},
        "none at all": lambda: {},
    }
    how = draw.choice(sorted(changes))
    new = changes[how]()
    rest = {} if not new else {n: t for n, t in tensors.items() if n != key}
    try:
        save_file({**rest, **new}, file)
    except Exception:  # safetensors writes no such thing: an empty file then
        file.write_bytes(save({}))
    return f"{name} {one_line(key, 80)} {how}{_settle(path, True)}"


def _write(content: Any) -> str:
    """JSON, with the marks of `RAW` as what they stand for."""
    text = json.dumps(content)
    for mark, raw in RAW.items():
        text = text.replace(json.dumps(mark), raw)
    return text


def _alter(content: Any, draw: random.Random) -> str:
    """Change one place of a JSON tree; how."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            places.append((node, key))
            walk(node[key])

    walk(content)
    node, key = draw.choice(places) if places else ({}, "")
    value = draw.choice(VALUES)
    if draw.random() < 0.15 and isinstance(node, dict):
        node[draw.choice(("x", "\x1b[2J", "a" * 10_000, ""))] = node.pop(key, value)
        return f"{key} renamed"
    if draw.random() < 0.15 and key in node if isinstance(node, dict) else False:
        del node[key]
        return f"without {key}"
    node[key] = value
    return f"{one_line(key, 80)}={one_line(repr(value), 60)}"


def _settle(path: Path, really: bool) -> str:
    """Write the checksums that fit, as far as checkpoint.json is one that can hold them."""
    try:
        about = json.loads((path / ABOUT).read_text())
        for name in FILES:
            if really and (path / name).is_file():
                about["sha256"][name] = hash_file(path / name)
        about["sha256"][ABOUT] = hash_about(about)
        (path / ABOUT).write_text(json.dumps(about))
    except Exception:  # it can not: it stays as it is
        return ""
    return ", checksums fit" if really else ""


def main(folder: Path, seed: int, first: int, end: int) -> None:
    """Try the numbers from `first` on, and tell a line about each."""
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    use(checkpoint.load_checkpoint(folder / "gpt"))  # what is imported at the first use counts for no try
    for number in range(first, end):
        print(number, try_one(folder, seed, number), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
