"""How good a model is: the loss over fixed validation windows, in nats a token and in bits a byte.

Bits a byte compare models with different vocabularies, and on the storyworld they have a known floor.
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nanokimi.config import ConfigError, TrainConfig
from nanokimi.model import Model
from nanokimi.text.corpus import ROLES, Corpus, windows


@dataclass(frozen=True)
class RoleLoss:
    """The loss on the tokens of one role (see `storyworld`)."""

    nats_per_token: float
    bits_per_byte: float
    floor_bits_per_byte: float
    n_tokens: int


@dataclass(frozen=True)
class Evaluation:
    """Loss over fixed validation windows. The floor is that of the very same tokens, where it is known."""

    loss: float  # nats a token
    perplexity: float
    bits_per_byte: float
    floor_bits_per_byte: float | None
    n_tokens: int
    by_role: dict[str, RoleLoss] | None


def resolve_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: this machine offers no CUDA device; use device=cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def autocast(cfg: TrainConfig, device: torch.device) -> contextlib.AbstractContextManager:
    """bfloat16 autocast on CUDA; nothing on a CPU, where products without native bfloat16 run 40 times slower."""
    if cfg.dtype == "bfloat16" and device.type != "cuda":
        raise ConfigError("dtype=bfloat16 needs device=cuda; on a CPU use dtype=float32 or auto")
    wanted = device.type == "cuda" and cfg.dtype != "float32"
    return torch.autocast("cuda", torch.bfloat16) if wanted else contextlib.nullcontext()


@torch.no_grad()
def evaluate(
    model: Model, corpus: Corpus, cfg: TrainConfig, after_batch: Callable[[], object] = lambda: None
) -> Evaluation:
    """The loss on the first `eval_windows` windows of the validation text, split by role where roles are known.

    `after_batch` is called after every `batch_size` of them: there the caller may wait, or leave by an exception.
    """
    device = next(model.parameters()).device
    inputs, targets, index = windows(corpus.val, cfg.eval_windows, cfg.seq_len)
    losses = []
    for x, y in zip(inputs.split(cfg.batch_size), targets.split(cfg.batch_size), strict=True):
        with autocast(cfg, device):
            logits = model(x.to(device)).logits
        loss = F.cross_entropy(logits.flatten(0, 1).float(), y.to(device).flatten(), reduction="none")
        losses.append(loss.cpu())
        after_batch()
    # In double precision: the sum of a hundred thousand losses is then exact to far below what is printed.
    nats = torch.cat(losses).double()
    n_bytes = corpus.token_bytes[targets.flatten()].double()
    bits = (
        None
        if corpus.val.bits is None
        else torch.from_numpy(corpus.val.bits[index.numpy()]).double().flatten()
    )
    by_role = None
    if bits is not None:
        roles = torch.from_numpy(corpus.val.roles[index.numpy()]).flatten()
        by_role = {}
        for number, role in enumerate(ROLES):
            mine = roles == number
            if mine.any() and n_bytes[mine].sum() > 0:
                by_role[role] = RoleLoss(
                    nats_per_token=nats[mine].mean().item(),
                    bits_per_byte=_bits_per_byte(nats[mine], n_bytes[mine]),
                    floor_bits_per_byte=(bits[mine].sum() / n_bytes[mine].sum()).item(),
                    n_tokens=int(mine.sum()),
                )
    return Evaluation(
        loss=nats.mean().item(),
        perplexity=nats.mean().exp().item(),  # infinite above 709 nats, which a diverging run may reach
        bits_per_byte=_bits_per_byte(nats, n_bytes),
        floor_bits_per_byte=None if bits is None else (bits.sum() / n_bytes.sum()).item(),
        n_tokens=nats.numel(),
        by_role=by_role,
    )


def _bits_per_byte(nats: Float[Tensor, " tokens"], n_bytes: Float[Tensor, " tokens"]) -> float:
    return (nats.sum() / math.log(2) / n_bytes.sum()).item()
