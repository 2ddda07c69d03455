"""Broken pieces of notebook 06."""

import torch
import torch.nn.functional as F
from torch import nn

from nanokimi.moe import MoE, dispatch
from nanokimi.router import scaling_factor


class BlockWithProjection(nn.Module):
    """A small block that widens, bends and narrows; it runs, and the loss falls. What is wrong?"""

    def __init__(self, d_model: int):
        super().__init__()
        self.norm = nn.RMSNorm(d_model)
        self.up = nn.Linear(d_model, 2 * d_model, bias=False)

    def forward(self, x):
        h = F.silu(self.up(self.norm(x)))
        down = nn.Linear(h.shape[-1], x.shape[-1], bias=False)
        return x + down(h)


class MoEOfAColleague(MoE):
    """Router, routed experts and a shared one. It trains; next to the reference it is off. What is wrong?"""

    def forward(self, x):
        stats = self.route(x)
        weights = stats.weights / stats.weights.sum(dim=-1, keepdim=True)
        flat = (t.flatten(0, 1) for t in (x, stats.expert_idx, weights))
        y = dispatch(*flat, self.experts).view_as(x)
        return scaling_factor(self.cfg) * (y + self.shared_experts(x)), stats


class BlockWithFreshGate(nn.Module):
    """The same fault in another matrix of a block."""

    def __init__(self, d_model: int):
        super().__init__()
        self.d_model = d_model
        self.down = nn.Linear(2 * d_model, d_model)

    def forward(self, x):
        up = torch.randn(2 * self.d_model, self.d_model)
        return x + self.down(F.relu(F.linear(x, up)))


class MoEWithALargeShare(MoE):
    """The same fault, added to what the sound layer gives."""

    def forward(self, x):
        y, stats = super().forward(x)
        return y + (scaling_factor(self.cfg) - 1) * self.shared_experts(x), stats


class MoEWithASmallShare(MoE):
    """A fault of the same kind: what the shared expert gives is divided."""

    def forward(self, x):
        y, stats = super().forward(x)
        return y + (1 / scaling_factor(self.cfg) - 1) * self.shared_experts(x), stats


class MoEWithAMuchLargerShare(MoE):
    """A fault of the same kind: the shared expert meets the factor twice."""

    def forward(self, x):
        y, stats = super().forward(x)
        return y + (scaling_factor(self.cfg) ** 2 - 1) * self.shared_experts(x), stats


class MoEWithASlightlyLargerShare(MoE):
    """A fault of the same kind: the shared expert meets a tenth of what the factor is above 1."""

    def forward(self, x):
        y, stats = super().forward(x)
        return y + 0.1 * (scaling_factor(self.cfg) - 1) * self.shared_experts(x), stats
