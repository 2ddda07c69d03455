"""Notebook 07: what answers about Newton-Schulz and Muon are tried on, and how they are looked at."""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lab_utils.course.exercise import Case, Parts, Problem, parts_of


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def newton_schulz_cases() -> list[Case]:
    single = {"dtype": torch.float32}
    double = {"dtype": torch.float64}
    # Its norm is exactly 128, so one may divide in float32; rounds in float32 lose a digit that counts.
    nearly_singular = torch.tensor([[10.0, -7, -51], [44, -28, -3], [-88, 56, 5]])
    uneven = normal(3, 4, 5) * torch.tensor([1.0, 100.0, 0.01])[:, None, None]
    settings = [
        ("one number", torch.tensor([[-3.0]]), single),
        ("two singular values, one step", torch.diag(torch.tensor([4.0, 3.0])), single | {"steps": 1}),
        (
            "two rows that are not orthogonal, one step",
            torch.tensor([[4.0, 1], [2, 2]]),
            single | {"steps": 1},
        ),
        ("a wide matrix", normal(3, 5), single),
        ("a tall matrix", normal(5, 3), single),
        ("a matrix of zeros", torch.zeros(2, 3), single),
        ("a matrix with a norm far below 1e-7", normal(3, 4) * 1e-9, single),
        ("a matrix with large entries", normal(4, 4) * 1e4, single),
        ("a bank of three matrices of very different size", uneven, single),
        ("a tall bank in which one matrix is zero", normal(2, 6, 3) * torch.eye(2)[0][:, None, None], single),
        ("two leading dimensions, three steps", normal(2, 2, 3, 4), single | {"steps": 3}),
        ("a bank in float32, computed in float64", normal(2, 3, 2), double),
        ("a matrix in bfloat16, computed in float32", torch.tensor([[1.0, 1], [1, -1]]).bfloat16(), single),
        (
            "a float32 matrix that is nearly singular, eleven steps in float64",
            nearly_singular,
            double | {"steps": 11},
        ),
        ("float64, eight steps", normal(6, 9, dtype=torch.float64), double | {"steps": 8}),
        ("the number format that the signature promises", normal(4, 6), {}),
    ]
    return [Case(says, (g, chosen)) for says, g, chosen in settings]


def observe_newton_schulz(answer: Callable, g: Tensor, settings: dict) -> Parts:
    """The result; in bfloat16, where the order of sums shows, its format and whether it is near the right one."""
    result = answer(g, **settings)
    if isinstance(result, Tensor) and result.shape == g.shape and _is_far_too_large(result, g):
        # The numbers themselves say nothing: each way of adding up gives others.
        raise Problem("Its numbers are far too large: above 5, or not finite. Right ones stay below 1.21.")
    if "dtype" in settings or not isinstance(result, Tensor):
        return parts_of(result)
    near = result.shape == g.shape and (result.double() - newton_schulz_written_out(g)).abs().max() < 0.1
    return {"number format": str(result.dtype), "near the result in float64": bool(near)}


def _is_far_too_large(result: Tensor, g: Tensor) -> bool:
    """Whether a matrix other than zero has become huge. Zero divided by zero is another mistake."""
    largest = result.abs().double().nan_to_num(nan=torch.inf).amax(dim=(-2, -1))
    return bool((largest[g.abs().amax(dim=(-2, -1)) > 0] > 5).any())


def newton_schulz_written_out(g: Tensor, steps: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    """The same by singular value decomposition: the quintic on the singular values."""
    u, s, vt = torch.linalg.svd(g.double(), full_matrices=False)
    s = s / s.norm(dim=-1, keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (u * s[..., None, :] @ vt).to(dtype)


def nothing_above(parts: Parts, g: Tensor, settings: dict) -> bool:
    if "result" not in parts or settings.get("steps", 5) < 5:
        return True
    return not bool(torch.linalg.svdvals(parts["result"].double()).max() > 1.21)


def muon_cases() -> list[Case]:
    plain = dict(lr=0.1, weight_decay=0.0)
    settings: list[tuple[str, list, dict]] = [
        ("one wide matrix", [((2, 3), {})], plain),
        ("one tall matrix", [((5, 2), {})], plain),
        ("a small learning rate", [((2, 3), {})], dict(lr=0.02, weight_decay=0.0)),
        ("weights that decay", [((3, 4), {})], dict(lr=0.1, weight_decay=0.5)),
        ("a bank of three experts", [((3, 2, 4), {})], plain),
        ("five small experts", [((5, 2, 3), {})], plain),
        ("gate and up in one parameter", [((8, 3), {"fused_rows": 2})], plain),
        ("a bank with gate and up", [((2, 12, 4), {"fused_rows": 2})], plain),
        ("a bank with three small matrices in one", [((2, 6, 2), {"fused_rows": 3})], plain),
        (
            "two groups with settings of their own",
            [((4, 4), {"lr": 0.3, "momentum": 0.5, "weight_decay": 0.2}), ((4, 4), {"ns_steps": 2})],
            dict(lr=0.1),
        ),
        ("a schedule that halves the rate after every step", [((3, 5), {})], plain | {"halve": True}),
        ("a schedule that changes the decay", [((3, 5), {})], plain | {"later": {"weight_decay": 0.5}}),
        ("a schedule that turns the momentum off", [((3, 5), {})], plain | {"later": {"momentum": 0.0}}),
        ("a schedule that changes the steps", [((3, 5), {})], plain | {"later": {"ns_steps": 2}}),
        ("a parameter without a gradient", [((3, 3), {"idle": True}), ((3, 3), {})], dict(lr=0.1)),
        ("two parameters of one shape in a group", [((3, 4), {}), ((3, 4), {})], plain | {"together": True}),
        (
            "a group whose second parameter has no gradient",
            [((2, 3), {}), ((2, 3), {"idle": True}), ((2, 3), {})],
            plain | {"together": True},
        ),
        ("tall and wide of the same sides", [((4, 7), {}), ((7, 4), {}), ((2, 7, 4), {})], plain),
        ("two heights, one width", [((4, 7), {}), ((3, 7), {})], plain),
        ("another momentum and number of steps", [((4, 6), {})], plain | dict(momentum=0.8, ns_steps=3)),
        ("float64", [((4, 6), {"dtype": torch.float64})], plain),
        (
            "ns_dtype float64, gradients too large for float32",
            [((4, 6), {"dtype": torch.float64, "size": 1e60})],
            plain | {"ns_dtype": torch.float64},
        ),
    ]
    one: list = [((2, 3), {})]
    asides = [
        ("the weights, seen by who holds their memory", one, plain | {"viewed": True}),
        ("an optimizer that was saved after a step, and loaded", one, plain | {"resumed": True}),
        ("ns_dtype as the signature has it", [((4, 6), {})], plain | {"coarse": True}),
    ]
    return [
        *(Case(says, (shapes, chosen)) for says, shapes, chosen in settings),
        *(Case(says, (shapes, chosen), aside=True) for says, shapes, chosen in asides),
    ]


def observe_muon(answer: Callable, shapes: list[tuple[tuple[int, ...], dict]], settings: dict) -> Parts:
    """Every parameter after each of three steps, with gradients that change.

    `halve` halves the rate after every step; `later` are settings from the second step on; `viewed` looks at a view;
    `together` puts all parameters into one group; `resumed` goes on after the first step with an optimizer made anew
    and loaded; `coarse` is looked at as `_in_bfloat16` says.
    """
    settings = {"ns_dtype": torch.float32} | settings
    halve, later = settings.pop("halve", False), settings.pop("later", {})
    viewed, together, resumed, coarse = (
        settings.pop(each, False) for each in ("viewed", "together", "resumed", "coarse")
    )
    if coarse:
        return _in_bfloat16(answer, shapes[0][0], settings["lr"])
    parameters, idle, sizes, groups = [], [], [], []
    for i, (shape, own) in enumerate(shapes):
        own = dict(own)
        p = nn.Parameter(normal(*shape, seed=i, dtype=own.pop("dtype", torch.float32)))
        idle.append(own.pop("idle", False))
        sizes.append(own.pop("size", 1.0))
        parameters.append(p)
        groups.append({"params": [p], **own})
    if together:
        groups = [{"params": parameters}]
    optimizer = answer([dict(group) for group in groups], **settings)
    looked_at = [p.detach() if viewed else p for p in parameters]
    history: list[list[Tensor]] = [[] for _ in parameters]
    for step in range(3):
        for i, p in enumerate(parameters):
            if not idle[i]:
                p.grad = sizes[i] * normal(*p.shape, seed=100 * step + i + 50, dtype=p.dtype)
        before = [None if p.grad is None else p.grad.clone() for p in parameters]
        optimizer.step()
        for p, grad in zip(parameters, before, strict=True):
            if grad is not None and (p.grad is None or not torch.equal(p.grad, grad)):
                raise Problem("It changes p.grad, which others may still read.")
        for group in optimizer.param_groups:
            group["lr"] *= 0.5 if halve else 1.0
            group.update(later)
        if resumed and step == 0:
            saved = copy.deepcopy(optimizer.state_dict())
            optimizer = answer([dict(group) for group in groups], **settings)
            optimizer.load_state_dict(saved)
        for p, each in zip(looked_at, history, strict=True):
            each.append(p.detach().clone())
    return {
        f"parameter {i} after step {n}": each
        for i, its in enumerate(history, 1)
        for n, each in enumerate(its, 1)
    }


def _in_bfloat16(answer: Callable, shape: tuple[int, ...], lr: float) -> Parts:
    """What shows of the format in which one step computes. The numbers themselves depend on the order of sums there."""
    p = nn.Parameter(normal(*shape))
    before, grad = p.detach().clone(), normal(*shape, seed=1)
    p.grad = grad.clone()
    answer([{"params": [p]}], lr=lr, weight_decay=0.0).step()
    scale = 0.2 * math.sqrt(max(shape[-2:]))
    away = ((before - p.detach()).double() / (lr * scale) - newton_schulz_written_out(grad)).abs().max()
    return {
        "format of the parameter": str(p.dtype),
        "near the result in float64": bool(away < 0.2),
        "rounded as in bfloat16": bool(away > 1e-3),
    }
