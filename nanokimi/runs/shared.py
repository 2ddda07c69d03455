"""Whether several ranks can share a training: its micro-batches, and the same settings and text on each."""

from dataclasses import replace

import torch

from nanokimi import ranks
from nanokimi.config import TrainConfig
from nanokimi.model import Model
from nanokimi.system.refusals import require
from nanokimi.text.corpus import Corpus
from nanokimi.torchrun import ask_first


def check_ranks(model: Model, corpus: Corpus, cfg: TrainConfig) -> None:
    """`ConfigError` unless the ranks can share the micro-batches of a step, and all of them train the same."""
    n, n_micro = ranks.n_ranks(), cfg.grad_accum
    cut = cut_for(cfg, n)
    same = "" if cut is None else f" (with batch_size={cut.batch_size} a step has as many tokens as now)"
    lack = f"rank {n_micro} has no micro-batch" if n_micro < n else "some ranks have one more micro-batch"
    more = _round_up(n_micro, n)
    require(n_micro % n == 0, f"grad_accum={n_micro} on {n} ranks: {lack}; set grad_accum={more}{same}")
    ours = model.cfg, cfg, corpus.fingerprint
    differs = ask_first(lambda: ours) != ours
    odd = int(ranks.maxima(torch.tensor(float(ranks.rank() if differs else 0))))
    require(odd == 0, f"rank {odd} has other settings, or another text, than rank 0: give all ranks the same")


def cut_for(cfg: TrainConfig, n: int) -> TrainConfig | None:
    """The same training, its steps cut into no more micro-batches than `n` ranks need to share them evenly.

    A step has the windows that it had, in their order. None where they cannot be cut so.
    """
    n_micro = _round_up(cfg.grad_accum, n)
    size, left = divmod(cfg.grad_accum * cfg.batch_size, n_micro)
    return None if left else replace(cfg, grad_accum=n_micro, batch_size=size)


def _round_up(number: int, n: int) -> int:
    """The smallest multiple of `n` that is not below `number`."""
    return -(-number // n) * n
