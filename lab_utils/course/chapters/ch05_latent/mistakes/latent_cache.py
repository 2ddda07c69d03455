"""The known wrong answers to MultiHeadLatentAttention, of notebook 05, that show with a cache only."""

import torch

from lab_utils.course.chapters.ch05_latent.mistakes.latent_layer import LatentLayer
from lab_utils.course.exercise import mistake
from nanokimi.attention import attend
from nanokimi.mla import absorb_query, expand_latent
from nanokimi.qk_clip import max_logit
from nanokimi.rope import apply_rope

BY_THE_LATENT = (
    "With a cache the logits are scaled by the width of the latent entry. It is the same logit as before, only "
    "computed in another order, so it takes the same scale.",
    "Compare a logit of both forms before the scale. Do they differ?",
)


class _ScaledByTheLatent(LatentLayer):
    def attend_absorbed(self, q, k, v):
        return attend(q, k, v, q.shape[-1] ** -0.5)


@mistake(*BY_THE_LATENT)
class MLAScaledByTheLatent(_ScaledByTheLatent):
    def report(self, q, k):
        is_absorbed = q.shape[-1] != self.cfg.qk_nope_head_dim + self.cfg.qk_rope_head_dim
        return max_logit(q, k, q.shape[-1] ** -0.5 if is_absorbed else self.scale)


@mistake(*BY_THE_LATENT)
class MLAAttendingByTheLatent(_ScaledByTheLatent):
    pass


@mistake(
    "The rope key is put into the cache as it was before its rotation. What is read later carries no position.",
    "In which state does the rope key go into cache.append?",
)
class MLACachingBareRopeKeys(LatentLayer):
    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        self.is_cached = cache is not None
        return super().forward(x, rotation, cache, with_max_qk_logit)

    def turn_key(self, k_rope, rotation):
        return k_rope if self.is_cached else apply_rope(k_rope, rotation)


class _NormsInTraining(LatentLayer):
    """The latent is normed without a cache only."""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        self.is_cached = cache is not None
        return super().forward(x, rotation, cache, with_max_qk_logit)

    def norm_latent(self, latent):
        return latent if self.is_cached else self.kv_a_layernorm(latent)


@mistake(
    "With a cache the latent is not normed. Without one it is.",
    "In which state does the latent go into cache.append?",
)
class MLACachingBareLatents(_NormsInTraining):
    pass


@mistake(
    "The cache holds latents before their norm, and they are normed each time they are read. c is the normed latent: "
    "it is normed once and stored so.",
    "In which state does the latent go into cache.append?",
)
class MLANormingAtEachRead(_NormsInTraining):
    def keep(self, cache, latent, k_rope):
        entries, rank = super().keep(cache, latent, k_rope), self.cfg.kv_lora_rank
        return torch.cat([self.kv_a_layernorm(entries[..., :rank]), entries[..., rank:]], dim=-1)


@mistake(
    "Cached latents are normed a second time when they are read. They were normed before they were stored.",
    "In which state does the latent go into cache.append?",
)
class MLANormingWhatItReads(LatentLayer):
    def keep(self, cache, latent, k_rope):
        entries, rank = super().keep(cache, latent, k_rope), self.cfg.kv_lora_rank
        return torch.cat([self.kv_a_layernorm(entries[..., :rank]), entries[..., rank:]], dim=-1)


@mistake(
    "The cache holds [k_rope ; c], and it is read as [c ; k_rope].",
    "In which order do latent and rope key go into cache.append, and in which are they read?",
)
class MLACachingRopeFirst(LatentLayer):
    def keep(self, cache, latent, k_rope):
        (entries,) = cache.append(torch.cat([k_rope, latent], dim=-1))
        return entries


@mistake(
    "The cache holds [k_rope ; c]. The docstring asks for [c ; k_rope].",
    "In which order do latent and rope key go into cache.append?",
)
class MLAStoringRopeFirst(LatentLayer):
    def keep(self, cache, latent, k_rope):
        (entries,) = cache.append(torch.cat([k_rope, latent], dim=-1))
        return entries.roll(-k_rope.shape[-1], dims=-1)


@mistake(
    "What `cache.append` returns makes no difference: new tokens are stored, and see only one another.",
    "Which entries does your attention read: the new ones, or all so far?",
)
class MLAReadingOnlyTheNew(LatentLayer):
    def keep(self, cache, latent, k_rope):
        super().keep(cache, latent, k_rope)
        return torch.cat([latent, k_rope], dim=-1)


@mistake(
    "Each token is stored twice.",
    "How often does your forward call cache.append?",
)
class MLACachingTwice(LatentLayer):
    def keep(self, cache, latent, k_rope):
        super().keep(cache, latent, k_rope)
        return super().keep(cache, latent, k_rope)


@mistake(
    "With a cache nothing is stored, and new tokens see only one another.",
    "Does your forward call cache.append?",
)
class MLAWithoutCache(LatentLayer):
    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        return super().forward(x, rotation, None, with_max_qk_logit)


@mistake(
    "The cache holds expanded keys and values of every head: nothing is saved.",
    "How many numbers does your cache gain per token? It should be kv_lora_rank + qk_rope_head_dim.",
)
class MLACachingExpanded(LatentLayer):
    def cached(self, q, latent, k_rope, cache):
        k, v = cache.append(*expand_latent(latent, k_rope, *self.expansions()))
        return q, k, self.attend(q, k, v)


@mistake(
    "The cache is small, but each step expands the keys and values of all cached tokens once more. The absorbed form "
    "expands none.",
    "How many products with expand_k does a step make after a thousand tokens, and how many need it make?",
)
class MLAExpandingAgain(LatentLayer):
    def cached(self, q, latent, k_rope, cache):
        entries, rank = self.keep(cache, latent, k_rope), self.cfg.kv_lora_rank
        k, v = expand_latent(entries[..., :rank], entries[..., rank:], *self.expansions())
        return q, k, self.attend(q, k, v)


@mistake(
    "Queries are absorbed, but each step expands the values of all cached tokens. Average the latents first, and "
    "expand the mean.",
    "How many products with expand_v does a step make after a thousand tokens, and how many need it make?",
)
class MLAExpandingValuesAgain(LatentLayer):
    def cached(self, q, latent, k_rope, cache):
        entries, rank = self.keep(cache, latent, k_rope), self.cfg.kv_lora_rank
        k = entries[:, None].expand(-1, self.n_heads, -1, -1)
        expand_k, expand_v = self.expansions()
        q = absorb_query(q, expand_k)
        return q, k, self.attend(q, k, k[..., :rank] @ expand_v.mT)


@mistake(
    "expand_v is left out with a cache: the first channels of the mean latent are taken for the heads' values.",
    "Where does the absorbed form use W_UV?",
)
class MLAWithoutExpandV(LatentLayer):
    def cached(self, q, latent, k_rope, cache):
        k = self.keep(cache, latent, k_rope)[:, None].expand(-1, self.n_heads, -1, -1)
        q = absorb_query(q, self.expansions()[0])
        return q, k, self.attend(q, k, k[..., : self.cfg.v_head_dim])


NO_MASK = (
    "With a cache new tokens see one another in both directions: the causal mask is missing there.",
    "Three tokens come at once. What may the first of them see?",
)


@mistake(*NO_MASK)
class MLAWithoutMaskInDecoding(LatentLayer):
    def attend_absorbed(self, q, k, v):
        return (q @ k.mT * self.scale).softmax(dim=-1) @ v


LATENT_CACHE = (
    MLAScaledByTheLatent,
    MLAAttendingByTheLatent,
    MLACachingBareRopeKeys,
    MLACachingBareLatents,
    MLANormingAtEachRead,
    MLANormingWhatItReads,
    MLACachingRopeFirst,
    MLAStoringRopeFirst,
    MLAReadingOnlyTheNew,
    MLACachingTwice,
    MLAWithoutCache,
    MLACachingExpanded,
    MLAExpandingAgain,
    MLAExpandingValuesAgain,
    MLAWithoutExpandV,
    MLAWithoutMaskInDecoding,
)
