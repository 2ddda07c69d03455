"""What a finished benchmark prints arrives in every terminal, and a shortage of memory names the sizes."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab_utils.bench import command
from lab_utils.bench.failures import explain
from lab_utils.bench.plan import make_plan
from lab_utils.bench.results import to_json
from nanokimi.system.atomic import write_json
from tests.bench.made_up_results import three_seeds

CONCLUDE = """
import sys
from pathlib import Path
from lab_utils.bench.command import _conclude
from nanokimi.cli.program import run_program
def conclude(words):
    _conclude(Path(words[0]))
    return 0
run_program("bench", lambda: conclude)
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_the_table_arrives_in_every_encoding(encoding: str, tmp_path: Path) -> None:
    folder = tmp_path / "雨 é"
    folder.mkdir()
    write_json(folder / "results.json", to_json(three_seeds()))
    done = subprocess.run(
        [sys.executable, "-c", CONCLUDE, folder],
        env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True,
    )  # fmt: skip
    said = done.stdout.decode(encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert said.count("\n") > 5 and "report.html" in said
    assert ("雨" in said) == (encoding == "utf-8")


def test_an_arm_that_cannot_fit_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("nanokimi.cli.memory.memory_limit", lambda: 1_000_000)
    assert command.run(["--profile=smoke", f"--out={tmp_path / 'out'}"]) == command.BAD_INPUT
    assert "but this machine has 0.0 GB" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_kernel_without_memory_is_explained_by_its_sizes() -> None:
    plan = make_plan("smoke")
    said = explain("cell 5: RuntimeError: DefaultCPUAllocator: can't allocate memory", plan)
    assert said.startswith("out of memory with batch_size=8 and seq_len=64 of profile smoke: ")
    assert explain("cell 5: ValueError: no", plan) == "cell 5: ValueError: no"


def test_progress_is_looked_for_where_it_is_written(monkeypatch, tmp_path) -> None:
    """papermill changes the current folder while a notebook runs."""
    seen = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "Watcher", lambda found, _: seen.extend(found) or contextlib.nullcontext())
    monkeypatch.setattr(command, "run_notebook", lambda *_: None)
    command._run(make_plan("smoke"), Path("out/now"), {})
    assert [each.folder for each in seen] == [
        tmp_path / "out/now/runs" / f"{arm}-s0" for arm in ("gpt", "kimi")
    ]
