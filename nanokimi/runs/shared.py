"""Whether several ranks can share a training: its micro-batches, and the same settings and text on each."""

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
    more = -(-n_micro // n) * n
    size, left = divmod(n_micro * cfg.batch_size, more)
    same = "" if left else f" (with batch_size={size} a step has as many tokens as now)"
    lack = f"rank {n_micro} has no micro-batch" if n_micro < n else "some ranks have one more micro-batch"
    require(n_micro % n == 0, f"grad_accum={n_micro} on {n} ranks: {lack}; set grad_accum={more}{same}")
    ours = model.cfg, cfg, corpus.fingerprint
    differs = ask_first(lambda: ours) != ours
    odd = int(ranks.maxima(torch.tensor(float(ranks.rank() if differs else 0))))
    require(odd == 0, f"rank {odd} has other settings, or another text, than rank 0: give all ranks the same")
