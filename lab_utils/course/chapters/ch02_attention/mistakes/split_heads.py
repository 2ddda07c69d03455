"""The known wrong answers to split_heads, of notebook 02."""

import torch

from lab_utils.course.exercise import mistake


@mistake(
    "The channels are cut the wrong way round: head 0 gets every `n_heads`-th one. A head's channels are neighbours.",
    "Channels 0 to d-1 belong to head 0. Which does your head 0 have?",
)
def split_taking_every_nth(x, n_heads):
    return x.unflatten(-1, (-1, n_heads)).permute(0, 3, 1, 2)


@mistake(
    "Heads and tokens are not exchanged: the heads must stand before the tokens.",
    "The result has shape (batch, n_heads, seq, head_dim). In which order are your axes?",
)
def split_without_transpose(x, n_heads):
    return x.unflatten(-1, (n_heads, -1))


@mistake(
    "A reshape alone gives the right shape and mixes tokens and heads: the numbers keep their order in memory.",
    "Mark one token's channels, split, and look where they are.",
)
def split_by_reshape(x, n_heads):
    return x.reshape(x.shape[0], n_heads, x.shape[1], -1)


@mistake(
    "The last two axes are exchanged: head_dim stands before seq.",
    "The result has shape (batch, n_heads, seq, head_dim). In which order are your axes?",
)
def split_after_transpose(x, n_heads):
    return x.transpose(1, 2).unflatten(1, (n_heads, -1))


@mistake(
    "The heads come in the opposite order.",
    "Which channels does head 0 have?",
)
def split_backwards(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2).flip(1)


@mistake(
    "The channels are cut into pieces of n_heads channels; they should be cut into n_heads pieces.",
    "How many heads come out, and how many channels does each have?",
)
def split_into_pieces_of_n_heads(x, n_heads):
    return x.unflatten(-1, (-1, n_heads)).transpose(1, 2)


@mistake(
    "No gradient goes back to x: what comes before would never learn.",
    "Is there a `no_grad`, a `detach` or a list of numbers in your function?",
)
def split_without_gradient(x, n_heads):
    return x.detach().unflatten(-1, (n_heads, -1)).transpose(1, 2)


@mistake(
    "The heads stand before the batch. The batch stays in front.",
    "The result has shape (batch, n_heads, seq, head_dim). In which order are your axes?",
)
def split_with_heads_before_the_batch(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).permute(2, 0, 1, 3)


@mistake(
    "The pieces are put one after the other along the batch; heads have an axis of their own.",
    "The result has four axes: (batch, n_heads, seq, head_dim).",
)
def split_along_the_batch(x, n_heads):
    return torch.cat(x.chunk(n_heads, dim=-1))


@mistake(
    "The axes are exchanged, and then a reshape reads the numbers in another order: a head holds numbers of several "
    "channels and tokens, mixed.",
    "Mark one token's channels, split, and look where they are.",
)
def split_transposed_and_reshaped(x, n_heads):
    return x.transpose(1, 2).reshape(x.shape[0], n_heads, x.shape[1], -1)


@mistake(
    "The heads come back as a list; the result is one tensor with an axis of heads.",
    "What puts tensors side by side along a new axis?",
)
def split_into_a_list(x, n_heads):
    return list(x.chunk(n_heads, dim=-1))


@mistake(
    "The heads stand after the tokens and their channels, as the last axis.",
    "The result has shape (batch, n_heads, seq, head_dim). In which order are your axes?",
)
def split_with_heads_last(x, n_heads):
    return torch.stack(x.chunk(n_heads, dim=-1), dim=-1)


@mistake(
    "The numbers are cut in the order of memory, as (n_heads, head_dim, seq), and then two axes are exchanged. The "
    "channels of one token are neighbours in memory.",
    "Mark one token's channels, split, and look where they are.",
)
def split_as_if_tokens_came_last(x, n_heads):
    return x.reshape(x.shape[0], n_heads, -1, x.shape[1]).transpose(2, 3)


@mistake(
    "The tokens are cut into pieces; heads are pieces of the channels.",
    "Which axis do you cut: (batch, seq, channels)?",
)
def split_cutting_the_tokens(x, n_heads):
    return torch.stack(x.chunk(n_heads, dim=1), dim=1)


@mistake(
    "Only the first text of the batch comes back.",
    "How many texts does x hold, and how many your result?",
)
def split_of_the_first_text(x, n_heads):
    return x[:1].unflatten(-1, (n_heads, -1)).transpose(1, 2)


@mistake(
    "The result comes in float32, whatever the dtype of x: perhaps from a `torch.zeros` without one.",
    "Which dtype does x have, and which does the tensor that you fill?",
)
def split_in_float32(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2).float()


@mistake(
    "Batch and heads are one axis. The result has four.",
    "The result has shape (batch, n_heads, seq, head_dim).",
)
def split_with_batch_and_heads_in_one(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2).flatten(0, 1)


@mistake(
    "The tokens of each head come in the opposite order.",
    "Which token is in row 0 of a head?",
)
def split_with_tokens_backwards(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2).flip(2)


@mistake(
    "Every head gets all channels; each should get its own part of them.",
    "How many channels does one head have?",
)
def split_giving_all_to_each(x, n_heads):
    return x[:, None].repeat(1, n_heads, 1, 1)


@mistake(
    "Every head gets the channels of the first.",
    "Which channels does head 1 get?",
)
def split_giving_the_first_to_each(x, n_heads):
    return x.chunk(n_heads, dim=-1)[0][:, None].repeat(1, n_heads, 1, 1)


@mistake(
    "Heads of different texts are mixed: the pieces lie head by head in memory, and are read text by text.",
    "Take two texts. Which numbers does head 1 of the first one get?",
)
def split_mixing_the_texts(x, n_heads):
    pieces = torch.cat(x.chunk(n_heads, dim=-1))
    return pieces.view(x.shape[0], n_heads, x.shape[1], -1)


SPLIT_HEADS = (
    split_taking_every_nth,
    split_without_transpose,
    split_by_reshape,
    split_after_transpose,
    split_backwards,
    split_into_pieces_of_n_heads,
    split_without_gradient,
    split_with_heads_before_the_batch,
    split_along_the_batch,
    split_transposed_and_reshaped,
    split_into_a_list,
    split_with_heads_last,
    split_as_if_tokens_came_last,
    split_cutting_the_tokens,
    split_of_the_first_text,
    split_in_float32,
    split_with_batch_and_heads_in_one,
    split_with_tokens_backwards,
    split_giving_all_to_each,
    split_giving_the_first_to_each,
    split_mixing_the_texts,
)
