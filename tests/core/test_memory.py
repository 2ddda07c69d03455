"""Keeping freed memory, counted by the kernel: how many pages a process had to ask for."""

import subprocess
import sys

import pytest

from nanokimi import memory
from nanokimi.model import build_model
from nanokimi.train import train
from tests import tiny

# A buffer of 64 MiB, written in full and freed, again and again: above the size up to which glibc keeps memory by
# itself. Torch's aligned one comes to lie in a gap, that of bytes at the end of the heap, where freed memory is
# trimmed. The first rounds are not counted: they settle where the buffer lies.
BUFFERS = {"torch": "torch.ones(2**24)", "bytes": "bytes([1]) * 2**26"}
COUNT_FAULTS = """
import resource, sys, torch
from nanokimi.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for round in range(25):
    if round == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    eval(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str, buffer: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS, mode, buffer], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is kept on Linux only")
@pytest.mark.parametrize("buffer", BUFFERS.values(), ids=BUFFERS)
def test_a_buffer_that_was_freed_is_used_again(buffer):
    assert page_faults("keep", buffer) < 20
    assert page_faults("leave", buffer) > 100  # with pages of 2 MiB: 32 a round


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(monkeypatch, platform):
    monkeypatch.setattr(memory.sys, "platform", platform)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: pytest.fail("asked for the C library"))
    memory.keep_freed_memory()


def test_a_c_library_without_the_setting_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    memory.keep_freed_memory()


def test_training_on_a_cpu_asks_for_it_before_its_first_step(monkeypatch):
    asked = []
    monkeypatch.setattr("nanokimi.train.keep_freed_memory", lambda: asked.append(True))
    next(train(build_model(tiny.model_config("gpt"), 0), tiny.corpus(), tiny.train_config(device="cpu")))
    assert asked == [True]
