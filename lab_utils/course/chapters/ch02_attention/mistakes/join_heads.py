"""The known wrong answers to join_heads, of notebook 02."""

import torch

from lab_utils.course.exercise import mistake


@mistake(
    "A reshape alone to (batch, seq, width) mixes tokens and heads.",
    "The heads must come after the tokens again before their channels are put side by side.",
)
def join_by_reshape(x):
    return x.reshape(x.shape[0], x.shape[2], -1)


@mistake(
    "The heads are interleaved channel by channel. A head's channels are neighbours.",
    "join_heads(split_heads(x, n)) must be x.",
)
def join_interleaved(x):
    return x.permute(0, 2, 3, 1).flatten(2)


@mistake(
    "The heads are added up instead of put side by side.",
    "How many channels should a token have afterwards?",
)
def join_by_sum(x):
    return x.sum(dim=1)


@mistake(
    "The heads come in the opposite order.",
    "join_heads(split_heads(x, n)) must be x.",
)
def join_backwards(x):
    return x.flip(1).transpose(1, 2).flatten(2)


@mistake(
    "The heads and their channels are still two axes.",
    "The result has three axes: (batch, seq, width).",
)
def join_without_flatten(x):
    return x.transpose(1, 2)


@mistake(
    "No gradient goes back to x: what comes before would never learn.",
    "Is there a `no_grad`, a `detach` or a list of numbers in your function?",
)
def join_without_gradient(x):
    return x.detach().transpose(1, 2).flatten(2)


@mistake(
    "Heads and tokens have become one axis, head by head. The heads belong side by side in the channels.",
    "The result has shape (batch, seq, n_heads · head_dim). Which two axes become one?",
)
def join_the_tokens(x):
    return x.flatten(1, 2)


@mistake(
    "The axes of tokens and channels are exchanged; those of heads and tokens should be.",
    "Which axis must come just before the channels, so that flattening puts the heads side by side?",
)
def join_after_moving_the_channels(x):
    return x.transpose(2, 3).reshape(x.shape[0], x.shape[2], -1)


@mistake(
    "The mean over the heads is taken; they should be put side by side.",
    "How many channels should a token have afterwards?",
)
def join_by_mean(x):
    return x.mean(dim=1)


@mistake(
    "`view` needs numbers that lie in order in memory, and after the exchange of axes they do not.",
    "Which call does the same and makes a copy where it must?",
)
def join_by_view(x):
    return x.transpose(1, 2).view(x.shape[0], x.shape[2], -1)


@mistake(
    "The tokens stand before the batch. The batch stays in front.",
    "The result has shape (batch, seq, n_heads · head_dim). In which order are your axes?",
)
def join_with_tokens_in_front(x):
    return x.permute(2, 0, 1, 3).flatten(2)


@mistake(
    "Only the first head comes back.",
    "How many channels should a token have afterwards?",
)
def join_of_the_first_head(x):
    return x[:, 0]


@mistake(
    "The texts of the batch are put side by side; the heads should be.",
    "Which axis does your loop, or your `cat`, walk along: batch or heads?",
)
def join_over_the_batch(x):
    return torch.cat(list(x), dim=-1)


@mistake(
    "The axes of heads and channels are exchanged, and what follows mixes them; those of heads and tokens should be.",
    "Which axis must come just before the channels, so that flattening puts the heads side by side?",
)
def join_after_exchanging_heads_and_channels(x):
    return x.transpose(1, 3).reshape(x.shape[0], x.shape[2], -1)


@mistake(
    "Tokens and heads have become one axis, token by token. The heads belong side by side in the channels.",
    "The result has shape (batch, seq, n_heads · head_dim). Which two axes become one?",
)
def join_tokens_and_heads(x):
    return x.transpose(1, 2).flatten(1, 2)


@mistake(
    "Two heads are put side by side, however many there are.",
    "How many heads does x have? x.shape says it.",
)
def join_of_two_heads(x):
    return torch.cat([x[:, 0], x[:, 1]], dim=-1)


@mistake(
    "The result comes in float32, whatever the dtype of x: perhaps from a `torch.zeros` without one.",
    "Which dtype does x have, and which does the tensor that you fill?",
)
def join_in_float32(x):
    return x.transpose(1, 2).flatten(2).float()


@mistake(
    "The heads stay an axis of their own in front: they were stacked, not put side by side.",
    "The result has three axes: (batch, seq, width).",
)
def join_by_stacking(x):
    return torch.stack(x.unbind(1))


@mistake(
    "The channels of a head stand where the tokens belong, and tokens and heads have become one axis.",
    "The result has shape (batch, seq, n_heads · head_dim). Which two axes become one?",
)
def join_with_channels_for_tokens(x):
    return x.transpose(1, 3).flatten(2)


@mistake(
    "The heads stay where they are, and tokens and channels have become one axis.",
    "The result has shape (batch, seq, n_heads · head_dim). Which two axes become one?",
)
def join_tokens_and_channels(x):
    return x.flatten(2)


@mistake(
    "All tokens of a text are put side by side too: one axis too many is flattened.",
    "The result has three axes: (batch, seq, width).",
)
def join_flattening_the_tokens_too(x):
    return x.transpose(1, 2).flatten(1)


@mistake(
    "Heads of different texts are mixed: the numbers are read head by head, not text by text.",
    "Take two texts. Which numbers does the first token of the first one get?",
)
def join_mixing_the_texts(x):
    heads = x.transpose(0, 1).reshape(x.shape)
    return heads.transpose(1, 2).flatten(2)


@mistake(
    "The heads are added up, and the sum is put down once for each head. Each head's channels belong side by side.",
    "Which channels of a token come from head 0 alone?",
)
def join_by_repeating_the_sum(x):
    return x.sum(dim=1).repeat(1, 1, x.shape[1])


@mistake(
    "The tokens come before the texts when the channels are joined, and the result is read as if texts came first: "
    "with two texts, or more, their rows are mixed.",
    "In which order do the axes stand before your reshape, and in which after it?",
)
def join_with_tokens_before_texts(x):
    batch, _, seq, _ = x.shape
    return x.permute(2, 0, 1, 3).reshape(batch, seq, -1)


JOIN_HEADS = (
    join_by_reshape,
    join_interleaved,
    join_by_sum,
    join_backwards,
    join_without_flatten,
    join_without_gradient,
    join_the_tokens,
    join_after_moving_the_channels,
    join_by_mean,
    join_by_view,
    join_with_tokens_in_front,
    join_of_the_first_head,
    join_over_the_batch,
    join_after_exchanging_heads_and_channels,
    join_tokens_and_heads,
    join_of_two_heads,
    join_in_float32,
    join_by_stacking,
    join_with_channels_for_tokens,
    join_tokens_and_channels,
    join_flattening_the_tokens_too,
    join_mixing_the_texts,
    join_by_repeating_the_sum,
    join_with_tokens_before_texts,
)
