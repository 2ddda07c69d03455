"""Wrong answers to the first exercises of notebook 05: expansion, absorption, the whole layer."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.attention import AttentionOutput, attend, join_heads, max_logit, split_heads
from nanokimi.mla import MultiHeadLatentAttention as CoreMLA
from nanokimi.mla import absorb_query as core_absorb
from nanokimi.mla import expand_latent as core_expand
from nanokimi.rope import apply_rope

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


@mistake(
    "The heads stand behind the tokens: (batch, seq, n_heads, width). `attend` wants the heads first.",
    "Which axis of the result has as many entries as there are heads?",
)
def expand_heads_behind_tokens(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    return k.transpose(1, 2), v.transpose(1, 2)


EXPAND = (
    expand_rope_first,
    expand_mixing_heads_and_tokens,
    expand_rope_for_the_first_head,
    expand_without_rope,
    expand_swapping_keys_and_values,
    expand_with_the_first_head,
    expand_rope_into_values,
    expand_heads_behind_tokens,
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
    absorbed_scale=None, heads_last=False, keys_first=False, cache_expanded=False, logit_scale=None,
    turn_before_cache=True, without_cache=False,
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
    cache = None if without_cache else cache
    turn_k = turn_k and (cache is None or turn_before_cache)
    k_rope = apply_rope(k_rope, rotation) if turn_k else k_rope
    expand_k, expand_v = _expansions(self, heads_last, keys_first)
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


def _expansions(self, heads_last, keys_first):
    """The rows of kv_b_proj that make keys and those that make values, head by head, or cut wrongly."""
    weight, widths = self.kv_b_proj.weight, [self.cfg.qk_nope_head_dim, self.cfg.v_head_dim]
    if keys_first:
        parts = weight.split([self.n_heads * width for width in widths])
        return [part.unflatten(0, (self.n_heads, -1)) for part in parts]
    if heads_last:
        return weight.unflatten(0, (-1, self.n_heads)).transpose(0, 1).split(widths, dim=1)
    return weight.unflatten(0, (self.n_heads, -1)).split(widths, dim=1)


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
    "The rows of kv_b_proj are cut in the wrong order: first the keys of all heads, then the values of all heads. A "
    "head's rows lie together, its values right behind its keys.",
    "kv_b_proj.weight has n_heads · (nope + v) rows. Which of them belong to head 0?",
)
class MLACutKeysFromValues(_MLA):
    def wrong(self):
        return {"keys_first": True}


@mistake(
    "The rope key is put into the cache as it was before its rotation. What is read later carries no position.",
    "In which state does the rope key go into cache.append?",
)
class MLACachingBareRopeKeys(_MLA):
    def wrong(self):
        return {"turn_before_cache": False}


@mistake(
    "Without a cache the layer is right. With one nothing is stored, and new tokens see only one another.",
    "Does your forward call cache.append?",
)
class MLAWithoutCache(_MLA):
    def wrong(self):
        return {"without_cache": True}


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
    MLACutKeysFromValues,
    MLACachingBareRopeKeys,
    MLAWithoutCache,
    MLACachingExpanded,
    MLAReportingUnscaled,
)
