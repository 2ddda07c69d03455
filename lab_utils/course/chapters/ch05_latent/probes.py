"""Pieces that no test is judged by: each is wrong in its own way, and tells weak tests of notebook 05 apart."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lab_utils.course.exercise import Case, give_nothing
from nanokimi.attention import attend
from nanokimi.mla import MultiHeadLatentAttention, absorb_query, expand_latent


def attend_absorbed(q, latent, k_rope, expand_k, expand_v, scale=None):
    """The sound absorbed form, or with another scale."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    k = torch.cat([latent, k_rope], dim=-1)[:, None].expand(-1, q.shape[1], -1, -1)
    return attend(absorb_query(q, expand_k), k, k[..., : latent.shape[-1]], scale) @ expand_v.mT


def probe(says: str, piece: Callable) -> Case:
    return Case(says, (piece,), judged=False)


# ---------------------------------------------------------------- test_sound_latents


def _changed(change: Callable[[Tensor], Tensor | None]) -> Callable:
    """The sound absorbed form with another result."""
    return lambda *given: change(attend_absorbed(*given))


def _only_first(out: Tensor) -> Tensor:
    return torch.cat([out[:, :, :1], 0 * out[:, :, 1:]], dim=2)


def _not_last(out: Tensor) -> Tensor:
    return torch.cat([out[:, :, :-1], 0 * out[:, :, -1:]], dim=2)


def _sees_all(q, latent, k_rope, expand_k, expand_v):
    k, v = expand_latent(latent, k_rope, expand_k, expand_v)
    return (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1) @ v


def _own_value(q, latent, k_rope, expand_k, expand_v):
    return latent[:, None] @ expand_v.mT


def _scaled_by_nope(q, latent, k_rope, expand_k, expand_v):
    return attend_absorbed(q, latent, k_rope, expand_k, expand_v, expand_k.shape[1] ** -0.5)


def _without_rope(q, latent, k_rope, *expansions):
    return attend_absorbed(q, latent, 0 * k_rope, *expansions)


def latents_probes() -> list[Case]:
    changes: dict[str, Callable] = {
        "a piece that gives zeros": lambda out: 0 * out,
        "a piece of another shape": lambda out: out[..., :1],
        "a piece that gives nan": lambda out: out * math.nan,
        "a piece that gives infinite numbers": lambda out: out.abs() + math.inf,
        "a piece that gives the negative": lambda out: -out,
        "a piece that gives a thousand times as much": lambda out: 1000 * out,
        "a piece that is off by 0.01": lambda out: out + 0.01,
        "a piece that is right for the first token only": _only_first,
        "a piece that is wrong for the last token": _not_last,
        "a piece that exchanges the heads": lambda out: out.flip(1),
        "a piece whose heads are all alike": lambda out: out.mean(dim=1, keepdim=True).expand_as(out),
        "a piece that gives other numbers each time": lambda out: out + torch.randn(out.shape),
    }
    others: dict[str, Callable] = {
        "a piece without a scale": lambda *given: attend_absorbed(*given, scale=1.0),
        "a piece scaled by the nope width": _scaled_by_nope,
        "a piece that gives every token its own value": _own_value,
        "a piece that sees the future": _sees_all,
        "a piece without the rope part": _without_rope,
        "a piece that gives nothing": give_nothing,
    }
    found = {says: _changed(change) for says, change in changes.items()} | others
    return [probe(says, piece) for says, piece in found.items()]


# ---------------------------------------------------------------- test_sound_layer


class _Layer(MultiHeadLatentAttention):
    """The sound layer, whose output and cache a probe changes."""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        if cache is None:
            return self.change(super().forward(x, rotation, None, with_max_qk_logit), x, None)
        own = type(cache)()
        out = super().forward(x, rotation, own, with_max_qk_logit)
        self.keep(cache, own, x)
        return self.change(out, x, cache)

    def keep(self, cache, own, x):
        cache.append(*own.entries())

    def change(self, out, x, cache):
        return out


class _KeepsNothing(_Layer):
    def keep(self, cache, own, x):
        return None


class _KeepsTwice(_Layer):
    def keep(self, cache, own, x):
        cache.append(*own.entries(), *own.entries())


class _KeepsAHundredTimes(_Layer):
    def keep(self, cache, own, x):
        cache.append(*own.entries() * 100)


class _KeepsWideRows(_Layer):
    def keep(self, cache, own, x):
        cache.append(torch.cat([*own.entries()] * 100, dim=-1))


class _KeepsItsInput(_Layer):
    def keep(self, cache, own, x):
        cache.append(*own.entries(), x)


class _KeepsTheLatentAlone(_Layer):
    def keep(self, cache, own, x):
        cache.append(own.entries()[0][..., : self.cfg.kv_lora_rank])


class _KeepsTheRopeKeyAlone(_Layer):
    def keep(self, cache, own, x):
        cache.append(own.entries()[0][..., self.cfg.kv_lora_rank :])


class _KeepsAQuarter(_Layer):
    def keep(self, cache, own, x):
        entries = own.entries()[0]
        cache.append(entries[..., : entries.shape[-1] // 4])


class _KeepsTheLastToken(_Layer):
    def keep(self, cache, own, x):
        cache.append(own.entries()[0][:, -1:])


class _KeepsFloat64(_Layer):
    def keep(self, cache, own, x):
        cache.append(own.entries()[0].double())


class _KeepsBfloat16(_Layer):
    def keep(self, cache, own, x):
        cache.append(own.entries()[0].bfloat16())


class _WrongOrderWithACache(_Layer):
    def change(self, out, x, cache):
        return out if cache is None else out._replace(out=out.out.flip(1))


class _Doubles(_Layer):
    def change(self, out, x, cache):
        return out if cache is None else out._replace(out=2 * out.out)


class _OneToken(_Layer):
    def change(self, out, x, cache):
        return out._replace(out=out.out[:, -1:])


class _Nothing(_Layer):
    def change(self, out, x, cache):
        return out._replace(out=None)


class _Nan(_Layer):
    def change(self, out, x, cache):
        return out._replace(out=out.out * math.nan)


class _Detached(_Layer):
    def change(self, out, x, cache):
        return out._replace(out=out.out.detach())


class _SeesTheFuture(_Layer):
    def change(self, out, x, cache):
        return out._replace(out=out.out + x.sum(dim=1, keepdim=True))


class _MoreWeights(_Layer):
    def __init__(self, *args):
        super().__init__(*args)
        self.more = nn.Parameter(torch.zeros(1000, 1000))


def layer_probes() -> list[Case]:
    found = {
        "a layer that keeps nothing": _KeepsNothing,
        "a layer that keeps everything twice": _KeepsTwice,
        "a layer that keeps everything a hundred times": _KeepsAHundredTimes,
        "a layer that keeps rows a hundred times as wide": _KeepsWideRows,
        "a layer that keeps its input too": _KeepsItsInput,
        "a layer that keeps the latent alone": _KeepsTheLatentAlone,
        "a layer that keeps the rope key alone": _KeepsTheRopeKeyAlone,
        "a layer that keeps a quarter of every entry": _KeepsAQuarter,
        "a layer that keeps the last token only": _KeepsTheLastToken,
        "a layer that keeps float64": _KeepsFloat64,
        "a layer that keeps bfloat16": _KeepsBfloat16,
        "a layer whose outputs with a cache are in another order": _WrongOrderWithACache,
        "a layer whose outputs with a cache are twice as large": _Doubles,
        "a layer that gives one token only": _OneToken,
        "a layer that gives nothing": _Nothing,
        "a layer that gives nan": _Nan,
        "a layer without gradients": _Detached,
        "a layer that sees the future": _SeesTheFuture,
        "a layer with a million more weights": _MoreWeights,
    }
    return [probe(says, piece) for says, piece in found.items()]


# ---------------------------------------------------------------- test_sound_summary


class _Function(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor | None]):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor | None:
        return self.function(x)


def summary_probes() -> list[Case]:
    found: dict[str, Callable] = {
        "a layer that gives zeros": lambda x: 0 * x,
        "a layer that gives the token before": lambda x: x.roll(1, 1) * (torch.arange(x.shape[1]) > 0)[:, None],
        "a layer that gives its input": torch.clone,
        "a layer that adds the sum of all tokens": lambda x: x + x.sum(1, True),
        "a layer that adds a million times the sum of all tokens": lambda x: x + 1e6 * x.sum(1, True),
        "a layer that adds the last token": lambda x: x + x[:, -1:],
        "a layer that adds the token after": lambda x: x + x.roll(-1, 1),
        "a layer that adds the sum of all tokens with their places": lambda x: (
            x + (x * torch.arange(1.0, x.shape[1] + 1)[:, None]).sum(1, True)
        ),
        "a layer that adds the number of tokens": lambda x: x + x.shape[1],
        "a layer that adds the first token": lambda x: x + x[:, :1],
        "a layer that gives the mean of all tokens": lambda x: x.mean(1, True).expand_as(x),
        "a layer of another shape": lambda x: x[..., :1],
        "a layer that gives nan": lambda x: x * math.nan,
        "a layer that gives infinite numbers": lambda x: x.abs() + math.inf,
        "a layer that gives other numbers each time": lambda x: x + torch.randn(x.shape),
        "a layer that gives nothing": give_nothing,
    }  # fmt: skip
    return [probe(says, _Function(function)) for says, function in found.items()]
