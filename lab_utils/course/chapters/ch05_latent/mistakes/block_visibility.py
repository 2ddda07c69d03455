"""The known wrong answers to block_visibility, of notebook 05."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.mask import block_visibility as core_visibility


def visibility(sees_latent, sees_token):
    """A version of the mask from two conditions: one on the blocks j and floor(t/b), one on t, s and their blocks."""

    def mask(seq_len, block_len, n_latents, device):
        t = torch.arange(seq_len, device=device)[:, None]
        j = torch.arange(seq_len // block_len, device=device).repeat_interleave(n_latents)[None]
        s = t.T
        latents = sees_latent(j, t // block_len).expand(seq_len, j.shape[1])
        tokens = sees_token(t, s, s // block_len == t // block_len)
        return torch.cat([latents, tokens], dim=1)

    return mask


def earlier(j, own):
    return j < own


def own_past(t, s, same_block):
    return same_block & (s <= t)


@mistake(
    "A token sees the latents of its own block, which have seen the tokens after it: the future leaks.",
    "When is the block of token t complete: before t or after it?",
)
def visibility_of_the_own_block(seq_len, block_len, n_latents, device):
    return visibility(lambda j, own: j <= own, own_past)(seq_len, block_len, n_latents, device)


@mistake(
    "Every token sees all latents, those of later blocks too: the future leaks.",
    "What may the very first token see?",
)
def visibility_of_all_latents(seq_len, block_len, n_latents, device):
    return visibility(lambda j, own: (j < own) | True, own_past)(seq_len, block_len, n_latents, device)


@mistake(
    "A token sees the tokens of earlier blocks as well as their latents. Then nothing is compressed.",
    "Which tokens are dropped from the cache when a block is full?",
)
def visibility_of_all_past_tokens(seq_len, block_len, n_latents, device):
    return visibility(earlier, lambda t, s, same: s <= t)(seq_len, block_len, n_latents, device)


@mistake(
    "A token does not see itself.",
    "Look at the diagonal of the token columns.",
)
def visibility_without_itself(seq_len, block_len, n_latents, device):
    return visibility(earlier, lambda t, s, same: same & (s < t))(seq_len, block_len, n_latents, device)


@mistake(
    "A token sees its whole block, the tokens after it too.",
    "Look above the diagonal of the token columns.",
)
def visibility_of_the_whole_block(seq_len, block_len, n_latents, device):
    return visibility(earlier, lambda t, s, same: same)(seq_len, block_len, n_latents, device)


@mistake(
    "The token columns come first. The keys are [Z ; x]: latents first.",
    "In which order does the docstring name the columns?",
)
def visibility_with_tokens_first(seq_len, block_len, n_latents, device):
    return core_visibility(seq_len, block_len, n_latents, device).roll(seq_len, dims=1)


@mistake(
    "The latents' columns are in another order: first one of every block, then the next. The latents of a block are "
    "neighbours.",
    "With two latents a block, which block does column 1 belong to?",
)
def visibility_with_latents_tiled(seq_len, block_len, n_latents, device):
    n_blocks = seq_len // block_len
    order = torch.arange(n_blocks * n_latents).view(n_blocks, n_latents).T.flatten()
    mask = core_visibility(seq_len, block_len, n_latents, device)
    return torch.cat([mask[:, order], mask[:, n_blocks * n_latents :]], dim=1)


@mistake(
    "The mask is inverted: True where a token must not look.",
    "May a token see itself? What does your mask say?",
)
def visibility_inverted(seq_len, block_len, n_latents, device):
    return ~core_visibility(seq_len, block_len, n_latents, device)


@mistake(
    "Every block has one column, however many latents it has.",
    "Two blocks of three latents each: how many latents are there?",
)
def visibility_with_one_column_a_block(seq_len, block_len, n_latents, device):
    return core_visibility(seq_len, block_len, 1, device)


@mistake(
    "The block that is not full has columns too. It has no latents yet: only complete blocks are summed up.",
    "How many complete blocks of three do seven tokens make?",
)
def visibility_with_latents_of_the_open_block(seq_len, block_len, n_latents, device):
    n_blocks = -(-seq_len // block_len)
    mask = core_visibility(n_blocks * block_len, block_len, n_latents, device)
    return mask[:seq_len, : n_blocks * n_latents + seq_len]


@mistake(
    "The mask is made on the CPU, whatever `device` is: next to tensors on another device it cannot be used.",
    "Which of your calls get `device`?",
)
def visibility_on_the_cpu(seq_len, block_len, n_latents, device):
    return core_visibility(seq_len, block_len, n_latents, torch.device("cpu"))


BLOCK_VISIBILITY = (
    visibility_of_the_own_block,
    visibility_of_all_latents,
    visibility_of_all_past_tokens,
    visibility_without_itself,
    visibility_of_the_whole_block,
    visibility_with_tokens_first,
    visibility_with_latents_tiled,
    visibility_inverted,
    visibility_with_one_column_a_block,
    visibility_with_latents_of_the_open_block,
    visibility_on_the_cpu,
)
