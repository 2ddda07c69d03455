"""The known wrong answers to MultiHeadLatentAttention, of notebook 05, as far as they show without a cache."""

import torch

from lab_utils.course.chapters.ch05_latent.mistakes.latent_layer import LatentLayer
from lab_utils.course.exercise import mistake
from nanokimi.attention import attend
from nanokimi.mla import expand_latent
from nanokimi.qk_clip import max_logit
from nanokimi.rope import apply_rope


@mistake(
    "The rope key is not rotated: keys carry no position.",
    "Which of the two, q and k, has been through apply_rope?",
)
class MLAWithoutKeyRotation(LatentLayer):
    def turn_key(self, k_rope, rotation):
        return k_rope


@mistake(
    "The rope part of the query is not rotated.",
    "Which of the two, q and k, has been through apply_rope?",
)
class MLAWithoutQueryRotation(LatentLayer):
    def turn_query(self, q, rotation):
        return q


@mistake(
    "Nothing is rotated: neither queries nor keys carry a position.",
    "Where does your forward use `rotation`?",
)
class MLAWithoutRotation(MLAWithoutQueryRotation.wrong):
    def turn_key(self, k_rope, rotation):
        return k_rope


@mistake(
    "The first channels of the query are rotated. The rope channels are the last ones.",
    "In which order do nope and rope stand in a query?",
)
class MLATurningTheFirstChannels(LatentLayer):
    def turn_query(self, q, rotation):
        rope = self.cfg.qk_rope_head_dim
        return torch.cat([apply_rope(q[..., :rope], rotation), q[..., rope:]], dim=-1)


@mistake(
    "The latent is not normed before it is expanded.",
    "Which of the layer's weights makes no difference in your forward?",
)
class MLAWithoutLatentNorm(LatentLayer):
    def norm_latent(self, latent):
        return latent


@mistake(
    "The latent is normed twice.",
    "How often does kv_a_layernorm stand in the formula of c?",
)
class MLANormingTwice(LatentLayer):
    def norm_latent(self, latent):
        return self.kv_a_layernorm(self.kv_a_layernorm(latent))


@mistake(
    "The rope key is normed as the latent is. It has no norm.",
    "Which of the two, latent and rope key, does kv_a_layernorm belong to?",
)
class MLANormingTheRopeKey(LatentLayer):
    def turn_key(self, k_rope, rotation):
        size = k_rope.square().mean(dim=-1, keepdim=True).add(1e-6).sqrt()
        return apply_rope(k_rope / size, rotation)


@mistake(
    "The query's own latent is not normed, where there is one.",
    "Which of the layer's weights makes no difference in your forward when q_lora_rank is set?",
)
class MLAWithoutQueryNorm(LatentLayer):
    def project_query(self, x):
        return self.q_proj(x) if self.cfg.q_lora_rank is None else self.q_b_proj(self.q_a_proj(x))


class _Scaled(LatentLayer):
    """The layer with `other_scale()` for the logits, in attention and in the report."""

    def attend(self, q, k, v):
        return attend(q, k, v, self.other_scale())

    def report(self, q, k):
        return max_logit(q, k, self.other_scale())


class _ScaledInside(_Scaled):
    """The same, and the report with the right scale."""

    def report(self, q, k):
        return max_logit(q, k, self.scale)


BY_NOPE = (
    "Logits are scaled by the nope width alone. A dot product over nope + rope channels has the variance of all of "
    "them, and YaRN's factor comes on top.",
    "What is self.scale made of?",
)


@mistake(*BY_NOPE)
class MLAScaledByNope(_Scaled):
    def other_scale(self):
        return self.cfg.qk_nope_head_dim**-0.5


@mistake(*BY_NOPE)
class MLAAttendingByNope(_ScaledInside):
    def other_scale(self):
        return self.cfg.qk_nope_head_dim**-0.5


WITHOUT_YARN = (
    "The scale leaves YaRN's factor out, which counts where the context is stretched.",
    "What is self.scale made of?",
)


@mistake(*WITHOUT_YARN)
class MLAWithoutYarnScale(_Scaled):
    def other_scale(self):
        return (self.cfg.qk_nope_head_dim + self.cfg.qk_rope_head_dim) ** -0.5


@mistake(*WITHOUT_YARN)
class MLAAttendingWithoutYarn(_ScaledInside):
    def other_scale(self):
        return (self.cfg.qk_nope_head_dim + self.cfg.qk_rope_head_dim) ** -0.5


UNSCALED = (
    "The logits that go into the softmax are not scaled.",
    "Where does your forward use self.scale?",
)


@mistake(*UNSCALED)
class MLAWithoutScale(_Scaled):
    def other_scale(self):
        return 1.0


@mistake(*UNSCALED)
class MLAAttendingUnscaled(_ScaledInside):
    def other_scale(self):
        return 1.0


@mistake(
    "The scale comes in twice: the query is multiplied by it, and `attend` does so again.",
    "How often does self.scale stand in your forward?",
)
class MLAScaledTwice(_ScaledInside):
    def other_scale(self):
        return self.scale**2


@mistake(
    "The largest logits are reported without the scale. QK-clip compares what goes into the softmax.",
    "Which numbers does the softmax see?",
)
class MLAReportingUnscaled(LatentLayer):
    def report(self, q, k):
        return max_logit(q, k, 1.0)


@mistake(
    "The largest logits are reported even where nobody asks for them. Then there must be None: they cost "
    "as much as the logits themselves.",
    "Follow the argument `with_max_qk_logit` through your code.",
)
class MLAAlwaysReporting(LatentLayer):
    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        return super().forward(x, rotation, cache, True)


NO_MASK = (
    "Queries see later tokens: there is no causal mask.",
    "What may the first token see?",
)


class _SeesAll(LatentLayer):
    def attend(self, q, k, v):
        return (q @ k.mT * self.scale).softmax(dim=-1) @ v


@mistake(*NO_MASK)
class MLAWithoutMask(_SeesAll):
    pass


@mistake(*NO_MASK)
class MLAWithoutMaskInTraining(_SeesAll):
    def attend_absorbed(self, q, k, v):
        return attend(q, k, v, self.scale)


@mistake(
    "The rows of kv_b_proj are cut in the wrong order: all heads' first channel, then all heads' second. A head's "
    "rows are together.",
    "kv_b_proj.weight has n_heads · (nope + v) rows. Which of them belong to head 0?",
)
class MLACutAcrossHeads(LatentLayer):
    def expansions(self):
        widths = [self.cfg.qk_nope_head_dim, self.cfg.v_head_dim]
        return self.kv_b_proj.weight.unflatten(0, (-1, self.n_heads)).transpose(0, 1).split(widths, dim=1)


@mistake(
    "The rows of kv_b_proj are cut in the wrong order: first the keys of all heads, then the values of all heads. A "
    "head's rows are together, its values right after its keys.",
    "kv_b_proj.weight has n_heads · (nope + v) rows. Which of them belong to head 0?",
)
class MLACutKeysFromValues(LatentLayer):
    def expansions(self):
        widths = [self.n_heads * self.cfg.qk_nope_head_dim, self.n_heads * self.cfg.v_head_dim]
        return [part.unflatten(0, (self.n_heads, -1)) for part in self.kv_b_proj.weight.split(widths)]


@mistake(
    "In a head's rows of kv_b_proj the values are taken first. The nope rows (the key) come first.",
    "In which order does the comment beside kv_b_proj name a head's rows?",
)
class MLACutValuesFirst(LatentLayer):
    def expansions(self):
        widths = [self.cfg.v_head_dim, self.cfg.qk_nope_head_dim]
        v, k = self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1)).split(widths, dim=1)
        return k, v


@mistake(
    "Heads and tokens are mixed up where the heads are joined: (batch, n_heads, seq, v) was reshaped without a "
    "transposition.",
    "What does join_heads do?",
)
class MLAJoiningWithoutTransposing(LatentLayer):
    def out(self, heads):
        return self.o_proj(heads.reshape(heads.shape[0], heads.shape[2], -1))


@mistake(
    "o_proj is left out: the joined heads are returned.",
    "Which of the layer's weights makes no difference in your forward?",
)
class MLAWithoutOutputProjection(LatentLayer):
    def out(self, heads):
        return heads.transpose(1, 2).flatten(2)


@mistake(
    "The rope part is left out of the logits: only the nope channels meet.",
    "A logit is a sum of two parts. Which is missing?",
)
class MLAWithoutRopePart(LatentLayer):
    def naive(self, q, latent, k_rope):
        k, v = expand_latent(latent, k_rope, *self.expansions())
        nope = self.cfg.qk_nope_head_dim
        return q, k, self.attend(q[..., :nope], k[..., :nope], v)


LATENT_ATTENTION = (
    MLAWithoutKeyRotation,
    MLAWithoutQueryRotation,
    MLAWithoutRotation,
    MLATurningTheFirstChannels,
    MLAWithoutLatentNorm,
    MLANormingTwice,
    MLANormingTheRopeKey,
    MLAWithoutQueryNorm,
    MLAScaledByNope,
    MLAAttendingByNope,
    MLAWithoutYarnScale,
    MLAAttendingWithoutYarn,
    MLAWithoutScale,
    MLAAttendingUnscaled,
    MLAScaledTwice,
    MLAReportingUnscaled,
    MLAAlwaysReporting,
    MLAWithoutMask,
    MLAWithoutMaskInTraining,
    MLACutAcrossHeads,
    MLACutKeysFromValues,
    MLACutValuesFirst,
    MLAJoiningWithoutTransposing,
    MLAWithoutOutputProjection,
    MLAWithoutRopePart,
)
