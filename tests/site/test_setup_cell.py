"""The cell that installs the lab: the same in every notebook, it installs where the lab is missing and only there."""

import json
import os
import subprocess
import venv
from pathlib import Path

import nbformat
import pytest

from lab_utils.site import setup_cell
from lab_utils.site.render import is_fresh
from lab_utils.site.setup_cell import LINK, SETUP, put_in, read_repository, setup_code
from tests.clean_environment import copy_source, distributions, link_distributions
from tests.notebooks.rules import course_faults, faults

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOMEWHERE = "https://github.com/somebody/lab"


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("repository", ["", SOMEWHERE])
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_with_the_cell_keeps_every_rule(path, repository):
    before, notebook = (nbformat.read(path, as_version=4) for _ in range(2))
    notebook = put_in(notebook, path.name, repository)
    text = nbformat.writes(notebook)
    nbformat.validate(notebook)
    assert [*faults(text), *course_faults(text)] == []
    assert is_fresh(notebook) == is_fresh(before)
    assert [c.execution_count for c in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    kept = [cell.source for cell in notebook.cells if cell.id not in (SETUP, LINK)]
    assert kept == [cell.source for cell in before.cells if cell.id not in (SETUP, LINK)]
    assert notebook.cells[1 + bool(repository)].id == SETUP


def test_a_second_time_changes_nothing_and_another_address_replaces_both_cells():
    path = NOTEBOOKS[0]
    once = put_in(nbformat.read(path, as_version=4), path.name, SOMEWHERE)
    text = nbformat.writes(once)
    assert nbformat.writes(put_in(nbformat.reads(text, as_version=4), path.name, SOMEWHERE)) == text
    moved = nbformat.writes(
        put_in(nbformat.reads(text, as_version=4), path.name, "https://github.com/else/where")
    )
    assert "somebody/lab" not in moved
    assert f"colab.research.google.com/github/else/where/blob/main/notebooks/{path.name}" in moved


def test_a_change_of_the_cell_makes_no_outputs_old_and_a_change_of_another_one_does():
    notebook = put_in(nbformat.read(NOTEBOOKS[0], as_version=4), NOTEBOOKS[0].name, "")
    fresh = is_fresh(notebook)
    notebook.cells[1].source += "\n"
    assert is_fresh(notebook) == fresh
    code_cells(notebook)[1].source += "\n"
    assert not is_fresh(notebook)


def test_the_command_changes_copies_once(tmp_path, capsys):
    for path in NOTEBOOKS[:2]:
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [cell for cell in notebook.cells if cell.id not in (SETUP, LINK)]
        nbformat.write(notebook, tmp_path / path.name)
    files = sorted(map(str, tmp_path.glob("*.ipynb")))
    assert setup_cell.main(files) == 0
    assert capsys.readouterr().out.count("has changed") == 2
    cells = [json.loads(Path(file).read_text())["cells"][1 + bool(read_repository())] for file in files]
    assert ["".join(cell["source"]) for cell in cells] == [setup_code(read_repository())] * 2
    assert setup_cell.main(files) == 0 and capsys.readouterr().out == ""
    assert setup_cell.main([str(tmp_path / "none.ipynb")]) == 2


def test_the_address_is_read_from_the_project(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        f'[project]\nname = "x"\n[project.urls]\nRepository = "{SOMEWHERE}/"\n'
    )
    assert read_repository(tmp_path / "pyproject.toml") == SOMEWHERE
    assert f'"{SOMEWHERE}/raw/main/constraints.txt", "nanokimi[lab] @ {SOMEWHERE}/archive/' in setup_code(
        SOMEWHERE
    )
    assert "http" not in setup_code("")


def test_every_notebook_has_the_cell():
    for path in NOTEBOOKS:
        (cell,) = [c for c in nbformat.read(path, as_version=4).cells if c.id == SETUP]
        assert cell.source == setup_code(read_repository()), path.name


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> tuple[Path, Path]:
    """The Python of an environment that has what the lab needs, but not the lab; and a copy of the project."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "env", with_pip=True, symlinks=True)
    # Python 3.11 puts an old setuptools beside pip, which would stand in the way of ours.
    python = folder / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "--isolated", "uninstall", "-q", "-y", "setuptools"], check=True)
    link_distributions(folder / "env", distributions("lab", also=("setuptools",)))
    copy_source(folder / "clone")
    (folder / "clone" / "notebooks").mkdir()
    return python, folder / "clone"


def run_cell(python: Path, folder: Path, repository: str = "") -> subprocess.CompletedProcess[str]:
    """The cell, run in a folder; pip reaches no index and builds with what is there."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
    }
    return subprocess.run(
        [python, "-c", setup_code(repository)],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=900,
    )


def test_it_installs_the_pinned_lab_from_the_clone_once(bare, tmp_path):
    python, clone = bare
    alone = run_cell(python, tmp_path)
    assert "Could not open requirements file" in alone.stdout + alone.stderr
    first = run_cell(python, clone / "notebooks")
    assert first.returncode == 0 and "ERROR" not in first.stdout + first.stderr, first.stderr
    where = [python, "-c", "import lab_utils, nanokimi; print(lab_utils.__file__, nanokimi.__file__)"]
    told = subprocess.run(
        where, cwd=tmp_path, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin"}
    )
    assert told.stdout.count("site-packages") == 2
    again = run_cell(python, tmp_path, SOMEWHERE)  # an address that nobody reaches
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
