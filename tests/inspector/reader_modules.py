"""Small modules as a reader would write them, sound, and easy to break in one place.

Every method that a subclass overrides is one decision; the tests override it wrongly, in the ways in which real
code is wrong, and the module still trains.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nanokimi.router import RouterStats

D, CONTEXT, E, K = 8, 40, 4, 2


class Cache:
    """Tensors that grow along the sequence."""

    def __init__(self):
        self.kept: list[Tensor] = []

    @property
    def length(self) -> int:
        return self.kept[0].shape[1] if self.kept else 0

    def add(self, *new: Tensor) -> list[Tensor]:
        self.kept = [torch.cat(pair, 1) for pair in zip(self.kept, new)] if self.kept else list(new)
        return self.kept


class Attention(nn.Module):
    """One head with learned positions; caches keys and values, 2·D numbers per token."""

    max_seq_len = CONTEXT

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(D, D, bias=False) for _ in range(4))
        self.positions = nn.Parameter(torch.empty(CONTEXT, D))

    def start(self, cache: Cache | None) -> int:
        return 0 if cache is None else cache.length

    def place(self, x: Tensor, start: int) -> Tensor:
        return x + self.positions[start : start + x.shape[1]]

    def keep(self, cache: Cache, k: Tensor, v: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        k, v = cache.add(k, v)
        return k, v

    def visible(self, queries: int, keys: int) -> Tensor:
        return torch.ones(queries, keys).tril(keys - queries).bool()

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        x = self.place(x, self.start(cache))
        q, k, v = self.q(x), self.k(x), self.v(x)
        if cache is not None:
            k, v = self.keep(cache, k, v, x)
        logits = q @ k.mT * D**-0.5
        return self.o(logits.masked_fill(~self.visible(q.shape[1], k.shape[1]), -torch.inf).softmax(-1) @ v)


class Plain(Attention):
    """The same without a cache."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Latent(nn.Module):
    """Two heads over a latent of 3 numbers per token: naive without a cache, absorbed with one."""

    kv_lora_rank, heads, width = 3, 2, 4

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(D, self.heads * self.width, bias=False)
        self.down = nn.Linear(D, self.kv_lora_rank, bias=False)
        self.up_k = nn.Parameter(torch.empty(self.heads, self.width, self.kv_lora_rank))
        self.up_v = nn.Parameter(torch.empty(self.heads, self.width, self.kv_lora_rank))
        self.o = nn.Linear(self.heads * self.width, D, bias=False)

    def absorbed_scale(self) -> float:
        return self.width**-0.5

    def unfold(self, read: Tensor) -> Tensor:
        """What the heads have read of the latents (B, H, T, rank), as values (B, H, T, width)."""
        return read @ self.up_v.mT

    def absorbed(self, q: Tensor, c: Tensor, cache: Cache) -> Tensor:
        (c,) = cache.add(c)
        return self.unfold(self.attend(q @ self.up_k, c[:, None], c[:, None], self.absorbed_scale()))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        mask = torch.ones(q.shape[-2], k.shape[-2]).tril(k.shape[-2] - q.shape[-2]).bool()
        return (q @ k.mT * scale).masked_fill(~mask, -torch.inf).softmax(-1) @ v

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        q, c = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2), self.down(x)
        if cache is None:
            heads = self.attend(q, c[:, None] @ self.up_k.mT, c[:, None] @ self.up_v.mT, self.width**-0.5)
        else:
            heads = self.absorbed(q, c, cache)
        return self.o(heads.transpose(1, 2).flatten(2))


class Experts(nn.Module):
    """Two of four small experts per token, chosen with a bias, and a shared one."""

    top_k, n_experts = K, E

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(D, self.n_experts, bias=False)
        self.experts = nn.ModuleList(nn.Linear(D, D, bias=False) for _ in range(self.n_experts))
        self.shared = nn.Linear(D, D, bias=False)
        self.register_buffer("expert_bias", torch.zeros(self.n_experts))
        self.register_buffer("counts", torch.zeros(self.n_experts))

    def choose(self, scores: Tensor) -> Tensor:
        return (scores + self.expert_bias).topk(self.top_k).indices

    def weigh(self, scores: Tensor, idx: Tensor) -> Tensor:
        weights = scores.gather(-1, idx)
        return weights / weights.sum(-1, keepdim=True)

    def served(self, idx: Tensor, weights: Tensor) -> Tensor:
        """Which choices are run: all."""
        return torch.ones_like(idx, dtype=torch.bool)

    def used(self, scores: Tensor, idx: Tensor, weights: Tensor) -> Tensor:
        """The weights that the sum takes: those that are reported."""
        return weights

    def count(self, idx: Tensor) -> None:
        self.counts += torch.bincount(idx.flatten(), minlength=self.n_experts)

    def report(self, logits: Tensor, scores: Tensor, idx: Tensor, weights: Tensor) -> RouterStats:
        return RouterStats(logits, scores, idx, weights)

    def forward(self, x: Tensor) -> tuple[Tensor, RouterStats]:
        logits = self.gate(x)
        scores = logits.sigmoid()
        idx = self.choose(scores)
        weights = self.weigh(scores, idx)
        self.count(idx)
        used = (self.used(scores, idx, weights) * self.served(idx, weights)).unsqueeze(-1)
        every = torch.stack([expert(x).tanh() for expert in self.experts], dim=-2)
        chosen = every.gather(-2, idx[..., None].expand(*idx.shape, D))
        return self.shared(x) + (used * chosen).sum(-2), self.report(logits, scores, idx, weights)


class CutOffRouter(Experts):
    """The router's weight is outside the graph: nothing ever moves it."""

    def forward(self, x):
        self.gate.weight.requires_grad_(False)
        answer = super().forward(x)
        self.gate.weight.requires_grad_(True)
        return answer


class SeesTheNext(Plain):
    def visible(self, queries, keys):
        return torch.ones(queries, keys).tril(1).bool()
