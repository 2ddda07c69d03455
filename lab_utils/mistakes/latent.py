"""Wrong answers to the first exercises of notebook 05: expansion, absorption, the whole layer, its tests."""

import torch

from lab_utils.exercise import mistake
from nanokimi.attention import AttentionOutput, SequenceCache, attend, join_heads, max_logit, split_heads
from nanokimi.config import MLAConfig, RopeConfig
from nanokimi.mla import MultiHeadLatentAttention as CoreMLA
from nanokimi.mla import absorb_query as core_absorb
from nanokimi.mla import expand_latent as core_expand
from nanokimi.rope import apply_rope, rotations

# ---------------------------------------------------------------- expand_latent


@mistake(
    "The rope key stands before the expanded channels. In the query they come in the order nope, rope.",
    "Which channel of the query will meet which channel of the key?",
)
def expand_rope_first(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    return k.roll(k_rope.shape[-1], dims=-1), v


@mistake(
    "Tokens and heads are mixed up: (batch, seq, heads · width) was reshaped to (batch, heads, seq, width) without "
    "a transposition.",
    "Give every head the same expansion. Are the keys of one token then the same in all heads?",
)
def expand_mixing_heads_and_tokens(latent, k_rope, expand_k, expand_v):
    n_heads, nope, _ = expand_k.shape
    batch, seq, _ = latent.shape
    k = (latent @ expand_k.flatten(0, 1).T).reshape(batch, n_heads, seq, nope)
    v = (latent @ expand_v.flatten(0, 1).T).reshape(batch, n_heads, seq, -1)
    return torch.cat([k, k_rope[:, None].expand(-1, n_heads, -1, -1)], dim=-1), v


@mistake(
    "Only the first head gets the rope key, the others zeros. It is one key, shared by all heads.",
    "Compare the last channels of the keys of two heads.",
)
def expand_rope_for_the_first_head(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    only_first = torch.zeros_like(k)
    only_first[:, 0] = 1
    only_first[..., : expand_k.shape[1]] = 1
    return k * only_first, v


@mistake(
    "The rope key is missing from the keys.",
    "Which of the four arguments does your function never read?",
)
def expand_without_rope(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    return k[..., : expand_k.shape[1]], v


@mistake(
    "Keys and values have changed places: the keys are made by expand_v, the values by expand_k.",
    "How wide must a value be, and how wide a key?",
)
def expand_swapping_keys_and_values(latent, k_rope, expand_k, expand_v):
    return core_expand(latent, k_rope, expand_v, expand_k)


@mistake(
    "Every head uses the expansion of the first. Heads share the latent, not what they make of it.",
    "Are the nope channels of head 0 and head 1 different?",
)
def expand_with_the_first_head(latent, k_rope, expand_k, expand_v):
    return core_expand(latent, k_rope, expand_k[:1].expand_as(expand_k), expand_v[:1].expand_as(expand_v))


@mistake(
    "The values carry the rope key as well. Position belongs to the keys; a value is content only.",
    "How wide is a value, v or v + rope?",
)
def expand_rope_into_values(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    return k, torch.cat([v, k[..., expand_k.shape[1] :]], dim=-1)


EXPAND = (
    expand_rope_first,
    expand_mixing_heads_and_tokens,
    expand_rope_for_the_first_head,
    expand_without_rope,
    expand_swapping_keys_and_values,
    expand_with_the_first_head,
    expand_rope_into_values,
)

# ---------------------------------------------------------------- absorb_query


@mistake(
    "The rope channels stand first. What the query meets is [c ; k_rope], in that order.",
    "Write the cached entry under your query, channel by channel. Which meets which?",
)
def absorb_with_rope_first(q, expand_k):
    return core_absorb(q, expand_k).roll(q.shape[-1] - expand_k.shape[1], dims=-1)


@mistake(
    "The rope channels of the query are gone. They meet the rope key in the cache.",
    "How wide is a cached entry, and how wide your query?",
)
def absorb_without_rope(q, expand_k):
    return core_absorb(q, expand_k)[..., : expand_k.shape[2]]


@mistake(
    "Every head uses the expansion of the first head.",
    "What is the first axis of expand_k, and which axis of q belongs to it?",
)
def absorb_with_the_first_head(q, expand_k):
    return core_absorb(q, expand_k[:1].expand_as(expand_k))


@mistake(
    "The query is divided by the root of its width here. Scaling is attend's business and would come in twice.",
    "Does the formula of the absorbed query contain a root?",
)
def absorb_and_scale(q, expand_k):
    return core_absorb(q, expand_k) * q.shape[-1] ** -0.5


@mistake(
    "The last channels are taken for the nope part and the first for the rope part. It is the other way round.",
    "In which order are the parts of q: [nope ; rope] or [rope ; nope]?",
)
def absorb_the_wrong_end(q, expand_k):
    rope = q.shape[-1] - expand_k.shape[1]
    return torch.cat([q[..., rope:] @ expand_k, q[..., :rope]], dim=-1)


@mistake(
    "The nope channels are kept beside what they were folded into. No cached channel is left that they could meet.",
    "How wide is a cached entry, and how wide your query?",
)
def absorb_and_keep(q, expand_k):
    return torch.cat([q[..., : expand_k.shape[1]] @ expand_k, q], dim=-1)


ABSORB = (
    absorb_with_rope_first,
    absorb_without_rope,
    absorb_with_the_first_head,
    absorb_and_scale,
    absorb_the_wrong_end,
    absorb_and_keep,
)

# ---------------------------------------------------------------- MultiHeadLatentAttention


class _MLA(CoreMLA):
    """The core's layer with a forward in which `wrong` says what to do otherwise."""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        return mla_forward(self, x, rotation, cache, with_max_qk_logit, **self.wrong())


def mla_forward(
    self, x, rotation, cache, with_max, turn_q=True, turn_k=True, norm_latent=True, norm_q=True, scale=None,
    absorbed_scale=None, heads_last=False, cache_expanded=False, logit_scale=None,
):  # fmt: skip
    """The layer, with one thing done otherwise."""
    cfg, nope = self.cfg, self.cfg.qk_nope_head_dim
    if cfg.q_lora_rank is None:
        q = self.q_proj(x)
    else:
        low = self.q_a_proj(x)
        q = self.q_b_proj(self.q_a_layernorm(low) if norm_q else low)
    q = split_heads(q, self.n_heads)
    if turn_q:
        q = torch.cat([q[..., :nope], apply_rope(q[..., nope:], rotation)], dim=-1)
    latent, k_rope = self.kv_a_proj(x).split([cfg.kv_lora_rank, cfg.qk_rope_head_dim], -1)
    latent = self.kv_a_layernorm(latent) if norm_latent else latent
    k_rope = apply_rope(k_rope, rotation) if turn_k else k_rope
    weight = self.kv_b_proj.weight
    by_head = (
        weight.unflatten(0, (-1, self.n_heads)).transpose(0, 1)
        if heads_last
        else weight.unflatten(0, (self.n_heads, -1))
    )
    expand_k, expand_v = by_head.split([nope, cfg.v_head_dim], dim=1)
    s = self.scale if scale is None else scale
    if cache is None or cache_expanded:
        k, v = core_expand(latent, k_rope, expand_k, expand_v)
        if cache is not None:
            k, v = cache.append(k, v)
        heads = attend(q, k, v, s)
    else:
        (entries,) = cache.append(torch.cat([latent, k_rope], dim=-1))
        k = entries[:, None].expand(-1, self.n_heads, -1, -1)
        q = core_absorb(q, expand_k)
        s = s if absorbed_scale is None else absorbed_scale
        heads = attend(q, k, k[..., : cfg.kv_lora_rank], s) @ expand_v.transpose(1, 2)
    largest = max_logit(q, k, s if logit_scale is None else logit_scale) if with_max else None
    return AttentionOutput(self.o_proj(join_heads(heads)), largest)


@mistake(
    "The rope key is not rotated: keys carry no position.",
    "Which of the two, q and k, has been through apply_rope?",
)
class MLAWithoutKeyRotation(_MLA):
    def wrong(self):
        return {"turn_k": False}


@mistake(
    "The rope part of the query is not rotated.",
    "Which of the two, q and k, has been through apply_rope?",
)
class MLAWithoutQueryRotation(_MLA):
    def wrong(self):
        return {"turn_q": False}


@mistake(
    "The latent is not normed before it is expanded.",
    "Which of the layer's weights does your forward never read?",
)
class MLAWithoutLatentNorm(_MLA):
    def wrong(self):
        return {"norm_latent": False}


@mistake(
    "The query's own latent is not normed, where there is one.",
    "Which of the layer's weights does your forward never read when q_lora_rank is set?",
)
class MLAWithoutQueryNorm(_MLA):
    def wrong(self):
        return {"norm_q": False}


@mistake(
    "Logits are scaled by the nope width alone. A dot product over nope + rope channels has the variance of all of "
    "them, and YaRN's factor comes on top.",
    "What is self.scale made of?",
)
class MLAScaledByNope(_MLA):
    def wrong(self):
        return {"scale": self.cfg.qk_nope_head_dim**-0.5}


@mistake(
    "The scale leaves YaRN's factor out: it is right only where the context is not stretched.",
    "What is self.scale made of?",
)
class MLAWithoutYarnScale(_MLA):
    def wrong(self):
        return {"scale": (self.cfg.qk_nope_head_dim + self.cfg.qk_rope_head_dim) ** -0.5}


@mistake(
    "With a cache the logits are scaled by the width of the latent entry. It is the same logit as before, only "
    "computed in another order, so it takes the same scale.",
    "Compare a logit of both forms before the scale. Do they differ?",
)
class MLAScaledByTheLatent(_MLA):
    def wrong(self):
        return {"absorbed_scale": (self.cfg.kv_lora_rank + self.cfg.qk_rope_head_dim) ** -0.5}


@mistake(
    "The rows of kv_b_proj are cut in the wrong order: all heads' first channel, then all heads' second. A head's "
    "rows lie together.",
    "kv_b_proj.weight has n_heads · (nope + v) rows. Which of them belong to head 0?",
)
class MLACutAcrossHeads(_MLA):
    def wrong(self):
        return {"heads_last": True}


@mistake(
    "The cache holds expanded keys and values of every head. The outputs are right, and nothing is saved.",
    "How many numbers does your cache gain a token? It should be kv_lora_rank + qk_rope_head_dim.",
)
class MLACachingExpanded(_MLA):
    def wrong(self):
        return {"cache_expanded": True}


@mistake(
    "The largest logits are reported without the scale. QK-clip compares what goes into the softmax.",
    "Which numbers does the softmax see?",
)
class MLAReportingUnscaled(_MLA):
    def wrong(self):
        return {"logit_scale": 1.0}


MLA = (
    MLAWithoutKeyRotation,
    MLAWithoutQueryRotation,
    MLAWithoutLatentNorm,
    MLAWithoutQueryNorm,
    MLAScaledByNope,
    MLAWithoutYarnScale,
    MLAScaledByTheLatent,
    MLACutAcrossHeads,
    MLACachingExpanded,
    MLAReportingUnscaled,
)

# ---------------------------------------------------------------- test_sound_latents


def inputs(seq=3, rank=6, nope=2, rope=2):
    generator = torch.Generator().manual_seed(3)
    shapes = ((1, 2, seq, nope + rope), (1, seq, rank), (1, seq, rope), (2, nope, rank), (2, 3, rank))
    return tuple(2 * torch.randn(shape, generator=generator) for shape in shapes)


def naive(q, latent, k_rope, expand_k, expand_v, scale=None):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    return attend(q, k, v, q.shape[-1] ** -0.5 if scale is None else scale)


@mistake("The test compares nothing: it lets every piece pass.", "Is there an `assert` that can fail?")
def scale_test_that_never_fails(attend_latents):
    attend_latents(*inputs())


@mistake("The test fails for every piece, the sound ones too.", "Run it on a naive version first.")
def scale_test_that_always_fails(attend_latents):
    raise AssertionError


@mistake("The test looks at the shape only.", "The piece has the right shapes. Which numbers are wrong?")
def scale_test_of_the_shape(attend_latents):
    assert attend_latents(*inputs()).shape == (1, 2, 3, 3)


@mistake(
    "The test's latent is exactly as wide as the nope part. There both scales are the same number, and the defect "
    "hides.",
    "Which widths does the piece confuse? Make them different.",
)
def scale_test_with_equal_widths(attend_latents):
    given = inputs(rank=2)
    assert torch.allclose(attend_latents(*given), naive(*given), atol=1e-4)


@mistake(
    "The test uses one token. A softmax over one key gives 1, whatever the scale is.",
    "How many keys does it take before a scale matters?",
)
def scale_test_with_one_token(attend_latents):
    given = inputs(seq=1)
    assert torch.allclose(attend_latents(*given), naive(*given), atol=1e-4)


@mistake(
    "The test's query is zero, so all logits are equal, whatever they are multiplied by.",
    "Which logits does a scale change, and which not?",
)
def scale_test_with_equal_logits(attend_latents):
    _, *rest = inputs()
    given = (torch.zeros(1, 2, 3, 4), *rest)
    assert torch.allclose(attend_latents(*given), naive(*given), atol=1e-4)


@mistake(
    "The test demands that every bit is equal. Sound versions add in another order and round differently.",
    "Compare with a tolerance.",
)
def scale_test_of_every_bit(attend_latents):
    assert torch.equal(attend_latents(*inputs()), naive(*inputs()))


@mistake(
    "What the test compares with is not scaled at all, so that no sound version passes.",
    "What is the scale of the naive form?",
)
def scale_test_without_a_scale(attend_latents):
    assert torch.allclose(attend_latents(*inputs()), naive(*inputs(), scale=1.0), atol=1e-4)


SCALE_TESTS = (
    scale_test_that_never_fails,
    scale_test_that_always_fails,
    scale_test_of_the_shape,
    scale_test_with_equal_widths,
    scale_test_with_one_token,
    scale_test_with_equal_logits,
    scale_test_of_every_bit,
    scale_test_without_a_scale,
)

# ---------------------------------------------------------------- test_sound_layer


def decode(mla_class, n_heads=4):
    """A layer, its outputs without and with a cache, and the cache, for three tokens."""
    cfg, rope = MLAConfig(kv_lora_rank=6, qk_nope_head_dim=2, qk_rope_head_dim=4, v_head_dim=2), RopeConfig()
    layer, cache = mla_class(8, n_heads, cfg, rope), SequenceCache()
    x = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(3))
    rotation = rotations(torch.arange(3), 4, rope)
    with torch.no_grad():
        return layer(x, rotation).out, layer(x, rotation, cache).out, cache


@mistake("The test compares nothing: it lets every layer pass.", "Is there an `assert` that can fail?")
def cache_test_that_never_fails(mla_class):
    decode(mla_class)


@mistake("The test fails for every layer, the sound ones too.", "Run it on the core's class first.")
def cache_test_that_always_fails(mla_class):
    raise AssertionError


@mistake("The test looks at the shape of the output only.", "What is it that should be small?")
def cache_test_of_the_shape(mla_class):
    assert decode(mla_class)[1].shape == (1, 3, 8)


@mistake(
    "The test asks whether the output with a cache is the one without. In the piece it is.",
    "The outputs are right. What else does a cache have?",
)
def cache_test_of_the_output(mla_class):
    without, with_cache, _ = decode(mla_class)
    assert torch.allclose(without, with_cache, atol=1e-4)


@mistake(
    "The test counts tokens. The piece stores as many tokens as it should, and too much of each.",
    "How many numbers are kept of one token?",
)
def cache_test_of_the_length(mla_class):
    assert decode(mla_class)[2].length == 3


@mistake(
    "The test has a single head, so narrow that its expanded keys and values are not larger than the latent.",
    "With how many heads does it begin to matter?",
)
def cache_test_with_one_head(mla_class):
    cache = decode(mla_class, n_heads=1)[2]
    assert cache.nbytes <= 3 * (6 + 4) * 4


@mistake(
    "The test asks for one tensor in the cache. A layer may store latent and rope key apart and be sound.",
    "Count bytes, not tensors.",
)
def cache_test_of_one_tensor(mla_class):
    assert len(decode(mla_class)[2].entries()) == 1


CACHE_TESTS = (
    cache_test_that_never_fails,
    cache_test_that_always_fails,
    cache_test_of_the_shape,
    cache_test_of_the_output,
    cache_test_of_the_length,
    cache_test_with_one_head,
    cache_test_of_one_tensor,
)
