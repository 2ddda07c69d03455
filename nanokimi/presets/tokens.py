"""The tokens that a model is called with: what they must be, and the one line that a mistake gives."""

import torch
from jaxtyping import Int
from torch import Tensor

from nanokimi.system.printable import quote
from nanokimi.system.refusals import require


def check_tokens(tokens: Int[Tensor, "batch seq"], vocab_size: int) -> None:
    """Raise `ConfigError` in one line unless `tokens` is a tensor (batch, seq) of ids below `vocab_size`.

    The ids are read on a CPU only: on a GPU the program would wait for them in every step.
    """
    if torch.compiler.is_compiling():
        return  # a graph is made of tokens that ran before
    is_tensor = isinstance(tokens, Tensor)
    require(is_tensor, f"tokens={quote(tokens)} must be a tensor of ids: torch.tensor([[1, 2, 3]])")
    is_id = tokens.dtype in (torch.int64, torch.int32)
    require(is_id, f"tokens are {tokens.dtype}; ids are whole numbers, torch.int64: use tokens.long()")
    shape = f"tokens have shape {tuple(tokens.shape)}; it must be (batch, seq)"
    require(tokens.ndim == 2, f"{shape}: use tokens[None] for one text" if tokens.ndim == 1 else shape)
    if tokens.device.type == "cpu" and tokens.numel():
        low, high = map(int, tokens.aminmax())
        outside = low if low < 0 else high
        within = low >= 0 and high < vocab_size
        require(within, f"tokens hold the id {outside}; this model knows 0..vocab_size-1={vocab_size - 1}")
