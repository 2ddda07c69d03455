"""A training on many ranks on paper: the bytes that a rank holds and sends, and the operations of its step, by layout.

`seconds` makes a time of it. Three layouts:

replicated: every rank holds everything, gradients are added up (a ring all-reduce, Patarasu and Yuan 2009).
sharded: every rank holds a part of each weight (FSDP2, Zhao et al. 2023), as `ranks.shard` deals them.
experts: K2's own, which this lab does not train. The layers are dealt to stages (a pipeline); in each stage the routed
    experts to neighbours (`expert_parallel`), and the rest is on every rank; optimizer states are dealt to those ranks
    that hold the same weights (ZeRO-1, Rajbhandari et al. 2020). As if layers and matrices could be dealt evenly.

Activations are left out, and so are the few numbers that the ranks tell each other of a step.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from nanokimi.cluster.memory import bytes_held
from nanokimi.cluster.traffic import traffic_per_token
from nanokimi.config import KimiConfig, ModelConfig, OptimConfig, TrainConfig
from nanokimi.count import flops_per_token
from nanokimi.model import build_model
from nanokimi.optim import group_parameters
from nanokimi.system.refusals import require

Layout = Literal["replicated", "sharded", "experts"]
FLOAT32 = 4  # bytes: gradients and optimizer states, whatever the products run in


class Asked(NamedTuple):
    """What one step asks of the rank of which it asks most."""

    weights: float  # bytes held
    gradients: float  # bytes held
    states: float  # bytes held: Muon's momentum, AdamW's two means
    gathered: float = 0.0  # bytes for a moment, or more: the largest block, put together, and its gradient
    sent_weights: float = 0.0  # bytes
    sent_gradients: float = 0.0  # bytes
    sent_updates: float = 0.0  # bytes: matrices put together for Muon
    sent_rows: float = 0.0  # bytes: tokens on their way to experts and stages, and their gradients
    exchanges: float = 0.0  # collective operations that are started
    operations: float = 0.0  # of products; a multiply-add counts as two

    @property
    def held(self) -> float:
        """All bytes that are held at once, without activations."""
        return self.weights + self.gradients + self.states + self.gathered

    @property
    def sent(self) -> float:
        """All bytes that leave the rank in a step."""
        return self.sent_weights + self.sent_gradients + self.sent_updates + self.sent_rows


@dataclass(frozen=True)
class Weight:
    """A weight of a model: its shape, its block (empty outside of the layers), and what its optimizer does with it."""

    shape: tuple[int, ...]
    block: str
    is_routed: bool
    fused_rows: int  # the matrices in its rows, for Muon; 0 for AdamW

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def n_states(self) -> int:
        """How many numbers the optimizer keeps for each of the weight's."""
        return 1 if self.fused_rows else 2

    def count_orthogonal(self, ns_steps: int) -> float:
        """Operations in which Muon makes the update of all its matrices orthogonal, as `optim.newton_schulz` does."""
        if not self.fused_rows:
            return 0.0
        m, n = sorted((self.shape[-2] // self.fused_rows, self.shape[-1]))
        return self.size / (m * n) * ns_steps * (4 * m * m * n + 2 * m**3)


def list_weights(cfg: ModelConfig, optim: OptimConfig) -> list[Weight]:
    """The weights of a model, from its shapes alone."""
    with torch.device("meta"):
        model = build_model(cfg)
    muon, _, _ = group_parameters(model, optim)
    fused = {p: n for n, params in muon.items() for p in params}
    return [
        Weight(
            shape=tuple(p.shape),
            block=name.split(".")[1] if name.startswith("layers.") else "",
            is_routed=".experts." in name,
            fused_rows=fused.get(p, 0),
        )
        for name, p in model.named_parameters()
    ]


def ask(
    cfg: ModelConfig,
    training: TrainConfig,
    n_ranks: int,
    layout: Layout,
    n_stages: int = 1,
    expert_ranks: int = 1,
    weight_bytes: int = FLOAT32,
) -> Asked:
    """What a step of `training` asks of each of `n_ranks`.

    n_stages, expert_ranks: of the layout `experts`; both are 16 in K2's report (sec. 2.4).
    weight_bytes: 4 in this lab, 2 in K2's report.
    Raises `ConfigError` where the ranks cannot share the micro-batches or the experts evenly.
    """
    copies, left = divmod(n_ranks, n_stages)  # of the model, each with micro-batches of its own
    require(left == 0, f"n_stages={n_stages} must divide n_ranks={n_ranks}")
    n_micro, left = divmod(training.grad_accum, copies)
    require(left == 0, f"grad_accum={training.grad_accum} must be a multiple of the {copies} copies")
    weights = list_weights(cfg, training.optim)
    if layout == "experts":
        asked = _deal_experts(cfg, training, weights, n_ranks, n_stages, expert_ranks, weight_bytes)
    elif layout == "sharded" and n_ranks > 1:
        asked = _shard(weights, training.optim.ns_steps, n_ranks, n_micro, weight_bytes)
    else:
        asked = _replicate(weights, training.optim.ns_steps, n_ranks, weight_bytes)
    tokens = training.grad_accum * training.batch_size * training.seq_len
    products = tokens / n_ranks * flops_per_token(cfg, training.seq_len)
    return asked._replace(operations=asked.operations + products)


def _replicate(weights: Sequence[Weight], ns_steps: int, n_ranks: int, weight_bytes: int) -> Asked:
    size = sum(w.size for w in weights)
    return Asked(
        weights=weight_bytes * size,
        gradients=FLOAT32 * size,
        states=FLOAT32 * sum(w.n_states * w.size for w in weights),
        # A ring: n - 1 parts of 1/n are added up on their way round, and n - 1 sums are handed on.
        sent_gradients=2 * (n_ranks - 1) / n_ranks * FLOAT32 * size,
        exchanges=len(weights) if n_ranks > 1 else 0,
        operations=sum(w.count_orthogonal(ns_steps) for w in weights),
    )


def _shard(weights: Sequence[Weight], ns_steps: int, n_ranks: int, n_micro: int, weight_bytes: int) -> Asked:
    """Rank 0 holds most: the last ranks may have fewer rows. What is sent is filled up to as many rows on each."""
    parts = [bytes_held([w.shape], 0, n_ranks, 1) for w in weights]
    pairs = list(zip(weights, parts, strict=True))
    blocks = Counter[str]()
    for w, part in pairs:
        blocks[w.block] += weight_bytes * n_ranks * part + FLOAT32 * w.size
    # Outside of the layers the forward pass leaves the weights together for the backward pass.
    gathers = sum((2 if w.block else 1) * part for w, part in pairs)
    matrices = [part for w, part in pairs if w.fused_rows and len(w.shape) == 2]
    return Asked(
        weights=weight_bytes * sum(parts),
        gradients=FLOAT32 * sum(parts),
        states=FLOAT32 * sum(w.n_states * part for w, part in pairs),
        gathered=max(blocks.values()),
        sent_weights=n_micro * (n_ranks - 1) * weight_bytes * gathers,
        sent_gradients=n_micro * (n_ranks - 1) * FLOAT32 * sum(parts),
        sent_updates=(n_ranks - 1) * FLOAT32 * sum(matrices),
        exchanges=n_micro * (3 * len(blocks) - 1) + len(matrices),
        # Each rank makes the whole of a matrix, and of a bank its own experts.
        operations=sum(
            w.count_orthogonal(ns_steps) * (part / w.size if len(w.shape) > 2 else 1) for w, part in pairs
        ),
    )


def _deal_experts(
    cfg: ModelConfig,
    training: TrainConfig,
    weights: Sequence[Weight],
    n_ranks: int,
    n_stages: int,
    expert_ranks: int,
    weight_bytes: int,
) -> Asked:
    require(isinstance(cfg, KimiConfig) and cfg.moe is not None, "layout=experts: the model has no experts")
    assert isinstance(cfg, KimiConfig) and cfg.moe is not None
    copies = n_ranks // n_stages
    for name, number in (("n_routed_experts", cfg.moe.n_routed_experts), ("the ranks of a stage", copies)):
        require(number % expert_ranks == 0, f"expert_ranks={expert_ranks} must divide {name}, {number}")
    routed = sum(w.size for w in weights if w.is_routed) / n_stages / expert_ranks
    rest = sum(w.size for w in weights if not w.is_routed) / n_stages
    expert_copies = copies // expert_ranks
    # Gradients are added up where their states are, and the new weights are handed on: a ring each.
    travelling = rest * (copies - 1) / copies + routed * (expert_copies - 1) / expert_copies
    number = FLOAT32 if training.dtype == "float32" else 2  # bytes; `auto` is bfloat16 on a card
    tokens = training.grad_accum // copies * training.batch_size * training.seq_len
    between_stages = 2 * (n_stages - 1) / n_stages * cfg.d_model * number
    # Per layer with experts the counts, and rows to and fro, forward and backward; per weight a sum and a gather.
    n_moe_layers = cfg.n_layers - cfg.first_k_dense_replace
    exchanges = training.grad_accum // copies * 5 * n_moe_layers * (expert_ranks > 1)
    exchanges += 2 * len(weights) * (copies > 1)
    return Asked(
        weights=weight_bytes * (routed + rest),
        gradients=FLOAT32 * (routed + rest),
        states=FLOAT32 * sum(w.n_states * w.size for w in weights) / n_ranks,
        sent_weights=weight_bytes * travelling,
        sent_gradients=FLOAT32 * travelling,
        sent_rows=tokens * (traffic_per_token(cfg, expert_ranks, number) / n_stages + between_stages),
        exchanges=exchanges / n_stages,
        operations=sum(w.count_orthogonal(training.optim.ns_steps) for w in weights) / n_ranks,
    )
