"""An error is shown with the learner's own line; a half-written body is begun; an untouched stub is not tried."""

import __future__

import linecache

import pytest
import torch

from lab_utils.course.attempt import run_cases
from lab_utils.course.chapters import all_exercises, find
from lab_utils.course.judge import judge
from nanokimi import mla

CELLS = iter(range(10**6))


def remember(source: str, file: str = "") -> str:
    """The file that a kernel gives to a cell, with its source where the kernel puts it."""
    file = file or f"/tmp/ipykernel_{next(CELLS)}/1.py"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    return file


def define(source: str, file: str = ""):
    """What a cell defines last."""
    file = remember(source, file)
    names: dict = {"torch": torch, "nn": torch.nn, "__name__": "__main__"}
    exec(compile(source, file, "exec"), names)
    return list(names.values())[-1]


NAME_ERROR = """
def attend(q, k, v, scale, visible=None):
    scores = q @ kk.mT * scale
    return scores @ v
"""
IN_A_HELPER = """
def scores_of(q, k):
    return q @ k

def attend(q, k, v, scale, visible=None):
    return scores_of(q, k) @ v
"""
LONG_LINE = (
    """
def attend(q, k, v, scale, visible=None):
    return q + k.reshape(7, 7)  # """
    + "x" * 300
)


def test_an_error_is_shown_with_the_line_of_the_cell():
    difference = judge(find("attend"), define(NAME_ERROR)).difference
    assert difference.says == "It raises NameError: name 'kk' is not defined"
    assert difference.place == "Line 3 of your cell: scores = q @ kk.mT * scale"


def test_the_innermost_line_of_the_learners_own_is_shown_not_torchs():
    result = judge(find("attend"), define(IN_A_HELPER))
    assert result.difference.place == "Line 3 of your cell: return q @ k"
    assert "Line 3 of your cell: return q @ k" in repr(result)


def test_a_long_line_is_cut_and_a_line_is_escaped():
    result = judge(find("attend"), define(LONG_LINE))
    assert len(result.difference.place) < 150 and result.difference.place.endswith("xxx ...")
    result = judge(find("attend"), define("def attend(*args):\n    return '<b>' + 1"))
    assert "&lt;b&gt;" in result._repr_html_() and "<b>' + 1" not in result._repr_html_()


def test_an_error_in_a_module_of_the_learners_names_its_file(tmp_path):
    (tmp_path / "mine.py").write_text("def attend(*args):\n    return args[9]\n")
    answer = define((tmp_path / "mine.py").read_text(), str(tmp_path / "mine.py"))
    assert judge(find("attend"), answer).difference.place == "Line 2 of mine.py: return args[9]"


def test_an_error_in_a_method_and_in_a_constructor():
    source = """
class RMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x / self.eps
"""
    difference = judge(find("RMSNorm"), define(source)).difference
    assert difference.says == "It raises AttributeError: 'RMSNorm' object has no attribute 'eps'"
    assert difference.place == "Line 8 of your cell: return x / self.eps"
    difference = judge(find("RMSNorm"), define(source.replace("(width)", "(wide)"))).difference
    assert difference.place == "Line 5 of your cell: self.weight = nn.Parameter(torch.ones(wide))"


def test_other_arguments_than_the_stubs_have_no_line():
    difference = judge(find("attend"), define("def attend(q, k, v):\n    return v")).difference
    assert difference.says == "It raises TypeError: attend() takes 3 positional arguments but 4 were given"
    assert difference.place == ""


def test_the_line_of_a_test_of_a_hunt():
    source = "def test_sound_attend(attend):\n    out = attend(1, 2)\n    assert out"
    result = judge(find("test_sound_attend"), define(source))
    assert "Line 2 of your cell: out = attend(1, 2)" in repr(result)
    # Nothing of the piece is told.
    assert "lab_utils" not in repr(result) and "bugs" not in repr(result)


BODY = """
def causal_mask(n_queries, n_keys, device):
    '''True where a query may look.'''
    {}raise NotImplementedError
"""


@pytest.mark.parametrize(
    ("before", "status"),
    [
        ("", "not tried"),
        ("'''Another text.'''\n    ", "not tried"),
        ("# a thought\n    ", "not tried"),
        ("ones = torch.ones(n_queries, n_keys)\n    ", "begun"),
        ("for i in range(n_queries):\n        pass\n    ", "begun"),
        ("if n_keys > 0:\n        ", "begun"),
    ],
    ids=["stub", "docstrings", "comment", "a line", "a loop", "a condition"],
)
def test_a_half_written_body_is_begun(before, status):
    result = judge(find("causal_mask"), define(BODY.format(before)))
    assert result.status == status
    if status == "begun":
        assert "begun, not finished" in repr(result) and "begun, not finished" in result._repr_html_()


def test_a_body_that_calls_another_stub_is_begun():
    source = (
        "def scores(*args):\n    raise NotImplementedError\n\ndef attend(*args):\n    return scores(*args)"
    )
    assert judge(find("attend"), define(source)).status == "begun"


def test_an_answer_without_a_source_that_raises_not_implemented_is_not_tried():
    names: dict = {}
    exec("def causal_mask(*args):\n    x = 1\n    raise NotImplementedError", names)
    assert judge(find("causal_mask"), names["causal_mask"]).status == "not tried"


def test_every_stub_of_the_course_is_not_tried_and_with_a_line_more_it_is_begun():
    from lab_utils.course.stubs import stubs

    told = stubs()
    assert set(told) == set(all_exercises())
    for name, exercise in all_exercises().items():
        first = exercise.cases()[:1]
        for source, status in (
            (told[name], "not tried"),
            (told[name].replace("raise NotImplementedError", "_ = 1; raise NotImplementedError"), "begun"),
        ):
            core = dict(vars(__import__(exercise.core.__module__, fromlist=["_"])))
            file = remember(source)
            names = {"torch": torch, "nn": torch.nn, "mla": mla} | core | {"__name__": "__main__"}
            exec(compile(source, file, "exec", __future__.annotations.compiler_flag), names)
            assert run_cases(exercise, first, names[name]).why == status, (name, status)
