"""The bug hunts reject tests that cannot tell: each good test, spoilt in ten ways, is no answer."""

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Iterator

import pytest

from lab_utils.course.chapters import all_exercises
from lab_utils.course.exercise import Exercise
from lab_utils.course.judge import AnswerKey, judge
from tests.course.mutants import compile_source
from tests.sample import sample

HUNTS = [e for e in all_exercises().values() if e.name.startswith("test_")]


class Asserts(ast.NodeTransformer):
    """Every assertion replaced by the statement that the template says, where CONDITION stands for its condition."""

    def __init__(self, template: str):
        self.template = template

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        (statement,) = ast.parse(self.template).body

        class Fill(ast.NodeTransformer):
            def visit_Name(self, name: ast.Name) -> ast.AST:
                return copy.deepcopy(node.test) if name.id == "CONDITION" else name

        return Fill().visit(statement)


ASSERTIONS = {
    "no assertion": "pass",
    "the opposite is asserted": "assert not (CONDITION)",
    "the condition is not asserted": "CONDITION",
    "a pair is always true": "assert (CONDITION, 'wrong')",
    "or True": "assert CONDITION or True",
    "the verdict is returned": "return CONDITION",
    "the verdict is printed": "if not (CONDITION): print('wrong')",
    "only what is true is asserted": "if CONDITION: assert CONDITION",
}
BODIES = {
    "it returns first": "return",
    "it fails for everybody": "assert False",
}


def spoil(test: Callable) -> Iterator[tuple[str, Callable]]:
    source = textwrap.dedent(inspect.getsource(test))
    for name, template in ASSERTIONS.items():
        tree = Asserts(template).visit(ast.parse(source))
        yield name, compile_source(ast.unparse(ast.fix_missing_locations(tree)), test)
    for name, first in BODIES.items():
        tree = ast.parse(source)
        tree.body[0].body = ast.parse(first).body
        yield name, compile_source(ast.unparse(tree), test)


@pytest.mark.filterwarnings("ignore:assertion is always true")
@pytest.mark.parametrize("exercise", HUNTS, ids=lambda e: e.name)
def test_a_test_that_cannot_tell_is_no_answer(exercise: Exercise, capsys):
    found, key = dict(spoil(exercise.core)), AnswerKey(exercise)
    assert len(found) == 10
    tried = sample(found.items(), 20, begin=HUNTS.index(exercise))
    passed = [name for name, test in tried if judge(exercise, test, key=key).status != "failed"]
    assert passed == []
