"""Makes the outputs that are committed with a notebook: runs it, keeps its outputs, drops what differs every time.

python -m lab_utils.site.render notebooks/02_attention.ipynb notebooks/08_train_kimi_vs_gpt.ipynb --profile cpu

The notebook's metadata then say which code its outputs come from; `is_fresh` compares that with its code.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nbformat

from lab_utils.machine.headless import NotebookFailed, run_notebook
from lab_utils.machine.profile import check_profile
from nanokimi.config import ConfigError
from nanokimi.system.atomic import write_text
from nanokimi.system.printable import one_line, show_every_letter

SETUP = "install-the-lab"  # the id of the cell that installs the lab where it is missing (`setup_cell`)
VOLATILE = ("papermill", "execution")  # metadata with times in it


def render(notebook: Path, profile: str) -> None:
    """Run `notebook` with `profile` and its own parameters, and write the outputs into it.

    It runs with an empty logbook, so that the outputs are those of a reader who begins. Raises `NotebookFailed` and
    leaves the notebook as it is if somebody edited it meanwhile.
    """
    with tempfile.TemporaryDirectory() as folder:
        before = notebook.read_bytes() if notebook.is_file() else b""
        executed = Path(folder) / notebook.name
        environ = {
            "NANOKIMI_PROFILE": profile,
            "NANOKIMI_LIVE": "0",
            "NANOKIMI_PROGRESS": str(Path(folder) / "progress.json"),
        }
        run_notebook(notebook, executed, {}, environ)
        found = stamp(drop_volatile(nbformat.read(executed, as_version=4)))
    if notebook.read_bytes() != before:
        raise NotebookFailed("it was edited while it ran; render it again")
    write_text(notebook.resolve(), nbformat.writes(found) + "\n")


def code_hash(notebook: nbformat.NotebookNode) -> str:
    """SHA-256 of the sources of all code cells in order, but for those that change no output: text and `SETUP`."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code" and cell.get("id") != SETUP]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def stamp(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same notebook, its metadata with the hash of the code that its outputs come from."""
    notebook.metadata["nanokimi"] = {"rendered_from": code_hash(notebook)}
    return notebook


def is_fresh(notebook: nbformat.NotebookNode) -> bool:
    """Whether the outputs come from the code that is in the notebook now."""
    return notebook.metadata.get("nanokimi", {}).get("rendered_from") == code_hash(notebook)


def drop_volatile(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same notebook without run times, papermill's notes and the version of Python."""
    for holder in (notebook, *notebook.cells):
        for key in VOLATILE:
            holder.metadata.pop(key, None)
        if holder.metadata.get("tags") == []:
            del holder.metadata["tags"]
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for a file or a profile that cannot be used, 1 for a failed notebook, 130 for Ctrl-C."""
    show_every_letter()
    parser = argparse.ArgumentParser(prog="python -m lab_utils.site.render")
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--profile", default="cpu")
    options = parser.parse_args(argv)
    at = ""
    try:
        profile = check_profile(options.profile)
        for number, notebook in enumerate(options.notebooks, start=1):
            at = f"{notebook.name}: "
            print(one_line(f"render: {notebook.name} ({number} of {len(options.notebooks)})"), flush=True)
            render(notebook, profile)
    except (ValueError, OSError) as error:
        return _tell(f"{'' if isinstance(error, ConfigError) else at}{error}", 2)
    except NotebookFailed as error:
        return _tell(f"{at}{error}", 1)
    except KeyboardInterrupt:
        return _tell(f"{at}interrupted; it is as it was", 130)
    return 0


def _tell(message: str, code: int) -> int:
    print(one_line(f"render: {message}"), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
