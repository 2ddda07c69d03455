"""Routings written by hand, and a tiny model with a router."""

import numpy as np
import torch

from lab_utils.observatory.look import NO_EXPERT, LayerRouting, Routing
from nanokimi.config import MoEConfig
from nanokimi.kimi import Kimi
from tests import tiny

TOKENS = torch.arange(14).view(2, 7)


def layer(experts: list[list[int]], n_experts: int = 3, number: int = 1) -> LayerRouting:
    found = np.array(experts)
    return LayerRouting(
        layer=number,
        n_experts=n_experts,
        experts=found,
        weights=np.full(found.shape, 0.5),
        runner_up=np.full(len(found), NO_EXPERT),
        margin=np.full(len(found), np.nan),
    )


def routing(*layers: LayerRouting) -> Routing:
    return Routing(tokens=np.arange(len(layers[0].experts)), layers=layers)


def kimi(**moe) -> Kimi:
    cfg = MoEConfig(**{"n_routed_experts": 8, "top_k": 2, "moe_intermediate_size": 8} | moe)
    return tiny.harsh_(Kimi(tiny.kimi(n_layers=3, moe=cfg)))
