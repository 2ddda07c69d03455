"""Make the outputs that are committed with a notebook: run it, keep its outputs, drop what differs every time.

python -m lab_utils.render notebooks/08_train_kimi_vs_gpt.ipynb --profile cpu
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nbformat

from lab_utils.arms import check_profile
from lab_utils.headless import NotebookFailed, run_notebook
from nanokimi.config import ConfigError

VOLATILE = ("papermill", "execution")  # metadata with times in it


def render(notebook: Path, profile: str) -> None:
    """Run `notebook` with `profile` and its own parameters, and put the outputs into it."""
    with tempfile.TemporaryDirectory() as folder:
        executed = Path(folder) / notebook.name
        run_notebook(notebook, executed, {}, {"NANOKIMI_PROFILE": profile, "NANOKIMI_LIVE": "0"})
        found = nbformat.read(executed, as_version=4)
    nbformat.write(without_volatile(found), notebook)


def without_volatile(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same notebook without run times, papermill's notes and the version of Python."""
    for holder in (notebook, *notebook.cells):
        for key in VOLATILE:
            holder.metadata.pop(key, None)
        if holder.metadata.get("tags") == []:
            del holder.metadata["tags"]
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab_utils.render")
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--profile", default="cpu")
    options = parser.parse_args(argv)
    try:
        profile = check_profile(options.profile)
        for notebook in options.notebooks:
            render(notebook, profile)
    except (ConfigError, NotebookFailed) as error:
        print(f"render: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
