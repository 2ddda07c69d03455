"""Weights that hide nothing.

At the usual start, N(0, 0.02²) with gains 1 and biases 0, a dropped scale or a swapped gate moves a logit by less than
rounding does. With these the same slips move it by whole units, so that a parity test means something.
"""

import torch
from torch import nn


@torch.no_grad()
def draw_(model: nn.Module, seed: int = 0) -> nn.Module:
    """Matrices N(0, 0.15²), gains 1 ± 0.3, biases and expert biases ± 0.3, in place; returns the model."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("inv_freq"):
            continue
        if tensor.ndim > 1:
            tensor.copy_(0.15 * noise)
        elif name.endswith("bias"):
            tensor.copy_(0.3 * noise)
        else:
            tensor.copy_(1 + 0.3 * noise)
    return model
