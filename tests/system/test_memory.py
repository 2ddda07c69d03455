"""Keeping freed memory, counted by the kernel: how many pages a process had to ask for. And who asks for it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nanokimi.cli import begin, commands, training
from nanokimi.model import build_model
from nanokimi.system.memory import keep_freed_memory
from nanokimi.train import train
from tests import tiny

# A buffer of 67 MB is written in full and freed, again and again; glibc keeps only smaller ones by itself. The aligned
# buffer of torch lies in a gap, that of bytes at the end of the heap, where freed memory is trimmed. The first rounds
# are not counted: in them the place of the buffer is settled.
BUFFERS = {"torch": "torch.ones(2**24)", "bytes": "bytes([1]) * 2**26"}
COUNT_FAULTS = """
import resource, sys, torch
from nanokimi.system.memory import keep_freed_memory
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
    assert page_faults("leave", buffer) > 100  # even with pages of 2.1 MB there are 32 per round


class Library:
    """A C library that notes how it is called; `mallopt` is there or not."""

    def __init__(self, has_mallopt: bool):
        self.has_mallopt, self.calls = has_mallopt, []

    def __getattr__(self, name: str):
        if name != "mallopt" or not self.has_mallopt:
            raise AttributeError(name)
        return lambda setting, value: self.calls.append((setting, value))


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("has_mallopt", [True, False], ids=["glibc", "musl"])
def test_only_a_c_library_with_the_setting_is_asked(monkeypatch, platform, has_mallopt):
    """By the numbers of malloc.h: M_TRIM_THRESHOLD is -1 and gets the largest int, M_MMAP_MAX is -4 and gets 0."""
    library, loaded = Library(has_mallopt), []
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("ctypes.CDLL", lambda name: loaded.append(name) or library)
    keep_freed_memory()
    assert loaded == ([None] if platform == "linux" else [])
    assert library.calls == ([(-1, 2147483647), (-4, 0)] if platform == "linux" and has_mallopt else [])


NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TRAINS = re.compile(r"\b(train|load_or_train|find_specimen|time_in_turns)\(")


def code_of(notebook: Path) -> str:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_every_notebook_that_trains_asks_for_it_before():
    """The kernel is the program; without the setting the benchmark's seconds would be others."""
    found = {path.name[:2]: code_of(path) for path in NOTEBOOKS.glob("*.ipynb")}
    training = {number: TRAINS.search(code) for number, code in found.items()}
    assert {number for number, first in training.items() if first} == {"00", "04", "07", "08", "09", "10"}
    for number, first in training.items():
        if first:
            assert "\nkeep_freed_memory()" in found[number][: first.start()], number


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_train_command_asks_for_it_on_a_cpu_only(device, monkeypatch, tmp_path):
    order = []
    monkeypatch.setattr(begin, "keep_freed_memory", lambda: order.append("keep"))
    monkeypatch.setattr(training, "train", lambda *_: order.append("train") or (each for each in ()))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (10**10, 10**10))
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: True)
    (tmp_path / "text.txt").write_text("a kimi cat sat on the mat. " * 400)
    words = [
        "train", "--model=gpt-smoke", "--train=train-smoke", f"--data={tmp_path / 'text.txt'}",
        f"--out={tmp_path / 'run'}", "--set=data.tokenizer=char", f"--device={device}",
    ]  # fmt: skip
    assert commands.run_command(words) == 0
    assert order == (["keep", "train"] if device == "cpu" else ["train"])


def test_a_training_leaves_the_process_as_it_is(monkeypatch):
    """A library decides nothing for the program that calls it."""
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("the training asked for the C library"))
    next(train(build_model(tiny.gpt()), tiny.corpus(), tiny.train_config()))
