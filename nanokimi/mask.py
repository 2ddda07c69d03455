"""Masks: which token may look at which, so that no token sees the future."""

import torch
from jaxtyping import Bool
from torch import Tensor


def causal_mask(n_queries: int, n_keys: int, device: torch.device) -> Bool[Tensor, "n_queries n_keys"]:
    """True where a query may look: at every key up to its own position.

    The queries are the last `n_queries` of `n_keys` positions, as in decoding with a cache.
    """
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)


def block_visibility(
    seq_len: int, block_len: int, n_latents: int, device: torch.device
) -> Bool[Tensor, "seq latents_and_seq"]:
    """True where a token may look in block latent attention, with blocks of b = `block_len` tokens.

    Token t sees the latents of block j if j < floor(t/b), and token s if s <= t lies in the same block. Columns are
    first the `n_latents` latents of every complete block, then the tokens.
    """
    position = torch.arange(seq_len, device=device)
    block = position // block_len
    latent_block = torch.arange(seq_len // block_len, device=device).repeat_interleave(n_latents)
    sees_latent = latent_block[None, :] < block[:, None]
    sees_token = (block[None, :] == block[:, None]) & (position[None, :] <= position[:, None])
    return torch.cat([sees_latent, sees_token], dim=1)
