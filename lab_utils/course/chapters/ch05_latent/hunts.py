"""The bug hunts of notebook 05: a test that finds each bug, and the pieces that every answer is tried on."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from lab_utils.course.chapters.ch05_latent import bugs, probes
from lab_utils.course.chapters.ch05_latent.probes import attend_absorbed
from lab_utils.course.doubles import changing, turn_last_digits, with_other_last_digits
from lab_utils.course.exercise import Case, Problem, harsh_
from nanokimi.attention import AttentionOutput, attend, join_heads
from nanokimi.block_latent import BlockLatentAttention
from nanokimi.cache import SequenceCache
from nanokimi.config import BlockLatentConfig, MLAConfig, RopeConfig
from nanokimi.mla import MultiHeadLatentAttention, expand_latent
from nanokimi.qk_clip import max_logit
from nanokimi.rope import apply_rope, rotations


def test_sound_latents(attend_latents) -> None:
    """The absorbed logit is the naive one, so its scale is the naive one's: 1/sqrt(nope + rope)."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, 2, 3, 4), (1, 3, 6), (1, 3, 2), (2, 2, 6), (2, 3, 6))
    q, latent, k_rope, expand_k, expand_v = (torch.randn(s, generator=generator) for s in shapes)
    k, v = expand_latent(latent, k_rope, expand_k, expand_v)
    expected = attend(q, k, v, 4**-0.5)
    assert torch.allclose(attend_latents(q, latent, k_rope, expand_k, expand_v), expected, atol=1e-4)


def attend_in_a_loop(q, latent, k_rope, expand_k, expand_v):
    """A sound version, head by head and token by token."""
    first = latent.shape[1] - q.shape[2]
    heads = []
    for h in range(q.shape[1]):
        k, v = torch.cat([latent @ expand_k[h].T, k_rope], dim=-1), latent @ expand_v[h].T
        rows = []
        for t in range(q.shape[2]):
            seen = first + t + 1
            logits = (q[:, h, t, None] * k[:, :seen]).sum(dim=-1) / q.shape[-1] ** 0.5
            rows.append((logits.softmax(dim=-1)[..., None] * v[:, :seen]).sum(dim=1))
        heads.append(torch.stack(rows, dim=1))
    return torch.stack(heads, dim=1)


def attend_naive(q, latent, k_rope, expand_k, expand_v):
    """A sound version that expands the latents."""
    return attend(q, *expand_latent(latent, k_rope, expand_k, expand_v), q.shape[-1] ** -0.5)


def test_sound_layer(mla_class) -> None:
    """After three tokens the cache must hold three times the latent and the rope key, and nothing else."""
    cfg = MLAConfig(kv_lora_rank=6, qk_nope_head_dim=4, qk_rope_head_dim=2, v_head_dim=4)
    layer, cache = mla_class(8, 4, cfg, RopeConfig()), SequenceCache()
    layer(torch.ones(1, 3, 8), rotations(torch.arange(3), 2, RopeConfig()), cache)
    assert cache.nbytes == 3 * (6 + 2) * 4  # float32 has four bytes


class LatentAttentionWithTwoTensors(MultiHeadLatentAttention):
    """A sound layer that keeps the rope key and the latent in two tensors."""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        if cache is None:
            return super().forward(x, rotation, None, with_max_qk_logit)
        whole = SequenceCache()
        if cache.length:
            whole.append(torch.cat(cache.entries()[::-1], dim=-1))
        out = super().forward(x, rotation, whole, with_max_qk_logit)
        (entries,) = whole.entries()
        rank = self.cfg.kv_lora_rank
        new = entries[:, cache.length :]
        cache.append(new[..., rank:], new[..., :rank])
        return out


class LatentAttentionThatExpands(MultiHeadLatentAttention):
    """A sound layer that keeps latent and rope key, and expands all of them in every step."""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        widths = [self.cfg.kv_lora_rank, self.cfg.qk_rope_head_dim]
        latent, k_rope = self.kv_a_proj(x).split(widths, -1)
        entries = torch.cat([self.kv_a_layernorm(latent), apply_rope(k_rope, rotation)], dim=-1)
        if cache is not None:
            (entries,) = cache.append(entries)
        expand_k, expand_v = self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1)).split(
            [self.cfg.qk_nope_head_dim, self.cfg.v_head_dim], dim=1
        )
        q, (k, v) = self._queries(x, rotation), expand_latent(*entries.split(widths, -1), expand_k, expand_v)
        out = self.o_proj(join_heads(attend(q, k, v, self.scale)))
        return AttentionOutput(out, max_logit(q, k, self.scale) if with_max_qk_logit else None)


class LatentAttentionWithAHeadAxis(MultiHeadLatentAttention):
    """A sound layer whose cache has an axis for its one head of latents."""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        if cache is None:
            return super().forward(x, rotation, None, with_max_qk_logit)
        whole = SequenceCache()
        if cache.length:
            whole.append(cache.entries()[0][:, 0])
        out = super().forward(x, rotation, whole, with_max_qk_logit)
        cache.append(whole.entries()[0][:, None, cache.length :])
        return out


def test_sound_summary(layer) -> None:
    """Other tokens at the end must not change the outputs before them."""
    x = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[:, 5:] = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(layer(x)[:, :5], layer(other)[:, :5], atol=1e-4)


class Blocks(nn.Module):
    """A sound layer: the core's block form, with its rotations."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = harsh_(BlockLatentAttention(8, 2, BlockLatentConfig(n_latents=2, block_len=3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, rotations(torch.arange(x.shape[1]), 4, RopeConfig())).out


class MeanOfThePast(nn.Module):
    """A sound layer: a weighted mean of all tokens so far, with one maximum subtracted before all exponentials.

    That maximum lets a later token change how an earlier result is rounded. The scores are bounded, so that it
    cannot do more: with unbounded ones a huge later token would make all earlier weights vanish.
    """

    def forward(self, x: Tensor) -> Tensor:
        scores = 3 * x.sum(dim=-1, keepdim=True).tanh()
        weights = (scores - scores.amax().detach()).exp()
        return (weights * x).cumsum(dim=1) / weights.cumsum(dim=1)


class FixedLatents(bugs.SummaryAttention):
    """A sound layer with the weights of the piece in the notebook: every token reads its past, and the latents."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.latent_v_proj(self.latents).expand(x.shape[0], -1, -1)
        q, k, v = (proj(torch.cat([z, x], dim=1)) for proj in self.qkv_proj)
        n = z.shape[1]
        visible = torch.ones(x.shape[1], n + x.shape[1], dtype=torch.bool).tril(n)
        return attend(q[:, None, n:], k[:, None], v[:, None], x.shape[-1] ** -0.5, visible)[:, 0]


def _summary_attention() -> nn.Module:
    return harsh_(bugs.SummaryAttention(8, 2))


def latents_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.attend_latents,)),
        Case("a hidden piece with the same fault, in the naive form", (bugs.attend_expanded_latents,)),
        *with_other_last_digits(
            [
                Case("a sound piece in the absorbed form", (attend_absorbed,)),
                Case("a sound piece that goes head by head and token by token", (attend_in_a_loop,)),
                Case("a sound piece in the naive form", (attend_naive,)),
            ]
        ),
        *probes.latents_probes(),
    ]


def layer_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.LatentAttentionOfAColleague,)),
        Case("a hidden piece with the same fault, with one tensor", (bugs.LatentAttentionWithJoinedHeads,)),
        *with_other_last_digits(
            [
                Case("the core's layer", (MultiHeadLatentAttention,)),
                Case(
                    "a sound piece that keeps two tensors, the rope key first",
                    (LatentAttentionWithTwoTensors,),
                ),
                Case("a sound piece that attends in the naive form", (LatentAttentionThatExpands,)),
                Case("a sound piece whose cache has an axis of one head", (LatentAttentionWithAHeadAxis,)),
            ],
            changing(lambda found, *_: found._replace(out=turn_last_digits(found.out))),
        ),
        *probes.layer_probes(),
    ]


class _OfFiniteNumbers(nn.Module):
    """A layer, which says so where a test gives it nan or infinite numbers: there nothing is right."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        if not x.isfinite().all():
            raise Problem(
                "Your test gives the layer nan or infinite numbers. They may be large, but finite: a hidden token has "
                "the weight 0, and 0 times nan is nan."
            )
        return self.layer(x)


def summary_cases() -> list[Case]:
    pieces = [
        Case("the piece above", (_summary_attention(),)),
        Case("a hidden piece with the same fault, with one summary for all tokens", (bugs.OneSummary(),)),
        *with_other_last_digits(
            [
                Case("a sound piece: the core's blocks of latents", (Blocks(),)),
                Case("a sound piece that gives a weighted mean of the tokens so far", (MeanOfThePast(),)),
                Case(
                    "a sound piece that reads its past, and latents that know no text",
                    (harsh_(FixedLatents(8, 2)),),
                ),
            ],
            # Every token has a part in how the others are rounded, as in the mean with its one maximum.
            changing(lambda out, _, x: turn_last_digits(out, salt=float(x.detach().sum()))),
        ),
    ]
    judged = [replace(case, args=(_OfFiniteNumbers(*case.args),)) for case in pieces]
    return [*judged, *probes.summary_probes()]
