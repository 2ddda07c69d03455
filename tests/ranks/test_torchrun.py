"""`torchrun -m nanokimi.cli train`, as a user types it: a rank is killed, and then the run is stopped."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nanokimi.cli.commands import run_command
from nanokimi.cli.program import call
from tests.cli.conftest import SMALL, write_tales
from tests.ranks.scenarios import hash_checkpoint
from tests.training import read_log

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the ranks are found in /proc")

STEPS = 60
WORDS = [*SMALL, f"--set=train.steps={STEPS}", "--set=train.eval_every=4", "--set=train.grad_accum=2"]
LIMIT_S = 180


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text, and a run on it by one process that nobody disturbed."""
    folder = tmp_path_factory.mktemp("alone")
    write_tales(folder)
    with in_folder(folder):
        assert call("nanokimi", run_command, ["train", *WORDS, "--data=tales.txt", "--out=alone"]) == 0
    return folder


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """A block in which commands run in this folder, with a cache of their own, on one thread as the ranks do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
            yield
    finally:
        torch.set_num_threads(threads)


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    """Two ranks that train in `folder`; torchrun starts them again up to two times."""
    options = ["--nproc-per-node=2", "--max-restarts=2", "-m", "nanokimi.cli"]
    root = str(Path(__file__).parents[2])
    environ = {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": root}
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *options, "train", *words],
        cwd=folder, env=os.environ | environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def find_rank(agent: int, rank: int) -> int | None:
    """The process of this rank among the children of torchrun."""
    for pid in Path(f"/proc/{agent}/task/{agent}/children").read_text().split():
        if f"RANK={rank}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return int(pid)
    return None


def wait_for_step(log: Path, step: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not (log.exists() and log.read_text().count("\n") >= step):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)


def test_a_killed_rank_costs_some_seconds(undisturbed):
    """Rank 1 is killed: rank 0 names it, and both are started again and go on. Then Ctrl-C stops them, and saves.

    One process takes the run to its end, which is that of a run that nobody disturbed, bit for bit.
    """
    out, log = undisturbed / "killed", undisturbed / "killed" / "steps.jsonl"
    process = start(undisturbed, *WORDS, "--data=tales.txt", "--out=killed")
    try:
        wait_for_step(log, 9, process)
        os.kill(find_rank(process.pid, 1), signal.SIGKILL)
        wait_for_step(log, 20, process)
        process.send_signal(signal.SIGINT)  # torchrun hands it on
        said, errors = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert errors.count("nanokimi: rank 0 of 2: rank 1 does not answer") == 1, errors[-3000:]
    assert said.count("resuming after step") == 1  # rank 0 alone prints
    assert "stopped after step" in said, errors[-3000:]
    last = json.loads(log.read_text().splitlines()[-1])["step"]
    assert 20 <= last < STEPS and (out / f"step-{last:06d}").is_dir()
    with in_folder(undisturbed):
        assert call("nanokimi", run_command, ["train", "--resume", "--out=killed"]) == 0
    assert hash_checkpoint(out) == hash_checkpoint(undisturbed / "alone")
    assert read_log(out) == read_log(undisturbed / "alone")
