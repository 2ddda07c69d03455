"""One product per run of rows, as one operation: a compiler cannot follow a loop whose lengths are data.

Rows are sorted, so that all rows of a run stand together; `ends[i]` is where run i ends. Each run has a matrix of its
own. One kernel does it on a GPU that has one. Elsewhere the runs are taken one after the other.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx


def has_kernel(rows: Tensor, weight: Tensor, dtype: torch.dtype) -> bool:
    """Whether one kernel takes all runs: bfloat16 on CUDA from compute capability 9.0 (H100) on.

    It reads 16 bytes at a time, so widths must be multiples of 8 numbers. dtype: the format of the product.
    """
    if not rows.is_cuda or capability(rows.device) < (9, 0):
        return False
    return dtype == torch.bfloat16 and weight.shape[1] % 8 == weight.shape[2] % 8 == 0


def capability(device: torch.device) -> tuple[int, int]:
    """The compute capability of a CUDA device, as (major, minor)."""
    return torch.cuda.get_device_capability(device)


def linear_by_run(rows: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """weight[i] · row for every row of run i: rows (rows, columns), weight (runs, out, columns) give (rows, out).

    ends: (runs,) whole numbers of 32 bits, the last one is the number of rows.
    """
    if has_kernel(rows, weight, rows.dtype):
        return F.grouped_mm(rows, weight.mT, offs=ends)
    return _linear_in_turn(rows, weight, ends)


# ---------------------------------------------------------------- the runs one after the other


def _cut(ends: Tensor) -> Iterator[slice]:
    """The rows of every run."""
    start = 0
    for end in ends.tolist():
        yield slice(start, end)
        start = end


@torch.library.custom_op("nanokimi::linear_in_turn", mutates_args=())
def _linear_in_turn(rows: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    # The numbers of rows are read in here, where no compiler looks. A GPU is waited for.
    out = rows.new_empty(len(rows), weight.shape[1])
    for run, matrix in zip(_cut(ends), weight.unbind(), strict=True):
        torch.mm(rows[run], matrix.t(), out=out[run])
    return out


@torch.library.custom_op("nanokimi::products_in_turn", mutates_args=())
def _products_in_turn(left: Tensor, right: Tensor, ends: Tensor) -> Tensor:
    """leftᵀ · right of every run: left (rows, out) and right (rows, columns) give (runs, out, columns)."""
    products = left.new_empty(len(ends), left.shape[1], right.shape[1])
    for run, product in zip(_cut(ends), products.unbind(), strict=True):
        torch.mm(left[run].t(), right[run], out=product)  # of no rows it is 0
    return products


@_linear_in_turn.register_fake
def _(rows: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    return rows.new_empty(len(rows), weight.shape[1])


@_products_in_turn.register_fake
def _(left: Tensor, right: Tensor, ends: Tensor) -> Tensor:
    return left.new_empty(len(ends), left.shape[1], right.shape[1])


def _save(ctx: FunctionCtx, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    rows, weight, ends = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
    return _linear_in_turn(grad, weight.mT, ends), _products_in_turn(grad, rows, ends), None


_linear_in_turn.register_autograd(_differentiate, setup_context=_save)
