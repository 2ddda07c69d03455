"""The first weights: what a layer and a model hold before they have learnt anything."""

import math

import torch
from torch import nn


def draw_weight(*shape: int) -> nn.Parameter:
    """A weight of a layer that is built alone, drawn as `nn.Linear` draws its own: U(-1/sqrt(n), 1/sqrt(n)).

    n is the last size, the number of inputs. The numbers come from torch's global generator; a model draws all of its
    weights again, from its own seed (`draw_first_weights_`). Raises `ValueError` for a size below 1.
    """
    if min(shape) < 1:
        raise ValueError(
            f"a weight of {' x '.join(map(str, shape))} numbers is empty: every size must be 1 or more"
        )
    bound = shape[-1] ** -0.5
    # Uniform, not normal: on the meta device, `normal_` would load a compiler, which takes a second.
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


@torch.no_grad()
def draw_first_weights_(model: nn.Module, n_layers: int, generator: torch.Generator) -> None:
    """Draw all weights of a model with `n_layers` layers in place, in the order of its parameters, as GPT-2 does.

    N(0, 0.02²) for matrices, gains 1, biases 0. The matrices that add to the residual stream are smaller by
    1/sqrt(2·n_layers), so that the stream's variance does not grow with depth. Both models start in this way, so that
    neither has an advantage. On the meta device there is nothing to draw.
    """
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            continue
        if parameter.ndim == 1:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        else:
            adds_to_stream = name.endswith(("o_proj.weight", "down_proj.weight", "down_proj"))
            std = 0.02 / math.sqrt(2 * n_layers) if adds_to_stream else 0.02
            parameter.normal_(0.0, std, generator=generator)
