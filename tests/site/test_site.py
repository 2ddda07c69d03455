"""Faults that prevent the site, and what the command says."""

import nbformat
import pytest

from lab_utils.site import __main__ as site
from lab_utils.site.render import stamp
from tests.site.made_up_site import code, markdown, write_notebooks


def faults_of(folder, *cells):
    notebooks = write_notebooks(folder, n01=list(cells), n02=[markdown("## There", "there")])
    with pytest.raises(site.SiteError) as error:
        site.build(notebooks, folder / "out")
    assert not (folder / "out").exists()
    return str(error.value).splitlines()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (r"So $\foo_1$ is.", r"the formula $\foo_1$ cannot be shown: \foo is not known"),
        ("| a | b |\n|---|---|\n| $p(x|y)\\$ |", "a $ opens no formula in '$p(x'; write \\$"),
        ("It costs 5$.", "a $ opens no formula in 'It costs 5$.'; write \\$"),
        ("[a](n03.ipynb)", "the link n03.ipynb leads to no heading or notebook of the site"),
        ("[a](../core/router.py)", "the link ../core/router.py leads to no heading or notebook"),
        ("[a](n02.ipynb#Here)", "the link n02.ipynb#Here leads to no heading"),
        ("[a](#Nowhere)", "the link #Nowhere leads to no heading"),
        ("[a](/n02.ipynb)", "the link /n02.ipynb leads to no heading or notebook"),
        ("[a](javascript:alert(1))", "the link javascript:alert(1) leads to no heading or notebook"),
        ("![a](lost.png)", "the picture lost.png is no picture file beside the notebook"),
        ("![a](https://example.org/a.png)", "the picture https://example.org/a.png is no picture file"),
    ],
)
def test_a_fault_is_told_in_one_line_with_its_cell(tmp_path, text, fault):
    (found,) = faults_of(tmp_path / "project", markdown(text, "here"))
    assert found.startswith("n01.ipynb, cell here: ")
    assert fault in found


def test_all_faults_are_told_at_once(tmp_path):
    found = faults_of(tmp_path, markdown("$x_$", "a"), markdown("[b](c.ipynb)", "b"), markdown("5$", "c"))
    assert sorted(line.partition(":")[0] for line in found) == [f"n01.ipynb, cell {i}" for i in "abc"]


def test_main_says_what_it_did_and_which_outputs_are_old(tmp_path, capsys):
    notebooks = write_notebooks(tmp_path, n01=[code("x = 1", "a")], n02=[code("y = 1", "b")])
    second = notebooks / "n02.ipynb"
    nbformat.write(stamp(nbformat.read(second, as_version=4)), second)
    out = tmp_path / "out"
    assert site.main(["--notebooks", str(notebooks), "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert told.err == "site: n01.ipynb: its outputs are older than its code; run make render\n"
    assert told.out == f"site: 2 notebooks; open {out / 'index.html'}\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [("{", "n01.ipynb is not a notebook"), (None, "the folder has no notebooks")],
)
def test_main_fails_in_words(tmp_path, capsys, content, told):
    if content is not None:
        (tmp_path / "n01.ipynb").write_text(content)
    assert site.main(["--notebooks", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "content", ["no JSON", "[]", '{"nbformat": 4, "metadata": {}, "cells": 5}', "[" * 9999]
)
def test_a_file_that_is_no_notebook_is_one_line(tmp_path, capsys, content):
    (tmp_path / "01_odd\x1b[31m.ipynb").write_text(content)
    assert site.main(["--notebooks", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("site: file ") and line.endswith(" is not a notebook") and "\x1b" not in line
    assert not (tmp_path / "out").exists()
