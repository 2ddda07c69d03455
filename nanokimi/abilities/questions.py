"""Questions to a model, as rows of tokens, and its answers: how it predicts the tokens that a question asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from nanokimi.config import TrainConfig
from nanokimi.device import autocast, choose_dtype
from nanokimi.model import Model

NOTHING = -1  # the number of no question

# Told how many rows of how many are done.
OnRows = Callable[[int, int], object]


@dataclass(frozen=True, kw_only=True)
class Probes:
    """Texts in rows. `asks[row, i]` is the number of the question that asks for target i, else -1."""

    inputs: Int[Tensor, "rows seq_len"]
    targets: Int[Tensor, "rows seq_len"]
    asks: Int[Tensor, "rows seq_len"]
    n_questions: int


@dataclass(frozen=True, kw_only=True)
class Answers:
    """For every question: nats, -ln p(its tokens | the text up to each), and whether each is the likeliest token."""

    nats: Float64[np.ndarray, " questions"]
    right: Bool[np.ndarray, " questions"]


def mark_tokens(
    asked: Int[np.ndarray, " bytes"], text: bytes, sizes: Int[np.ndarray, " tokens"]
) -> Int[np.ndarray, " tokens"]:
    """The question of every token, from that of every byte of a text; `sizes` has the bytes of each token.

    The blank before an answer belongs to its question too. It may be a token of its own, which then says that the
    answer is none of the words that begin in another way, as " a" does.
    """
    before = (asked[:-1] == NOTHING) & (np.frombuffer(text, np.uint8)[:-1] == ord(" "))
    marked = np.append(np.where(before, asked[1:], asked[:-1]), asked[-1:])
    return np.maximum.reduceat(marked, np.cumsum(sizes) - sizes)


def line_up(
    rows: Sequence[Sequence[int]], marks: Sequence[Sequence[int]], n_questions: int, end: int, seq_len: int
) -> Probes:
    """Rows of tokens, and the question of each token, as tensors: cut after `seq_len` targets, filled up with `end`."""
    tokens = torch.tensor([([*row] + [end] * seq_len)[: seq_len + 1] for row in rows])
    asks = torch.tensor([([*mark] + [NOTHING] * seq_len)[: seq_len + 1] for mark in marks])
    return Probes(inputs=tokens[:, :-1], targets=tokens[:, 1:], asks=asks[:, 1:], n_questions=n_questions)


@torch.no_grad()
def ask(model: Model, probes: Probes, cfg: TrainConfig, on_rows: OnRows = lambda *_: None) -> Answers:
    """What the model answers, `cfg.batch_size` rows at a time, in the number format of `cfg`."""
    device = next(model.parameters()).device
    dtype = choose_dtype(cfg.dtype, device)
    nats = torch.zeros(probes.n_questions, dtype=torch.float64)
    wrong = torch.zeros(probes.n_questions, dtype=torch.int64)
    for rows in torch.arange(len(probes.inputs)).split(cfg.batch_size):
        with autocast(device, dtype):
            logits = model(probes.inputs[rows].to(device)).logits
        asked = probes.asks[rows] != NOTHING
        question, target = probes.asks[rows][asked], probes.targets[rows][asked]
        logits = logits[asked.to(device)].float().cpu()
        nats.index_add_(0, question, F.cross_entropy(logits, target, reduction="none").double())
        wrong.index_add_(0, question, (logits.argmax(-1) != target).long())
        on_rows(int(rows[-1]) + 1, len(probes.inputs))
    return Answers(nats=nats.numpy(), right=(wrong == 0).numpy())
