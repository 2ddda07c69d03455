"""Rotary position embedding, and YaRN which stretches it to longer contexts.

Two neighbouring channels (2i, 2i+1) of a query or key are one complex number. At position t it is turned by the angle
t·theta_i, theta_i = base^(-2i/r). The dot product of a query at t and a key at s then depends on t - s only: positions
become relative without a learned weight (Su et al. 2021).
"""

import math

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from nanokimi.config import RopeConfig, YarnConfig


def rope_frequencies(rope_dim: int, cfg: RopeConfig) -> Float[Tensor, " pairs"]:
    """theta in radians per token, of the rope_dim/2 pairs: from 1 for the first down to about 1/base.

    With YaRN the fast pairs stay as they are. The slow ones, which would meet angles never seen in training, are
    divided by `factor`, with a linear ramp between (Peng et al. 2023, eq. 17-23). K2: of 32 pairs, 0-19 stay and 20-31
    are divided by 32.
    """
    pair = torch.arange(rope_dim // 2, dtype=torch.float64)
    theta = cfg.base ** (-2 * pair / rope_dim)
    if cfg.yarn is not None:
        yarn = cfg.yarn

        def pair_that_turns(times: float) -> float:
            """The pair, as a fraction, that makes `times` full turns within the original context."""
            return (
                rope_dim
                * math.log(yarn.original_max_seq_len / (times * 2 * math.pi))
                / (2 * math.log(cfg.base))
            )

        low = max(math.floor(pair_that_turns(yarn.beta_fast)), 0)
        high = min(math.ceil(pair_that_turns(yarn.beta_slow)), rope_dim - 1)
        # In a short context `high` may lie below `low`. The slope is then negative, as in both references; 0 is none.
        ramp = ((pair - low) / ((high - low) or 0.001)).clamp(0, 1)
        theta = theta / yarn.factor * ramp + theta * (1 - ramp)
    return theta.float()


def frequencies_on(device: torch.device, rope_dim: int, cfg: RopeConfig) -> Float[Tensor, " pairs"]:
    """`rope_frequencies` on a device. A compiled step holds them there (`nanokimi/compiled/whole.py`)."""
    return rope_frequencies(rope_dim, cfg).to(device)


def yarn_mscale(yarn: YarnConfig | None) -> float:
    """m: YaRN multiplies attention logits by m², so that attention stays sharp in a longer context. 1 without YaRN.

    Landmark: K2 (factor 32) has m² = 1.81326.
    """
    if yarn is None:
        return 1.0
    return 0.1 * yarn.mscale_all_dim * math.log(yarn.factor) + 1.0


def rotations(positions: Int[Tensor, " seq"], rope_dim: int, cfg: RopeConfig) -> Complex[Tensor, "seq pairs"]:
    """e^(i·t·theta) for every position t and pair: unit complex numbers that `apply_rope` multiplies by."""
    angles = positions[:, None].float() * frequencies_on(positions.device, rope_dim, cfg)
    return torch.polar(torch.ones_like(angles), angles)


def apply_rope(
    x: Float[Tensor, "*heads seq rope_dim"], rotation: Complex[Tensor, "seq pairs"]
) -> Float[Tensor, "*heads seq rope_dim"]:
    """x with each pair (2i, 2i+1) turned by its angle. Lengths stay, and so does the number format."""
    full = x if x.dtype in (torch.float32, torch.float64) else x.float()
    # Copies here and, for the gradient, below: a slice behind an odd number of channels is no view of complex numbers.
    pairs = torch.view_as_complex(full.clone(memory_format=torch.contiguous_format).unflatten(-1, (-1, 2)))
    return (torch.view_as_real(pairs * rotation).flatten(-2) * 1.0).to(x.dtype)
