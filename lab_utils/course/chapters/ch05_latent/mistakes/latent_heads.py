"""The known wrong answers to MultiHeadLatentAttention, of notebook 05, about what the heads share."""

import torch
import torch.nn.functional as F

from lab_utils.course.chapters.ch05_latent.mistakes.latent_layer import LatentLayer
from lab_utils.course.exercise import mistake
from nanokimi.attention import AttentionOutput, attend
from nanokimi.qk_clip import max_logit
from nanokimi.rope import apply_rope


@mistake(
    "Every head uses the rope query of head 0. The rope key is shared; the queries are not.",
    "How many rope queries does a token have, and how many rope keys?",
)
class MLAWithTheRopeQueryOfHead0(LatentLayer):
    def turn_query(self, q, rotation):
        q, nope = super().turn_query(q, rotation), self.cfg.qk_nope_head_dim
        return torch.cat([q[..., :nope], q[:, :1, :, nope:].expand(-1, self.n_heads, -1, -1)], dim=-1)


@mistake(
    "The query's channels are given to the heads by a view to (batch, n_heads, seq, width): tokens and heads "
    "are mixed up.",
    "What does split_heads do besides a view?",
)
class MLAViewingQueries(LatentLayer):
    def turn_query(self, q, rotation):
        batch, n_heads, seq, width = q.shape
        return super().turn_query(q.transpose(1, 2).reshape(batch, n_heads, seq, width), rotation)


@mistake(
    "The rope part is taken first from what kv_a_proj gives. The latent comes first.",
    "Which of the two does kv_a_proj's comment, or the formula of its width, name first?",
)
class MLACuttingRopeFirst(LatentLayer):
    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        q = self.turn_query(self.project_query(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2), rotation)
        k_rope, latent = self.kv_a_proj(x).split([self.cfg.qk_rope_head_dim, self.cfg.kv_lora_rank], -1)
        latent, k_rope = self.norm_latent(latent), self.turn_key(k_rope, rotation)
        if cache is None:
            q, k, heads = self.naive(q, latent, k_rope)
        else:
            q, k, heads = self.cached(q, latent, k_rope, cache)
        return AttentionOutput(self.out(heads), self.report(q, k) if with_max_qk_logit else None)


@mistake(
    "The rope key is turned backwards, by the conjugate of `rotation`. Query and key turn the same way: what is left "
    "is their distance.",
    "By which angles do q and k turn, and by which does their product?",
)
class MLATurningKeysBackwards(LatentLayer):
    def turn_key(self, k_rope, rotation):
        return apply_rope(k_rope, rotation.conj())


@mistake(
    "Queries and keys are both turned backwards, by the conjugate of `rotation`. Their products stay as they are; what "
    "the cache holds is not what others expect there.",
    "What does apply_rope get in your forward?",
)
class MLATurningBackwards(LatentLayer):
    def turn_query(self, q, rotation):
        return super().turn_query(q, rotation.conj())

    def turn_key(self, k_rope, rotation):
        return apply_rope(k_rope, rotation.conj())


class _KeepingBareKeys(LatentLayer):
    """The cache has rope keys as they were, and those read are turned by `turn_read`."""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        self.rotation, self.is_cached = rotation, cache is not None
        return super().forward(x, rotation, cache, with_max_qk_logit)

    def turn_key(self, k_rope, rotation):
        return k_rope if self.is_cached else apply_rope(k_rope, rotation)


@mistake(
    "The cache holds rope keys without their rotation, and all that are read get the newest token's. A key is turned "
    "by its own position, once, before it is stored.",
    "In which state does the rope key go into cache.append?",
)
class MLATurningWhatItReads(_KeepingBareKeys):
    def keep(self, cache, latent, k_rope):
        entries, rank = super().keep(cache, latent, k_rope), self.cfg.kv_lora_rank
        newest = self.rotation[-1:].expand(entries.shape[1], -1)
        return torch.cat([entries[..., :rank], apply_rope(entries[..., rank:], newest)], dim=-1)


@mistake(
    "The cache holds rope keys without their rotation. Read with the first tokens they get their own, and after that "
    "all get the newest token's. A key is turned by its own position, once, before it is stored.",
    "In which state does the rope key go into cache.append?",
)
class MLATurningLaterReadsByTheNewest(_KeepingBareKeys):
    def keep(self, cache, latent, k_rope):
        entries, rank = super().keep(cache, latent, k_rope), self.cfg.kv_lora_rank
        is_first = len(self.rotation) == entries.shape[1]
        turn = self.rotation if is_first else self.rotation[-1:].expand(entries.shape[1], -1)
        return torch.cat([entries[..., :rank], apply_rope(entries[..., rank:], turn)], dim=-1)


@mistake(
    "cache.append is called twice, once for each part: the cache then counts every token twice.",
    "How many tokens does `cache.length` count after your first one?",
)
class MLAAppendingTwice(LatentLayer):
    def keep(self, cache, latent, k_rope):
        (c,) = cache.append(F.pad(latent, (0, k_rope.shape[-1])))
        (k,) = cache.append(F.pad(k_rope, (latent.shape[-1], 0)))
        return c + k


@mistake(
    "With a cache the queries are treated as the first positions. They are the last of all that is stored.",
    "Three tokens are stored and two come: how many keys does the first of the two see?",
)
class MLAWithQueriesFirst(LatentLayer):
    def attend_absorbed(self, q, k, v):
        visible = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril()
        return attend(q, k, v, self.scale, visible)


@mistake(
    "Where several new tokens meet a cache, their queries are treated as the first positions, as `is_causal=True` does "
    "it. They are the last of all that is stored.",
    "Three tokens are stored and two come: how many keys does the first of the two see?",
)
class MLAWithSeveralQueriesFirst(LatentLayer):
    def attend_absorbed(self, q, k, v):
        is_causal = q.shape[-2] > 1
        return F.scaled_dot_product_attention(q, k, v, is_causal=is_causal, scale=self.scale)


@mistake(
    "Only the output is returned. The docstring asks for AttentionOutput(out, max_qk_logit).",
    "What does `AttentionOutput` hold, and what do you return?",
)
class MLAReturningTheOutputOnly(LatentLayer):
    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        return super().forward(x, rotation, cache, with_max_qk_logit).out


@mistake(
    "With a cache the largest logits are not given, although they are asked for.",
    "Follow the argument `with_max_qk_logit` through the half of your code with a cache.",
)
class MLAReportingInTrainingOnly(LatentLayer):
    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        return super().forward(x, rotation, cache, with_max_qk_logit and cache is None)


@mistake(
    "With a cache the largest logits are those of the new entries alone: the maxima miss the keys that were cached "
    "before. The new queries meet all of them.",
    "How many keys does the query of a step meet, and over how many of them do you take the maximum?",
)
class MLAReportingOnlyTheNew(LatentLayer):
    def report(self, q, k):
        return max_logit(q, k[:, :, -q.shape[2] :], self.scale)


@mistake(
    "With a cache the largest logits are those of the cached entries alone, the new ones left out.",
    "How many keys does the query of a step meet, and over how many of them do you take the maximum?",
)
class MLAReportingOnlyTheOld(LatentLayer):
    def report(self, q, k):
        n_new = q.shape[2]
        if k.shape[2] == n_new:
            return super().report(q, k)
        n_old = k.shape[2] - n_new
        return max_logit(q, k[:, :, :n_old], self.scale, torch.ones(n_new, n_old, dtype=torch.bool))


@mistake(
    "With a cache the largest logits are reported without the scale. QK-clip compares what goes into the softmax.",
    "Which numbers does the softmax see?",
)
class MLAReportingUnscaledWithACache(LatentLayer):
    def report(self, q, k):
        is_absorbed = k.shape[-1] != self.cfg.qk_nope_head_dim + self.cfg.qk_rope_head_dim
        return max_logit(q, k, 1.0 if is_absorbed else self.scale)


@mistake(
    "Only the last head's rope query is turned: `apply_rope` gets the last channels of all heads' long row. It is "
    "split into heads first.",
    "Which channels are `q[..., -rope:]` before split_heads?",
)
class MLARotatingBeforeSplitting(LatentLayer):
    def turn_query(self, q, rotation):
        return torch.cat([q[:, :-1], super().turn_query(q[:, -1:], rotation)], dim=1)


MLA_HEADS = (
    MLARotatingBeforeSplitting,
    MLAReportingOnlyTheNew,
    MLAReportingOnlyTheOld,
    MLAWithTheRopeQueryOfHead0,
    MLAViewingQueries,
    MLACuttingRopeFirst,
    MLATurningKeysBackwards,
    MLATurningBackwards,
    MLATurningWhatItReads,
    MLATurningLaterReadsByTheNewest,
    MLAAppendingTwice,
    MLAWithQueriesFirst,
    MLAWithSeveralQueriesFirst,
    MLAReturningTheOutputOnly,
    MLAReportingInTrainingOnly,
    MLAReportingUnscaledWithACache,
)
