"""A training is killed at a random moment, most often while it writes a checkpoint: it resumes to the same end."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.faults.outcome import Outcome
from nanokimi import checkpoint
from nanokimi.config import OptimConfig
from nanokimi.runs.reading import FILES, hash_file
from nanokimi.system.atomic import WRITING

NAME = "kill while training, every second run twice"
RELEASE, SAMPLE = 100, 2
STEPS = 12
_TRAIN = (
    "train --model=kimi-smoke --train=train-smoke --out=run --data=text.txt --set=data.tokenizer=char "
    f"--set=train.steps={STEPS} --set=train.warmup_steps=2 --set=train.eval_every=2 --set=train.eval_windows=2 "
    "--set=train.batch_size=2 --set=train.seq_len=32"
).split()
_RESUME = ["train", "--resume", "--out=run"]
_CLOCK = ("seconds", "tokens_per_s", "compile_seconds")


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Kill `tries` trainings, resume them, and compare their ends with that of one that nobody disturbed."""
    draw = random.Random(seed)
    lost = []
    with Commands(folder) as commands:
        whole = commands.make_folder("whole")
        if commands.finish(whole, _TRAIN):
            raise RuntimeError(f"the undisturbed run failed: {commands.read_output()}")
        expected = _describe(whole / "run")
        for number in range(tries):
            here = commands.make_folder(f"try-{number}")
            inside = draw.random() < 0.7
            try:
                fault = _kill_and_resume(commands, here, 1 + number % 2, inside, draw, expected)
            except (ValueError, OSError) as error:
                fault = f"{type(error).__name__}: {error}"
            finally:
                commands.kill()
            if fault:
                where = "inside a checkpoint" if inside else "anywhere"
                lost.append(f"killed {where}, seed {seed}, try {number}: {fault}")
            shutil.rmtree(here)
            on_progress(number + 1)
    return Outcome(tries, tries - len(lost), lost)


class Commands:
    """Runs `nanokimi` as processes of their own: forks of one that has read all modules, which takes seconds."""

    def __init__(self, folder: Path):
        self.folder, self.output = folder, folder / "output.txt"
        self.running: int | None = None  # the process of the last command, until its end is known

    def __enter__(self) -> "Commands":
        self._parent = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.faults.kills", str(self.output)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "OMP_NUM_THREADS": "1",
                "XDG_CACHE_HOME": str(self.folder / "cache"),
            },
        )
        return self

    def __exit__(self, *_: object) -> None:
        with self._parent:  # closes both pipes, which ends it, and waits
            pass

    def make_folder(self, name: str) -> Path:
        """An empty folder with a text."""
        made = self.folder / name
        made.mkdir()
        (made / "text.txt").write_text(
            " ".join(f"the {a} saw {b} owls." for a in ("cat", "fox") for b in range(900))
        )
        return made

    def start(self, folder: Path, words: list[str]) -> int:
        """Start `nanokimi` with these words in `folder`; the number of its process."""
        assert self._parent.stdin is not None
        print(json.dumps([str(folder), words]), file=self._parent.stdin, flush=True)
        self.running = self._read()
        return self.running

    def wait(self) -> int:
        """The exit code of what was started last; minus the number of the signal that it died by."""
        code, self.running = self._read(), None
        return code

    def kill(self) -> int:
        """Kill what was started last, unless its end is known already; its exit code."""
        if self.running is None:
            return 0
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(self.running, signal.SIGKILL)
        return self.wait()

    def finish(self, folder: Path, words: list[str]) -> int:
        """Run it to its end."""
        self.start(folder, words)
        return self.wait()

    def read_output(self) -> str:
        """What the last command has printed."""
        return self.output.read_text()[-400:]

    def _read(self) -> int:
        assert self._parent.stdout is not None
        return int(self._parent.stdout.readline())


def _kill_and_resume(
    commands: Commands, folder: Path, kills: int, inside: bool, draw: random.Random, expected: list
) -> str:
    """What was lost by so many kills and the resuming; empty for nothing."""
    run_dir = folder / "run"
    for _ in range(kills):
        before = _step(run_dir)
        pid = commands.start(folder, _RESUME if before else _TRAIN)
        _wait(run_dir, pid, inside, draw, after=before)
        code = commands.kill()
        if code not in (0, -signal.SIGKILL):
            return f"exit code {code}: {commands.read_output()}"
        if _step(run_dir) < before:
            return f"step {before} was there before the kill, {_step(run_dir)} after it"
    if code := commands.finish(folder, _RESUME if _step(run_dir) else _TRAIN):
        return f"exit code {code} on resuming: {commands.read_output()}"
    if _describe(run_dir) != expected:
        return "the end is not that of the undisturbed run"
    left = [path.name for path in run_dir.iterdir() if path.name.startswith(".")]
    return f"left {left} behind" if left else ""


def _wait(run_dir: Path, pid: int, inside: bool, draw: random.Random, after: int) -> None:
    """Wait for a moment that is worth a kill."""
    wanted = draw.randint(min(after + 1, STEPS), STEPS)  # a run that was killed late may be at its end
    writings = set()
    many = draw.randint(1, max(1, (STEPS - after) // 2))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and _lives(pid):
        if inside:
            with contextlib.suppress(FileNotFoundError):  # a start makes the folder, and deletes it once more
                writings |= {path.name for path in run_dir.glob(f"{WRITING}*")}
            if len(writings) >= many:
                break
        elif _count_lines(run_dir) >= wanted:
            break
        time.sleep(0.0005)
    time.sleep(draw.random() * 0.03)


def _lives(pid: int) -> bool:
    """Whether the process has not ended; one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _count_lines(run_dir: Path) -> int:
    log = run_dir / "steps.jsonl"
    return log.read_text().count("\n") if log.exists() else 0


def _step(run_dir: Path) -> int:
    """The step of the newest checkpoint, which must load; 0 where there is none."""
    if not checkpoint.has_checkpoint(run_dir):
        return 0
    found = checkpoint.load_checkpoint(run_dir)
    if found.skipped:
        raise ValueError(found.skipped[0])
    return found.state.step


def _describe(run_dir: Path) -> list:
    """Checksums of the last weights and momenta, and the log without the clock's numbers."""
    last = checkpoint.find_newest(run_dir)
    lines = [json.loads(line) for line in (run_dir / "steps.jsonl").read_text().splitlines()]
    told = [{key: value for key, value in line.items() if key not in _CLOCK} for line in lines]
    return [last.name, *(hash_file(last / name) for name in FILES), told]


def main(output: str) -> None:
    """Fork a process for every command that stdin names; tell its number, and how it ended."""
    # All that a training needs is read here, once: the first optimizer reads a compiler, which takes seconds.
    from nanokimi.cli.__main__ import main as run_command
    from nanokimi.cli.commands import app  # noqa: F401
    from nanokimi.optim import build_optimizers

    build_optimizers(torch.nn.Linear(1, 1), OptimConfig())

    while line := sys.stdin.readline():
        folder, words = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.chdir(folder)
            target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(target, stream)
            sys.argv = ["nanokimi", *words]
            run_command()
            os._exit(0)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
