"""Attentions that are not the lab's: right ones, and one for each way to be wrong."""

from dataclasses import dataclass

import torch
from torch import nn

from nanokimi.attention import AttentionOutput, CausalSelfAttention


@dataclass(frozen=True)
class Plain:
    """Settings without a setting."""


class PlainAttention(CausalSelfAttention):
    """The lab's ordinary attention under another name."""

    def __init__(self, d_model, n_heads, settings):
        super().__init__(d_model, n_heads)


@dataclass(frozen=True)
class Mean:
    decay: float = 0.5


class MeanAttention(nn.Module):
    """A mean of the past in which each older token counts `decay` times as much; no heads, no logits, no QK-clip."""

    def __init__(self, d_model, n_heads, settings):
        super().__init__()
        self.decay = settings.decay
        self.v_proj = nn.Linear(d_model, d_model, bias=False)
        self.register_buffer(
            "is_mean", torch.ones(1, dtype=torch.bool)
        )  # a type that no model of the lab has

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        v = self.v_proj(x)
        if cache is not None:
            (v,) = cache.append(v)
        age = torch.arange(v.shape[1])[None] - torch.arange(v.shape[1])[-x.shape[1] :, None]
        weights = torch.where(age <= 0, self.decay ** -age.clamp(max=0).float(), 0.0)
        return AttentionOutput(weights / weights.sum(-1, keepdim=True) @ v, None)


class NoForward(nn.Module):
    def __init__(self, d_model, n_heads, settings):
        super().__init__()

    def forward(self, x):
        return x


class NoSettings(CausalSelfAttention):
    """Built as `NoSettings(d_model, n_heads)`."""


class OddClip(PlainAttention):
    def clip_qk_(self, tau):
        """Without the logits."""


class BareTensor(PlainAttention):
    def forward(self, *args):
        return super().forward(*args).out


class Narrow(PlainAttention):
    def forward(self, *args):
        found = super().forward(*args)
        return found._replace(out=found.out[..., :-1])


class NotFinite(PlainAttention):
    def forward(self, *args):
        found = super().forward(*args)
        return found._replace(out=found.out / 0)


class SeesTheFuture(PlainAttention):
    def forward(self, x, *args):
        found = super().forward(x, *args)
        return found._replace(out=found.out + 0.01 * found.out.mean(dim=1, keepdim=True))


class ForgetsItsCache(PlainAttention):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        return super().forward(x, rotation, None, with_max_qk_logit)


class KeepsOneToken(PlainAttention):
    """It appends as it should, and reads the new tokens only."""

    def forward(self, x, rotation, cache, with_max_qk_logit):
        if cache is not None:
            cache.append(x)
        return super().forward(x, rotation, None, with_max_qk_logit)


class MeasuresNothing(PlainAttention):
    def forward(self, *args):
        return super().forward(*args)._replace(max_qk_logit=None)


class ClipsNothing(PlainAttention):
    def clip_qk_(self, max_qk_logit, tau):
        """Leaves all as it is."""
