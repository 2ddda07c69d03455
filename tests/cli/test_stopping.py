"""A command that is stopped from outside: what is said to be saved is saved, and a run goes on as if never stopped."""

import json
import os
import pty
import random
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.faults import signals as faults
from nanokimi import checkpoint
from tests.cli.conftest import COMMAND, long, wait_for_steps

pytestmark = pytest.mark.slow


def test_ctrl_c_saves_and_resuming_ends_as_if_never_stopped(run, start, text: Path) -> None:
    words = long(text, "--set=train.steps=60", "--set=train.eval_every=60")
    process = start(*words, "--out=out/stopped")
    wait_for_steps("out/stopped", 3, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 130, err
    assert "saved; to continue: nanokimi train --resume --out out/stopped" in out
    stopped_at = checkpoint.load_checkpoint("out/stopped").state.step
    assert 3 <= stopped_at < 60 and f"stopped after step {stopped_at} " in out

    code, out, _ = run("train", "--resume", "--out=out/stopped")
    assert code == 0
    assert f"resuming after step {stopped_at} of 60, from out/stopped/step-{stopped_at:06d}" in out
    assert run(*words, "--out=out/whole")[0] == 0
    stopped, whole = (
        checkpoint.load_checkpoint(f"out/{name}").model.state_dict() for name in ("stopped", "whole")
    )
    assert all(stopped[name].equal(whole[name]) for name in whole)
    losses = [
        [json.loads(line)["loss"] for line in Path(f"out/{name}/steps.jsonl").read_text().splitlines()]
        for name in ("stopped", "whole")
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 60


@pytest.mark.parametrize(
    ("stage", "which", "times"),
    [("loading", "SIGINT", 1), ("preparing", "SIGHUP", 1), ("first step", "SIGTERM", 2)],
)
def test_a_signal_at_any_stage_is_one_line(stage: str, which: str, times: int, text: Path) -> None:
    """A sample of `make faults`, which sends each signal at each stage."""
    text.rename("text.txt")
    assert faults.try_signal(stage, getattr(signal, which), times, Path(), random.Random(0)) == ""


def test_a_closed_terminal_saves(run, text: Path) -> None:
    """The terminal is gone: SIGHUP comes, and whatever is written fails."""
    run("prepare", f"--data={text}", "--set=data.vocab_size=300")
    child, terminal = pty.fork()
    if not child:
        os.execv(COMMAND[0], [*COMMAND, *long(text, "--out=out/a")])
    log, deadline = Path("out/a/steps.jsonl"), time.monotonic() + 180
    while not (log.exists() and log.read_text().count("\n") >= 2) and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.01)[0]:
            os.read(terminal, 10_000)  # a full terminal would stop the program
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert checkpoint.load_checkpoint("out/a").state.step >= 2


def limit_files() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


@pytest.mark.parametrize("saved_by", ["Ctrl-C", "evaluation"])
def test_a_full_disk_is_one_line_and_nothing_is_said_to_be_saved(saved_by: str, run, text: Path) -> None:
    run("prepare", f"--data={text}", "--set=data.vocab_size=300")
    more = ["--set=train.eval_every=2"] if saved_by == "evaluation" else []
    process = subprocess.Popen(
        [*COMMAND, *long(text, "--out=out/full", *more)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=limit_files,
    )  # fmt: skip
    if saved_by == "Ctrl-C":
        wait_for_steps("out/full", 2, process)
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 2
    assert "saved; to continue" not in out and "Traceback" not in err
    line = err.replace("\r", "\n").strip().splitlines()[-1]
    assert "out/full' cannot be written: " in line
    assert "File too large" in line and line.endswith("nothing is saved")
    assert not list(Path("out").rglob(".writing-*"))


def test_a_reader_that_leaves_loses_no_step(text: Path) -> None:
    command = " ".join(
        f"'{each}'" for each in [*COMMAND, *long(text, "--out=out/a", "--set=train.eval_every=2")]
    )
    done = subprocess.run(["bash", "-c", f"{command} 2>/dev/null | head -1"], capture_output=True, text=True)
    assert "FLOPs per token" in done.stdout and done.stderr == ""
    assert checkpoint.load_checkpoint("out/a").state.step >= 2
