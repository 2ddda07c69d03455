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


JOIN_HEADS = (
    join_by_reshape,
    join_interleaved,
    join_by_sum,
    join_backwards,
    join_without_flatten,
    join_without_gradient,
)
