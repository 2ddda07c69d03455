"""The known wrong answers to split_heads, of notebook 02."""

from lab_utils.course.exercise import mistake


@mistake(
    "The channels are cut the wrong way round: head h gets every H-th channel. A head's channels are neighbours.",
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
    "The axes are exchanged before the channels are cut.",
    "Which axis is cut into heads: channels or tokens?",
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
    "The result is right, but no gradient goes back to x: what comes before would never learn.",
    "Is there a `no_grad`, a `detach` or a list of numbers in your function?",
)
def split_without_gradient(x, n_heads):
    return x.detach().unflatten(-1, (n_heads, -1)).transpose(1, 2)


SPLIT_HEADS = (
    split_taking_every_nth,
    split_without_transpose,
    split_by_reshape,
    split_after_transpose,
    split_backwards,
    split_into_pieces_of_n_heads,
    split_without_gradient,
)
