"""One product per run of rows, as one operation: a compiler cannot follow a loop whose lengths are data.

Rows are sorted, so that all rows of a run stand together; `ends[i]` is where run i ends. Each run has a matrix of its
own. One kernel does it on a GPU that has one. Elsewhere the runs are taken one after the other.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


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


def linear_by_run(rows: Tensor, weight: Tensor, ends: Tensor | Sequence[int]) -> Tensor:
    """weight[i] · row for every row of run i: rows (rows, columns), weight (runs, out, columns) give (rows, out).

    ends: per run where it ends, so the last one is the number of rows; in a tensor of 32 bits (runs,), or as numbers.
    """
    if not isinstance(ends, Tensor):
        return _LinearInTurn.apply(rows, weight, ends)
    if has_kernel(rows, weight, rows.dtype):
        return F.grouped_mm(rows, weight.mT, offs=ends)
    return _linear_in_turn(rows, weight, ends)


# ---------------------------------------------------------------- the runs one after the other


def _multiply(rows: Tensor, weight: Tensor, ends: Sequence[int]) -> Tensor:
    out, lengths = rows.new_empty(len(rows), weight.shape[1]), _lengths(ends)
    for run, matrix, place in zip(rows.split(lengths), weight.mT.unbind(), out.split(lengths), strict=True):
        if len(run):
            torch.mm(run, matrix, out=place)
    return out


def _multiply_runs(left: Tensor, right: Tensor, ends: Sequence[int]) -> Tensor:
    """leftᵀ · right of every run: left (rows, out) and right (rows, columns) give (runs, out, columns)."""
    products, lengths = left.new_empty(len(ends), left.shape[1], right.shape[1]), _lengths(ends)
    for run, other, place in zip(
        left.mT.split(lengths, dim=1), right.split(lengths), products.unbind(), strict=True
    ):
        torch.mm(run, other, out=place)  # of no rows it is 0
    return products


def _lengths(ends: Sequence[int]) -> list[int]:
    return [end - start for start, end in pairwise([0, *ends])]


class _LinearInTurn(torch.autograd.Function):
    """The same with `ends` as numbers: one step of autograd for all runs, where a loop over `F.linear` has many."""

    @staticmethod
    def forward(rows: Tensor, weight: Tensor, ends: Sequence[int]) -> Tensor:
        return _multiply(rows, weight, ends)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Sequence[int]], output: Tensor) -> None:
        rows, weight, ctx.ends = inputs
        ctx.save_for_backward(rows, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        rows, weight = ctx.saved_tensors
        return _multiply(grad, weight.mT, ctx.ends), _multiply_runs(grad, rows, ctx.ends), None


# The same for a compiler, which sees one operation. The numbers of rows are read in it; a GPU is waited for.


@torch.library.custom_op("nanokimi::linear_in_turn", mutates_args=())
def _linear_in_turn(rows: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    return _multiply(rows, weight, ends.tolist())


@torch.library.custom_op("nanokimi::products_in_turn", mutates_args=())
def _products_in_turn(left: Tensor, right: Tensor, ends: Tensor) -> Tensor:
    return _multiply_runs(left, right, ends.tolist())


@_linear_in_turn.register_fake
def _(rows: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    return rows.new_empty(len(rows), weight.shape[1])


@_products_in_turn.register_fake
def _(left: Tensor, right: Tensor, ends: Tensor) -> Tensor:
    return left.new_empty(len(ends), left.shape[1], right.shape[1])


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    rows, weight, ends = ctx.saved_tensors
    return _linear_in_turn(grad, weight.mT, ends), _products_in_turn(grad, rows, ends), None


_linear_in_turn.register_autograd(_differentiate, setup_context=_save)
