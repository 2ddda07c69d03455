"""RMSNorm: divide by the root mean square, multiply by a learned gain (Zhang & Sennrich 2019).

Unlike LayerNorm it neither subtracts the mean nor adds a bias: at a gain of 1 the direction of a vector stays, and its
length becomes about sqrt(d_model).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """y = weight · x / sqrt(mean(x²) + eps), over the last dimension, computed in float32 or better."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        # bfloat16 keeps 8 significant bits: the mean of squares over thousands of channels would lose most of them.
        full = x if x.dtype in (torch.float32, torch.float64) else x.float()
        return F.rms_norm(full, (self.weight.numel(),), self.weight, self.eps).to(x.dtype)
