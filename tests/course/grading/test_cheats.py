"""Answers that borrow the lab's own instead of computing, or lie about what they gave: none passes.

Each is a cell's source that binds the name of an exercise; it is run, tried and judged as `grade` does it, in forks of
this process. The answer beside it that computes must pass, so that no wall stands in an honest learner's way.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lab_utils.course.chapters import all_exercises
from lab_utils.course.grading.trial import Trial, load_nothing_later
from lab_utils.course.grading.unseen import unseen_cases
from lab_utils.course.grading.verdicts import judge_line, main

SEED = 7
HONEST = """
import torch
def attend(q, k, v, scale, visible=None):
    n, m = q.shape[-2], k.shape[-2]
    if visible is None:
        visible = torch.ones(n, m, dtype=torch.bool, device=q.device).tril(m - n)
    return (q @ k.mT * scale).masked_fill(~visible, -torch.inf).softmax(-1) @ v
"""
CALLS = {
    "wrapped": """
import nanokimi.attention
def attend(*args): return nanokimi.attention.attend(*args)""",
    "another name": """
from nanokimi.attention import attend as helper
def attend(q, k, v, scale, visible=None): return helper(q, k, v, scale, visible)""",
    "a lambda": """
from nanokimi.attention import attend as helper
attend = lambda *args: helper(*args)""",
    "partial": """
import functools, nanokimi.attention
attend = functools.partial(nanokimi.attention.attend)""",
    "importlib": """
def attend(*args):
    import importlib
    return getattr(importlib.import_module("nanokimi.attention"), "att" + "end")(*args)""",
    "sys.modules": """
def attend(*args):
    import sys
    return sys.modules["nanokimi.attention"].attend(*args)""",
    # Looked for once: the process of a test run keeps so many objects that looking in every call takes too long.
    "gc": """
found = []
def attend(*args):
    import gc
    if not found:
        found.extend(f for f in gc.get_objects() if type(f).__name__ == "function" and f.__qualname__ == "attend"
                     and (f.__module__ or "").startswith("nanokimi"))
    return found[0](*args)""",
    "an exercise of the course": """
from lab_utils.course.chapters import all_exercises
def attend(*args): return all_exercises()["attend"].core(*args)""",
    "a caller's frame": """
def attend(*args):
    import sys
    frame = sys._getframe(1)
    while frame:
        for value in frame.f_locals.values():
            if hasattr(value, "core"): return value.core(*args)
        frame = frame.f_back
    raise RuntimeError""",
    "a function of its code": """
import types, nanokimi.attention as m
helper = types.FunctionType(m.attend.__code__, m.attend.__globals__, "x", m.attend.__defaults__, m.attend.__closure__)
def attend(*args): return helper(*args)""",
    "a copy of its module": """
import types, nanokimi.attention as m
other = types.ModuleType("other"); other.__dict__.update(vars(m))
def attend(*args): return other.attend(*args)""",
}


@pytest.fixture(scope="module", autouse=True)
def prepared():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    load_nothing_later()
    yield
    torch.set_num_threads(threads)


def judged(name: str, source: str) -> dict:
    trial = Trial(all_exercises()[name], SEED)
    space: dict = {"__name__": "__main__"}
    exec(compile(source, "<cell>", "exec"), space)
    return judge_line(name, json.loads(json.dumps(trial.run(space[name]))), SEED)


def test_an_honest_answer_passes():
    assert judged("attend", HONEST)["status"] == "passed"


@pytest.mark.parametrize("source", CALLS.values(), ids=CALLS)
def test_the_labs_own_function_cannot_be_called(source):
    found = judged("attend", source)
    assert found["status"] == "failed"
    assert "It calls the lab's own attend" in found["says"]


OF_CLASSES = {
    "a subclass": """
import nanokimi.norm
class RMSNorm(nanokimi.norm.RMSNorm): pass""",
    "its forward": """
import torch, nanokimi.norm
class RMSNorm(torch.nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = torch.nn.Parameter(torch.ones(width)), eps
    def forward(self, x): return nanokimi.norm.RMSNorm.forward(self, x)""",
    "one inside": """
import torch, nanokimi.norm
class RMSNorm(torch.nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        inner = nanokimi.norm.RMSNorm(width, eps)
        self.weight = inner.weight
        self.run = [inner]
    def forward(self, x): return self.run[0](x)""",
    "a factory": """
import functools, nanokimi.norm
RMSNorm = functools.partial(nanokimi.norm.RMSNorm)""",
}


@pytest.mark.parametrize("source", OF_CLASSES.values(), ids=OF_CLASSES)
def test_nor_can_its_class(source):
    assert judged("RMSNorm", source)["status"] == "failed"


WRAPPER = """
from lab_utils.course.chapters import all_exercises
core = all_exercises()["{name}"].core
if isinstance(core, type):
    class {name}(core.__mro__[1]):
        def __init__(self, *args, **given): core.__init__(self, *args, **given)
        def forward(self, *args): return core.forward(self, *args)
        def step(self, *args): return core.step(self, *args)
else:
    def {name}(*args, **given): return core(*args, **given)
"""
# The tests' own check of shapes wraps the lab's functions in code that is not the lab's.
NAMES = [e.name for e in all_exercises().values() if not e.is_hunt]
IN_A_PROCESS = """
import json
from lab_utils.course.hints import reveal
from tests.course.grading.test_cheats import NAMES, WRAPPER, judged, load_nothing_later
load_nothing_later()
for name in NAMES:
    sources = reveal(name).source, WRAPPER.format(name=name)
    print("found", json.dumps([name, *(judged(name, source)["status"] for source in sources)]))
"""


def test_each_exercise_has_a_tripwire_and_passes_without_touching_it():
    """What `reveal` shows is a right answer, so observers still get what they need of the core. A wrapper is none."""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", IN_A_PROCESS], cwd=root, capture_output=True, text=True)
    lines = [line.removeprefix("found ") for line in done.stdout.splitlines() if line.startswith("found ")]
    assert [json.loads(line) for line in lines] == [[name, "passed", "failed"] for name in NAMES], done.stderr


# ---------------------------------------------------------------- known inputs


TABLE = """
import torch
from lab_utils.course.chapters import all_exercises
from lab_utils.course.usual_state import usual_state
_e = all_exercises()["{name}"]
with usual_state():
    known = [(case.args, _e.core(*case.fresh_args())) for case in _e.cases()]
def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.shape == b.shape and torch.equal(a, b)
    return a == b
def {name}(*given):
    for args, out in known:
        if all(map(same, args, given)):
            return out
    return known[-1][1]
"""


@pytest.mark.parametrize("name", ["causal_mask", "expert_load", "block_visibility"])
def test_an_answer_that_recognises_the_cases_is_wrong_on_unseen_ones(name):
    found = judged(name, TABLE.format(name=name))
    assert found["status"] == "failed"
    assert found["says"].startswith("It is right on the check's own inputs and wrong on others.")


def test_which_exercises_have_no_unseen_inputs_is_what_the_docs_say():
    text = Path(__file__).parents[3].joinpath("docs", "grading.md").read_text(encoding="utf-8")
    said = re.search(r"texts or settings \((.*?)\)", text, re.S)
    without = [
        e.name for e in all_exercises().values() if not e.is_hunt and not unseen_cases(e.cases(), SEED)
    ]
    assert said and re.findall(r"`(\w+)`", said[1]) == without


def test_an_unseen_input_holds_the_same_numbers():
    cases = all_exercises()["attend"].cases()
    for seed in (1, 2):
        for case in unseen_cases(cases, seed):
            known = next(
                c for c in cases if case.says.startswith(c.says) and c.args[0].shape == case.args[0].shape
            )
            assert torch.equal(case.args[0].sort().values, known.args[0].sort().values)
    first, again, other = (unseen_cases(cases, seed)[-1].args[0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


# ---------------------------------------------------------------- lies


LYING = """
import torch
class Lie(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return torch.tensor(True)
    def __eq__(self, other): return True
    def detach(self): return self
    @property
    def shape(self): return torch.Size([1, 1, 1, 1])
def attend(q, k, v, scale, visible=None): return torch.zeros_like(v).as_subclass(Lie)
"""


def test_a_tensor_that_lies_is_read_as_what_it_is():
    assert judged("attend", LYING)["status"] == "failed"


def test_numbers_in_a_class_of_the_learners_still_count():
    honest = HONEST.replace("@ v\n", "@ v.as_subclass(type('Mine', (torch.Tensor,), {}))\n")
    assert judged("attend", honest)["status"] == "passed"


def test_two_lines_for_one_exercise_are_no_answer():
    """Whatever writes to the grader's pipe, a thread or atexit, can only spoil its own row."""
    line = {"exercise": "causal_mask", "attempt": {"why": "", "outcomes": []}}
    lines = []
    main(b"0\n" + "\n".join(map(json.dumps, [line, line])).encode(), lines.append)
    assert [each["status"] for each in lines] == ["failed"]
    assert "wrote into the grader's own lines" in lines[0]["says"]
