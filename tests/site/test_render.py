"""Rendering the committed outputs of a notebook, and the stamp that says which code they come from."""

import hashlib
import json
import os
from pathlib import Path

import nbformat
import pytest

from lab_utils.machine.headless import NotebookFailed
from lab_utils.site import render


def test_rendering_drops_what_differs_every_time_and_nothing_else():
    cell = nbformat.v4.new_code_cell("x", id="a", metadata={"papermill": {"duration": 1}, "tags": []})
    kept = nbformat.v4.new_code_cell("y", id="b", metadata={"execution": {"t": "1"}, "tags": ["parameters"]})
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    info = {"name": "python", "version": "3.11.9"}
    made = nbformat.v4.new_notebook(
        cells=[cell, kept],
        metadata={"papermill": {}, "kernelspec": kernelspec, "language_info": info},
    )
    found = render.drop_volatile(made)
    assert found.metadata == {"kernelspec": kernelspec, "language_info": {"name": "python"}}
    assert [(c.source, c.metadata) for c in found.cells] == [("x", {}), ("y", {"tags": ["parameters"]})]


def small_notebook(folder: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell(text, id=f"c{i}") for i, text in enumerate(sources)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = folder / "01_small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def test_rendering_hides_the_readers_progress_and_stamps_the_notebook(tmp_path, monkeypatch, capsys):
    mine = tmp_path / "mine.json"
    monkeypatch.setenv("NANOKIMI_PROGRESS", str(mine))
    code = "import os, pathlib\np = pathlib.Path(os.environ['NANOKIMI_PROGRESS'])"
    write = "print(p.exists()); p.write_text('{}'); print(os.environ['NANOKIMI_PROFILE'])"
    path = small_notebook(tmp_path, code, write)
    assert render.main([str(path), str(path), "--profile", "smoke"]) == 0
    assert not mine.exists()
    assert os.environ["NANOKIMI_PROGRESS"] == str(mine)
    found = nbformat.read(path, as_version=4)
    # The second rendering does not see what the first one wrote.
    assert found.cells[1].outputs[0].text == "False\nsmoke\n"
    expected = hashlib.sha256(json.dumps([code, write]).encode()).hexdigest()
    assert found.metadata["nanokimi"] == {"rendered_from": expected}
    assert capsys.readouterr().out == "render: 01_small.ipynb (1 of 2)\nrender: 01_small.ipynb (2 of 2)\n"


def test_a_stamp_holds_for_the_code_in_its_order_and_not_for_the_text():
    one, two = nbformat.v4.new_code_cell("x = 1"), nbformat.v4.new_code_cell("y = 2")
    made = render.stamp(nbformat.v4.new_notebook(cells=[one, two]))
    assert render.is_fresh(made)
    made.cells.insert(1, nbformat.v4.new_markdown_cell("A word."))
    assert render.is_fresh(made)
    made.cells = [two, one]
    assert not render.is_fresh(made)
    made.cells = [one, nbformat.v4.new_code_cell("y = 3")]
    assert not render.is_fresh(made)
    assert not render.is_fresh(nbformat.v4.new_notebook(cells=[one]))


def test_rendering_names_the_notebook_that_fails_and_leaves_it_alone(tmp_path, capsys):
    path = small_notebook(tmp_path, "raise ValueError('no such thing')")
    before = path.read_bytes()
    assert render.main([str(path), "--profile", "smoke"]) == 1
    assert path.read_bytes() == before
    assert capsys.readouterr().err == "render: 01_small.ipynb: cell 1: ValueError: no such thing\n"


def test_rendering_does_not_undo_an_edit_that_was_made_meanwhile(tmp_path, monkeypatch):
    path = small_notebook(tmp_path, "x = 1")

    def run_and_edit(notebook, target, parameters, environ):
        target.write_bytes(notebook.read_bytes())
        small_notebook(tmp_path, "x = 2")

    monkeypatch.setattr(render, "run_notebook", run_and_edit)
    with pytest.raises(NotebookFailed, match="edited while it ran"):
        render.render(path, "smoke")
    assert nbformat.read(path, as_version=4).cells[0].source == "x = 2"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("no JSON at all \x1b[31m" + "x" * 10_000, "is not a notebook"),
        ("[]", "is not a notebook"),
        ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": 5}', "is not a notebook"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_is_no_notebook_is_one_line(tmp_path, capsys, content, says):
    path = tmp_path / "odd.ipynb"
    if content is not None:
        path.write_text(content)
    assert render.main([str(path), "--profile", "smoke"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("render: ") and says in line and len(line) < 700 and "\x1b" not in line
    assert content is None or path.read_text() == content


def test_ctrl_c_is_one_line_and_leaves_the_notebook_alone(tmp_path, monkeypatch, capsys):
    def press(*_):
        raise KeyboardInterrupt

    path = small_notebook(tmp_path, "x = 1")
    monkeypatch.setattr(render, "run_notebook", press)
    assert render.main([str(path), "--profile", "smoke"]) == 130
    assert capsys.readouterr().err == "render: 01_small.ipynb: interrupted; it is as it was\n"
