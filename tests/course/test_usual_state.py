"""A check changes nothing: whatever an answer sets is as it was before, for both kinds of answers."""

import builtins
import gc
import io
import os
import random
import sys
import warnings

import numpy as np
import pytest
import torch

import nanokimi.attention
from lab_utils.course.chapters import find
from lab_utils.course.judge import judge
from lab_utils.course.usual_state import device_kept, process_kept


def set_everything(folder):
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch._C._set_grad_enabled(False)
    torch.set_num_threads(torch.get_num_threads() + 1)
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(77)
    torch.set_default_device("meta")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic = torch.backends.cudnn.benchmark = True
    torch.backends.mkldnn.enabled = torch.utils.deterministic.fill_uninitialized_memory = False
    torch.set_float32_matmul_precision("medium")
    torch.autograd.set_detect_anomaly(True)
    torch.set_autocast_enabled("cpu", True)
    torch.set_printoptions(precision=1)
    torch.set_warn_always(True)
    warnings.simplefilter("error")
    warnings.filters.clear()
    sys.stdout = sys.stderr = io.StringIO()
    sys.displayhook = print
    sys.path.append("nowhere")
    sys.setrecursionlimit(5000)
    os.environ["A_NEW_ONE"] = "1"
    os.environ.pop("HOME", None)
    os.chdir(folder)
    np.seterr(all="ignore")
    np.set_printoptions(precision=1)
    gc.disable()
    torch.allclose = torch.relu = torch.Tensor.softmax = nanokimi.attention.attend = lambda *args, **kwargs: (
        None
    )
    builtins.len = builtins.sorted = builtins.dict = lambda *args: 3
    torch.nn.Module.__call__ = lambda *args: None


def state():
    return {
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "seeds": (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()),
        "device": torch.get_default_device(),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
            torch.backends.cudnn.deterministic,
        ),
        "library": (torch.backends.cudnn.benchmark, torch.backends.mkldnn.enabled),
        "precision": torch.get_float32_matmul_precision(),
        "anomaly": torch.is_anomaly_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "printing": (dict(vars(torch._tensor_str.PRINT_OPTS)), np.get_printoptions()),
        "warnings": (list(warnings.filters), warnings.showwarning, torch.is_warn_always_enabled()),
        "streams": (sys.stdin, sys.stdout, sys.stderr, sys.displayhook, sys.excepthook),
        "python": (list(sys.path), sys.getrecursionlimit(), gc.isenabled(), np.geterr()),
        "system": (dict(os.environ), os.getcwd()),
        "builtins": dict(vars(builtins)),
        "torch": {name: value for name, value in vars(torch).items() if callable(value)},
        "tensor": dict(vars(torch.Tensor)),
        "module": dict(vars(torch.nn.Module)),
        "core": dict(vars(nanokimi.attention)),
    }


@pytest.fixture(autouse=True)
def unusual_before():
    """What a notebook may have set itself: that stays too."""
    precision, recursion = torch.get_float32_matmul_precision(), sys.getrecursionlimit()
    torch.set_float32_matmul_precision("high")
    sys.setrecursionlimit(recursion + 7)
    yield
    torch.set_float32_matmul_precision(precision)
    sys.setrecursionlimit(recursion)


SLOW = [pytest.param(end, marks=pytest.mark.slow) for end in ("raises", "exits")]


@pytest.mark.parametrize("end", ["returns", *SLOW])
@pytest.mark.parametrize("exercise", ["causal_mask", "test_sound_attend", "RMSNorm"])
def test_a_check_takes_back_everything_that_an_answer_sets(exercise, end, tmp_path):
    def anything(*args):
        set_everything(tmp_path)
        if end == "raises":
            raise RuntimeError
        if end == "exits":
            sys.exit()

    core = find(exercise).core
    answer = type("RMSNorm", (core,), {"forward": anything}) if isinstance(core, type) else anything
    judge(find(exercise), core)  # what is made on the first use is there now
    before = state()
    result = judge(find(exercise), answer)
    after = state()
    assert result.status == "failed"
    assert [name for name in before if repr(before[name]) != repr(after[name])] == []


def test_an_answer_is_run_in_the_usual_state_and_its_own_changes_do_not_reach_the_judge():
    def causal_mask(n_queries, n_keys, device):
        assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
        torch.set_default_dtype(torch.float64)
        torch.set_default_dtype(torch.float32)
        torch.allclose = lambda *args, **kwargs: True
        return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)

    assert judge(find("causal_mask"), causal_mask).status == "failed"


DEVICES = {
    "set": lambda: torch.set_default_device("meta"),
    "entered": lambda: torch.device("meta").__enter__(),
}


@pytest.mark.parametrize("change", DEVICES)
@pytest.mark.parametrize("name", ["attend", "swiglu", "dispatch"])
def test_a_right_answer_that_sets_the_device_of_new_tensors_is_read_without_it(name, change):
    core = find(name).core

    def answer(*args, **kwargs):
        found = core(*args, **kwargs)
        DEVICES[change]()
        return found

    assert judge(find(name), answer).status == "passed"
    assert torch.get_default_device() == torch.device("cpu")


@pytest.mark.parametrize("change", DEVICES)
@pytest.mark.parametrize("name", ["RMSNorm", "ExpertBank"])
def test_a_class_that_makes_its_weights_on_another_device_is_told_of_its_own_error(name, change):
    core = find(name).core

    def init(self, *args, **kwargs):
        DEVICES[change]()
        core.__init__(self, *args, **kwargs)

    with warnings.catch_warnings(action="ignore"):
        result = judge(find(name), type(name, (core,), {"__init__": init}))
    assert result.status == "failed" and result.difference is not None
    assert "device meta is not on the expected device cpu" in result.difference.says


def test_a_device_is_put_back_though_pythons_own_functions_were_exchanged():
    with process_kept(), device_kept():
        torch.set_default_device("meta")
        builtins.range = builtins.reversed = builtins.setattr = None
    assert torch.zeros(1).device.type == "cpu"
