"""What the answers to the exercises of notebook 02 are tried on, and how they are looked at."""

import torch
from torch import Tensor

from lab_utils.course.exercise import (
    Case,
    Parts,
    call_with_gradients,
    copy_weights,
)
from nanokimi.config import RopeConfig
from nanokimi.norm import RMSNorm
from nanokimi.rope import rotations

CPU, META = torch.device("cpu"), torch.device("meta")


def mask_cases() -> list[Case]:
    return [
        Case("one query, one key", (1, 1, CPU)),
        Case("two queries, two keys", (2, 2, CPU)),
        Case("one new query after four cached keys", (1, 5, CPU)),
        Case("two new queries after three cached keys", (2, 5, CPU)),
        Case("a longer context", (40, 64, CPU)),
        Case("on a device without numbers, `meta`", (2, 3, META)),
    ]


def sees_itself(parts: dict, n_queries: int, n_keys: int, device: torch.device) -> bool:
    own = torch.arange(n_queries) + n_keys - n_queries
    return device == META or bool(parts["result"][torch.arange(n_queries), own].all())


def _qkv(queries: int, keys: int, dtype: torch.dtype = torch.float32, texts: int = 2) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(queries * 100 + keys)
    shapes = ((texts, 2, queries, 4), (texts, 2, keys, 4), (texts, 2, keys, 3))
    # Twice the usual spread, so that a wrong scale moves the weights.
    return tuple(2 * torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)


def attend_cases() -> list[Case]:
    q, k, v = _qkv(3, 3)
    every_other = torch.tensor([[True, False, False], [True, True, False], [True, False, True]])
    ahead = torch.tensor([[True, False, True], [True, True, False], [True, False, True]])
    after_a_cache = torch.tensor([[True, False, True, True, True], [False, True, True, False, True]])
    # Whole numbers, so that every order of adding up gives the same scores.
    large_q, large_k = (100 * q).round(), (4 * k).round()
    # Scores of plus and minus two millions, 250 or more apart, so that every softmax gives 0 and 1 exactly.
    far_q = torch.tensor([2000.0, 1000.0]).expand(1, 1, 3, 2).contiguous()
    far_k = torch.tensor([[-4000.0, 1.0], [-4000.0, 3.0], [4000.0, 2.0]])[None, None]
    high_k = far_k.abs()  # two millions and 250, 500, 750
    two = (
        torch.tensor([[[[1.0], [2.0]]]]),
        torch.tensor([[[[1.0], [-1.0]]]]),
        torch.tensor([[[[3.0], [7.0]]]]),
    )
    # Half the sum of even numbers, which bfloat16 holds exactly whatever is computed in between.
    even = torch.tensor([[[[2.0, 6.0], [4.0, 16.0]]]]).bfloat16()
    return [
        Case("one token", (*_qkv(1, 1), 0.5)),
        Case("one text, one head: two tokens of one channel", (*two, 0.5)),
        Case("three tokens", (*_qkv(3, 3), 0.5)),
        # These differ from the one above in `scale` alone, so that a scale that nobody reads is seen.
        Case("three tokens, and a smaller scale", (*_qkv(3, 3), 0.2)),
        Case("three tokens, and a larger scale", (*_qkv(3, 3), 1.25)),
        Case("three texts of two heads", (*_qkv(3, 3, texts=3), 0.5)),
        Case("one new token after a cache of four", (*_qkv(1, 5), 0.5)),
        Case("two new tokens after a cache of three", (*_qkv(2, 5), 0.5)),
        Case("float64", (*_qkv(6, 6, torch.float64), 0.5)),
        Case("equal scores in bfloat16", (torch.zeros_like(even), even, even, 0.5)),
        Case("a mask of the caller's", (q, k, v, 0.7, every_other)),
        Case("a mask of the caller's that shows the future", (q, k, v, 0.7, ahead)),
        Case("a mask of the caller's that shows everything", (q, k, v, 0.7, torch.ones_like(ahead))),
        Case("a mask of the caller's after a cache", (*_qkv(2, 5), 0.7, after_a_cache)),
        Case("scores in the hundreds", (large_q, large_k, v, 0.25)),
        Case("scores of plus and minus two millions", (far_q, far_k, v[:1, :1], 0.25)),
        Case("scores above two millions", (far_q, high_k, v[:1, :1], 0.25)),
        Case("equal scores", (torch.zeros_like(q), k, v, 0.5)),
        Case("a longer context", (*_qkv(70, 70), 0.3)),
    ]


def within_values(parts: dict, q: Tensor, k: Tensor, v: Tensor, *_) -> bool:
    low, high = v.amin(dim=-2, keepdim=True) - 1e-4, v.amax(dim=-2, keepdim=True) + 1e-4
    return bool(((parts["result"] >= low) & (parts["result"] <= high)).all())


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return 1.5 * torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def split_cases() -> list[Case]:
    return [
        Case("one token, two heads of one channel", (torch.tensor([[[1.0, 2.0]]]), 2)),
        Case("two tokens, two heads", (numbers(1, 2, 4), 2)),
        Case("three heads", (numbers(1, 5, 6), 3)),
        Case("one head", (numbers(2, 3, 4), 1)),
        Case("two texts of two heads", (numbers(2, 3, 4), 2)),
        Case("two texts of three heads", (numbers(2, 5, 6), 3)),
        Case("float64", (numbers(1, 2, 4, dtype=torch.float64), 2)),
    ]


def join_cases() -> list[Case]:
    return [
        Case("two heads of one channel", (torch.tensor([[[[1.0]], [[2.0]]]]),)),
        Case("two heads, two tokens", (numbers(1, 2, 2, 3),)),
        Case("three heads", (numbers(1, 3, 5, 4),)),
        Case("one head", (numbers(2, 1, 3, 4),)),
        Case("two texts of two heads", (numbers(2, 2, 3, 4),)),
        Case("two texts of three heads", (numbers(2, 3, 5, 4),)),
        Case("float64", (numbers(1, 2, 2, 3, dtype=torch.float64),)),
    ]


def frequency_cases() -> list[Case]:
    return [
        Case("one pair", (2, RopeConfig(base=10_000.0))),
        Case("two pairs, base 100", (4, RopeConfig(base=100.0))),
        Case("eight pairs", (16, RopeConfig(base=10_000.0))),
        Case("K2's base", (64, RopeConfig(base=50_000.0))),
        Case("a small base", (10, RopeConfig(base=2.0))),
    ]


def _turns(seq: int, rope_dim: int, start: int = 0, base: float = 50.0) -> Tensor:
    return rotations(torch.arange(start, start + seq), rope_dim, RopeConfig(base=base))


def rope_cases() -> list[Case]:
    return [
        Case("one token at position 1, one pair", (torch.tensor([[1.0, 2.0]]), _turns(1, 2, start=1))),
        Case("three tokens, two pairs", (numbers(3, 4), _turns(3, 4))),
        Case("three pairs", (numbers(5, 6), _turns(5, 6))),
        Case("heads and a batch, three pairs", (numbers(2, 2, 5, 6), _turns(5, 6))),
        Case("positions after a cache", (numbers(1, 2, 3, 4), _turns(3, 4, start=9))),
        Case("float64", (numbers(1, 4, 4, dtype=torch.float64), _turns(4, 4))),
        Case("bfloat16 comes back as bfloat16", (numbers(2, 4, 4).bfloat16(), _turns(4, 4, start=2))),
    ]


def keeps_length(parts: Parts, x: Tensor, rotation: Tensor) -> bool:
    before, after = x.double().norm(dim=-1), parts["result"].double().norm(dim=-1)
    return torch.allclose(before, after, rtol=1e-2 if x.dtype == torch.bfloat16 else 1e-4)


def run_norm(implementation: type, x: Tensor, eps: float) -> Parts:
    """Output and gradients with gains other than 1."""
    reference = RMSNorm(x.shape[-1], eps)
    with torch.no_grad():
        reference.weight.copy_(torch.linspace(0.5, 1.5, x.shape[-1]))
    module = copy_weights(reference, implementation(x.shape[-1], eps))
    module.to(
        torch.promote_types(x.dtype, torch.float32)
    )  # float64 stays float64, bfloat16 meets float32 gains
    parts = call_with_gradients(lambda x: module(x), x, names=["x"])
    grad = module.weight.grad
    return parts | {"gradient of weight": torch.zeros_like(module.weight) if grad is None else grad}


def norm_cases() -> list[Case]:
    return [
        Case("one token of two channels", (torch.tensor([[3.0, 4.0]]), 1e-6)),
        Case("a batch", (numbers(2, 3, 5), 1e-6)),
        Case("a mean far from 0", (numbers(3, 4) + 5, 1e-6)),
        Case("an eps that counts", (0.1 * numbers(3, 4), 0.5)),
        Case("an eps of 4, beside a mean square of 1", (torch.tensor([[1.0]]), 4.0)),
        Case("a token of zeros", (torch.zeros(1, 4), 1e-3)),
        Case("large numbers in bfloat16", ((1000 * numbers(2, 64)).bfloat16(), 1e-6)),
        Case("one channel", (numbers(2, 1), 1e-5)),
        Case("float64", (numbers(2, 4, dtype=torch.float64), 1e-5)),
    ]
