"""The known wrong answers to join_heads, of notebook 02."""

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
    "The result is right, but no gradient goes back to x: what comes before would never learn.",
    "Is there a `no_grad`, a `detach` or a list of numbers in your function?",
)
def join_without_gradient(x):
    return x.detach().transpose(1, 2).flatten(2)


@mistake(
    "Heads and tokens have become one axis. The heads belong side by side in the channels.",
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
)
