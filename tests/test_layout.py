"""The layout that CONTRIBUTING describes: one idea per file, few files per folder, tests that mirror the tree."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST = 300  # lines of one idea
CORE = 4530  # lines of the models and their training, read from top to bottom
EXCUSE = "Longer than others"  # how the sentence of a docstring begins that gives the reason


def tracked(pattern: str) -> list[Path]:
    """The files that git tracks, as paths below the checkout."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [Path(name) for name in listing.stdout.split("\n") if name and (ROOT / name).exists()]


def n_lines(path: Path) -> int:
    return len((ROOT / path).read_text(encoding="utf-8").splitlines())


def test_no_file_is_long_without_a_reason():
    long = [path for path in tracked("*.py") if n_lines(path) > LONGEST]
    unexcused = [
        f"{path}: {n_lines(path)} lines"
        for path in long
        if EXCUSE not in (ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8"))) or "")
    ]
    assert unexcused == []


def test_the_core_can_be_read_in_one_go():
    flat = [path for path in tracked("nanokimi/*.py") if path.parent == Path("nanokimi")]
    assert len(flat) > 15
    assert sum(map(n_lines, flat)) <= CORE


def test_the_lab_keeps_its_files_in_wings():
    assert len([path for path in tracked("lab_utils/*") if path.parent == Path("lab_utils")]) <= 2


def test_tests_mirror_the_tree():
    """Every folder of tests is named after a wing, a room of the core or a chapter; ranks are many processes."""
    wings = {path.parts[1] for path in tracked("lab_utils/*.py") if len(path.parts) > 2}
    rooms = {path.parts[1] for path in tracked("nanokimi/*.py") if len(path.parts) > 2}
    chapters = {f"ch{path.name[:2]}" for path in tracked("notebooks/*.ipynb")}
    folders = {path.parts[1] for path in tracked("tests/*.py") if len(path.parts) > 2}
    below = {path.parts[2] for path in tracked("tests/*.py") if len(path.parts) > 3}
    inner = {path.parts[2] for path in tracked("nanokimi/*.py") if len(path.parts) > 3}
    assert folders <= wings | rooms | {"benchmarks", "contracts", "core", "e2e", "notebooks", "ranks"}
    inner |= {path.parts[2] for path in tracked("lab_utils/*.py") if len(path.parts) > 3}
    assert below <= chapters | inner
