"""Keeping freed memory, counted by the kernel: how many pages a process had to ask for."""

import subprocess
import sys

import pytest

from nanokimi import memory

# A buffer of 64 MiB, written in full and freed, again and again: above the size up to which glibc keeps memory by
# itself. The first rounds are not counted: they settle where the buffer lies.
COUNT_FAULTS = """
import resource, sys, torch
from nanokimi.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for round in range(25):
    if round == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS, mode], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is kept on Linux only")
def test_a_buffer_that_was_freed_is_used_again():
    assert page_faults("keep") < 20
    assert page_faults("leave") > 100  # with pages of 2 MiB: 32 a round


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(monkeypatch, platform):
    monkeypatch.setattr(memory.sys, "platform", platform)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: pytest.fail("asked for the C library"))
    memory.keep_freed_memory()


def test_a_c_library_without_the_setting_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    memory.keep_freed_memory()
