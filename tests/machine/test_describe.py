"""One line about the machine, with memory in GB."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from lab_utils.machine import describe as module
from lab_utils.machine.describe import commit, describe, environment

MACHINE = {
    "device": "CPU",
    "cpu": "abacus",
    "cores": 2,
    "threads": 1,
    "memory_bytes": 25_200_000_000,
    "system": "Linux",
}


def test_a_machine_in_one_line():
    assert describe(MACHINE) == "abacus, 2 cores, 1 thread, 25 GB, Linux"
    assert describe(MACHINE | {"device": "H200"}).startswith("H200 with abacus, 2 cores")
    assert describe(MACHINE | {"memory_bytes": None}) == "abacus, 2 cores, 1 thread, Linux"


def test_the_environment_names_versions_and_nobody():
    found = environment("cpu")
    assert found["machine"]["device"] == "CPU"
    assert found["machine"]["cores"] == os.cpu_count()
    assert found["versions"]["torch"] == torch.__version__
    assert os.path.expanduser("~") not in str(found)


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    return subprocess.run(
        ["git", *who, "-C", str(folder), *words], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A repository with one commit, whose code this is."""
    own = tmp_path / "it's ours"
    file = own / "lab_utils" / "describe.py"
    file.parent.mkdir(parents=True)
    file.write_text("")
    git(own, "init", "-q")
    git(own, "add", ".")
    git(own, "commit", "-q", "-m", "first")
    monkeypatch.setattr(module, "__file__", str(file))
    return own


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_commit_is_that_of_the_checkout(checkout, monkeypatch):
    head = git(checkout, "rev-parse", "--short=12", "HEAD")
    assert commit(checkout) == head
    (checkout / "new.txt").write_text("not tracked")
    assert commit(checkout) == head
    (checkout / "lab_utils" / "describe.py").write_text("changed")
    assert commit(checkout) == head + "+"
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as within a hook of git
    assert commit(checkout) == head + "+"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_another_projects_commit_is_never_recorded(checkout, monkeypatch):
    copy = checkout / "vendor" / "nanokimi"  # without .git, inside a repository
    shutil.copytree(checkout / "lab_utils", copy / "lab_utils")
    monkeypatch.setattr(module, "__file__", str(copy / "lab_utils" / "describe.py"))
    assert commit(copy) is None
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "second")
    assert commit(copy) is None
    beside = checkout / "other.py"  # the root of the repository, but nothing that belongs to it
    beside.write_text("")
    monkeypatch.setattr(module, "__file__", str(beside))
    assert commit(checkout) is None


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_asking_for_the_commit_starts_no_program_of_the_repository(checkout, tmp_path):
    ran, program = tmp_path / "ran", tmp_path / "monitor.sh"
    program.write_text(f"#!/bin/sh\ntouch '{ran}'\n")
    program.chmod(0o755)
    git(checkout, "config", "core.fsmonitor", str(program))
    assert commit(checkout) is not None and not ran.exists()
