"""The known wrong answers to MultiHeadLatentAttention, of notebook 05."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.attention import AttentionOutput, attend, join_heads, split_heads
from nanokimi.mla import MultiHeadLatentAttention as CoreMLA
from nanokimi.mla import absorb_query as core_absorb
from nanokimi.mla import expand_latent as core_expand
from nanokimi.qk_clip import max_logit
from nanokimi.rope import apply_rope


class _MLA(CoreMLA):
    """The core's layer with a forward in which `wrong` says what to do wrongly."""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        return mla_forward(self, x, rotation, cache, with_max_qk_logit, **self.wrong())


def mla_forward(
    self, x, rotation, cache, with_max, turn_q=True, turn_k=True, norm_latent=True, norm_q=True, scale=None,
    absorbed_scale=None, heads_last=False, keys_first=False, cache_expanded=False, logit_scale=None,
    turn_before_cache=True, without_cache=False, expand_again=False,
):  # fmt: skip
    """The layer, with one thing done wrongly."""
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
    elif expand_again:
        (entries,) = cache.append(torch.cat([latent, k_rope], dim=-1))
        k, v = core_expand(*entries.split([cfg.kv_lora_rank, cfg.qk_rope_head_dim], -1), expand_k, expand_v)
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
    "rows are together.",
    "kv_b_proj.weight has n_heads · (nope + v) rows. Which of them belong to head 0?",
)
class MLACutAcrossHeads(_MLA):
    def wrong(self):
        return {"heads_last": True}


@mistake(
    "The rows of kv_b_proj are cut in the wrong order: first the keys of all heads, then the values of all heads. A "
    "head's rows are together, its values right after its keys.",
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
    "How many numbers does your cache gain per token? It should be kv_lora_rank + qk_rope_head_dim.",
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


@mistake(
    "The cache is small, but each step expands the keys and values of all cached tokens once more. The absorbed form "
    "expands none.",
    "How many products with expand_k does a step make after a thousand tokens, and how many need it make?",
)
class MLAExpandingAgain(_MLA):
    def wrong(self):
        return {"expand_again": True}


LATENT_ATTENTION = (
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
    MLAExpandingAgain,
)
