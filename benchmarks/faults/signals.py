"""Ctrl-C, SIGTERM and SIGHUP, once or twice, at every stage of a command: it saves, leaves soon, and says one line."""

import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.outcome import Outcome
from nanokimi import checkpoint
from nanokimi.checkpoint import CheckpointError
from nanokimi.system.atomic import WRITING

NAME = "Ctrl-C, SIGTERM, SIGHUP, once and twice"
RELEASE, SAMPLE = 42, 2
LEAVES_WITHIN_S = 5.0

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
STAGES = ("loading", "preparing", "first step", "between steps", "evaluating", "saving", "generating")
_TRAIN = (
    "train --model=kimi-tiny --train=train-tiny --out=run --data=text.txt --set=data.vocab_size=300 "
    "--set=model.max_seq_len=128 --set=train.seq_len=128 --set=train.batch_size=8 --set=train.eval_windows=8"
).split()
_COMMANDS = {
    "loading": ["presets"],
    "preparing": ["prepare", "--set=data.n_stories=19999"],
    "first step": _TRAIN,
    "between steps": [*_TRAIN, "--set=train.eval_every=200"],
    "evaluating": [*_TRAIN, "--set=train.eval_every=2", "--set=train.eval_windows=4000"],
    "saving": [*_TRAIN, "--set=train.eval_every=1"],
    "generating": "generate --checkpoint=ready --max-new-tokens=100000 --prompt=The".split(),
}


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Send one signal, or two, to a command at a moment of a stage, and look at what it leaves behind."""
    chance = random.Random(seed)
    words = " ".join(f"the {a} saw {b} owls." for a in ("cat", "fox", "hen") for b in range(4000))
    (folder / "text.txt").write_text(words)
    made = _start([*_TRAIN, "--set=train.steps=1", "--set=train.warmup_steps=0"], folder)
    _, errors = made.communicate(timeout=300)
    if made.returncode:
        raise RuntimeError(f"the checkpoint to generate from could not be made: {errors}")
    (folder / "run").rename(folder / "ready")
    cases = list(itertools.product(STAGES, SIGNALS, (1, 2)))
    lost = []
    for number in range(tries):
        if number % len(cases) == 0:
            chance.shuffle(cases)
        stage, which, times = cases[number % len(cases)]
        fault = try_signal(stage, which, times, folder, chance)
        if fault:
            lost.append(f"{stage}, {which.name} x{times}, seed {seed}, try {number}: {fault}")
        on_progress(number + 1)
    return Outcome(tries, tries - len(lost), lost)


def try_signal(stage: str, which: signal.Signals, times: int, folder: Path, chance: random.Random) -> str:
    """What went wrong when a command got `which` at a random moment of `stage`; empty where nothing did."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    process = _start(_COMMANDS[stage], folder)
    try:
        _wait_for(stage, process, folder)
        time.sleep(chance.random() * 0.3)
        if process.poll() is not None and stage != "loading":
            return f"ended before the signal: {process.communicate()[1][-300:]}"
        asked = time.monotonic()
        for _ in range(times):
            process.send_signal(which)
            time.sleep(chance.random() * 0.05 if times > 1 else 0)
        out, errors = process.communicate(timeout=60)
        return _judge(stage, which, times, time.monotonic() - asked, process.returncode, out + errors, folder)
    finally:
        process.kill()
        process.communicate()


def _judge(
    stage: str, which: signal.Signals, times: int, took: float, code: int, said: str, folder: Path
) -> str:
    allowed = [128 + which] + ([-which] if times > 1 else []) + ([0] if stage == "loading" else [])
    if code not in allowed:
        return f"exit code {code}, said {said[-300:]!r}"
    if "Traceback" in said or "Exception ignored" in said:
        return f"a traceback: {said[-500:]!r}"
    if took > LEAVES_WITHIN_S:
        return f"left after {took:.1f} s"
    left = [str(path.relative_to(folder)) for path in folder.rglob(f"{WRITING}*")]
    if times > 1:
        for path in left:
            shutil.rmtree(folder / path, ignore_errors=True)
    elif left:
        return f"left {', '.join(left)} behind"
    saved = re.search(r"after step (\d+) and saved|last step, (\d+), which is saved", said)
    try:
        found = checkpoint.load_checkpoint(folder / "run").state.step
    except CheckpointError as error:
        # After the second signal there is none where none had been written yet.
        return str(error) if saved or any((folder / "run").glob("step-*/checkpoint.json")) else ""
    return f"said {saved[0]!r}, saved {found}" if saved and found != int(saved[1] or saved[2]) else ""


def _wait_for(stage: str, process: "subprocess.Popen[str]", folder: Path) -> None:
    """Wait until the command is at `stage`, by what can be seen from outside."""
    log = folder / "run" / "steps.jsonl"
    seen = {
        "loading": lambda: _takes_signals(process.pid),
        "preparing": lambda: (
            any(folder.glob(f"cache/nanokimi/tokens/{WRITING}*")) or _has_worked(process.pid, 4)
        ),
        "first step": log.exists,
        "between steps": lambda: log.exists() and log.read_text().count("\n") >= 2,
        "evaluating": lambda: log.exists() and log.read_text().count("\n") >= 1,
        "saving": lambda: any((folder / "run").glob(f"{WRITING}*")),
        "generating": lambda: _has_worked(process.pid, 3),
    }[stage]
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and not seen():
        time.sleep(0.005)


def _takes_signals(pid: int) -> bool:
    """Whether the process has taken SIGTERM: before that, Python itself is starting."""
    try:
        caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        time.sleep(0.3)  # no Linux
        return True
    return bool(caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def _has_worked(pid: int, seconds: float) -> bool:
    """Whether the process has used so many seconds of processor time."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        time.sleep(2 * seconds)  # no Linux
        return True
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") > seconds


def _start(words: list[str], folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "nanokimi.cli", *words],
        cwd=folder,
        env=os.environ | {"XDG_CACHE_HOME": str(folder.absolute() / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
