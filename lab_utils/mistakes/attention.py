"""Wrong answers to the exercises of notebook 02."""

import torch

from lab_utils.exercise import mistake
from nanokimi.attention import attend as core_attend
from nanokimi.attention import causal_mask
from nanokimi.norm import RMSNorm as CoreNorm
from nanokimi.rope import apply_rope as core_rope

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
    "`visible` is ignored: your function always masks causally.",
    "Follow the argument `visible` through your code.",
)
def attend_ignoring_visible(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, None)


ATTEND = (
    attend_with_softmax_over_queries,
    attend_without_scale,
    attend_dividing_by_scale,
    attend_to_the_future,
    attend_masking_with_zero,
    attend_masking_after_softmax,
    attend_ignoring_visible,
)

# ---------------------------------------------------------------- test_sound_attend


@mistake(
    "The test compares nothing: it lets every function pass.",
    "Is there an `assert` that a wrong output breaks?",
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


SPLIT_HEADS = (
    split_taking_every_nth,
    split_without_transpose,
    split_by_reshape,
    split_after_transpose,
    split_backwards,
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

# ---------------------------------------------------------------- rope_frequencies


def frequencies(rope_dim, cfg, exponent=None, pairs=None):
    pair = torch.arange(rope_dim // 2 if pairs is None else pairs, dtype=torch.float64)
    return (cfg.base ** (-2 * pair / rope_dim if exponent is None else exponent(pair))).float()


@mistake("The exponent lacks its factor 2.", "Pair i has the channels 2i and 2i+1: theta_i = base^(-2i/r).")
def theta_without_two(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: -i / rope_dim)


@mistake(
    "The sign of the exponent is missing: the pairs turn faster and faster.",
    "How far does pair 0 turn, and the last?",
)
def theta_growing(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: 2 * i / rope_dim)


@mistake(
    "There is a frequency for every channel; each pair of channels has one.",
    "How many pairs do r channels make?",
)
def theta_for_every_channel(rope_dim, cfg):
    return frequencies(rope_dim, cfg, pairs=rope_dim)


@mistake(
    "It is e to the power, not the base: `cfg.base` is not used.",
    "Which field of the configuration do you read?",
)
def theta_of_e(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: -2 * i / rope_dim / torch.log(torch.tensor(cfg.base)))


@mistake("Counting begins with pair 1, so the fastest pair is missing.", "What is theta of the first pair?")
def theta_from_one(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: -2 * (i + 1) / rope_dim)


@mistake(
    "The frequencies fall in equal steps; they should fall by equal factors.",
    "Divide each by the one before it.",
)
def theta_linear(rope_dim, cfg):
    pair = torch.arange(rope_dim // 2, dtype=torch.float64)
    return (1 - 2 * pair / rope_dim * (1 - 1 / cfg.base)).float()


ROPE_FREQUENCIES = (
    theta_without_two,
    theta_growing,
    theta_for_every_channel,
    theta_of_e,
    theta_from_one,
    theta_linear,
)

# ---------------------------------------------------------------- apply_rope


@mistake(
    "The pairs are (i, i + r/2), the layout of Llama. Here neighbours are a pair: (2i, 2i+1).",
    "Which two channels does rotation 0 turn?",
)
def rope_on_halves(x, rotation):
    a, b = x.chunk(2, dim=-1)
    turned = torch.complex(a, b) * rotation
    return torch.cat([turned.real, turned.imag], dim=-1)


@mistake(
    "It turns the other way: by -t·theta.",
    "Turn (1, 0) by a quarter: it should become (0, 1).",
)
def rope_backwards(x, rotation):
    return core_rope(x, rotation.conj())


@mistake(
    "The second part of the rotation has the wrong sign: lengths change.",
    "(a + ib)(c + is) = (ac - bs) + i(as + bc). Check both signs.",
)
def rope_that_reflects(x, rotation):
    a, b = x[..., 0::2], x[..., 1::2]
    c, s = rotation.real, rotation.imag
    return torch.stack([a * c + b * s, a * s + b * c], dim=-1).flatten(-2)


@mistake(
    "The turned pairs are put one half behind the other; they belong back in their places.",
    "In which channels do the two numbers of pair 0 end up?",
)
def rope_left_in_halves(x, rotation):
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * rotation
    return torch.cat([turned.real, turned.imag], dim=-1)


@mistake(
    "Only the cosine part is there: the two numbers of a pair do not mix.",
    "Turn (1, 0) by a quarter: it should become (0, 1).",
)
def rope_without_sine(x, rotation):
    return x * rotation.real.repeat_interleave(2, dim=-1)


@mistake(
    "Every token is turned as the first one is.",
    "Which row of `rotation` belongs to which token?",
)
def rope_of_position_zero(x, rotation):
    return core_rope(x, rotation[:1].expand_as(rotation))


APPLY_ROPE = (
    rope_on_halves,
    rope_backwards,
    rope_that_reflects,
    rope_left_in_halves,
    rope_without_sine,
    rope_of_position_zero,
)

# ---------------------------------------------------------------- RMSNorm


class _Norm(CoreNorm):
    """The core's weights and a forward of one's own."""

    def full(self, x):
        return x if x.dtype in (torch.float32, torch.float64) else x.float()


@mistake(
    "The mean is subtracted first: that is LayerNorm.", "What does RMS stand for? Is there a mean in it?"
)
class NormSubtractingTheMean(_Norm):
    def forward(self, x):
        h = self.full(x)
        h = h - h.mean(dim=-1, keepdim=True)
        return (self.weight * h * (h.square().mean(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


@mistake("It is divided by the mean square, not by its root.", "Double x. Should the output change?")
class NormWithoutRoot(_Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h / (h.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype)


@mistake(
    "It is divided by the length (a sum), not by the root of the *mean* square.",
    "How large are the numbers afterwards?",
)
class NormByLength(_Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h * (h.square().sum(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


@mistake(
    "The mean runs over the wrong axis: over tokens, not over channels.",
    "May a token's norm depend on its neighbours?",
)
class NormOverTokens(_Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h * (h.square().mean(0, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


@mistake("The gain is not applied.", "Which of the module's weights does your forward never read?")
class NormWithoutGain(_Norm):
    def forward(self, x):
        h = self.full(x)
        return (h * (h.square().mean(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


@mistake("eps is added to the root, not under it.", "For x = 0 and for tiny x: what should come out?")
class NormWithEpsOutside(_Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h / (h.square().mean(-1, keepdim=True).sqrt() + self.eps)).to(x.dtype)


RMS_NORM = (
    NormSubtractingTheMean,
    NormWithoutRoot,
    NormByLength,
    NormOverTokens,
    NormWithoutGain,
    NormWithEpsOutside,
)

# ---------------------------------------------------------------- test_sound_decoding


def parts_of_decoding():
    """Three tokens, and rotations for them."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 1, 3, 4, generator=generator) for _ in range(3))
    return (
        q,
        k,
        v,
        lambda positions: torch.polar(torch.ones(len(positions), 2), positions[:, None] * torch.ones(2)),
    )


def decoded(decode_step, n_steps):
    q, k, v, turn = parts_of_decoding()
    cache = []
    return [
        decode_step(*(x[..., t : t + 1, :] for x in (q, k, v)), cache, core_attend, core_rope, turn)
        for t in range(n_steps)
    ]


@mistake("The test compares nothing: it lets every piece pass.", "Is there an `assert` that can fail?")
def decoding_test_that_never_fails(decode_step):
    decoded(decode_step, 3)


@mistake("The test fails for every piece, the sound ones too.", "Run it on a step that you trust first.")
def decoding_test_that_always_fails(decode_step):
    raise AssertionError


@mistake("The test looks at the shape only.", "With which number should the output be compared?")
def decoding_test_of_the_shape(decode_step):
    assert decoded(decode_step, 2)[1].shape == (1, 1, 1, 4)


@mistake(
    "The test takes a single step. Position 0 is right in the broken piece too.",
    "Which position does the second token have?",
)
def decoding_test_of_one_step(decode_step):
    _, _, v, _ = parts_of_decoding()
    assert torch.allclose(decoded(decode_step, 1)[0], v[..., :1, :], atol=1e-5)


@mistake(
    "The test asks whether the second step remembers the first. It does; it is mistaken about where it stands.",
    "Compare with all tokens at once, at their positions.",
)
def decoding_test_of_memory(decode_step):
    _, _, v, _ = parts_of_decoding()
    second = decoded(decode_step, 2)[1]
    assert not torch.allclose(second, v[..., 1:2, :], atol=1e-5)
    assert second.abs().sum() > 0


DECODING_TESTS = (
    decoding_test_that_never_fails,
    decoding_test_that_always_fails,
    decoding_test_of_the_shape,
    decoding_test_of_one_step,
    decoding_test_of_memory,
)
