"""What the answers to the exercises of notebook 11 are tried on, and how they are looked at."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.exercise import Case, Parts, Problem, call, parts_of
from nanokimi.config import KimiConfig, MoEConfig
from nanokimi.presets.yaml_config import load_model_config


def _with_int64(parts: Parts) -> Parts:
    """The parts, whole numbers of other widths as int64."""
    narrow = (torch.int32, torch.int16, torch.int8, torch.uint8)
    return {
        name: part.long() if isinstance(part, Tensor) and part.dtype in narrow else part
        for name, part in parts.items()
    }


def counts_of(implementation: Callable, *args: Any) -> Parts:
    """The parts of what comes back, with whole numbers of any width as int64."""
    return _with_int64(call(implementation, *args))


# ---------------------------------------------------------------- data parallel


def observe_batches(implementation: Callable, *args: int) -> Parts:
    """The numbers of the micro-batches, in order: a rank may take its own in any."""
    found = implementation(*args)
    if found is None:
        parts_of(found)
    return {"result": sorted(int(number) for number in found)}


def batch_cases() -> list[Case]:
    given = [
        ("one rank, one micro-batch", 0, 1, 0, 1),
        ("the first of two ranks, the first step", 0, 2, 0, 4),
        ("the second of two ranks, the first step", 1, 2, 0, 4),
        ("the second of two ranks, the second step", 1, 2, 1, 4),
        ("the last of three ranks, a later step", 2, 3, 5, 6),
        ("a rank for every micro-batch", 3, 4, 2, 4),
        ("one rank takes all", 0, 1, 3, 3),
        ("the second of four ranks, eight micro-batches", 1, 4, 10, 8),
    ]
    return [Case(says, tuple(numbers)) for says, *numbers in given]


def gradient_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(0)
    given = [
        ("one rank", torch.tensor([[2.0, -1.0]]), [3]),
        ("two ranks with as many tokens", torch.tensor([[1.0, 0.0], [3.0, 4.0]]), [5, 5]),
        ("two ranks, one and three tokens", torch.tensor([[4.0, 0.0], [0.0, 4.0]]), [1, 3]),
        ("two ranks, three tokens and one", torch.tensor([[4.0, 0.0], [0.0, 4.0]]), [3, 1]),
        ("three ranks, gradients that cancel in part", torch.tensor([[1.0], [-1.0], [2.0]]), [2, 1, 1]),
        ("four ranks with many tokens", torch.randn(4, 3, generator=generator), [2048, 100, 1900, 7]),
        ("float64 gradients", torch.tensor([[1.0, 2.0], [3.0, -5.0]], dtype=torch.float64), [3, 2]),
        ("a rank without a token beside one with some", torch.tensor([[1.0, 2.0], [0.0, 0.0]]), [4, 0]),
    ]
    return [Case(says, (gradients, torch.tensor(n_tokens))) for says, gradients, n_tokens in given]


# ---------------------------------------------------------------- sharding


def bytes_cases() -> list[Case]:
    given = [
        ("one matrix, one rank", [(4, 3)], 0, 1, 4),
        ("one matrix, the first of two ranks", [(4, 3)], 0, 2, 4),
        ("a gain, a vector", [(6,)], 1, 2, 4),
        ("rows that do not divide: the first rank", [(5, 2)], 0, 2, 4),
        ("rows that do not divide: the last rank", [(5, 2)], 1, 2, 4),
        ("fewer rows than ranks: the last rank has none", [(2, 7)], 3, 4, 4),
        ("rows that run out before the last rank", [(9, 1)], 3, 4, 2),
        ("rows that run out two ranks before the last", [(5, 3)], 4, 5, 16),
        ("a bank of experts, dealt by experts", [(8, 6, 5)], 2, 4, 16),
        ("several tensors, each dealt by itself", [(3, 2), (3,), (7, 2)], 1, 2, 16),
        ("the first of several tensors leaves a rank empty", [(2, 3), (8, 2)], 3, 4, 2),
        ("two tensors whose rows and numbers do not divide", [(2, 3), (5, 2)], 2, 4, 8),
        ("no tensor", [], 0, 2, 4),
    ]
    return [Case(says, tuple(args)) for says, *args in given]


# ---------------------------------------------------------------- the way of the rows


def choices(n_tokens: int, n_experts: int, top_k: int, seed: int = 0) -> Tensor:
    """Random choices of `top_k` different experts."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n_tokens, n_experts, generator=generator).topk(top_k, dim=-1).indices


def send_cases() -> list[Case]:
    given = [
        ("one token, one choice", torch.tensor([[2]]), 4, 2),
        ("two tokens, two choices each", torch.tensor([[0, 3], [3, 1]]), 4, 2),
        ("nobody chose the last rank's experts", torch.tensor([[0], [1], [1]]), 6, 3),
        ("one rank", torch.tensor([[0, 2], [2, 1]]), 3, 1),
        ("as many ranks as experts", torch.tensor([[0, 2], [2, 1]]), 3, 3),
        ("a rank that has no token to send", torch.empty(0, 2, dtype=torch.long), 4, 2),
        ("random choices", choices(20, 12, 3), 12, 4),
        ("33,000 tokens to one of four experts", torch.full((33_000, 1), 2), 4, 2),
    ]
    return [Case(says, tuple(args)) for says, *args in given]


def observe_orders(implementation: Callable, received: Tensor) -> Parts:
    """The two orders by name, with whole numbers of any width as int64."""
    parts = _with_int64(call(implementation, received))
    if len(parts) != 2:
        raise Problem("It should return two tensors: the order, and the one that undoes it.")
    return dict(zip(("order", "way back"), parts.values(), strict=True))


def regroup_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(0)
    given = [
        ("one rank, one expert, two rows", [[2]]),
        ("one rank, two experts: they lie by expert already", [[1, 2]]),
        ("two ranks, one expert", [[2], [1]]),
        ("two ranks, two experts, a row each", [[1, 1], [1, 1]]),
        ("two ranks, two experts, two rows and one", [[2, 1], [1, 2]]),
        ("an expert that gets nothing", [[2, 0, 1], [1, 0, 2]]),
        ("a rank that sends nothing", [[0, 0], [2, 1], [1, 1]]),
        ("no row at all", [[0, 0], [0, 0]]),
        ("four ranks, three experts", torch.randint(4, (4, 3), generator=generator).tolist()),
        ("more experts than ranks", torch.randint(3, (2, 5), generator=generator).tolist()),
        ("33,000 rows", [[30_000, 1], [1, 2_998]]),
    ]
    return [Case(says, (torch.tensor(received),)) for says, received in given]


# ---------------------------------------------------------------- waiting, and traffic


def waiting_cases() -> list[Case]:
    given = [
        ("one rank waits for nobody", [3.0, 1.0], 1, 1.0),
        ("two ranks, one expert each", [4.0, 1.0], 2, 1.0),
        ("an even load", [2.0, 2.0, 2.0, 2.0], 2, 0.5),
        ("uneven experts, even ranks", [3.0, 1.0, 0.0, 4.0], 2, 0.5),
        ("the busiest expert is not on the busiest rank", [5.0, 0.0, 3.0, 4.0], 2, 1.0),
        ("a rank without rows", [0.0, 0.0, 6.0, 2.0], 2, 0.25),
        ("three ranks of two experts", [1.0, 4.0, 2.0, 2.0, 0.0, 1.0], 3, 0.001),
        ("four ranks", [9.0, 1.0, 2.0, 2.0, 0.0, 3.0, 7.0, 1.0], 4, 2e-6),
        ("nobody has a row", [0.0, 0.0], 2, 1.0),
    ]
    return [Case(says, (torch.tensor(load), *more)) for says, load, *more in given]


def visit_cases() -> list[Case]:
    given = [
        ("one token, one choice", torch.tensor([[2]]), 4, 2),
        ("two experts on one node", torch.tensor([[2, 3]]), 4, 2),
        ("two experts on two nodes", torch.tensor([[0, 3]]), 4, 2),
        ("the last node alone", torch.tensor([[4, 5], [0, 5]]), 6, 3),
        ("one node", torch.tensor([[0, 2], [1, 2]]), 3, 1),
        ("as many nodes as experts", torch.tensor([[0, 2], [1, 2]]), 3, 3),
        ("three choices on two nodes", torch.tensor([[0, 1, 5]]), 8, 2),
        ("no token", torch.empty(0, 2, dtype=torch.long), 4, 2),
        ("random choices", choices(16, 24, 5), 24, 6),
    ]
    return [Case(says, tuple(args)) for says, *args in given]


def model(n_layers: int, n_dense: int, d_model: int, top_k: int) -> KimiConfig:
    """A small Kimi with these sizes."""
    moe = MoEConfig(n_routed_experts=8, top_k=top_k)
    return KimiConfig(n_layers=n_layers, first_k_dense_replace=n_dense, d_model=d_model, n_heads=2, moe=moe)


def traffic_cases() -> list[Case]:
    given = [
        ("one layer, two ranks", model(1, 0, 8, 1), 2, 4),
        ("one rank: nothing travels", model(1, 0, 8, 2), 1, 4),
        ("two choices per token", model(1, 0, 8, 2), 2, 4),
        ("a dense layer and two with experts, four ranks", model(3, 1, 8, 2), 4, 2),
        ("three ranks: a part of a byte is left", model(2, 0, 10, 1), 3, 1),
        ("two dense layers of five, eight ranks", model(5, 2, 16, 3), 8, 2),
        ("a model without experts", KimiConfig(n_layers=2, d_model=8, n_heads=2, moe=None), 4, 2),
        ("all layers are dense", model(2, 2, 8, 2), 4, 2),
        ("Kimi K2 on 64 ranks", load_model_config("kimi-k2"), 64, 2),
    ]
    return [Case(says, tuple(args)) for says, *args in given]
