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


@mistake(
    "A token sees the latents of the block before its own, and of no earlier one.",
    "Where can token 100 read what token 3 was?",
)
def visibility_of_the_last_block_only(seq_len, block_len, n_latents, device):
    return visibility(lambda j, own: j == own - 1, own_past)(seq_len, block_len, n_latents, device)


@mistake(
    "The token columns look into the future: a token sees those of its block from itself on.",
    "Which side of the diagonal is the past?",
)
def visibility_of_the_own_future(seq_len, block_len, n_latents, device):
    return visibility(earlier, lambda t, s, same: same & (s >= t))(seq_len, block_len, n_latents, device)


@mistake(
    "A token sees the last `block_len` tokens, across the border of blocks. Of earlier blocks it may see the latents "
    "only.",
    "Which tokens may the first token of a block see?",
)
def visibility_of_a_sliding_window(seq_len, block_len, n_latents, device):
    def window(t, s, same):
        return (s <= t) & (s > t - block_len)

    return visibility(earlier, window)(seq_len, block_len, n_latents, device)


@mistake(
    "The number of the block is compared with the number of the token: j < t. It must be the number of the token's "
    "block.",
    "In which block is token t?",
)
def visibility_by_tokens_for_blocks(seq_len, block_len, n_latents, device):
    mask = core_visibility(seq_len, block_len, n_latents, device)
    n = mask.shape[1] - seq_len
    j = torch.arange(seq_len // block_len, device=device).repeat_interleave(n_latents)
    return torch.cat([j < torch.arange(seq_len, device=device)[:, None], mask[:, n:]], dim=1)


@mistake(
    "The last token of a block sees the latents of its own block. By the rule it reads only those of blocks that ended "
    "before its own began.",
    "For t = 3 and b = 4: which number has the token's block, and which latents have a smaller one?",
)
def visibility_a_token_early(seq_len, block_len, n_latents, device):
    mask = core_visibility(seq_len, block_len, n_latents, device)
    n = mask.shape[1] - seq_len
    j = torch.arange(seq_len // block_len, device=device).repeat_interleave(n_latents)
    own = (torch.arange(seq_len, device=device)[:, None] + 1) // block_len
    return torch.cat([j < own, mask[:, n:]], dim=1)


@mistake(
    "Rows and columns are exchanged: a row must be a token that reads.",
    "How many rows should the mask have?",
)
def visibility_transposed(seq_len, block_len, n_latents, device):
    return core_visibility(seq_len, block_len, n_latents, device).T


@mistake(
    "The mask holds numbers. It must hold True and False: dtype torch.bool.",
    "What is the dtype of your result?",
)
def visibility_as_floats(seq_len, block_len, n_latents, device):
    return core_visibility(seq_len, block_len, n_latents, device).float()


@mistake(
    "The mask holds numbers. It must hold True and False: dtype torch.bool.",
    "What is the dtype of your result?",
)
def visibility_as_integers(seq_len, block_len, n_latents, device):
    return core_visibility(seq_len, block_len, n_latents, device).long()


@mistake(
    "The mask holds 0 and -inf, to be added to scores. It must hold True and False.",
    "What is the dtype of your result?",
)
def visibility_to_be_added(seq_len, block_len, n_latents, device):
    mask = core_visibility(seq_len, block_len, n_latents, device)
    return torch.zeros(mask.shape, device=device).masked_fill(~mask, -torch.inf)


@mistake(
    "The columns of the latents are missing.",
    "How many columns should the mask have?",
)
def visibility_of_tokens_only(seq_len, block_len, n_latents, device):
    return core_visibility(seq_len, block_len, n_latents, device)[:, -seq_len:]


@mistake(
    "n_latents and block_len have changed places.",
    "How many complete blocks of three do seven tokens make?",
)
def visibility_with_sizes_exchanged(seq_len, block_len, n_latents, device):
    return core_visibility(seq_len, n_latents, block_len, device)


@mistake(
    "A token sees itself only, and no other token of its block.",
    "Which tokens of its block are in the past of token 3?",
)
def visibility_of_itself_only(seq_len, block_len, n_latents, device):
    return visibility(earlier, lambda t, s, same: s == t)(seq_len, block_len, n_latents, device)


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
    visibility_of_the_last_block_only,
    visibility_of_the_own_future,
    visibility_of_a_sliding_window,
    visibility_by_tokens_for_blocks,
    visibility_a_token_early,
    visibility_transposed,
    visibility_as_floats,
    visibility_as_integers,
    visibility_to_be_added,
    visibility_of_tokens_only,
    visibility_with_sizes_exchanged,
    visibility_of_itself_only,
)
