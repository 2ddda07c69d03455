"""The quick loop: what counts as slow, by hand; and the list of what is slow names tests that exist."""

import ast
from pathlib import Path

from tests.quick import find_slow, function_of, not_quick, read_junit

ROOT = Path(__file__).parents[1]


def test_what_takes_too_long_alone_or_together_is_slow():
    seconds = {"a::long": [0.01, 0.3], "a::many": [0.02] * 80, "a::quick": [0.02] * 70, "a::once": [0.09]}
    assert find_slow(seconds) == ["a::long", "a::many"]


def test_the_times_of_a_run_are_read_by_function(tmp_path):
    file = tmp_path / "tests.xml"
    file.write_text(
        '<testsuites><testsuite><testcase classname="tests.core.test_a" name="test_b[x-1]" time="0.5"/>'
        '<testcase classname="tests.core.test_a" name="test_b[[]]" time="1.5"/>'
        '<testcase classname="notebooks.02_attention.ipynb" name="Cell 1" time="9"/></testsuite></testsuites>'
    )
    assert read_junit(file) == {"tests/core/test_a.py::test_b": [0.5, 1.5]}
    assert function_of("tests/core/test_a.py::test_b[x-1]") == "tests/core/test_a.py::test_b"


def test_every_line_of_the_list_names_a_test():
    tests = {
        f"{path.relative_to(ROOT).as_posix()}::{node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert not_quick() <= tests, "written by python -m tests.quick"
