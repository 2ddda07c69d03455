"""A training step as `train` takes it, on random tokens: its operations, its time and its peak memory.

A step is all that training does: batch, forward and backward pass in the number format that training chooses, facts,
clipped gradient, optimizer, expert biases, and QK-clip where the settings have it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from typing import TypeVar

import numpy as np
import torch

from lab_utils.machine.memory import PeakMemory
from nanokimi.config import ModelConfig, TrainConfig
from nanokimi.count import flops_per_token
from nanokimi.device import choose_device, choose_dtype
from nanokimi.model import build_model
from nanokimi.record import StepRecord
from nanokimi.system.memory import keep_freed_memory
from nanokimi.text import tokenizer
from nanokimi.text.corpus import Corpus, Split
from nanokimi.train import train

ENDLESS = 10**9  # steps: the schedule hardly moves, and the evaluation at the end is never reached
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class StepCase:
    """A model and how it is trained: what a step of it costs can be measured."""

    model: ModelConfig
    train: TrainConfig

    @property
    def tokens(self) -> int:
        """Tokens of one step."""
        return self.train.batch_size * self.train.seq_len * self.train.grad_accum

    @property
    def operations(self) -> float:
        """Floating-point operations of one step, as `nanokimi.count` counts them: products only."""
        return self.tokens * flops_per_token(self.model, self.train.seq_len)

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the step's products."""
        return choose_dtype(self.train.dtype, choose_device(self.train.device))

    def stepper(self) -> Callable[[], StepRecord]:
        """A function that takes one more step of a new training, which evaluates and saves nothing.

        The model is built when the first step is asked for.
        """
        steps = self._train()
        return lambda: next(steps)

    def _train(self) -> Iterator[StepRecord]:
        cfg = replace(self.train, steps=ENDLESS, eval_every=ENDLESS)
        yield from train(build_model(self.model), random_text(self.model.vocab_size), cfg)


@cache
def random_text(vocab_size: int, n_tokens: int = 2**20) -> Corpus:
    """A text of tokens that are drawn evenly from the vocabulary. Its tokenizer is a stand-in that nobody asks."""
    tokens = np.random.default_rng(0).integers(vocab_size, size=n_tokens, dtype=np.uint32)
    encoding = tokenizer.char(["a"])
    return Corpus(
        train=Split(tokens=tokens),
        val=Split(tokens=tokens),
        tokenizer=encoding,
        token_bytes=torch.from_numpy(tokenizer.token_bytes(encoding)),
        fingerprint="random",
        name="random tokens",
        floor=None,
    )


def measure_peak(take_step: Callable[[], object], device: str, steps: int = 3) -> int | None:
    """The most bytes that the first steps take, beside what the process held before; None where nobody knows.

    On CUDA it is what torch allocated, on Linux the resident set. Only a new process gives the number: in another one
    the steps find memory that was left free.
    """
    memory = PeakMemory(device)
    memory.start()
    for _ in range(steps):
        take_step()
    memory.stop()
    return None if memory.peak is None or memory.at_start is None else memory.peak - memory.at_start


def peak_of(case: StepCase) -> int | None:
    """`measure_peak` of a case, for a new process."""
    keep_memory_as_training(case.train.device)
    return measure_peak(case.stepper(), case.train.device)


def keep_memory_as_training(device: str) -> None:
    """Handle memory as a training on this device does."""
    if device == "cpu":
        keep_freed_memory()


def in_new_process(function: Callable[..., T], *args: object) -> T:
    """What the function returns in a process of its own, which ends with it."""
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        return fresh.submit(function, *args).result()
