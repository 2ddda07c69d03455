"""Wrong answers to the exercises of notebook 06."""

from dataclasses import replace

import torch
import torch.nn.functional as F

from lab_utils.course.exercise import mistake
from nanokimi.kimi import Kimi as CoreKimi
from nanokimi.kimi import KimiBlock as CoreBlock
from nanokimi.moe import MoE as CoreMoE
from nanokimi.moe import dispatch
from nanokimi.output import ModelOutput
from nanokimi.rope import rotations
from nanokimi.router import scaling_factor
from nanokimi.train import balance_term as core_balance_term

# ---------------------------------------------------------------- MoE


def routed(moe, x, stats, weights=None):
    weights = stats.weights if weights is None else weights
    flat = (t.flatten(0, 1) for t in (x, stats.expert_idx, weights))
    return dispatch(*flat, moe.experts).view_as(x)


@mistake(
    "The shared experts are multiplied by the routed scaling factor as well. They have no weight: they are added as "
    "they are.",
    "Which part of y = sum w·expert(x) + shared(x) does `routed_scaling_factor` stand in?",
)
class MoEScalingTheShared(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = routed(self, x, stats)
        if self.shared_experts is not None:
            y = y + scaling_factor(self.cfg) * self.shared_experts(x)
        return y, stats


@mistake(
    "The shared experts are left out.",
    "Which of the layer's parameters does your forward never read?",
)
class MoEWithoutShared(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        return routed(self, x, stats), stats


@mistake(
    "The chosen experts are added without their weights.",
    "What are `stats.weights` for?",
)
class MoEWithoutWeights(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = routed(self, x, stats, torch.ones_like(stats.weights))
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


@mistake(
    "The token is multiplied by its weight before the expert. The expert is not linear: that is another function.",
    "Is expert(w·x) the same as w·expert(x)?",
)
class MoEWeightingTheInput(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = torch.zeros_like(x)
        for k in range(self.cfg.top_k):
            idx = stats.expert_idx[..., k : k + 1].flatten(0, 1)
            scaled = (x * stats.weights[..., k : k + 1]).flatten(0, 1)
            y = y + dispatch(scaled, idx, torch.ones_like(idx, dtype=x.dtype), self.experts).view_as(x)
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


@mistake(
    "The shared experts read the routed output, not the token: the two run one behind the other.",
    "What goes into shared(·) in the formula?",
)
class MoEInSeries(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = routed(self, x, stats)
        return (y if self.shared_experts is None else y + self.shared_experts(y)), stats


@mistake(
    "x is added inside the layer. The residual stream is the block's business: it would come in twice.",
    "What does the layer return for a token whose experts all give 0?",
)
class MoEWithResidual(CoreMoE):
    def forward(self, x):
        y, stats = super().forward(x)
        return x + y, stats


@mistake(
    "The routed sum is multiplied by the scaling factor once more. `stats.weights` hold it already.",
    "What do the weights of one token add up to, 1 or the factor?",
)
class MoEScalingTwice(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = scaling_factor(self.cfg) * routed(self, x, stats)
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


MOE = (
    MoEScalingTheShared,
    MoEWithoutShared,
    MoEWithoutWeights,
    MoEWeightingTheInput,
    MoEInSeries,
    MoEWithResidual,
    MoEScalingTwice,
)

# ---------------------------------------------------------------- KimiBlock


class _Block(CoreBlock):
    """Attention and feed-forward as the core has them, for the wrong wirings below."""

    def attend(self, x, rotation, cache, with_max):
        return self.self_attn(x, rotation, cache, with_max)

    def feed_forward(self, h):
        return self.mlp(h) if isinstance(self.mlp, CoreMoE) else (self.mlp(h), None)


@mistake(
    "The norms stand behind the sums (post-norm). Kimi norms what goes into a part, and never the stream itself.",
    "Does anything in the formula touch x alone?",
)
class BlockPostNorm(_Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(x, rotation, cache, with_max_qk_logit)
        x = self.input_layernorm(x + attended.out)
        y, stats = self.feed_forward(x)
        return self.post_attention_layernorm(x + y), stats, attended.max_qk_logit


@mistake(
    "The stream is replaced by its norm: what is added to is RMS(x), not x.",
    "To which vector is the attention's output added?",
)
class BlockAddingToTheNorm(_Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        x = self.input_layernorm(x)
        attended = self.attend(x, rotation, cache, with_max_qk_logit)
        x = self.post_attention_layernorm(x + attended.out)
        y, stats = self.feed_forward(x)
        return x + y, stats, attended.max_qk_logit


@mistake(
    "The attention's output takes the place of x instead of being added to it.",
    "How many plus signs does the formula of a block have?",
)
class BlockWithoutFirstResidual(_Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        y, stats = self.feed_forward(self.post_attention_layernorm(attended.out))
        return attended.out + y, stats, attended.max_qk_logit


@mistake(
    "The feed-forward part's output is returned alone, without x.",
    "How many plus signs does the formula of a block have?",
)
class BlockWithoutSecondResidual(_Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x = x + attended.out
        y, stats = self.feed_forward(self.post_attention_layernorm(x))
        return y, stats, attended.max_qk_logit


@mistake(
    "Both parts read the same x, side by side. Here the second reads what the first has added.",
    "Is x the same in both lines of the formula?",
)
class BlockInParallel(_Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        y, stats = self.feed_forward(self.post_attention_layernorm(x))
        return x + attended.out + y, stats, attended.max_qk_logit


@mistake(
    "The first norm is used twice, the second never.",
    "Which of the block's weights does your forward never read?",
)
class BlockWithOneNorm(_Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x = x + attended.out
        y, stats = self.feed_forward(self.input_layernorm(x))
        return x + y, stats, attended.max_qk_logit


BLOCK = (
    BlockPostNorm,
    BlockAddingToTheNorm,
    BlockWithoutFirstResidual,
    BlockWithoutSecondResidual,
    BlockInParallel,
    BlockWithOneNorm,
)

# ---------------------------------------------------------------- Kimi


class _Kimi(CoreKimi):
    """The core's model with a forward in which `wrong` says what to do otherwise."""

    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        return kimi_forward(self, tokens, cache, with_max_qk_logit, **self.wrong())


def kimi_forward(
    self, tokens, cache, with_max, from_zero=False, final_norm=True, n_layers=None, tied=False, scale=1.0,
    after_append=False, unlimited=False,
):  # fmt: skip
    start = cache[0].length if cache else 0
    end = start + tokens.shape[1]
    if end > self.cfg.max_seq_len and not unlimited:
        raise ValueError
    x = self.embed_tokens(tokens) * scale
    routing, maxima = [], []
    for i, layer in enumerate(self.layers[:n_layers]):
        first = cache[0].length if cache and after_append else 0 if from_zero else start
        positions = torch.arange(first, first + tokens.shape[1])
        rotation = rotations(positions, self._rope_dim, self.cfg.rope)
        x, stats, layer_max = layer(x, rotation, cache[i] if cache else None, with_max)
        maxima.append(layer_max)
        if stats is not None:
            routing.append(stats)
    head = self.embed_tokens if tied else self.lm_head
    logits = F.linear(self.norm(x) if final_norm else x, head.weight)
    return ModelOutput(logits, tuple(routing), torch.stack(maxima) if with_max else None)


@mistake(
    "Positions start at 0 again with a cache. The new tokens stand behind those that the cache holds.",
    "With five tokens in the cache, which position has the next one?",
)
class KimiFromPositionZero(_Kimi):
    def wrong(self):
        return {"from_zero": True}


@mistake(
    "The last norm is left out: the head reads the bare stream.",
    "Which of the model's weights does your forward never read?",
)
class KimiWithoutFinalNorm(_Kimi):
    def wrong(self):
        return {"final_norm": False}


@mistake(
    "The head is the embedding table, as in GPT-2. Kimi's head has its own weights.",
    "Which of the model's weights does your forward never read?",
)
class KimiWithTiedHead(_Kimi):
    def wrong(self):
        return {"tied": True}


@mistake(
    "The embeddings are multiplied by sqrt(d_model), as in the first transformer. Kimi takes them as they are.",
    "Compare the size of x before the first block with that of the table's rows.",
)
class KimiScalingEmbeddings(_Kimi):
    def wrong(self):
        return {"scale": self.cfg.d_model**0.5}


@mistake(
    "The last layer never runs.",
    "How often does your loop go round for n_layers layers?",
)
class KimiWithoutLastLayer(_Kimi):
    def wrong(self):
        return {"n_layers": -1}


@mistake(
    "From the second layer on positions are too large: the length is read anew in every layer, and the first layer "
    "has stored the new tokens by then.",
    "When is cache[0].length read, and what has the first layer done to it since?",
)
class KimiReadingTheLengthTooLate(_Kimi):
    def wrong(self):
        return {"after_append": True}


@mistake(
    "A text longer than max_seq_len is let through. It is refused with a ValueError, the tokens in the cache counted.",
    "What happens to token number max_seq_len + 1?",
)
class KimiWithoutALimit(_Kimi):
    def wrong(self):
        return {"unlimited": True}


KIMI = (
    KimiFromPositionZero,
    KimiWithoutFinalNorm,
    KimiWithTiedHead,
    KimiScalingEmbeddings,
    KimiWithoutLastLayer,
    KimiReadingTheLengthTooLate,
    KimiWithoutALimit,
)

# ---------------------------------------------------------------- balance_term


def each(routing, cfg):
    """The terms of every layer by themselves."""
    return [core_balance_term((stats,), cfg) for stats in routing]


@mistake(
    "The layers' terms are added; the docstring asks for their mean, so that depth does not change the strength.",
    "Give it the same layer twice. Should the term double?",
)
def balance_summed_over_layers(routing, cfg):
    return torch.stack(each(routing, cfg)).sum() if routing else torch.zeros(())


@mistake(
    "Only the last layer counts: each round of the loop overwrites the one before.",
    "What does your function return for two layers of which the second is perfectly even?",
)
def balance_of_the_last_layer(routing, cfg):
    return each(routing, cfg)[-1] if routing else torch.zeros(())


@mistake(
    "The coefficients are not multiplied in.",
    "Double a coefficient. What should happen to the term?",
)
def balance_without_coefficients(routing, cfg):
    on = {name: float(bool(getattr(cfg, name))) for name in ("switch_coef", "sequence_coef", "z_coef")}
    return core_balance_term(routing, replace(cfg, **on))


@mistake(
    "The z-loss is left out.",
    "How many coefficients does BalanceConfig have, and how many does your function read? One of them belongs to "
    "the bias update, not here.",
)
def balance_without_z(routing, cfg):
    return core_balance_term(routing, replace(cfg, z_coef=0.0))


@mistake(
    "The term carries no gradient (detached, or turned into a Python number): it is reported and changes nothing.",
    "Call backward on it and look at the gate's gradient.",
)
def balance_without_gradient(routing, cfg):
    return core_balance_term(routing, cfg).detach()


@mistake(
    "The Switch loss stands in the place of the sequence loss: each coefficient belongs to its own loss.",
    "Set one coefficient at a time and compare with the loss of that name.",
)
def balance_with_switch_for_sequence(routing, cfg):
    both = cfg.switch_coef + cfg.sequence_coef
    return core_balance_term(routing, replace(cfg, switch_coef=both, sequence_coef=0.0))


@mistake(
    "The mean runs over all terms. It should run over the layers: the losses of one layer are added up.",
    "Switch a second loss on. Should the first one count half from then on?",
)
def balance_averaged_over_terms(routing, cfg):
    n_on = sum(c > 0 for c in (cfg.switch_coef, cfg.sequence_coef, cfg.z_coef))
    return core_balance_term(routing, cfg) / max(n_on, 1)


BALANCE_TERM = (
    balance_summed_over_layers,
    balance_of_the_last_layer,
    balance_without_coefficients,
    balance_without_z,
    balance_without_gradient,
    balance_with_switch_for_sequence,
    balance_averaged_over_terms,
)
