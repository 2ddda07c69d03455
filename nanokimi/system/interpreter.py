"""New processes of this Python: they run no file of the folder where the user stands, and the same tree as this one."""

import os
import subprocess
import sys

from nanokimi.system.own_path import ROOT

_ASK = "import importlib.util; print(importlib.util.find_spec('nanokimi').origin)"


def python(*words: str) -> list[str]:
    """The words that start this Python without the current folder on its path: `python("-m", "lab_utils.bench")`."""
    return [sys.executable, "-P", *words]


def check_same_tree() -> None:
    """`ValueError` where a new process would run another copy of this project, as after the project was copied."""
    asked = subprocess.run(python("-c", _ASK), capture_output=True, text=True, errors="replace", check=False)
    found = os.path.realpath(f"{asked.stdout.strip()}/../..") if asked.returncode == 0 else "no folder at all"
    if found != ROOT:
        raise ValueError(
            f"this program is nanokimi in {ROOT}, but a new process would run the one in {found}: was the project "
            "copied or moved? set it up where it is now, with make or pip install -e ."
        )
