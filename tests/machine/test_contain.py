"""A task runs in a process of its own, with bounds, and nothing of it is left."""

import errno
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest

from lab_utils.machine import contain, linux
from lab_utils.machine.contain import Bounds, Contained, NotContained, find_level
from lab_utils.machine.sandbox import FULL, LIMITS

READY = "lab_utils.machine.contain:say_ready"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="what it reads is there on Linux only")


@pytest.mark.parametrize("level", ["", LIMITS])
def test_a_task_gets_its_input_and_writes_lines(level):
    with Contained(READY, Bounds(seconds=30, memory=10**9), level=level) as task:
        folder = task._folder.name
        ended = task.finish(b"json")
    assert ended.output == b'"ready"\n' and ended.why == ""
    assert not os.path.exists(folder)


@pytest.mark.parametrize("level", ["", LIMITS])
def test_why_a_task_could_not_be_done_is_said(level):
    with Contained(READY, Bounds(seconds=30, memory=10**9), level=level) as task:
        assert task.finish(b"no_such_module").why == "ModuleNotFoundError: No module named 'no_such_module'"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "processes"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (MemoryError(), "memory"),
        (OSError(errno.EIO, "Input/output error"), "OSError: [Errno 5] Input/output error"),
    ],
)
def test_an_error_at_a_limit_of_the_system_is_told_as_that_bound(error, why):
    told = "".join(traceback.format_exception(error))
    assert contain._read_reason(b"a line\n" + json.dumps({"broken": told}).encode() + b"\n") == why


def test_memory_is_a_bound_of_the_process():
    with Contained(READY, Bounds(seconds=30, memory=10**7)) as task:
        assert task.finish(b"decimal" * 10**7).why != ""


def test_a_task_that_is_not_waited_for_is_ended():
    with Contained(READY, Bounds(seconds=30, memory=10**9)) as task:
        process = task._process
    assert process.returncode is not None


@linux_only
def test_the_environment_of_a_task_holds_no_secret(monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    with Contained(READY, Bounds(seconds=30, memory=10**9)) as task:
        assert b"SECRET" not in Path(f"/proc/{task._process.pid}/environ").read_bytes()


def test_root_without_any_way_is_refused_in_one_line(monkeypatch):
    """A task of root could change this program; where it can be nobody else, nothing is started."""
    monkeypatch.setattr(contain, "say_ready", None)
    monkeypatch.setattr(contain.Contained, "finish", lambda self, data: contain.Ended(b"", "no reason"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(NotContained, match=r"as root, .*no reason.*docs/grading\.md"):
        find_level.__wrapped__()


@linux_only
def test_the_tree_of_a_process_holds_its_children_and_their_memory():
    source = "import subprocess, sys; x = bytearray(50_000_000); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.read(1)
        mine, theirs = linux.find_tree(os.getpid()), linux.find_tree(child.pid)
        assert child.pid in mine and os.getpid() in mine and list(theirs) == [child.pid]
        for exactly in (False, True):
            assert 50e6 < linux.sum_memory(theirs, exactly) < 90e6
        child.stdin.close()
        child.wait()
        assert child.pid not in linux.find_tree(os.getpid())


@linux_only
def test_a_nameless_file_in_memory_counts_though_nobody_maps_it():
    before = linux.sum_memory([os.getpid()], exactly=True)
    fd = os.memfd_create("x")
    try:
        os.write(fd, bytes(30_000_000))
        assert linux.sum_memory([os.getpid()], exactly=True) - before > 25e6
    finally:
        os.close(fd)


@linux_only
def test_the_grader_ends_and_its_tasks_end_with_it():
    """Killed so that it can do nothing about it."""
    source = (
        "from lab_utils.machine.contain import *; import time\n"
        "with Contained('lab_utils.machine.contain:say_ready', Bounds(seconds=30, memory=10**9)) as task:\n"
        "    time.sleep(1); print(flush=True); time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as grader:
        grader.stdout.read(1)
        tree = linux.find_tree(grader.pid)
        grader.kill()
    assert len(tree) >= (4 if find_level() == FULL else 2)
    deadline = time.monotonic() + 180
    while left := find_running(tree):
        assert time.monotonic() < deadline, f"these still run: {left}"
        time.sleep(0.05)


def find_running(tree):
    """Those of the tree that run. What has ended may stay in the system's list until the first process buries it."""
    now = linux.read_processes()
    return {p: now[p] for p in tree if p in now and now[p].state != "Z" and now[p].begun == tree[p].begun}
