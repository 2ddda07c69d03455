"""A reader's answers are read from the saved cells with what they need, judged again, and nothing else is run."""

import json
import os
import sys
from types import ModuleType

import pytest

from lab_utils.course import saved_work
from lab_utils.course.chapters import all_exercises
from lab_utils.course.progress import COURSE
from lab_utils.course.saved_work import Work, read_work
from tests.course.filled import NOTEBOOKS, TO_BUILD, write_notebook

SWIGLU = """\
def swiglu(x, gate_up, down):
    gate, up = F.linear(x, gate_up).chunk(2, -1)
    return F.linear(F.silu(gate) * up, down)
"""
IMPORT = ("imports", "import torch.nn.functional as F")


def read(folder, *cells, name="swiglu", seconds=5.0) -> Work:
    """What is found of one exercise in a notebook that has these cells, each an id and a source."""
    write_notebook(folder / "some.ipynb", cells)
    return read_work(folder, {"some.ipynb": [all_exercises()[name]]}, seconds)


def test_the_notebooks_as_they_are_handed_out_hold_no_work_and_nothing_is_run(monkeypatch):
    monkeypatch.setattr(saved_work, "judge", None)
    monkeypatch.setattr(saved_work, "call_within", None)
    files = {chapter.file: [e for e in chapter.exercises() if e.name in TO_BUILD] for chapter in COURSE}
    assert sum(map(len, files.values())) == len(TO_BUILD) >= 40
    assert read_work(NOTEBOOKS, files) == Work(read=[chapter.file for chapter in COURSE])


@pytest.mark.parametrize(
    "cells",
    [
        [IMPORT, ("swiglu-exercise", SWIGLU)],
        [("swiglu-exercise", SWIGLU)],  # F is then that of the lab's module
        [("swiglu-exercise", "import torch.nn.functional as F\n" + SWIGLU + "\nswiglu(q, k, v)\nassert nothing")],
        [("swiglu-exercise", "%config x = 1\n" + SWIGLU + "%timeit swiglu(x, y, z)")],
        [("swiglu-exercise", "def swiglu(x, gate_up, down):\n    raise NotImplementedError"), ("mine", SWIGLU)],
        [("a1b2", SWIGLU)],
        [("swiglu-exercise", SWIGLU.replace("F.silu", "bend")), ("later", "def bend(x):\n    return F.silu(x)")],
        [("c", "two = 2\nsplit = lambda x: x.chunk(two, -1)"),
         ("swiglu-exercise", SWIGLU.replace("F.linear(x, gate_up).chunk(2, -1)", "split(F.linear(x, gate_up))")),
         ("d", "print([two for two in 'abc'])")],
        [("c", "def half(x): return swiglu(x, 1, 1)\nfrom nanokimi.experts import swiglu\nclass A: pass\n"),
         ("swiglu-exercise", "from __future__ import annotations\n" + SWIGLU.replace("(x,", "(x: Unknown,", 1))],
        [("swiglu-exercise", SWIGLU.replace("swiglu", "my_swiglu") + "import torch\nswiglu = torch.no_grad()(lambda "
          "*a: None)\nswiglu = my_swiglu")],
        [("swiglu-exercise", "if True:\n    def swiglu(*args):\n        return helper(*args)"),
         ("swiglu-handover", "from nanokimi.experts import swiglu"), ("e", SWIGLU.replace("swiglu", "helper"))],
    ],
    ids=["import in another cell", "no import", "more in the cell", "magics", "beside the stub", "no id", "a helper",
         "a constant and a lambda", "annotations", "assigned", "in an if"],
)  # fmt: skip
def test_an_answer_is_found_with_what_it_needs(tmp_path, cells):
    work = read(tmp_path, *cells)
    assert (list(work.solved), work.refused) == (["swiglu"], {})


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ([("swiglu-exercise", SWIGLU.replace("silu", "gelu"))], "it fails its check: "),
        ([("swiglu-exercise", SWIGLU.replace("* up", "* up\n    :("))], "line 3 of its cell is no Python: "),
        ([("long", "x = " + "+".join("1" * 3000)), ("swiglu-exercise", SWIGLU.replace("up,", "x,"))],
         "it fails its check: "),
        ([("swiglu-exercise", SWIGLU + "x = " + "+".join("1" * 3000))], "its cell is no Python: "),
        ([("swiglu-exercise", "from nanokimi.experts import swiglu")], "it is the lab's own, imported"),
        ([("swiglu-exercise", "import no_such_module\n" + SWIGLU.replace("F.silu", "no_such_module.silu"))],
         "its cell raises ModuleNotFoundError: No module named 'no_such_module'"),
        ([("swiglu-exercise", "def swish(): pass")], "its cell defines nothing called swiglu"),
        ([("swiglu-exercise", "swiglu = 1 / 0")], "its cell raises ZeroDivisionError: division by zero"),
        ([("swiglu-exercise", "import sys\nswiglu = sys.exit(3)")], "its cell raises SystemExit: 3"),
        ([("c", "two = int('2')"), ("swiglu-exercise", SWIGLU.replace("2,", "two,"))],
         "it fails its check: It raises NameError: name 'two' is not defined"),
    ],
    ids=["wrong", "no Python", "a deep cell", "deep itself", "the core", "no module",
         "another name", "crashes", "exits", "computed elsewhere"],
)  # fmt: skip
def test_an_answer_that_does_not_count_is_told_with_its_reason(tmp_path, cells, why):
    work = read(tmp_path, *cells)
    assert work.solved == {} and work.refused["swiglu"].startswith(why)
    assert ("two" in why) == work.refused["swiglu"].endswith(
        "(two is computed in another cell, which is not run)"
    )


@pytest.mark.parametrize(
    "source",
    [
        "swiglu = all(True for _ in iter(int, 1))",
        SWIGLU.replace("gate, up", "while True: pass\n    gate, up"),
    ],
    ids=["its cell", "its function"],
)
def test_an_endless_answer_costs_its_own_time_only(tmp_path, source):
    cells = [("swiglu-exercise", source), ("split_heads-exercise", "def split_heads(x, n):\n    "
              "return x.unflatten(-1, (n, -1)).transpose(1, 2)")]  # fmt: skip
    write_notebook(tmp_path / "some.ipynb", cells)
    both = [all_exercises()[name] for name in ("swiglu", "split_heads")]
    work = read_work(tmp_path, {"some.ipynb": both}, 0.3)
    assert list(work.solved) == ["split_heads"]
    assert "not come to an end within 0.3 s" in work.refused["swiglu"]


def test_only_what_an_answer_needs_is_run(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "run_log", module := ModuleType("run_log"))
    module.done = []
    noted = "import run_log\nrun_log.done.append({!r})\n"
    cells = [("train", noted.format("training") + "for step in range(10): run_log.done.append(step)"), IMPORT,
             ("swiglu-exercise", SWIGLU + noted.format("a call in the exercise's cell")),
             ("swiglu-check", noted.format("check"))]  # fmt: skip
    assert read(tmp_path, *cells).solved and module.done == []


def test_what_an_answer_prints_is_not_shown(tmp_path, capsys):
    talkative = SWIGLU.replace("    gate, up", "    print('here')\n    gate, up")
    assert read(tmp_path, IMPORT, ("swiglu-exercise", "print('there')\n" + talkative)).solved
    assert capsys.readouterr() == ("", "")


def test_a_cell_that_changes_the_core_changes_it_for_no_other(tmp_path):
    from nanokimi import experts

    before = experts.swiglu
    cell = SWIGLU + "import nanokimi.experts\nnanokimi.experts.swiglu, x = None, nanokimi\nswiglu.x = x"
    read(tmp_path, IMPORT, ("swiglu-exercise", cell))
    assert experts.swiglu is before


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"nbformat": 3, "worksheets": []}', '{"nbformat": 4}', "\0"]
)
def test_a_file_that_is_no_notebook_has_no_answers(tmp_path, content):
    (tmp_path / "some.ipynb").write_text(content)
    files = {name: [all_exercises()["swiglu"]] for name in ("some.ipynb", "missing.ipynb")}
    work = read_work(tmp_path, files)
    assert work == Work(unread=work.unread) and list(work.unread) == ["some.ipynb"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "some.ipynb")
    work = read_work(tmp_path, {"some.ipynb": [all_exercises()["swiglu"]]})
    assert list(work.unread) == ["some.ipynb"] and not work.solved


def test_cells_without_ids_and_tags_are_found_by_the_name(tmp_path):
    write_notebook(tmp_path / "some.ipynb", [IMPORT, ("x", SWIGLU)])
    notebook = json.loads((tmp_path / "some.ipynb").read_text())
    for cell in notebook["cells"]:
        del cell["id"]
    (tmp_path / "some.ipynb").write_text(json.dumps(notebook))
    assert list(read_work(tmp_path, {"some.ipynb": [all_exercises()["swiglu"]]}).solved) == ["swiglu"]
