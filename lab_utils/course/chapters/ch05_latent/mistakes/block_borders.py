"""The known wrong answers to block_visibility, of notebook 05, about where blocks begin and end."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.mask import block_visibility as core_visibility


@mistake(
    "The last block has no columns where it is just full: with a text of n·block_len tokens there are n "
    "complete blocks.",
    "How many complete blocks of three do three tokens make, and how many columns has your mask for them?",
)
def visibility_without_the_last_full_block(seq_len, block_len, n_latents, device):
    mask = core_visibility(seq_len, block_len, n_latents, device)
    n_columns = (seq_len - 1) // block_len * n_latents
    return torch.cat([mask[:, :n_columns], mask[:, -seq_len:]], dim=1)


@mistake(
    "The first token of a block does not see the latents of the block before it. That block has ended.",
    "Blocks of four: which latents may token 4 see?",
)
def visibility_a_token_late(seq_len, block_len, n_latents, device):
    mask = core_visibility(seq_len, block_len, n_latents, device)
    n = mask.shape[1] - seq_len
    j = torch.arange(seq_len // block_len, device=device).repeat_interleave(n_latents)
    ended = (j + 1) * block_len < torch.arange(seq_len, device=device)[:, None]
    return torch.cat([ended, mask[:, n:]], dim=1)


@mistake(
    "A column's number is divided by the number of blocks. Every block has n_latents columns.",
    "Three blocks of two latents: which block does column 2 belong to?",
)
def visibility_dividing_by_the_blocks(seq_len, block_len, n_latents, device):
    mask = core_visibility(seq_len, block_len, n_latents, device)
    n, n_blocks = mask.shape[1] - seq_len, seq_len // block_len
    j = torch.arange(n, device=device) // max(n_blocks, 1)
    own = torch.arange(seq_len, device=device)[:, None] // block_len
    return torch.cat([j < own, mask[:, n:]], dim=1)


@mistake(
    "Tokens of complete blocks see none of their own block's tokens. Latents stand for them later on, for tokens of "
    "later blocks.",
    "Which columns are True in the row of the very first token?",
)
def visibility_without_tokens_of_full_blocks(seq_len, block_len, n_latents, device):
    mask = core_visibility(seq_len, block_len, n_latents, device)
    n, block = mask.shape[1] - seq_len, torch.arange(seq_len, device=device) // block_len
    is_open = (block >= seq_len // block_len)[:, None]
    return torch.cat([mask[:, :n], mask[:, n:] & is_open], dim=1)


@mistake(
    "A block's number is compared with t / block_len as a fraction: for a token inside the block that is more than "
    "the number of its own block.",
    "Blocks of four: what is 5 / 4, in which block is token 5, and which latents may it see?",
)
def visibility_by_a_fraction(seq_len, block_len, n_latents, device):
    mask = core_visibility(seq_len, block_len, n_latents, device)
    t = torch.arange(seq_len, device=device)[:, None]
    j = torch.arange(seq_len // block_len, device=device).repeat_interleave(n_latents)
    return torch.cat([j < t / block_len, mask[:, mask.shape[1] - seq_len :]], dim=1)


BLOCK_BORDERS = (
    visibility_by_a_fraction,
    visibility_without_the_last_full_block,
    visibility_a_token_late,
    visibility_dividing_by_the_blocks,
    visibility_without_tokens_of_full_blocks,
)
