"""A small text and the command line, called in this process or started as a user starts it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nanokimi.cli.commands import run_command
from nanokimi.cli.program import call

SMALL = [
    "--model=kimi-smoke", "--train=train-smoke", "--set=data.vocab_size=300", "--set=train.steps=6",
    "--set=train.warmup_steps=1", "--set=train.eval_every=3", "--set=train.eval_windows=2",
]  # fmt: skip
COMMAND = [sys.executable, "-P", "-m", "nanokimi.cli"]


def long(text: Path, *more: str) -> list[str]:
    """The words of a training that stops by itself after a minute."""
    sets = ("--set=train.steps=2000", "--set=train.eval_every=2000", f"--data={text}")
    return ["train", *SMALL, *sets, *more]


def wait_for_steps(out: str, n: int, process: subprocess.Popen) -> None:
    log = Path(out) / "steps.jsonl"
    deadline = time.monotonic() + 180
    while not (log.exists() and log.read_text().count("\n") >= n):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Some forty thousand characters in documents, in a folder where the test also works."""
    return write_tales(tmp_path)


def write_tales(folder: Path) -> Path:
    """The path of the text that is written there."""
    path = folder / "tales.txt"
    tales = (f"The {a} saw the {b} and said: come in!" for a in ("cat", "owl", "fox") for b in range(300))
    path.write_text("\n<|endoftext|>\n".join(tales), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture):
    """Call the command line in this process: exit code, stdout, stderr."""

    def run_it(*arguments: str) -> tuple[int, str, str]:
        code = call("nanokimi", run_command, [str(each) for each in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_it


@pytest.fixture
def start() -> "Callable[..., subprocess.Popen[str]]":
    """Start the command line as a process of its own, with pipes and more environment."""

    def start_it(*arguments: object, **environ: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="backslashreplace",
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environ,
        )  # fmt: skip

    return start_it
