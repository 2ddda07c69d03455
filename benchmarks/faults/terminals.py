"""Terminals of other encodings, file names of every kind, and text that would act: shown, and nothing ends early."""

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.outcome import Outcome

NAME = "terminal of another encoding, odd names and texts"
RELEASE, SAMPLE = 30, 1

ENCODINGS = ("ascii", "latin-1", "cp1252", "cp437", "koi8-r", "shift_jis", "utf-8", "utf-16")
NAMES = (
    "雨の日",
    "naïve – “quoted”",
    "it's a file $HOME `x`",
    "\x1b[2J\x1b]0;mine\x07",
    "\u202etxt.exe\u2066",
    "\U0001f469\u200d\U0001f680 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    os.fsdecode(b"latin-\xe9-\xff"),
    "two\nlines\r\x9b31m",
)
_TEXT = (
    "The 雨 fell, and “она” said: \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 "
    "\U0001f469\u200d\U0001f680! \x1b[31m red \x9b0m \u202e turned. "
)
# What a terminal would obey: C0 without new line, tab and the bar's return; C1; marks of direction.
_ACTING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SETS = (
    "--model=kimi-smoke --train=train-smoke --set=data.vocab_size=400 --set=train.steps=2 --set=train.warmup_steps=0 "
    "--set=train.eval_every=2 --set=train.eval_windows=2"
).split()


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Train on a text, generate and export, in a terminal of some encoding, with a name that is hard to write."""
    chance, lost = random.Random(seed), []
    for number in range(tries):
        encoding, name = chance.choice(ENCODINGS), chance.choice(NAMES)
        work = folder / str(number)
        work.mkdir()
        fault = try_terminal(encoding, name, work)
        if fault:
            lost.append(f"{encoding}, name {name!r}, seed {seed}, try {number}: {fault}")
        shutil.rmtree(work)
        on_progress(number + 1)
    return Outcome(tries, tries - len(lost), lost)


def try_terminal(encoding: str, name: str, folder: Path) -> str:
    """What went wrong in a terminal of `encoding` with files called `name`; empty where nothing did."""
    text, out = folder / f"{name}.txt", folder / f"{name} out"
    if name == os.fsdecode(b"latin-\xe9-\xff"):
        out = folder / "out"  # safetensors writes only where the name is UTF-8
    text.write_text(_TEXT * 2000, encoding="utf-8")
    commands = [
        ["train", *_SETS, f"--data={text}", f"--out={out}"],
        ["generate", f"--checkpoint={out}", "--max-new-tokens=60", f"--prompt={_TEXT}"],
        ["export", f"--checkpoint={out}", f"--to={out / 'exported'}"],
    ]
    mistake = ["prepare", f"--data={folder / name}.missing"]
    for words in [*commands, mistake]:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "nanokimi.cli", *words],
            cwd=folder,
            env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONIOENCODING": encoding},
            capture_output=True,
        )
        said = (done.stdout + done.stderr).decode(encoding, errors="replace")
        if done.returncode != (2 if words is mistake else 0) or "Traceback" in said:
            return f"{words[0]} ended with {done.returncode}: {said[-300:]!r}"
        acting = _ACTING.search(said)
        if acting:
            return f"{words[0]} wrote {acting[0]!r}"
    return ""
