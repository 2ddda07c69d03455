"""Notebook 07: what answers about the largest logit and QK-clip are tried on, and how they are looked at."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.exercise import Case, Parts, Problem
from nanokimi.config import (
    MLAConfig,
    RopeConfig,
    YarnConfig,
)
from nanokimi.mask import causal_mask
from nanokimi.mla import MultiHeadLatentAttention
from nanokimi.rope import rotations


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def max_logit_cases() -> list[Case]:
    def qk(queries: int, keys: int, seed: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        return normal(2, 3, queries, 4, seed=seed, dtype=dtype), normal(
            2, 3, keys, 4, seed=seed + 1, dtype=dtype
        )

    q, k = qk(3, 3, 10)
    negative = q.abs(), -k.abs()
    ahead = torch.tensor([[False, True, False], [True, False, True], [True, False, False]])
    every_other = torch.tensor([[True, False, False], [False, False, True], [True, False, True]])
    return [
        Case("one token", (torch.ones(1, 1, 1, 2), torch.tensor([[[[3.0, -1.0]]]]), 0.5)),
        Case("the largest product lies in the future", (*_opposed(3), 0.5)),
        Case("three tokens, two sequences, three heads", (q, k, 0.5)),
        Case("only negative logits", (*negative, 0.5)),
        Case("only logits below -10,000", (q.abs() + 50, -k.abs() - 200, 0.5)),
        Case("only logits above 10,000", (q.abs() + 200, k.abs() + 200, 0.5)),
        Case("one new token after a cache of four", (*qk(1, 5, 20), 0.5)),
        Case("two new tokens after a cache of three", (*qk(2, 5, 30), 0.5)),
        Case("a mask of the caller's", (q, k, 0.7, every_other)),
        Case("a mask of the caller's that shows the future", (*_opposed(3), 0.5, ahead)),
        Case("float64", (*qk(6, 6, 40, torch.float64), 0.5)),
        Case("whole numbers in bfloat16", (*(x.round().bfloat16() for x in qk(2, 2, 50)), 0.5)),
        Case("a long context", (*_spikes((0, 63, 64, 129), 130), 0.3)),
        Case("a long context after a cache", (*_spikes((0, 63, 64, 129), 130, cached=7), 0.3)),
        Case("a long context with a mask of the caller's", (*_spikes((0, 63, 64, 129), 130), 0.3,
             torch.ones(130, 130, dtype=torch.bool).tril() & ~torch.eye(130, dtype=torch.bool).roll(-1, 0))),
    ]  # fmt: skip


def _opposed(n: int) -> tuple[Tensor, Tensor]:
    """Queries that fall with their position and keys that rise: the first query and the last key give the most."""
    rising = torch.arange(1.0, n + 1)[None, None, :, None].repeat(1, 2, 1, 1)
    return rising.flip(2), rising


def _spikes(places: tuple[int, ...], n: int, cached: int = 0) -> tuple[Tensor, Tensor]:
    """One head per place: its largest visible logit is there, where a query meets its own key; the next key would give
    more."""
    q = torch.zeros(1, len(places), n, 2)
    k = -torch.ones(1, len(places), n + cached, 2)
    for head, place in enumerate(places):
        q[0, head, :, 1] = 1.0
        q[0, head, place, 0] = 5.0
        k[0, head, place + cached, 0] = 2.0
        k[0, head, place + cached + 1 :, 0] = 3.0
        q[0, head, place + 1 :, 0] = -1.0
    return q, k


def _visible_logits(q: Tensor, k: Tensor, scale: float, visible: Tensor | None = None) -> Tensor:
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q.double() @ k.double().mT * scale).masked_fill(~visible, -torch.inf).amax(dim=(0, 2, 3))


def none_above(parts: Parts, *args: Any) -> bool:
    logits = _visible_logits(*args)
    return bool((logits <= parts["result"] + 1e-4 * logits.abs().clamp(min=1)).all())


def one_reaches(parts: Parts, *args: Any) -> bool:
    logits = _visible_logits(*args)
    return bool((logits >= parts["result"] - 1e-4 * logits.abs().clamp(min=1)).all())


def small_attention(q_lora_rank: int | None = None) -> tuple[MultiHeadLatentAttention, Callable[[], Tensor]]:
    """A latent attention with weights at which a wrong clip shows, and a function that measures its largest logits."""
    cfg = MLAConfig(
        q_lora_rank=q_lora_rank, kv_lora_rank=6, qk_nope_head_dim=5, qk_rope_head_dim=4, v_head_dim=3
    )
    rope = RopeConfig(yarn=YarnConfig(factor=4.0, original_max_seq_len=16))
    layer = MultiHeadLatentAttention(8, 4, cfg, rope)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_((0.6 if p.ndim > 1 else 0.3) * torch.randn(p.shape, generator=generator) + (p.ndim == 1))
        # The heads' largest logits are far apart, so that a tau between them divides them clearly.
        q_proj = layer.q_proj if q_lora_rank is None else layer.q_b_proj
        q_proj.weight.unflatten(0, (4, -1)).mul_(torch.tensor([1.0, 0.5, 2.5, 1.6])[:, None, None])
    x, turns = normal(2, 12, 8, seed=4), rotations(torch.arange(12), 4, rope)

    def largest_logits() -> Tensor:
        with torch.no_grad():
            return layer(x, turns, None, True).max_qk_logit

    return layer, largest_logits


def clip_cases() -> list[Case]:
    pairs = itertools.product((None, 6), ("none", "one", "two", "all"))
    kinds = {None: "a full query projection", 6: "a low-rank query"}
    cases = [Case(f"{kinds[rank]}, {above} of four heads above tau", (rank, above)) for rank, above in pairs]
    elsewhere = Case("the largest logits were seen in another batch", (None, "elsewhere"))
    below = Case(
        "the largest logits were seen in another batch, one of them far below zero", (None, "below zero")
    )
    return [*cases, elsewhere, below]


def observe_clip(answer: Callable, q_lora_rank: int | None, heads_above_tau: str) -> Parts:
    """The rows of the projections after the clip, part by part, and the largest logits."""
    layer, largest_logits = small_attention(q_lora_rank)
    before = largest_logits()
    high = before.sort(descending=True).values
    tau = {"none": 2 * high[0], "one": high[:2].mean(), "two": high[1:3].mean(), "all": high[3] / 2}
    signs = torch.tensor([-9.0, 1.0, 1.0, 1.0])
    seen = {"elsewhere": before.roll(1) + 1, "below zero": before * signs}.get(heads_above_tau, before)
    weights = dict(layer.named_parameters())
    given = seen.clone()
    answer(
        layer, given, tau.get(heads_above_tau, high[1:3].mean()).item()
    )  # gradients are on, as in a training
    if not torch.equal(given, seen):
        raise Problem("It changes `max_qk_logit`, which belongs to the caller.")
    for name, p in layer.named_parameters():
        if p is not weights.get(name):
            raise Problem(f"{name} is another parameter than before, and the optimizer knows the old one.")
    n, heads = layer.cfg.qk_nope_head_dim, (layer.n_heads, -1)
    q = (layer.q_proj if q_lora_rank is None else layer.q_b_proj).weight.detach().unflatten(0, heads)
    kv = layer.kv_b_proj.weight.detach().unflatten(0, heads)
    return {
        "the largest logits afterwards": largest_logits(),
        "query rows, nope": q[:, :n],
        "query rows, rope": q[:, n:],
        "kv_b_proj, nope rows": kv[:, :n],
        "kv_b_proj, value rows": kv[:, n:],
        "kv_a_proj": layer.kv_a_proj.weight.detach(),
        "o_proj": layer.o_proj.weight.detach(),
        "all other weights, summed": sum(
            p.detach().double().sum().item()
            for name, p in layer.named_parameters()
            if name.startswith(("q_a", "kv_a_layernorm"))
        ),
    }


def shared_stays(parts: Parts, q_lora_rank: int | None, heads_above_tau: str) -> bool:
    layer, _ = small_attention(q_lora_rank)
    values = layer.kv_b_proj.weight.unflatten(0, (layer.n_heads, -1))[:, layer.cfg.qk_nope_head_dim :]
    return torch.equal(parts["kv_a_proj"], layer.kv_a_proj.weight) and torch.equal(
        parts["kv_b_proj, value rows"], values
    )
