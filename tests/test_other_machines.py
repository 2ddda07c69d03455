"""Containers, other people's CI and hooks: they are well formed, and every command in them exists here.

No daemon and no network is needed. hadolint looks at the Dockerfile where it is installed.
"""

import ast
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from nanokimi.presets.yaml_config import preset_names

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[1].split())
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text(encoding="utf-8"))
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
# What packages that pyproject.toml names bring as commands.
COMMANDS = {"lint-imports": "import-linter", "basedpyright": "basedpyright"}
EVERYTHING = {
    Requirement(line).name
    for lines in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in lines
}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions: the word, and what follows it in one line."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def told(word: str) -> list[str]:
    return [rest for each, rest in instructions() if each == word]


def missing(command: str) -> list[str]:
    """What in a command does not exist in this project."""
    words = shlex.split(command)
    found = []
    if words[0] == "make":
        found += [f"target {word}" for word in words[1:] if "=" not in word and word not in TARGETS]
    elif words[:2] == ["python", "-m"]:
        try:
            is_there = importlib.util.find_spec(words[2]) is not None
        except ModuleNotFoundError:
            is_there = False
        if not is_there:
            found.append(f"module {words[2]}")
    elif words[0] == "python":
        found += [words[1]] if not (ROOT / words[1]).is_file() else []
    elif words[0].startswith(".ci/"):
        found += [words[0]] if not os.access(ROOT / words[0], os.X_OK) else []
    elif words[0] not in COMMANDS or COMMANDS[words[0]] not in EVERYTHING:
        found.append(f"command {words[0]}")
    found += [word for word in words if word.startswith("tests/") and not (ROOT / word).exists()]
    settings = [after for word, after in pairwise(words) if word in ("--model", "--train")]
    return found + [f"preset {name}" for name in settings if name not in preset_names()]


def test_what_is_missing_is_found():
    assert missing("make chek") == ["target chek"]
    assert missing("python -m nanokimi.nothing") == ["module nanokimi.nothing"]
    assert missing("python -m pytest tests/nothing") == ["tests/nothing"]
    assert missing("python -m nanokimi.cli train --model none") == ["preset none"]
    assert missing("tox") == ["command tox"] and missing(".ci/none cpu") == [".ci/none"]
    assert missing("make check PROFILE=smoke") == missing(".ci/install cpu") == []


def test_the_dockerfile_takes_both_bases_and_ends_as_no_root():
    assert [word for word, _ in instructions()][:2] == ["ARG", "FROM"]
    assert told("FROM") == ["${BASE}"] and {arg.partition("=")[0] for arg in told("ARG")} == {"BASE", "TORCH"}
    for base in (
        told("ARG")[0].partition("=")[2],
        *re.findall(r"BASE=(\S+)", (ROOT / "Dockerfile").read_text()),
    ):
        assert re.search(r":[\w.-]*\d", base), f"{base} has no version"
    assert told("USER") == ["lab"]
    (command,) = told("CMD")
    assert missing(shlex.join(json.loads(command))) == []


def test_the_dockerfile_copies_what_is_there_and_runs_what_bash_can_read():
    for rest in told("COPY"):
        *sources, _ = [word for word in rest.split() if not word.startswith("--")]
        assert all((ROOT / source).exists() for source in sources)
    for script in told("RUN"):
        subprocess.run(["bash", "-n", "-c", script], check=True)
        assert "apt-get" not in script or {"--no-install-recommends", "/var/lib/apt/lists/*"} <= set(
            script.split()
        )
        for word in re.findall(r"\.ci/\w+", script):
            assert os.access(ROOT / word, os.X_OK)
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert {".git", ".venv", "out"} <= set(ignored)


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_finds_nothing():
    done = subprocess.run(["hadolint", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("torch", "index"), [("cpu", "--index-url https://download.pytorch.org/whl/cpu "), ("cuda", "")]
)
def test_the_step_of_the_dockerfile_installs_the_pinned_set(tmp_path, torch, index):
    """With a Python that only writes down what it is asked for."""
    (tmp_path / ".ci").mkdir()
    for name in (".ci/install", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\necho "$@" >> "$LOG"\n[ "$2" != venv ] || { mkdir -p .venv/bin; cp "$0" .venv/bin/python; }\n'
    )
    python.chmod(0o755)
    environ = {"PATH": "/usr/bin:/bin", "PYTHON": str(python), "LOG": str(tmp_path / "log")}
    subprocess.run([tmp_path / ".ci" / "install", torch], env=environ, check=True)
    pin = re.search(r"^torch==.*$", (ROOT / "constraints.txt").read_text(), re.M)[0]
    assert (tmp_path / "log").read_text().splitlines() == [
        "-m venv .venv",
        f"-m pip install --no-cache-dir {index}{pin}",
        "-m pip install --no-cache-dir -c constraints.txt -e .[lab,test]",
    ]
    assert (tmp_path / ".venv" / ".ready").read_text() == f"{tmp_path}\n"  # as make writes it
    wrong = subprocess.run([tmp_path / ".ci" / "install", "tpu"], env=environ, capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr) == (2, "usage: .ci/install cpu|cuda\n")


def test_the_devcontainer_builds_the_dockerfile():
    folder = ROOT / ".devcontainer"
    told_here = json.loads((folder / "devcontainer.json").read_text())
    assert (folder / told_here["build"]["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert (folder / told_here["build"]["context"]).resolve() == ROOT
    assert told_here["build"]["args"].keys() == {arg.partition("=")[0] for arg in told("ARG")}
    assert told_here["remoteUser"] == told("USER")[0]
    assert missing(told_here["postCreateCommand"]) == []


def test_the_workflow_covers_three_systems_and_three_pythons():
    jobs = WORKFLOW["jobs"].values()
    systems = {name for job in jobs for name in job["strategy"]["matrix"].get("os", [job["runs-on"]])}
    assert systems == {"ubuntu-latest", "macos-latest", "windows-latest"}
    for job in jobs:
        assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == ">=3.11"
    assert WORKFLOW["permissions"] == {"contents": "read"}


STEPS = [
    (name, step["run"]) for name, job in WORKFLOW["jobs"].items() for step in job["steps"] if "run" in step
]


@pytest.mark.parametrize(("job", "command"), STEPS)
def test_every_command_of_the_workflow_exists(job, command):
    assert missing(command) == []
    if "windows" in job:
        assert command.startswith("python -m ")  # neither make nor bash


@pytest.mark.parametrize(
    "hook", [hook for repo in HOOKS for hook in repo["hooks"]], ids=lambda hook: hook["id"]
)
def test_every_hook_exists_and_is_one_that_make_check_or_make_map_runs(hook):
    assert missing(hook["entry"]) == []
    called = hook["entry"].removeprefix("python -m ").removeprefix("python ").removesuffix(" --force-exclude")
    assert re.search(rf"^\t\$\(BIN\)/(?:python )?{re.escape(called)}", MAKEFILE, re.M)


def test_no_program_of_ours_assumes_where_a_virtual_environment_keeps_its_python():
    """On Windows it is .venv/Scripts/python.exe: `sys.executable` is right everywhere."""
    named = re.compile(r"""\.venv/|bin/python|["']bin["']""")
    for package in ("nanokimi", "lab_utils", "benchmarks", "docs"):
        for path in (ROOT / package).rglob("*.py"):
            assert not named.search(path.read_text(encoding="utf-8")), path


def test_the_core_imports_on_systems_that_are_no_unix():
    """What only Unix has is imported in functions, or where its lack is caught."""
    unix = {"fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"}
    for path in (ROOT / "nanokimi").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = (
                    {alias.name for alias in node.names} if isinstance(node, ast.Import) else {node.module}
                )
                assert not names & unix, f"{path} imports {names & unix}"
