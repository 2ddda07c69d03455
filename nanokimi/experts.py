"""SwiGLU, the small MLP that an expert is, and the bank that holds many of them.

SwiGLU (Shazeer 2020): down(silu(gate·x) * (up·x)). Gate and up live in one matrix, gate rows first, so that
one product computes both.
"""

from collections.abc import Sequence

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
    ends: Int[Tensor, " n_experts"],
) -> Float[Tensor, "rows out"]:
    """Every row through the matrix of its expert: the rows before ends[0] through the first one, and so on."""
    dtype = compute_dtype(rows)  # autocast does not know this product
    return linear_by_run(rows.to(dtype), weight.to(dtype), ends)


def _run_grouped(
    rows: Float[Tensor, "rows d_model"],
    counts: Int[Tensor, " n_experts"],
    gate_up: Float[Tensor, "n_experts twice_width d_model"],
    down: Float[Tensor, "n_experts d_model width"],
) -> Float[Tensor, "rows d_model"]:
    """What `swiglu` does for one expert, in two products for all of them."""
    ends = counts.cumsum(0, dtype=torch.int32)
    gate, up = grouped_linear(rows, gate_up, ends).chunk(2, dim=-1)
    return grouped_linear(F.silu(gate) * up, down, ends)


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

        An expert without rows costs nothing. Raises `ValueError` where the counts do not add up to the rows. For counts
        in a tensor, which are not checked, the experts run together: ask `can_group` first.
        """
        if isinstance(counts, Tensor):
            return _run_grouped(rows, counts, self.gate_up_proj, self.down_proj)
        if sum(counts) != len(rows) or len(counts) != len(self.down_proj):
            what = f"{len(counts)} counts that add up to {sum(counts)}"
            raise ValueError(f"{what} do not fit {len(self.down_proj)} experts and {len(rows)} rows")
        experts = zip(
            rows.split(list(counts)), self.gate_up_proj.unbind(), self.down_proj.unbind(), strict=True
        )
        outs = [swiglu(run, gate_up, down) for run, gate_up, down in experts if len(run)]
        return torch.cat(outs) if outs else rows
