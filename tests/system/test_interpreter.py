"""A new Python, and `python -m`, run nothing from the folder where the user stands."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nanokimi.system import interpreter, own_path

SHOW = "import sys; print([path for path in sys.path if path in ('', {!r})])"


def ask(folder: Path, *words: str) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_new_python_leaves_the_current_folder_out(tmp_path):
    code = SHOW.format(str(tmp_path))
    assert ask(tmp_path, sys.executable, "-c", code) == "['']"
    assert ask(tmp_path, *interpreter.python("-c", code)) == "[]"


def make_program(folder: Path) -> None:
    """A package like ours that shows its path, with the module under test in the same place."""
    (folder / "nanokimi" / "system").mkdir(parents=True)
    shutil.copy(own_path.__file__, folder / "nanokimi" / "system")
    (folder / "nanokimi" / "__init__.py").write_text("import nanokimi.system.own_path")
    (folder / "nanokimi" / "show.py").write_text("import sys; print(sys.path[0])")


@pytest.mark.parametrize("stands_in", ["project", "stranger"])
def test_python_m_keeps_the_current_folder_only_where_the_project_lies(tmp_path, monkeypatch, stands_in):
    make_program(tmp_path / "project")
    (tmp_path / "stranger").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "project"))  # as if it were installed
    first = ask(tmp_path / stands_in, sys.executable, "-m", "nanokimi.show")
    assert first == str(tmp_path / "project")


def test_an_import_removes_nothing(tmp_path, monkeypatch):
    """In a notebook or a script the first folder is the user's own."""
    make_program(tmp_path / "project")
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "project"))
    assert ask(tmp_path / "mine", sys.executable, "-c", "import nanokimi.show") == ""
    script = tmp_path / "mine" / "script.py"
    script.write_text("import nanokimi.show")
    assert ask(tmp_path, sys.executable, str(script)) == str(tmp_path / "mine")


def test_the_tree_of_a_new_process_is_this_one(monkeypatch):
    interpreter.check_same_tree()
    monkeypatch.setattr(interpreter, "ROOT", "/elsewhere")
    with pytest.raises(
        ValueError, match=r"nanokimi in /elsewhere, but a new process would run the one in /.*: was"
    ):
        interpreter.check_same_tree()
    monkeypatch.setattr(interpreter, "_ASK", "raise SystemExit(1)")
    with pytest.raises(ValueError, match="the one in no folder at all"):
        interpreter.check_same_tree()
