"""SwiGLU, the small MLP that an expert is, and the bank that holds many of them.

SwiGLU (Shazeer 2020): down(silu(gate·x) * (up·x)). Gate and up live in one matrix, gate rows first, so that
one product computes both.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from nanokimi.device import compute_dtype
from nanokimi.first_weights import draw_weight
from nanokimi.system.by_run import has_kernel, linear_by_run


def swiglu(
    x: Float[Tensor, "*tokens d_model"],
    gate_up: Float[Tensor, "twice_width d_model"],
    down: Float[Tensor, "d_model width"],
) -> Float[Tensor, "*tokens d_model"]:
    """down · (silu(gate·x) * (up·x)). In `gate_up` the gate's rows come first, then those of the up-projection."""
    gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
    return F.linear(F.silu(gate) * up, down)


class SwiGLU(nn.Module):
    """One SwiGLU of width `width`: the MLP of a dense layer, or all shared experts as one (n_shared·I wide)."""

    def __init__(self, d_model: int, width: int):
        super().__init__()
        self.gate_up_proj = draw_weight(2 * width, d_model)
        self.down_proj = draw_weight(d_model, width)

    def forward(self, x: Float[Tensor, "*tokens d_model"]) -> Float[Tensor, "*tokens d_model"]:
        return swiglu(x, self.gate_up_proj, self.down_proj)


def can_group(rows: Float[Tensor, "rows d_model"], down: Float[Tensor, "n_experts d_model width"]) -> bool:
    """Whether the experts run together and their counts are not read: in a compiled step, or in one kernel."""
    return torch.compiler.is_compiling() or has_kernel(rows, down, compute_dtype(rows))


def grouped_linear(
    rows: Float[Tensor, "rows columns"],
    weight: Float[Tensor, "n_experts out columns"],
    ends: Int[Tensor, " n_experts"] | Sequence[int],
) -> Float[Tensor, "rows out"]:
    """Every row through the matrix of its expert: the rows before ends[0] through the first one, and so on.

    As `torch.cat([F.linear(run, weight[e]) for e, run in enumerate(runs)])`, where `runs` are the rows of each expert.
    """
    dtype = compute_dtype(rows)  # autocast does not know this product
    return linear_by_run(rows.to(dtype), weight.to(dtype), ends)


class ExpertBank(nn.Module):
    """E experts of width I in two tensors, (E, 2I, D) and (E, D, I), that can be indexed and optimised as one."""

    def __init__(self, n_experts: int, d_model: int, width: int):
        super().__init__()
        self.gate_up_proj = draw_weight(n_experts, 2 * width, d_model)
        self.down_proj = draw_weight(n_experts, d_model, width)

    def forward(
        self, rows: Float[Tensor, "rows d_model"], counts: Sequence[int] | Int[Tensor, " n_experts"]
    ) -> Float[Tensor, "rows d_model"]:
        """What the experts make of rows sorted by expert: the first counts[0] rows go through expert 0, and so on.

        An expert without rows costs nothing. Raises `ValueError` where the counts do not add up to the rows. Those in
        a tensor are not checked: to read them is to wait for the device. Ask `can_group` first.
        """
        if isinstance(counts, Tensor):
            ends = counts.cumsum(0, dtype=torch.int32)
        elif sum(counts) == len(rows) and len(counts) == len(self.down_proj):
            ends = list(accumulate(counts))
        else:
            what = f"{len(counts)} counts that add up to {sum(counts)}"
            raise ValueError(f"{what} do not fit {len(self.down_proj)} experts and {len(rows)} rows")
        # `swiglu`, in two products for all experts.
        gate, up = grouped_linear(rows, self.gate_up_proj, ends).chunk(2, dim=-1)
        return grouped_linear(F.silu(gate) * up, self.down_proj, ends)
