"""The program of docs/library.md, run from a wheel in an environment with what the core needs and nothing else."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.clean_environment import build_wheel, make_environment

ROOT = Path(__file__).parents[1]
PROGRAM = re.search(
    r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(encoding="utf-8"), re.DOTALL
)[1]
NOT_THERE = ("IPython", "ipywidgets", "matplotlib", "plotly", "transformers", "nbformat", "pytest")


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    return make_environment(folder / "env", build_wheel(folder))


@pytest.fixture(scope="module")
def finished(python, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder in which the program has run, and how it ended."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "extend.py").write_text(PROGRAM)
    (folder / "my-text.txt").write_text(
        "The fox sat on a log. The dog ran to the house and back again.\n" * 200
    )
    return folder, run(python, folder, "extend.py")


def run(python: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [python, "-W", "error", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_the_program_has_at_most_thirty_lines_of_code():
    assert len([line for line in PROGRAM.splitlines() if line]) <= 30


def test_the_program_runs_from_a_wheel_with_the_core_dependencies_only(python, finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    losses = [float(line.split()[1]) for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert len(losses) == 20 and losses[-1] < losses[0] - 0.5
    assert {path.name for path in (folder / "out").iterdir()} == {"mla", "gated"}
    where = run(python, folder, "-c", "import nanokimi; print(nanokimi.__file__)").stdout
    assert "site-packages" in where and str(ROOT) not in where


@pytest.mark.parametrize("module", NOT_THERE)
def test_the_environment_holds_nothing_of_the_lab(python, tmp_path, module):
    assert f"No module named '{module}'" in run(python, tmp_path, "-c", f"import {module}").stderr


def test_another_process_is_told_that_it_does_not_know_the_attention(python, finished):
    """A checkpoint holds no code: whoever has not registered the name is told so."""
    folder, _ = finished
    line = "from nanokimi.checkpoint import load_checkpoint; load_checkpoint('out/gated')"
    told = run(python, folder, "-c", line).stderr.splitlines()[-1]
    assert "attention='gated' must be" in told and "register_attention" in told
    told = run(
        python, folder, "-m", "nanokimi.cli", "generate", "--checkpoint", "out/gated", "--prompt", "The"
    )
    assert told.returncode == 2 and len(told.stderr.splitlines()) == 1
    assert "attention='gated' must be" in told.stderr
