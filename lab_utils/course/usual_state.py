"""The state of torch and of the random generators in which every answer is run, whatever a notebook has set.

And the other way round: what an answer sets is taken back, so that a check changes nothing in the notebook.
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import functools
import gc
import inspect
import os
import random
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils import _device

_OF_SYS = ("stdin", "stdout", "stderr", "displayhook", "excepthook")
_PRINTING = torch._tensor_str.PRINT_OPTS
# Switches of torch beside those that functions set: what makes results repeat, and what computes them.
_SWITCHES = (
    (torch.backends.cudnn, "deterministic"),
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.mkldnn, "enabled"),
    (torch.utils.deterministic, "fill_uninitialized_memory"),
)


@contextlib.contextmanager
def usual_state(seed: int = 0) -> Iterator[None]:
    """torch as it is when it has just been imported, whatever a notebook has set: it would spoil a right answer.

    The gradient mode, the number format and the device of new tensors, the precision of products, the number of
    threads, the state of the random generators (Python's and numpy's too), and warnings that were turned into errors.
    What makes results repeat and which library computes is put back afterwards.
    """
    dtype, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    switches = [getattr(owner, name) for owner, name in _SWITCHES]
    n_threads, pythons, numpys = torch.get_num_threads(), random.getstate(), np.random.get_state()
    with (
        warnings.catch_warnings(),
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(False),
        torch.set_grad_enabled(True),
        torch.autograd.set_detect_anomaly(False),
        torch.device("cpu"),
    ):
        warnings.simplefilter("default")
        # Of layers without a width, which the cases make and no learner does.
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        try:
            torch.set_default_dtype(torch.float32)
            torch.set_float32_matmul_precision("highest")
            _make_deterministic(False)
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would set those of every device
            random.seed(seed)
            np.random.seed(seed)
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_float32_matmul_precision(precision)
            _make_deterministic(deterministic, warn_only)
            for (owner, name), value in zip(_SWITCHES, switches, strict=True):
                setattr(owner, name, value)
            torch.set_num_threads(n_threads)
            random.setstate(pythons)
            np.random.set_state(numpys)


def _make_deterministic(mode: bool, warn_only: bool = False) -> None:
    """Only where it changes something: torch loads its whole compiler for this switch, in about three seconds."""
    now = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if now != (mode, warn_only):
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)


@contextlib.contextmanager
def functions_kept() -> Iterator[None]:
    """Afterwards the functions of torch and of the core are what they were, whatever was put in their places."""
    core = tuple(name for name in list(sys.modules) if name.split(".")[0] == "nanokimi")
    saved = [(owner, dict(vars(owner))) for owner in _owners(core)]
    try:
        yield
    finally:
        for owner, before in saved:
            now = vars(owner)
            for name, value in before.items():
                if now.get(name) is not value:
                    setattr(owner, name, value)
            # torch.Tensor has most of its methods from a parent: one that was put above it hides it.
            parents = owner.__mro__[1:] if inspect.isclass(owner) else ()
            for name in now.keys() - before.keys():
                if any(name in vars(parent) for parent in parents):
                    delattr(owner, name)


@functools.cache
def _owners(core: tuple[str, ...]) -> list[Any]:
    """What may be changed: torch's best known modules and classes, and the modules and classes of the core."""
    modules = [sys.modules[name] for name in core]
    classes = {each for module in modules for each in vars(module).values() if inspect.isclass(each)}
    own = [each for each in classes if each.__module__.startswith("nanokimi.")]
    return [torch, torch.Tensor, torch.nn.Module, torch.nn.functional, *modules, *own]


@contextlib.contextmanager
def process_kept() -> Iterator[None]:
    """Afterwards Python is as it was: its builtins, streams, hooks, folder, environment, paths and limits.

    And how torch writes tensors, and the device of new ones. What else torch keeps for each thread ends with an
    answer's. The number of interop threads cannot be taken back: torch lets it be set only once, before the first work.
    """
    names: dict[str, Any] = builtins.__dict__
    functions = names.copy()
    hooks = {name: getattr(sys, name) for name in _OF_SYS}
    environ, folder, paths, limit = (
        dict(os.environ),
        _current_folder(),
        list(sys.path),
        sys.getrecursionlimit(),
    )
    printing, collects = copy.copy(vars(_PRINTING)), gc.isenabled()
    always = torch.is_warn_always_enabled()
    try:
        with device_kept():
            yield
    finally:
        names.update(functions)  # first, and with none of them
        for name, value in hooks.items():
            setattr(sys, name, value)
        if dict(os.environ) != environ:
            os.environ.clear()
            os.environ.update(environ)
        if folder and _current_folder() != folder:
            os.chdir(folder)
        sys.path[:] = paths
        sys.setrecursionlimit(limit)
        vars(_PRINTING).update(printing)
        (gc.enable if collects else gc.disable)()
        torch.set_warn_always(always)


@contextlib.contextmanager
def device_kept() -> Iterator[None]:
    """Afterwards new tensors of this thread are made where they were before, and as no mode of torch changes them.

    What is put back is put back without Python's builtins: an answer may have exchanged them.
    """
    device, chosen = _device.CURRENT_DEVICE, getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    modes = _take_modes()
    _enter(modes)
    try:
        yield
    finally:
        _take_modes()
        _enter(modes)
        _device.CURRENT_DEVICE = device
        # Under this name torch.set_default_device notes its own, for each thread.
        torch._GLOBAL_DEVICE_CONTEXT.device_context = chosen


def _take_modes() -> list[Any]:
    """The modes of torch that this thread is in, the latest first. It leaves them all."""
    modes = []
    while torch._C._len_torch_function_stack():
        modes.append(torch.overrides._pop_mode())
    return modes


def _enter(modes: list[Any]) -> None:
    for mode in modes[::-1]:
        torch.overrides._push_mode(mode)


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # somebody has deleted it
        return ""
