"""Questions about the facts of an almanac, as rows of tokens, and what a model answers.

A question is a sentence. The model reads it with others in rows, as in training, and its answer is how it predicts the
tokens of the value and of the blank before it. No fact comes twice, so nothing can be copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tiktoken
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from nanokimi.config import TrainConfig
from nanokimi.device import autocast, choose_dtype
from nanokimi.model import Model
from nanokimi.text.corpus import ROLES
from nanokimi.text.storyworld.almanac import FACTS, N_PHRASINGS, Almanac, Telling, held_out_phrasing
from nanokimi.text.tokenizer import token_bytes


@dataclass(frozen=True, kw_only=True)
class Probes:
    """Sentences in rows. `asks[row, i]` is the number of the question whose value has target i as a token, else -1."""

    inputs: Int[Tensor, "rows seq_len"]
    targets: Int[Tensor, "rows seq_len"]
    asks: Int[Tensor, "rows seq_len"]
    n_questions: int


@dataclass(frozen=True, kw_only=True)
class Answers:
    """For every question: nats, -ln p(value | the sentence up to it), and whether greedy decoding writes the value."""

    nats: Float64[np.ndarray, " questions"]
    right: Bool[np.ndarray, " questions"]


def choose_tellings(book: Almanac, held_out: bool, seed: int = 0) -> list[Telling]:
    """Every fact once, in random order: in its held-out phrasing, or in one of the others, drawn at random."""
    rng = np.random.default_rng(seed)
    tellings = []
    for who in range(len(book.world.characters)):
        for fact in FACTS:
            step = 0 if held_out else int(rng.integers(1, N_PHRASINGS))
            tellings.append(Telling(who, fact, (held_out_phrasing(who, fact) + step) % N_PHRASINGS))
    return [tellings[i] for i in rng.permutation(len(tellings))]


def make_probes(
    book: Almanac, tellings: Sequence[Telling], tokenizer: tiktoken.Encoding, seq_len: int
) -> Probes:
    """The questions in rows of at most `seq_len` + 1 tokens; the rest of a row is `<|endoftext|>` and asks nothing.

    `ValueError` for a sentence that is longer than a row.
    """
    sizes, fact, newline = token_bytes(tokenizer), ROLES.index("fact"), tokenizer.encode_ordinary("\n")
    rows: list[list[int]] = [[]]
    marks: list[list[int]] = [[]]
    for number, telling in enumerate(tellings):
        story = book.tell(telling)
        ids = tokenizer.encode_ordinary(story.text)
        # A blank may be a token of its own, and it then says that the value is none of those that begin with " a".
        asked = story.roles == fact
        asked[:-1] |= asked[1:]
        asked = np.logical_or.reduceat(asked, np.cumsum(sizes[ids]) - sizes[ids])
        if len(ids) > seq_len:
            raise ValueError(f"seq_len={seq_len} is below the {len(ids)} tokens of {story.text!r}")
        if len(rows[-1]) + len(ids) > seq_len + 1:
            rows.append([])
            marks.append([])
        rows[-1] += [*ids, *newline]
        marks[-1] += [*np.where(asked, number, -1).tolist(), *[-1] * len(newline)]
    end = tokenizer.n_vocab - 1
    tokens = torch.tensor([(row + [end] * seq_len)[: seq_len + 1] for row in rows])
    asks = torch.tensor([(mark + [-1] * seq_len)[: seq_len + 1] for mark in marks])
    return Probes(inputs=tokens[:, :-1], targets=tokens[:, 1:], asks=asks[:, 1:], n_questions=len(tellings))


@torch.no_grad()
def ask(model: Model, probes: Probes, cfg: TrainConfig) -> Answers:
    """What the model answers, `cfg.batch_size` rows at a time, in the number format of `cfg`."""
    device = next(model.parameters()).device
    dtype = choose_dtype(cfg.dtype, device)
    nats = torch.zeros(probes.n_questions, dtype=torch.float64)
    wrong = torch.zeros(probes.n_questions, dtype=torch.int64)
    for rows in torch.arange(len(probes.inputs)).split(cfg.batch_size):
        with autocast(device, dtype):
            logits = model(probes.inputs[rows].to(device)).logits
        asked = probes.asks[rows] >= 0
        question, target = probes.asks[rows][asked], probes.targets[rows][asked]
        logits = logits[asked.to(device)].float().cpu()
        nats.index_add_(0, question, F.cross_entropy(logits, target, reduction="none").double())
        wrong.index_add_(0, question, (logits.argmax(-1) != target).long())
    return Answers(nats=nats.numpy(), right=(wrong == 0).numpy())
