"""A call that ranks make together: its answer, why there is none, and that no rank outlives who has started it."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from lab_utils.bench.launch import Launch, RanksFailed
from tests.bench.makers import fail_on, note_rank, within
from tests.processes import wait_for_the_end

ROOT = Path(__file__).parents[2]
LIMIT_S = 300
START = """
from functools import partial
from pathlib import Path
from lab_utils.bench.launch import Launch
from tests.bench.makers import note_rank

with Launch(partial(note_rank, Path({folder!r}), 600.0), 2, Path({folder!r}, "log")) as launch:
    launch.answer()
"""

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the ranks find the module of the calls


def test_the_answer_is_that_of_rank_0(tmp_path):
    with within(LIMIT_S), Launch(partial(note_rank, tmp_path, 0.0), 2, tmp_path / "log") as launch:
        assert launch.answer() == (0, 2)
        assert launch.has_ended()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log", "rank-0", "rank-1"]


def test_a_refusal_is_one_line_and_is_not_tried_again(tmp_path):
    words = r"2 ranks: no such setting \(see '.*log'\)"
    launch = Launch(partial(fail_on, tmp_path, ValueError), 2, tmp_path / "log")
    with within(LIMIT_S), pytest.raises(RanksFailed, match=words), launch:
        launch.answer()
    assert (tmp_path / "begun").read_text() == "0"


def test_what_always_fails_is_tried_three_times(tmp_path):
    words = r"1 rank: the processes ended with code 1 \(see"
    launch = Launch(partial(fail_on, tmp_path, RuntimeError), 1, tmp_path / "log")
    with within(LIMIT_S), pytest.raises(RanksFailed, match=words), launch:
        launch.answer()
    assert (tmp_path / "begun").read_text() == "000"
    assert "RuntimeError: no such setting" in (tmp_path / "log").read_text()


def test_ranks_end_when_their_starter_is_killed(tmp_path):
    with (
        within(LIMIT_S),
        subprocess.Popen([sys.executable, "-c", START.format(folder=str(tmp_path))], cwd=ROOT) as starter,
    ):
        while len(noted := list(tmp_path.glob("rank-*"))) < 2:
            assert starter.poll() is None
            time.sleep(0.1)
        time.sleep(0.2)
        ranks = [int(each.read_text()) for each in noted]
        os.kill(starter.pid, signal.SIGKILL)
        starter.wait()
        assert wait_for_the_end(ranks)
