"""Ranks end on every path: at the end, after an error, a death, an interrupt, and when one takes too long."""

import os
import signal

import pytest
import torch
import torch.distributed as dist

from lab_utils.machine.ranks import Ranks
from tests.machine import work_of_ranks as work
from tests.processes import wait_for_the_end

pytestmark = pytest.mark.slow


def test_each_rank_gives_its_result_and_they_exchange_tensors():
    with Ranks(3, seconds=180) as ranks:
        pids = ranks.run(os.getpid)
        assert len(set(pids)) == 3
        assert ranks.run(dist.get_rank) == [0, 1, 2]
        assert [t.tolist() for t in ranks.run(work.add_ranks, torch.ones(2))] == [[6.0, 6.0]] * 3
    assert wait_for_the_end(pids)


@pytest.mark.parametrize(
    ("task", "error", "says"),
    [
        (work.fail_on_rank_1, RuntimeError, "rank 1 of 2: ValueError: no such number"),
        (work.die_on_rank_1, RuntimeError, "rank 1 of 2 has died"),
        (work.hang_on_rank_1, TimeoutError, "no result from rank 0, 1 of 2 within 2 s"),
    ],
    ids=["an error", "a death", "no end"],
)
def test_a_rank_that_fails_ends_all(task, error, says):
    ranks = Ranks(2, seconds=180)
    with ranks, pytest.raises(error, match=says):
        pids = ranks.run(os.getpid)
        ranks._seconds = 2.0
        ranks.run(task)
    assert wait_for_the_end(pids)


def test_an_interrupt_ends_all():
    with pytest.raises(KeyboardInterrupt), Ranks(2, seconds=180) as ranks:
        pids = ranks.run(os.getpid)
        for pid in pids:  # as a notebook's interrupt does, which reaches all processes
            os.kill(pid, signal.SIGINT)
        assert ranks.run(os.getpid) == pids
        raise KeyboardInterrupt
    assert wait_for_the_end(pids)


def test_what_cannot_be_sent_is_told_and_ends_all():
    with pytest.raises((AttributeError, TypeError)), Ranks(2, seconds=180) as ranks:
        pids = ranks.run(os.getpid)
        ranks.run(lambda: 1)
    assert wait_for_the_end(pids)
