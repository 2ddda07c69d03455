"""The state of torch and of the random generators in which every answer is run, whatever a notebook has set."""

from __future__ import annotations

import contextlib
import inspect
import random
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


@contextlib.contextmanager
def usual_state(seed: int = 0) -> Iterator[None]:
    """torch as it is when it has just been imported, whatever a notebook has set: it would spoil a right answer.

    The gradient mode, the number format and the device of new tensors, the precision of products, the number of
    threads, the state of the random generators (Python's and numpy's too), and warnings that were turned into errors.
    """
    dtype, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    deterministic = torch.are_deterministic_algorithms_enabled()
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
        try:
            torch.set_default_dtype(torch.float32)
            torch.set_float32_matmul_precision("highest")
            torch.use_deterministic_algorithms(False)
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_float32_matmul_precision(precision)
            torch.use_deterministic_algorithms(deterministic)
            torch.set_num_threads(n_threads)
            random.setstate(pythons)
            np.random.set_state(numpys)


@contextlib.contextmanager
def functions_kept() -> Iterator[None]:
    """Afterwards the functions of torch and of the core are what they were, whatever was put in their places."""
    core = [module for name, module in list(sys.modules.items()) if name.split(".")[0] == "nanokimi"]
    classes = {each for module in core for each in vars(module).values() if inspect.isclass(each)}
    own = [each for each in classes if each.__module__.startswith("nanokimi.")]
    owners: list[Any] = [torch, torch.Tensor, torch.nn.Module, torch.nn.functional, *core, *own]
    saved = [(owner, dict(vars(owner))) for owner in owners]
    try:
        yield
    finally:
        for owner, before in saved:
            for name, value in before.items():
                if vars(owner).get(name) is not value:
                    setattr(owner, name, value)
