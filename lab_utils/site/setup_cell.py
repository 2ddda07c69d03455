"""The cell that installs the lab where a notebook is opened without it: on Colab, on Kaggle, in a new kernel.

    python -m lab_utils.site.setup_cell notebooks/*.ipynb

puts the same cell behind the title of every notebook, or brings the one that is there up to date. The address that it
installs from is `Repository` in `[project.urls]` of pyproject.toml, and stands nowhere else; from it comes the link to
Colab too. As long as there is none, the cell installs from the clone that the notebook lies in.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import nbformat

from lab_utils.machine.headless import read_notebook
from lab_utils.site.render import SETUP, is_fresh, stamp
from nanokimi.config import ConfigError
from nanokimi.system.atomic import write_text
from nanokimi.system.printable import one_line, show_every_letter

ROOT = Path(__file__).parents[2]
LINK = "open-elsewhere"  # the id of the cell with the link to Colab

_CODE = """\
# Where the lab is missing (Colab, Kaggle, a new kernel) this installs its tested versions; elsewhere it does nothing.
import importlib.util

if importlib.util.find_spec("lab_utils") is None:
    import subprocess
    import sys

    constraints, lab = "{constraints}", "{lab}"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "-c", constraints, lab], check=True)
    importlib.invalidate_caches()"""


def read_repository(project: Path = ROOT / "pyproject.toml") -> str:
    """The address of the repository in the project's file, https://github.com/OWNER/NAME; empty where it names none."""
    urls = tomllib.loads(project.read_text(encoding="utf-8"))["project"].get("urls", {})
    return urls.get("Repository", "").removesuffix("/")


def setup_code(repository: str) -> str:
    """The code of the cell. Without a repository it installs from the clone that the notebook lies in."""
    if not repository:
        return _CODE.format(constraints="../constraints.txt", lab="..[lab]")
    return _CODE.format(
        constraints=f"{repository}/raw/main/constraints.txt",
        lab=f"nanokimi[lab] @ {repository}/archive/refs/heads/main.zip",
    )


def colab_link(repository: str, notebook: str) -> str:
    """Markdown that opens a notebook of the repository in Colab; a link, since pages of the course load no picture."""
    path = repository.removeprefix("https://github.com/")
    return f"[Open in Colab](https://colab.research.google.com/github/{path}/blob/main/notebooks/{notebook})"


def put_in(notebook: nbformat.NotebookNode, name: str, repository: str) -> nbformat.NotebookNode:
    """The notebook with the cell behind its title, and before it the link where there is a repository.

    It does nothing where the lab is installed, so all outputs stay as they are; they are counted on by one.
    """
    was_fresh = is_fresh(notebook)
    new = nbformat.v4.new_code_cell(setup_code(repository), id=SETUP, execution_count=1)
    cells = [new]
    if repository:
        cells.insert(0, nbformat.v4.new_markdown_cell(colab_link(repository, name), id=LINK))
    had_one = any(cell.id == SETUP for cell in notebook.cells)
    rest = [cell for cell in notebook.cells if cell.id not in (SETUP, LINK)]
    for cell in rest:
        if not had_one and cell.cell_type == "code" and cell.execution_count:
            cell.execution_count += 1
            for output in cell.outputs:
                if output.get("execution_count"):
                    output.execution_count += 1
    notebook.cells = [rest[0], *cells, *rest[1:]]
    return stamp(notebook) if was_fresh else notebook


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 2 for a file that is no notebook, which then stays as it is."""
    show_every_letter()
    repository = read_repository()
    for path in map(Path, sys.argv[1:] if argv is None else argv):
        try:
            notebook = put_in(read_notebook(path), path.name, repository)
        except ConfigError as error:
            print(one_line(f"setup_cell: {error}"), file=sys.stderr)
            return 2
        text = nbformat.writes(notebook) + "\n"
        if text != path.read_text(encoding="utf-8"):
            write_text(path, text)
            print(one_line(f"setup_cell: {path.name} has changed"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
