"""The tokens that a model is called with: what they must be, and the one line that a mistake gives."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nanokimi.config import ConfigError
from nanokimi.system.printable import quote


def check_tokens(tokens: Int[Tensor, "batch seq"]) -> None:
    """Raise `ConfigError` in one line unless `tokens` is a tensor (batch, seq) of whole numbers."""
    # A sentence is written only where it is needed: to write a tensor is to read it.
    if not isinstance(tokens, Tensor):
        raise ConfigError(f"tokens={quote(tokens)} must be a tensor of ids: torch.tensor([[1, 2, 3]])")
    if tokens.dtype not in (torch.int64, torch.int32):
        raise ConfigError(f"tokens are {tokens.dtype}; ids are whole numbers, torch.int64: use tokens.long()")
    if tokens.ndim != 2:
        more = ": use tokens[None] for one text" if tokens.ndim == 1 else ""
        raise ConfigError(f"tokens have shape {tuple(tokens.shape)}; it must be (batch, seq){more}")


def look_up(table: nn.Embedding, tokens: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq d_model"]:
    """The row of `table` for every id. Raises `ConfigError` in one line for an id that it lacks.

    On a GPU torch stops with an error of its own: the ids are not read there.
    """
    if torch.compiler.is_compiling():
        return table(tokens)
    try:
        return table(tokens)
    except IndexError:
        low, high = map(int, tokens.aminmax())
        most = len(table.weight) - 1
        raise ConfigError(
            f"tokens hold the id {low if low < 0 else high}; this model knows 0..vocab_size-1={most}"
        ) from None
