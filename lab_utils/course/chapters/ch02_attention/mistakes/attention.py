"""Wrong answers to the exercises of notebook 02: the mask, attention, heads."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.attention import causal_mask

# ---------------------------------------------------------------- causal_mask


@mistake(
    "The mask is shifted by one: a token cannot see itself.",
    "Write down the row of the first query. Which keys does it have to choose from?",
)
def mask_hides_the_token_itself(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries - 1)


@mistake(
    "The mask is shifted by one the other way: a token sees the one that follows it, which it should predict.",
    "The last True of each row: is it the query's own position?",
)
def mask_shows_the_next_token(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries + 1)


@mistake(
    "True and False are exchanged: the mask shows the future and hides the past.",
    "The docstring says what True means here. Other libraries mean the opposite.",
)
def mask_says_where_not_to_look(n_queries, n_keys, device):
    return ~causal_mask(n_queries, n_keys, device)


@mistake(
    "The queries are taken for the first positions. With fewer queries than keys, as in decoding, they are the last.",
    "With a cache of five tokens and one new query: at which position does the query stand?",
)
def mask_puts_queries_first(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril()


@mistake(
    "The triangle is the upper one: a query sees itself and the future.",
    "Rows are queries, columns are keys. In row 0, which columns should be True?",
)
def mask_is_the_upper_triangle(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).triu(n_keys - n_queries)


CAUSAL_MASK = (
    mask_hides_the_token_itself,
    mask_shows_the_next_token,
    mask_says_where_not_to_look,
    mask_puts_queries_first,
    mask_is_the_upper_triangle,
)

# ---------------------------------------------------------------- attend


def attention(q, k, v, scale, visible, softmax_over=-1, temperature=None):
    """Written out, with the places where a mistake goes."""
    scores = q @ k.transpose(-1, -2) * (scale if temperature is None else temperature)
    if visible is None:
        visible = causal_mask(q.shape[-2], k.shape[-2], q.device)
    return scores.masked_fill(~visible, -1e30).softmax(dim=softmax_over) @ v


@mistake(
    "The softmax runs over the queries instead of the keys.",
    "Sum the weights of one query over all keys. What should the sum be?",
)
def attend_with_softmax_over_queries(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, softmax_over=-2)


@mistake(
    "The scores are not scaled: `scale` is not used.",
    "Which of the arguments does your function never read?",
)
def attend_without_scale(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, temperature=1.0)


@mistake(
    "The scores are divided by the scale instead of multiplied.",
    "`scale` is 1/sqrt(d) already, not sqrt(d).",
)
def attend_dividing_by_scale(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, temperature=1 / scale)


@mistake(
    "Nothing is masked: every query sees every key, the future too.",
    "What does `visible=None` mean, according to the docstring?",
)
def attend_to_the_future(q, k, v, scale, visible=None):
    everything = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool)
    return attention(q, k, v, scale, everything if visible is None else visible)


@mistake(
    "Hidden scores are set to 0 before the softmax. exp(0) = 1, so a hidden key still gets weight.",
    "Which score gives exactly no weight after the exponential?",
)
def attend_masking_with_zero(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k.transpose(-1, -2) * scale).masked_fill(~visible, 0.0).softmax(dim=-1) @ v


@mistake(
    "The mask comes after the softmax: the weights that are left no longer sum to 1.",
    "Sum the weights that the first query has left.",
)
def attend_masking_after_softmax(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return ((q @ k.transpose(-1, -2) * scale).softmax(dim=-1) * visible) @ v


@mistake(
    "The scores get a scale of their own, 1/sqrt of the width of q; `scale` is not used.",
    "Who decides about the scale: your function, or its caller?",
)
def attend_with_a_scale_of_its_own(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, temperature=q.shape[-1] ** -0.5)


@mistake(
    "The queries are taken for the first positions. With fewer queries than keys, as in decoding, they are the last.",
    "One new token, and a cache of four: which keys may it see?",
)
def attend_putting_queries_first(q, k, v, scale, visible=None):
    first = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril()
    return attention(q, k, v, scale, first if visible is None else visible)


@mistake(
    "`visible` is ignored: your function always masks causally.",
    "Follow the argument `visible` through your code.",
)
def attend_ignoring_visible(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, None)


@mistake(
    "The mask is used the wrong way round: what may be seen is hidden. A query that may see nothing else gets nan.",
    "masked_fill fills where its mask is True. What does True mean in causal_mask and in `visible`?",
)
def attend_hiding_the_visible(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k.transpose(-1, -2) * scale).masked_fill(visible, -torch.inf).softmax(dim=-1) @ v


@mistake(
    "The causal mask is laid over `visible`, so a caller who lets a query see ahead is not obeyed.",
    "When is the causal mask asked for: always, or only where the caller gives no other?",
)
def attend_with_both_masks(q, k, v, scale, visible=None):
    causal = causal_mask(q.shape[-2], k.shape[-2], q.device)
    return attention(q, k, v, scale, causal if visible is None else causal & visible)


@mistake(
    "What `visible` shows is added to the causal mask: what the caller hides of the past is seen all the same.",
    "When is the causal mask asked for: always, or only where the caller gives no other?",
)
def attend_with_either_mask(q, k, v, scale, visible=None):
    causal = causal_mask(q.shape[-2], k.shape[-2], q.device)
    return attention(q, k, v, scale, causal if visible is None else causal | visible)


@mistake(
    "The exponentials are taken of the bare scores. In float32 exp(89) is infinite, and inf / inf is nan.",
    "What does a softmax give when the same number is taken off every score? Which number makes exp safe?",
)
def attend_with_bare_exponentials(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    weights = (q @ k.transpose(-1, -2) * scale).exp() * visible
    return weights / weights.sum(dim=-1, keepdim=True) @ v


ATTEND = (
    attend_with_softmax_over_queries,
    attend_without_scale,
    attend_dividing_by_scale,
    attend_to_the_future,
    attend_masking_with_zero,
    attend_masking_after_softmax,
    attend_with_a_scale_of_its_own,
    attend_putting_queries_first,
    attend_ignoring_visible,
    attend_hiding_the_visible,
    attend_with_both_masks,
    attend_with_either_mask,
    attend_with_bare_exponentials,
)

# ---------------------------------------------------------------- test_sound_attend


@mistake(
    "The test lets every function pass: it compares nothing, or something that is right in all of them.",
    "Is there an `assert` that a wrong output breaks? Run your test on the piece above: does it fail?",
)
def test_that_never_fails(attend):
    attend(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), 1.0)


@mistake("The test fails for every function, the sound one too.", "Run it on the core's attend first.")
def test_that_always_fails(attend):
    raise AssertionError


@mistake(
    "The test looks at the shape only. The broken piece gives the right shape.",
    "Which *number* would be different?",
)
def test_of_the_shape(attend):
    assert attend(torch.ones(1, 1, 3, 2), torch.ones(1, 1, 3, 2), torch.ones(1, 1, 3, 4), 1.0).shape == (
        1,
        1,
        3,
        4,
    )


@mistake(
    "The test looks at the mask: does the past change with the future? In the broken piece it does not.",
    "Which number of the output would be different although the mask is right?",
)
def test_of_the_mask(attend):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 1, 4, 3, generator=generator) for _ in range(3))
    before = attend(q, k, v, 0.5)
    v[..., -1, :] += 10
    assert torch.allclose(attend(q, k, v, 0.5)[..., :-1, :], before[..., :-1, :])


@mistake(
    "The test uses a single token. There the two axes of the softmax have one entry each, and cannot be told apart.",
    "Take at least two queries and two keys.",
)
def test_with_one_token(attend):
    one = torch.ones(1, 1, 1, 2)
    assert torch.allclose(attend(one, one, one, 1.0), one)


@mistake(
    "The test asks for bit-equal results and rejects a sound function that adds in another order.",
    "Compare with a tolerance.",
)
def test_for_equal_bits(attend):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 1, 5, 3, generator=generator) for _ in range(3))
    mask = causal_mask(5, 5, q.device)
    scores = (q.double() @ k.double().mT * 0.3).masked_fill(~mask, -torch.inf)
    assert torch.equal(attend(q, k, v, 0.3).double(), scores.softmax(-1) @ v.double())


ATTEND_TESTS = (
    test_that_never_fails,
    test_that_always_fails,
    test_of_the_shape,
    test_of_the_mask,
    test_with_one_token,
    test_for_equal_bits,
)

# ---------------------------------------------------------------- split_heads and join_heads


@mistake(
    "The channels are cut the wrong way round: head h gets every H-th channel. Its channels lie side by side.",
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
    "A bare reshape to the right shape mixes tokens and heads: the numbers stay in their old order in memory.",
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


SPLIT_HEADS = (
    split_taking_every_nth,
    split_without_transpose,
    split_by_reshape,
    split_after_transpose,
    split_backwards,
    split_into_pieces_of_n_heads,
)


@mistake(
    "A bare reshape to (batch, seq, width) mixes tokens and heads.",
    "Heads must come behind the tokens again before their channels are put side by side.",
)
def join_by_reshape(x):
    return x.reshape(x.shape[0], x.shape[2], -1)


@mistake(
    "The heads are interleaved channel by channel. A head's channels lie side by side.",
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
    "Heads and channels of a head stay two axes.",
    "The result has three axes: (batch, seq, width).",
)
def join_without_flatten(x):
    return x.transpose(1, 2)


JOIN_HEADS = (join_by_reshape, join_interleaved, join_by_sum, join_backwards, join_without_flatten)
