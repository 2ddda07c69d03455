"""Every command is started in a stranger's folder, where Python files lie under the names of modules.

Each of these files writes its name into a list when it is run. A command that runs none of them, and ends as it does
elsewhere, survived. A trap stands for a module of Python, of a library, or of ours, and for each settings file that
Jupyter and IPython would run. `python -m` finds a folder `lab_utils` before any of our code runs: there only Python's
own `-P` helps, so such a folder is a trap for the command `nanokimi` and for what it starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat

from benchmarks.faults.outcome import Outcome

NAME = "started in a stranger's folder"
RELEASE = 12  # every command once
SAMPLE = 1

LIBRARIES = (
    "torch numpy yaml typer click pydantic pydantic_core safetensors tiktoken tokenizers filelock regex tqdm "
    "jaxtyping papermill nbformat nbclient jupyter_client jupyter_core IPython ipykernel ipykernel_launcher traitlets "
    "zmq tornado matplotlib plotly ipywidgets comm debugpy psutil benchmarks tests conftest sitecustomize usercustomize"
).split()
SETTINGS = (
    "jupyter_config.py jupyter_server_config.py papermill_config.py ipython_config.py ipython_kernel_config.py "
    "profile_default/ipython_config.py profile_default/startup/00-first.py"
).split()
OURS = ("lab_utils", "nanokimi")
TEXT = "Once upon a time there was a small cat. It sat on a mat and looked at the moon.\n" * 400


@dataclass(frozen=True)
class Command:
    """Words for the system. `passes_ours`: a folder `lab_utils` is a trap too. `code`: how the command has to end."""

    words: tuple[str, ...]
    passes_ours: bool = True
    code: int = 0


def make_commands(work: Path) -> list[Command]:
    """All commands of the project, on a small text and a small model in `work`, each after those that it needs."""
    text, run = work / "text.txt", work / "run"
    text.write_text(TEXT, encoding="utf-8")
    program = (str(Path(sys.executable).with_name("nanokimi")),)
    module = (sys.executable, "-m")
    smoke = ("--model", "kimi-smoke", "--train", "train-smoke", "--device", "cpu")
    checkpoint = ("--checkpoint", str(run))
    bench = (
        "bench",
        "--profile",
        "smoke",
        "--arms",
        "gpt,kimi",
        "--data",
        str(text),
        "--out",
        str(work / "bench"),
    )
    return [
        Command((*program, "prepare", "--data", str(text))),
        Command(
            (*program, "train", "--data", str(text), *smoke, "--set", "train.steps=4", "--out", str(run))
        ),
        Command((*program, "generate", *checkpoint, "--max-new-tokens", "2")),
        Command((*program, "export", *checkpoint, "--to", str(work / "exported"))),
        Command((*program, "presets")),
        Command((*program, "bench", "--profile", "none"), code=2),
        Command((*module, "nanokimi.cli", "presets"), passes_ours=False),
        Command((*module, "lab_utils.bench", "--profile", "none"), passes_ours=False, code=2),
        Command((*module, "lab_utils.course.grade", "answers.ipynb"), passes_ours=False, code=1),
        Command((*module, "lab_utils.site", "--out", str(work / "site")), passes_ours=False),
        Command((*module, "lab_utils.site.render", "plain.ipynb", "--profile", "smoke"), passes_ours=False),
        Command((*program, *bench)),
    ]


def _write_notebook(path: Path, source: str, exercise: str = "") -> None:
    cell = nbformat.v4.new_code_cell(source)
    if exercise:
        cell["id"], cell.metadata["tags"] = f"{exercise}-exercise", ["exercise"]
    parameters = nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=[parameters, cell], metadata={"kernelspec": kernel}), path)


def set_traps(folder: Path, marker: Path, passes_ours: bool) -> None:
    """Fill `folder` with files that add a line to `marker` when they are run, beside two notebooks."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_notebook(folder / "plain.ipynb", "import hashlib, random, typing, nanokimi, lab_utils")
    _write_notebook(folder / "answers.ipynb", "def swiglu(x, gate_up, down): return x", exercise="swiglu")
    modules = [*sorted(sys.stdlib_module_names), *LIBRARIES]
    places = [f"{name}.py" for name in modules] + SETTINGS
    places += [f"{name}/__init__.py" for name in OURS if passes_ours]
    for place in places:
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        # It imports nothing, for each import could be a trap itself.
        path.write_text(f"open({str(marker)!r}, 'a').write({place + chr(10)!r})\n", encoding="utf-8")


def spring(command: Command, folder: Path, seconds: float = 300.0) -> str:
    """Run the command among traps in `folder`, which is made. What was lost: a line, empty if nothing was."""
    marker = folder.with_suffix(".run")

    set_traps(folder, marker, command.passes_ours)
    done = subprocess.run(
        command.words, cwd=folder, capture_output=True, text=True, errors="replace", timeout=seconds,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
    )  # fmt: skip
    asked = " ".join([Path(command.words[0]).name, *command.words[1:]])
    if marker.exists():
        names = " ".join(sorted(set(marker.read_text(encoding="utf-8").split())))
        return f"{asked}: ran {names}"
    if done.returncode != command.code:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        return f"{asked}: ended with {done.returncode} instead of {command.code}: {last}"
    return ""


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """All commands in turn, in the order in which they need each other, and again. No try depends on the seed."""
    lost: list[str] = []
    commands: list[Command] = []
    for number in range(tries):
        if not commands:
            work = folder / f"work-{number}"
            work.mkdir(parents=True)
            commands = make_commands(work)
        if why := spring(commands.pop(0), folder / f"stranger-{number}"):
            lost.append(why)
        on_progress(number + 1)
    return Outcome(tries, tries - len(lost), lost)
