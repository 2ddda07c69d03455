"""The cells that are run, the originals that are back while an answer runs, and verdicts on what was written down."""

import builtins
import inspect
import json
import subprocess
import sys
import threading

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from torch.overrides import TorchFunctionMode

from lab_utils.course import judge as judge_module
from lab_utils.course.attempt import run_cases
from lab_utils.course.chapters import all_exercises
from lab_utils.course.grading.answers import _describe, _Originals, _start_shell, main
from lab_utils.course.grading.portable import pack_attempt
from lab_utils.course.grading.trial import Trial
from lab_utils.course.grading.unseen import unseen_cases
from lab_utils.course.grading.verdicts import judge_line
from lab_utils.course.judge import AnswerKey, compare, judge
from tests.course.grading.edits import RIGHT

MASK = all_exercises()["causal_mask"]


@pytest.fixture(autouse=True)
def no_shell_stays():
    """A process has one shell of IPython: later tests would show what they show in a grader's, which keeps nothing."""
    yield
    InteractiveShell.clear_instance()


def shifted(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries - 1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a notebook: line 1 of the file is no JSON"),
        ('{\n"cells": [\n', "not a notebook: line 3 of the file is no JSON"),
        ("5", "not a notebook"),
        ("[]", "not a notebook"),
        (
            '{"nbformat": 3, "worksheets": []}',
            "a notebook of an old format: open it in JupyterLab and save it",
        ),
        ('{"nbformat": 5, "cells": []}', "not a notebook of nbformat 4"),
        ('{"nbformat": 4, "cells": 1}', "not a notebook"),
        ("[" * 10**5, "not a notebook"),
        ("\x00", "not a notebook: line 1 of the file is no JSON"),
    ],
    ids=lambda text: text[:12],
)
def test_what_is_no_notebook_is_said_before_anything_runs(text, why):
    lines = []
    main(b"0\n" + text.encode(), lines.append)
    assert lines == [{"not gradable": why}]


def test_a_notebook_without_exercises_runs_nothing():
    lines, cell = [], {"cell_type": "code", "source": "raise SystemExit", "metadata": {}}
    main(b"0\n" + json.dumps({"nbformat": 4, "cells": [cell]}).encode(), lines.append)
    assert lines == [{"expected": []}]


def test_while_an_answer_runs_the_originals_are_back(monkeypatch):
    originals = _Originals()
    real = builtins.sum, torch.equal, torch.Tensor.detach, judge_module.compare
    theirs = object()
    methods = ((torch.Tensor, "detach"), (torch.Tensor, "softmax"))
    for owner, name in ((torch, "equal"), (judge_module, "compare"), *methods):
        monkeypatch.setattr(owner, name, theirs)
    monkeypatch.delattr(builtins, "sum")
    monkeypatch.delattr(torch, "isclose")
    with originals:
        assert (builtins.sum, torch.equal, torch.Tensor.detach, judge_module.compare) == real
        assert callable(torch.isclose)
        # It stands above the one that torch.Tensor has from its parent.
        assert "softmax" not in vars(torch.Tensor)
    # A notebook that has its own reasons keeps its functions.
    assert vars(torch.Tensor)["softmax"] is theirs
    assert torch.equal is torch.Tensor.detach is judge_module.compare is theirs
    assert not hasattr(torch, "isclose")


@pytest.mark.parametrize(
    "name", ["vars", "setattr", "dict", "getattr", "len", "next", "isinstance", "__import__"]
)
def test_builtins_come_back_without_the_use_of_one(name):
    originals, space = _Originals(), vars(builtins)
    real = space[name]
    space[name] = None
    try:
        with originals:
            found = space[name]
        theirs = space[name]
    finally:
        space[name] = real
    assert found is real and theirs is None


@pytest.mark.parametrize(
    "line",
    ["%matplotlib inline", "%matplotlib widget", "!exit 3", "%no_such_magic", "%load_ext no_such_extension"],
)
def test_a_line_for_a_front_end_or_a_shell_does_not_stop_its_cell(line, capfd):
    run_cell, names = _start_shell()
    names.pop("after", None)
    assert run_cell(f"{line}\nafter = 1") is None and names["after"] == 1


def test_an_error_of_code_that_a_magic_runs_is_one_of_the_cell():
    assert isinstance(_start_shell()[0]("%time 1 / 0\nafter = 1"), ZeroDivisionError)


IN_A_PROCESS = """
import json, sys
from lab_utils.course.grading.answers import main
main(b'0\\n' + sys.stdin.buffer.read(), lambda line: print(json.dumps(line), file=sys.__stdout__))
"""


def test_what_a_cell_puts_in_the_place_of_builtins_spoils_neither_its_answer_nor_a_verdict():
    """As globals, which later cells see, and in `builtins`, which all code would see, the judge's own too."""
    spoils = "import builtins\nprint = range = 3\nbuiltins.sum = builtins.max = builtins.isinstance = lambda *_: 7\n"
    right = f"import torch\n{spoils}{inspect.getsource(shifted)}".replace("shifted", "causal_mask")
    right = right.replace("n_queries - 1", "max(n_queries, sum([]))")
    wrong = inspect.getsource(shifted).replace("shifted", "causal_mask")
    found = []
    for source in (right, spoils + "import torch\n" + wrong):
        cell = {
            "cell_type": "code",
            "source": source,
            "metadata": {"tags": ["exercise"]},
            "id": "causal_mask-exercise",
        }
        done = subprocess.run(
            [sys.executable, "-c", IN_A_PROCESS],
            input=json.dumps({"nbformat": 4, "cells": [cell]}),
            capture_output=True,
            text=True,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        found.append(
            next(judge_line("causal_mask", line) for line in lines if line.get("exercise") == "causal_mask")
        )
    assert [(each["status"], each["mistake"]) for each in found] == [
        ("passed", ""),
        ("failed", "mask_hides_the_token_itself"),
    ]


def test_the_judge_gives_the_same_verdict_on_what_was_written_down():
    def line_of(answer):
        attempts = {"attempt": MASK.cases(), "unseen": unseen_cases(MASK.cases(), 0)}
        return {name: pack_attempt(run_cases(MASK, cases, answer)) for name, cases in attempts.items()}

    assert judge_line("causal_mask", line_of(MASK.core))["status"] == "passed"
    wrong = judge_line("causal_mask", line_of(shifted))
    assert wrong["mistake"] == "mask_hides_the_token_itself" == judge(MASK, shifted).diagnosis.name
    assert judge_line("causal_mask", {"error": "E: \x1b"})["says"].startswith("The cell raises E")


def test_a_row_for_the_teacher_says_what_the_cell_lacks():
    assert judge_line("causal_mask", {"lacking": "Nothing."})["says"] == "Nothing."
    line = {"attempt": {"why": "not tried", "outcomes": []}}
    assert judge_line("causal_mask", line) == {
        "status": "not tried",
        "says": "Not written: causal_mask still raises NotImplementedError, as the stub does.",
        "mistake": "",
        "report": ["Not written: causal_mask still raises NotImplementedError, as the stub does."],
    }


def test_an_error_of_a_cell_is_one_line():
    with pytest.raises(SyntaxError) as wrong:
        compile("x = 1\ndef f(:", "<ipython-input-1-b9e18c332ff5>", "exec")
    assert _describe(wrong.value) == "SyntaxError in line 2: invalid syntax"
    assert _describe(SystemExit()) == "SystemExit"
    assert _describe(MemoryError()) == "MemoryError: it wants more memory than a notebook may take here"
    assert _describe(ValueError("a\nb")) == "ValueError: a"


@pytest.mark.parametrize("attempt", [None, {"why": "passed", "outcomes": []}, {"status": "passed"}, 5])
def test_a_line_cannot_say_that_it_passed(attempt):
    line = {"exercise": "causal_mask", "status": "passed", "attempt": attempt}
    assert judge_line("causal_mask", line)["status"] == "failed"


# ---------------------------------------------------------------- what a notebook has set


SPOILERS = {
    "gradients off": lambda: torch.set_grad_enabled(False),
    "float64": lambda: torch.set_default_dtype(torch.float64),
    "meta": lambda: torch.set_default_device("meta"),
    "low precision": lambda: torch.set_float32_matmul_precision("medium"),
    "deterministic": lambda: torch.use_deterministic_algorithms(True),
}


@pytest.fixture
def restore():
    yield
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_float32_matmul_precision("highest")
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
@pytest.mark.parametrize("name", ["attend", "causal_mask", "RMSNorm", "next_token_loss"])
def test_what_a_notebook_has_set_does_not_spoil_a_right_answer(spoil, name, restore):
    exercise = all_exercises()[name]
    spoil()
    before = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_default_device()
    assert judge(exercise, exercise.core).status == "passed"
    assert (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_default_device()) == before


class _Zeros(TorchFunctionMode):
    """A mode in which every function of torch gives a zero."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return torch._C._VariableFunctions.zeros((1,))


OF_THE_THREAD = {
    "meta": lambda: torch.set_default_device("meta"),
    "a device entered": lambda: torch.device("meta").__enter__(),
    "a mode": lambda: _Zeros().__enter__(),
    "inference": lambda: torch.inference_mode().__enter__(),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16).__enter__(),
}


@pytest.mark.parametrize("spoil", OF_THE_THREAD.values(), ids=OF_THE_THREAD)
@pytest.mark.parametrize("name", ["attend", "causal_mask"])
def test_what_torch_keeps_for_each_thread_spoils_no_answer_in_the_grader(spoil, name):
    space, seed = {"torch": torch}, 5
    for source in RIGHT.values():
        exec(source, space)
    trial, found = Trial(all_exercises()[name], seed), []

    def run():
        spoil()
        found.append(trial.run(space[name]))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert judge_line(name, found[0], seed)["says"] == ""


def test_a_wrong_answer_stays_wrong_there(restore):
    torch.set_default_dtype(torch.float64)
    key = AnswerKey(MASK)
    assert compare(key, run_cases(MASK, key.cases, shifted)).status == "failed"


def test_a_begun_body_has_a_status_and_words_of_its_own():
    judged = judge_line("causal_mask", {"attempt": {"why": "begun", "outcomes": []}})
    assert judged["status"] == "begun" and judged["says"].startswith("Begun, not finished: causal_mask")
