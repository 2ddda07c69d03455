"""Notebooks run without a browser: parameters, errors, Ctrl-C."""

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

from lab_utils.machine.headless import NotebookFailed, check_parameters, run_notebook
from nanokimi.config import ConfigError
from nanokimi.system import interpreter


def notebook_of(path: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernelspec}), path)
    return path


def test_notebooks_run_in_this_interpreter_with_what_they_are_given(tmp_path):
    source = "import os, sys; print(sys.executable, x, os.environ['NANOKIMI_TEST'])"
    notebook = notebook_of(tmp_path / "a.ipynb", source)
    run_notebook(notebook, tmp_path / "b.ipynb", {"x": 5}, {"NANOKIMI_TEST": "seen"})
    cells = nbformat.read(tmp_path / "b.ipynb", as_version=4).cells
    assert cells[-1].outputs[0].text == f"{sys.executable} 5 seen\n"
    assert "NANOKIMI_TEST" not in os.environ


def test_an_error_in_a_cell_is_one_line_and_stays_in_the_notebook(tmp_path):
    notebook = notebook_of(tmp_path / "a.ipynb", "raise ValueError('first\\nsecond')")
    with pytest.raises(NotebookFailed, match=r"^cell 2: ValueError: first$"):
        run_notebook(notebook, tmp_path / "b.ipynb", {}, {})
    assert "second" in (tmp_path / "b.ipynb").read_text()


def test_after_ctrl_c_nothing_complains_that_the_kernel_is_dead(ctrl_c, tmp_path, monkeypatch, caplog):
    async def look_all_the_time(client):
        """As nbclient does once a second."""
        while True:
            await asyncio.sleep(0.001)
            try:
                await client._async_check_alive()
            except DeadKernelError:
                return client.task_poll_for_reply.cancel()

    def press_ctrl_c():
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(NotebookClient, "_async_poll_kernel_alive", look_all_the_time)
    source = f"import pathlib, time; pathlib.Path({str(tmp_path / 'begun')!r}).touch(); time.sleep(60)"
    notebook = notebook_of(tmp_path / "a.ipynb", source)
    threading.Thread(target=press_ctrl_c, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_notebook(notebook, tmp_path / "b.ipynb", {}, {})
    gc.collect()  # asyncio complains of a forgotten task when it goes
    assert "dead" not in caplog.text.lower() and "died" not in caplog.text


def test_an_unknown_parameter_is_refused_with_the_nearest_name(tmp_path):
    notebook = notebook_of(tmp_path / "a.ipynb")
    with pytest.raises(ConfigError, match=r"'y' is not a parameter of a.ipynb; known: x"):
        check_parameters(notebook, ["x", "y"])
    with pytest.raises(ConfigError, match="does not exist"):
        check_parameters(tmp_path / "none.ipynb", [])


def test_a_notebook_imports_nothing_that_lies_beside_it(tmp_path):
    for name in ("hashlib", "ipykernel", "typing"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    notebook = notebook_of(tmp_path / "a.ipynb", "import hashlib, sys; print('' in sys.path)")
    run_notebook(notebook, tmp_path / "b.ipynb", {}, {})
    assert not (tmp_path / "ran").exists()
    assert nbformat.read(tmp_path / "b.ipynb", as_version=4).cells[-1].outputs[0].text == "False\n"


def test_a_home_that_cannot_be_written_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/proc/none")
    notebook = notebook_of(tmp_path / "a.ipynb", "print(1)")
    run_notebook(notebook, tmp_path / "b.ipynb", {}, {})
    assert [o.text for o in nbformat.read(tmp_path / "b.ipynb", as_version=4).cells[-1].outputs] == ["1\n"]


def test_an_error_without_words_is_a_line_too(tmp_path):
    notebook = notebook_of(tmp_path / "a.ipynb", "assert False")
    with pytest.raises(NotebookFailed, match=r"^cell 2: AssertionError: $"):
        run_notebook(notebook, tmp_path / "b.ipynb", {}, {})


def test_a_copied_project_does_not_run_the_other_ones_code(tmp_path, monkeypatch):
    monkeypatch.setattr(interpreter, "ROOT", str(tmp_path))  # where this program's own packages would be
    notebook = notebook_of(tmp_path / "a.ipynb")
    with pytest.raises(
        ValueError, match=rf"^this program is nanokimi in {tmp_path}, but .* was the project copied"
    ):
        run_notebook(notebook, tmp_path / "b.ipynb", {}, {})
    assert not (tmp_path / "b.ipynb").exists()
