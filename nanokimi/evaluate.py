"""How good a model is: the loss over fixed validation windows, in nats per token and in bits per byte.

Bits per byte compare models with different vocabularies, and on the storyworld they have a known floor.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from nanokimi import ranks
from nanokimi.config import TrainConfig
from nanokimi.device import autocast, choose_dtype
from nanokimi.model import Model
from nanokimi.system.checked import checked
from nanokimi.system.finite import NotFiniteError, check_weights
from nanokimi.system.real_numbers import Number, PositiveOrZero
from nanokimi.system.whole_numbers import Count
from nanokimi.text.corpus import ROLES, Corpus, check_fits, windows


@dataclass(frozen=True)
class RoleLoss:
    """The loss on the tokens of one role (see `storyworld`)."""

    nats_per_token: Number
    bits_per_byte: Number
    floor_bits_per_byte: PositiveOrZero
    n_tokens: Count


@dataclass(frozen=True)
class Evaluation:
    """The loss over fixed validation windows. The floor is that of the very same tokens, where it is known."""

    loss: Number  # nats per token
    perplexity: Number
    bits_per_byte: Number
    floor_bits_per_byte: PositiveOrZero | None
    n_tokens: Count
    by_role: dict[str, RoleLoss] | None


@checked
@torch.no_grad()
def evaluate(
    model: Model, corpus: Corpus, cfg: TrainConfig, interrupt: Callable[[], object] = lambda: None
) -> Evaluation:
    """The loss on the first `cfg.eval_windows` windows of the validation text, split by role where roles are known.

    A model that only guesses has a loss of log(vocab_size) nats per token and a perplexity of vocab_size. The windows
    are always the same; `cfg.batch_size` of them are computed at a time. `interrupt` is called after each such batch:
    there the caller may wait, or leave by an exception. Several ranks share the batches: each of them calls this, and
    gets the numbers that one process gets. Raises `ConfigError` where model, corpus and `cfg` do not fit each other,
    and `NotFiniteError` where a weight, the loss or its perplexity is no finite number.

    >>> from nanokimi import DataConfig, TrainConfig, build_model, evaluate, load_corpus, load_model_config
    >>> corpus = load_corpus(DataConfig(n_stories=200, tokenizer="char"))
    >>> model = build_model(load_model_config("kimi-smoke"))
    >>> found = evaluate(model, corpus, TrainConfig(seq_len=32, eval_windows=2))
    >>> found.n_tokens, round(found.loss)  # 2 windows of 32 tokens; ln 512 = 6.2 for a model that only guesses
    (64, 6)
    """
    check_fits(corpus, model.cfg, cfg.seq_len)
    check_weights(model)
    device = next(model.parameters()).device
    dtype = choose_dtype(cfg.dtype, device)
    inputs, targets, index = windows(corpus.val, cfg.eval_windows, cfg.seq_len)
    losses = torch.zeros(targets.shape)  # 0 where another rank computes it
    for rows in ranks.share(torch.arange(len(inputs)).split(cfg.batch_size)):
        x, y = inputs[rows], targets[rows]
        with autocast(device, dtype):
            logits = model(x.to(device)).logits
        loss = F.cross_entropy(logits.flatten(0, 1).float(), y.to(device).flatten(), reduction="none")
        losses[rows] = loss.view(y.shape).cpu()
        interrupt()
    ranks.sums([losses])
    # In double precision: the sum of a hundred thousand losses is then exact to far below what is printed.
    nats = losses.flatten().double()
    loss, perplexity = nats.mean().item(), nats.mean().exp().item()
    if not math.isfinite(perplexity):  # above 709 nats, where a model that guesses has log(vocab_size)
        large = ", too large for a perplexity" if math.isfinite(loss) else ""
        raise NotFiniteError(f"the validation loss is {loss:g} nats per token{large}")
    n_bytes = corpus.token_bytes[targets.flatten()].double()
    floor = by_role = None
    if corpus.val.bits is not None and corpus.val.roles is not None:
        bits = torch.from_numpy(corpus.val.bits[index.numpy()]).double().flatten()
        roles = torch.from_numpy(corpus.val.roles[index.numpy()]).flatten()
        floor = (bits.sum() / n_bytes.sum().clamp(min=1)).item()
        by_role = _split_by_role(nats, n_bytes, bits, roles)
    return Evaluation(
        loss=loss,
        perplexity=perplexity,
        bits_per_byte=_bits_per_byte(nats, n_bytes),
        floor_bits_per_byte=floor,
        n_tokens=nats.numel(),
        by_role=by_role,
    )


def _split_by_role(
    nats: Float[Tensor, " tokens"],
    n_bytes: Float[Tensor, " tokens"],
    bits: Float[Tensor, " tokens"],
    roles: UInt8[Tensor, " tokens"],
) -> dict[str, RoleLoss]:
    """The loss of each role that has tokens with bytes."""
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
    return by_role


def _bits_per_byte(nats: Float[Tensor, " tokens"], n_bytes: Float[Tensor, " tokens"]) -> float:
    # A text of separators alone has no byte.
    return (nats.sum() / math.log(2) / n_bytes.sum().clamp(min=1)).item()
