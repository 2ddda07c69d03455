"""What a router did with a text, as numbers: every token with its experts, their weights and the runner-up.

`look` runs a model and notes its decisions; `counts` adds them up. Experts are numbered from 0; a token's **first**
expert is the one with the largest weight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import tiktoken
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nanokimi.gpt import GPT
from nanokimi.kimi import Kimi
from nanokimi.moe import MoE
from nanokimi.router import RouterStats, topk_route

NO_EXPERT = -1
OFF = (
    -1e30
)  # the bias of an expert that is switched off: far below every score, and finite as weights must be


@dataclass(frozen=True, eq=False)
class LayerRouting:
    """One MoE layer's decisions on N tokens, K experts each, the largest weight first.

    The runner-up is the expert that would have been chosen next, `NO_EXPERT` where there is none; `margin` is how
    far its score, bias included, is below that of the last chosen expert (nan without a runner-up).
    """

    layer: int  # counted over all layers of the model, from 0
    n_experts: int
    experts: Int[np.ndarray, "tokens top_k"]
    weights: Float[np.ndarray, "tokens top_k"]
    runner_up: Int[np.ndarray, " tokens"]
    margin: Float[np.ndarray, " tokens"]

    @property
    def first(self) -> Int[np.ndarray, " tokens"]:
        return self.experts[:, 0]

    @property
    def load(self) -> Float[np.ndarray, " n_experts"]:
        """Every expert's share of the choices, 1.0 = even."""
        counts = np.bincount(self.experts.ravel(), minlength=self.n_experts)
        return counts / counts.mean()

    def goes_to(self, expert: int) -> Bool[np.ndarray, " tokens"]:
        """Which tokens chose `expert`, with whatever weight; `ValueError` where the layer has no such expert."""
        if not 0 <= expert < self.n_experts:
            raise ValueError(
                f"expert {expert} does not exist in layer {self.layer}: numbers go from 0 to {self.n_experts - 1}"
            )
        return (self.experts == expert).any(axis=1)


@dataclass(frozen=True, eq=False)
class Routing:
    """All MoE layers' decisions on the same tokens: the rows of a batch, one after the other."""

    tokens: Int[np.ndarray, " tokens"]
    layers: tuple[LayerRouting, ...]

    def layer(self, number: int) -> LayerRouting:
        """The decisions of layer `number` of the model; `ValueError` where that layer has no router."""
        for found in self.layers:
            if found.layer == number:
                return found
        known = ", ".join(str(layer.layer) for layer in self.layers)
        raise ValueError(f"layer {number} has no router; layers of this model with one: {known}")


def check_model(model: nn.Module) -> Kimi:
    """`model` itself where it is a Kimi with experts; else a `ValueError` that says what it is instead."""
    if isinstance(model, GPT):
        raise ValueError(
            "this is a GPT: it has no router to look at; open the checkpoint of a Kimi with experts"
        )
    if not isinstance(model, Kimi):
        raise ValueError(
            f"this is a {type(model).__module__}.{type(model).__name__}: the observatory reads nanokimi's Kimi"
        )
    if not model.moe_layers():
        why = "moe is not set" if model.cfg.moe is None else "all its layers are dense"
        raise ValueError(f"this Kimi has no experts ({why}): open the checkpoint of one that has")
    return model


def encode_prompt(encoding: tiktoken.Encoding, prompt: str, max_tokens: int) -> list[int]:
    """The prompt's tokens; `ValueError` where there are none, or more than the model's context."""
    if not prompt.strip():
        raise ValueError("the prompt is empty: type a few words")
    ids = encoding.encode_ordinary(prompt)
    if len(ids) > max_tokens:
        raise ValueError(
            f"the prompt has {len(ids)} tokens, and this model reads at most {max_tokens}: "
            f"leave out {len(ids) - max_tokens} or more"
        )
    return ids


@torch.no_grad()
def look(model: nn.Module, tokens: Int[Tensor, "batch seq"]) -> Routing:
    """Run `model` on `tokens` and note what its routers decided. The model is not changed."""
    kimi = check_model(model)
    routing = kimi(tokens.to(kimi.lm_head.weight.device)).routing
    numbers = [i for i, layer in enumerate(kimi.layers) if isinstance(layer.mlp, MoE)]
    layers = zip(numbers, kimi.moe_layers(), routing, strict=True)
    return Routing(
        tokens=tokens.flatten().cpu().numpy(),
        layers=tuple(_layer_routing(number, moe, stats) for number, moe, stats in layers),
    )


def _layer_routing(number: int, moe: MoE, stats: RouterStats) -> LayerRouting:
    chosen, weights = stats.expert_idx.flatten(0, 1), stats.weights.flatten(0, 1)
    order = weights.argsort(dim=-1, descending=True, stable=True)
    runner_up, margin = _runner_up(moe, stats)
    return LayerRouting(
        layer=number,
        n_experts=moe.cfg.n_routed_experts,
        experts=chosen.gather(1, order).cpu().numpy(),
        weights=weights.gather(1, order).cpu().numpy(),
        runner_up=runner_up.cpu().numpy(),
        margin=margin.cpu().numpy(),
    )


def _runner_up(moe: MoE, stats: RouterStats) -> tuple[Int[Tensor, " tokens"], Float[Tensor, " tokens"]]:
    """By the core's own rule: the expert that is added when a token may have K + 1 experts."""
    cfg, chosen = moe.cfg, stats.expert_idx.flatten(0, 1)
    nobody = torch.full((len(chosen),), NO_EXPERT), torch.full((len(chosen),), float("nan"))
    if cfg.top_k == cfg.topk_group * (cfg.n_routed_experts // cfg.n_group):
        return nobody
    wider = topk_route(stats.logits, moe.expert_bias, replace(cfg, top_k=cfg.top_k + 1)).expert_idx.flatten(
        0, 1
    )
    is_new = (wider[:, :, None] != chosen[:, None, :]).all(dim=-1)
    runner_up = wider.gather(1, is_new.int().argmax(dim=1, keepdim=True))
    choice = stats.scores.flatten(0, 1) + moe.expert_bias
    margin = choice.gather(1, chosen).min(dim=1).values - choice.gather(1, runner_up)[:, 0]
    # An expert that is switched off is never a runner-up.
    there = margin < -OFF / 2
    return torch.where(there, runner_up[:, 0], nobody[0]), torch.where(there, margin, nobody[1])
