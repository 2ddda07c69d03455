"""Answers are found by their names, and judged when they stand: read from the text, without running a line."""

import json

import pytest

from lab_utils.course.grading.cells import NotANotebook, read_cell, read_cells
from lab_utils.course.grading.names import stubs
from lab_utils.course.grading.plan import Plan, make_plan
from tests.course.grading.edits import EDITS, STUB, edited

NUMBER = {name: "02" if 6 <= i < 15 else "other" for i, name in enumerate(stubs())}


def plan_of(notebook: dict) -> Plan:
    return make_plan(read_cells(json.loads(json.dumps(notebook)), stubs().keys()), NUMBER)


def notebook_of(*sources: str) -> dict:
    return {
        "nbformat": 4,
        "cells": [{"cell_type": "code", "metadata": {}, "source": source} for source in sources],
    }


def judged_with(plan: Plan, name: str) -> str:
    """The source of the step that gives the answer."""
    (step,) = [step for step in plan.steps if name in step.keeps]
    return step.source


@pytest.mark.parametrize("name", EDITS)
def test_whatever_became_of_a_notebook_its_exercises_are_expected_and_judged_once(name):
    plan = plan_of(edited(name))
    assert plan.expected == tuple(n for n, number in NUMBER.items() if number == "02")
    judged = [each for step in plan.steps for each in step.judges]
    kept = [each for step in plan.steps for each in step.keeps]
    assert sorted(judged) == sorted(kept) == sorted(set(plan.expected) - plan.lacking.keys())
    missing = {each for each, status in EDITS[name][1].items() if status == "missing"}
    assert missing - {"attend"} == set()
    if name != "renamed":  # its cell is run, and then defines nothing called so
        assert ("attend" in plan.lacking) == ("attend" in missing)


def test_of_two_definitions_the_last_before_the_handover_counts():
    first, second, third = (f"def attend(q):\n    return {n}" for n in (1, 2, 3))
    handover = "from nanokimi.attention import attend"
    assert "return 2" in judged_with(plan_of(notebook_of(first, second, handover, third)), "attend")
    assert "return 3" in judged_with(plan_of(notebook_of(STUB, handover, third)), "attend")
    assert "return 1" in judged_with(plan_of(notebook_of(first, STUB, handover)), "attend")


def test_an_answer_is_judged_where_its_check_stands():
    """So helpers between the function and its check are there, as they were for the learner."""
    plan = plan_of(
        notebook_of("def attend(q):\n    return helper(q)", "def helper(q): return q", "check(attend)", "1")
    )
    steps = [step.source for step in plan.steps if step.source]
    assert len(steps) == 2 and plan.steps[-1].judges + plan.steps[-2].judges == ["attend"]


def test_a_cell_with_its_own_handover_is_cut_before_it():
    plan = plan_of(notebook_of("def attend(q):\n    return 1\nfrom nanokimi.attention import attend\n"))
    assert "import" not in judged_with(plan, "attend")


def test_what_stands_after_the_last_answer_is_not_run():
    plan = plan_of(notebook_of("def attend(q):\n    return 1", "while True: pass"))
    assert not any("while" in step.source for step in plan.steps)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (STUB, "stub"),
        ("def attend(q):\n    '''Text.'''\n    raise NotImplementedError('x')", "stub"),
        ("def attend(q):\n    x = q\n    raise NotImplementedError", "work"),
        ("attend = lambda q: q", "work"),
        ("attend, other = make()", "work"),
        ("attend: object = make()", "work"),
        ("try:\n    from mine import attend\nexcept ImportError:\n    pass", "work"),
        ("from nanokimi.attention import attend", "core"),
        ("from nanokimi.attention import join_heads as attend", "core"),
    ],
)
def test_what_a_statement_binds_a_name_to(source, kind):
    assert [bound.kind for bound in read_cell(source, ["attend"]).bound] == [kind]


@pytest.mark.parametrize("name", [n for n, source in stubs().items() if "class " in source])
def test_a_class_as_it_is_handed_out_is_a_stub(name):
    kinds = {b.kind for b in read_cell(stubs()[name], [name]).bound}
    assert kinds == {"stub"}
    assert {
        b.kind
        for b in read_cell(stubs()[name].replace("raise NotImplementedError", "return 1"), [name]).bound
    } == {"work"}


def test_a_function_inside_another_is_no_answer():
    assert read_cell("def outer():\n    def attend(q): return q", ["attend"]).bound == ()


@pytest.mark.parametrize(
    "notebook", [5, {}, {"cells": 1}, {"nbformat": 3, "worksheets": []}, {"nbformat": 9, "cells": []}]
)
def test_what_is_no_notebook_is_said(notebook):
    with pytest.raises(NotANotebook):
        read_cells(notebook, ["attend"])
