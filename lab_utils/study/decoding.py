"""How fast models decode and what their caches hold, measured; and how far a number of bytes goes, by formula.

Neither depends on what a model has learnt, so the models are untrained.
"""

from __future__ import annotations

import random
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from lab_utils.bench.timing import wait_for_device
from lab_utils.study.kept import find_once, read_kept
from nanokimi.cache import LayerCache, PaddedCache, StateCache, new_layer_cache
from nanokimi.config import KimiConfig
from nanokimi.count import cache_elements
from nanokimi.device import choose_device
from nanokimi.kimi import Kimi
from nanokimi.model import attentions

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

NUMBER_BYTES = 4  # of float32, in which models are built
PIECE = 512  # tokens of the prompt that are read at once: the logits of all of them would need more than any cache
WARM_UP = 1  # rounds that are not counted: the first ones allocate memory


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What one model did with `batch` texts of `context` tokens each.

    cache_bytes: what the caches of all layers stored when the clock started, counted on their tensors. What a cache has
        reserved for tokens to come is not counted.
    formula_bytes: the same by `nanokimi.count`.
    seconds: per round, in each of which every text went on by `tokens` tokens.
    """

    model: str
    batch: int
    context: int
    tokens: int
    cache_bytes: int
    formula_bytes: int
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class DecodedTogether:
    """What all models did at one place; their rounds were taken in turns."""

    found: tuple[Decoded, ...]


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """A call measures all models with `batch` texts of `context` tokens, and keeps the result in `file`."""

    models: dict[str, KimiConfig]
    batch: int
    context: int
    rounds: int
    tokens: int
    device: str
    file: Path

    def __call__(self) -> DecodedTogether:
        return find_once(self.file, DecodedTogether, self._measure)

    def kept(self) -> DecodedTogether | None:
        """The result of an earlier call; None where there is none."""
        return read_kept(self.file, DecodedTogether)

    @torch.inference_mode()
    def _measure(self) -> DecodedTogether:
        turns = {name: _Decoder(cfg, self) for name, cfg in self.models.items()}
        held = {name: turn.cache_bytes() for name, turn in turns.items()}
        seconds = time_in_turns({name: turn.go_on for name, turn in turns.items()}, self.rounds)
        return DecodedTogether(
            tuple(
                Decoded(
                    model=name,
                    batch=self.batch,
                    context=self.context,
                    tokens=self.tokens,
                    cache_bytes=held[name],
                    formula_bytes=NUMBER_BYTES * self.batch * cache_elements(cfg, self.context),
                    seconds=tuple(seconds[name]),
                )
                for name, cfg in self.models.items()
            )
        )

    def checkpoint(self) -> DelayedSubmission:
        """What submitit queues where SLURM takes the machine away, or the time is over: the same call again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class _Decoder:
    """A model with the cache of the texts that it has read, and the last token of each."""

    def __init__(self, cfg: KimiConfig, job: Decoding):
        device = choose_device(job.device)
        self._model, self._tokens = Kimi(cfg).to(device), job.tokens
        prompt = torch.randint(cfg.vocab_size, (1, job.context), generator=torch.Generator().manual_seed(0))
        self._cache = read_prompt(self._model, prompt.to(device), job.batch)
        self._newest = prompt[:, -1:].expand(job.batch, 1).to(device)

    def cache_bytes(self) -> int:
        return bytes_of(self._cache)

    def go_on(self) -> None:
        """Every text goes on by its likeliest tokens."""
        for _ in range(self._tokens):
            self._newest = self._model(self._newest, self._cache).logits[:, -1:].argmax(dim=-1)


def read_prompt(model: Kimi, prompt: Int[Tensor, "one context"], batch: int) -> list[LayerCache]:
    """The cache of `batch` texts that all have this prompt. Where the cache can, the prompt is read once for all."""
    device = prompt.device
    if model.cfg.block_latent is not None:
        cache, prompt = model.new_cache(), prompt.expand(batch, -1)
    else:
        cache = [new_layer_cache(name, [0], device) for name in attentions(model)]
    for piece in prompt.split(PIECE, dim=1):
        model(piece, cache)
    for layer in cache:
        if isinstance(layer, PaddedCache | StateCache):
            layer.keep(torch.zeros(batch, dtype=torch.long, device=device))
    return cache


def bytes_of(cache: list[LayerCache]) -> int:
    """The bytes that the caches of all layers store."""
    return sum(layer.nbytes for layer in cache)


def time_in_turns(turns: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every call, one number per round; each round has another order, since each leaves memory behind."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    shuffle = random.Random(0)
    for done in range(WARM_UP + rounds):
        for name in shuffle.sample(list(turns), len(turns)):
            wait_for_device()
            started = time.perf_counter()
            turns[name]()
            wait_for_device()
            if done >= WARM_UP:
                seconds[name].append(time.perf_counter() - started)
    return seconds


# ---------------------------------------------------------------- by formula


def peak_bytes(cfg: KimiConfig, n_tokens: int) -> int:
    """The most bytes that the cache of one text has held by the time it has `n_tokens` tokens.

    Block latent attention holds less after a block is closed than before, so the last `block_len` tokens count.
    """
    window = 1 if cfg.block_latent is None else cfg.block_latent.block_len
    return NUMBER_BYTES * max(cache_elements(cfg, n) for n in range(max(0, n_tokens - window), n_tokens + 1))


def longest_context(cfg: KimiConfig, n_bytes: int) -> int:
    """How many tokens one text may have, from the first to the last, in a cache of `n_bytes`."""
    return bisect_right(range(1, n_bytes + 1), n_bytes, key=lambda n: peak_bytes(cfg, n))


def largest_batch(cfg: KimiConfig, context: int, n_bytes: int) -> int:
    """How many texts may reach `context` tokens together in a cache of `n_bytes`."""
    return n_bytes // peak_bytes(cfg, context)
