"""Which token sees which: the size of d out_t / d in_s for every pair of tokens, what it must be, and its picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor, nn

from lab_utils.bench import plots
from lab_utils.inspector.finding import Finding, amount, join_names
from lab_utils.inspector.subject import Subject
from lab_utils.show.snapshot import Snapshot
from lab_utils.show.words import plural

NAME = "causality"
N_DIRECTIONS = 4
N_SUBSTITUTES = 3
FEW = 3  # tokens: with two, a norm over them is the same whatever they are
LEAK = "#D55E00"


def probe_causality(subject: Subject) -> Finding:
    """Whether no token sees a later one, exactly, in training mode neither, and every token sees itself.

    In a causal module a gradient above the diagonal is a product with an exact zero, so only 0 passes.
    Landmarks: attention over the whole input instead of the past fills every entry above the diagonal; so does a
    BatchNorm over the tokens of a text, in training mode only.
    """
    seen, how = reach(subject)
    n = len(seen)
    data = {"reach": seen}
    if not seen.isfinite().all():
        return Finding(
            NAME, False, f"The {how} are not finite numbers: the output has NaN or infinity.", data
        )
    leaks, blind = future_pairs(seen), seen.diagonal() == 0
    if leaks:
        return Finding(NAME, False, _describe_leaks(seen), data)
    if blind.any():
        first = int(blind.nonzero()[0])
        return Finding(
            NAME,
            False,
            f"{int(blind.sum())} of {n} tokens do not see themselves: the output at token {first} does not depend on "
            f"token {first}.",
            data,
        )
    if found := _find_leak_in_training(subject):
        return found
    past = int((seen.tril(-1) > 0).sum())
    return Finding(
        NAME,
        True,
        f"All {n * (n - 1) // 2:,} {how} above the diagonal of {n} x {n} are exactly 0; every token sees itself (by "
        f"{amount(seen.diagonal().min())} or more), and {past:,} of {n * (n - 1) // 2:,} pairs look back.",
        data,
    )


def _describe_leaks(seen: Float[Tensor, "reading read"]) -> str:
    """How many later tokens are seen, and the one that is seen most."""
    n, leaks = len(seen), future_pairs(seen)
    t, s = max(leaks, key=lambda pair: seen[pair].item())
    return (
        f"{len(leaks)} of {plural(n * (n - 1) // 2, 'pair')} above the diagonal are not 0: most of all, the output "
        f"at token {t} depends on token {s}, by {amount(seen[t, s])}."
    )


def _find_leak_in_training(subject: Subject) -> Finding | None:
    """The finding where later tokens are seen in training mode only, as by a BatchNorm; None where they are not."""
    if not subject.is_module:
        return None
    # In training mode many models want more than tokens; then only the other mode can be asked.
    try:
        seen, _ = reach(subject, subject.training_copy())
    except Exception:
        return None
    if not future_pairs(seen):
        return None
    short = replace(subject, seq_len=min(FEW, subject.seq_len))  # enough to find out which module it is
    names = [
        name
        for name, _ in subject.model.named_modules()
        if future_pairs(reach(short, short.training_copy(only=name))[0])
    ]
    kinds = {name: type(subject.model.get_submodule(name)).__name__ for name in names}
    sources = [f"{name} ({kinds[name]})" if name else f"the {kinds[name]} itself" for name in names]
    where = f" It comes from {join_names(sources)}." if sources else ""
    return Finding(NAME, False, f"In training mode only, {_describe_leaks(seen)}{where}", {"reach": seen})


def future_pairs(seen: Float[Tensor, "reading read"]) -> list[tuple[int, int]]:
    """The pairs (t, s) with s > t and an entry that is not 0: token t has seen a later token s."""
    return [(int(t), int(s)) for t, s in seen.triu(1).nonzero()]


def reach(
    subject: Subject, model: Callable[..., Any] | None = None
) -> tuple[Float[Tensor, "reading read"], str]:
    """|d out_t / d in_s|, the Frobenius norm of each block, and what the entries are called.

    With up to four output channels the norm is exact. With more it is estimated from four orthonormal directions of
    the output; an exact 0 stays 0. The gradient of a token is that of its embedding. Where the model has no embedding
    module, each token is replaced by others instead, and the entry is the largest change of each output.
    `model` is another copy than the one in eval mode.
    """
    model, x = model or subject.fresh(), subject.inputs(1, subject.seq_len)
    if not subject.takes_tokens:
        leaf = x.requires_grad_()
        return _measure_gradients(subject, lambda: subject.run(model, leaf).out, [leaf]), "gradients"
    leaves: list[Tensor] = []
    handles = _follow_embeddings(model, x, leaves)

    def forward() -> Tensor:
        leaves.clear()
        return subject.run(model, x).out

    with torch.no_grad():
        forward()
    if not leaves:
        return _substitute_tokens(subject, model, x), "moves by replacing a token"
    gradients = _measure_gradients(subject, forward, leaves)
    for handle in handles:
        handle.remove()
    return gradients, "gradients"


def _follow_embeddings(model: Any, x: Tensor, leaves: list[Tensor]) -> list[Any]:
    """Make every embedding of `x` a leaf of the graph, kept in `leaves`; returns the hooks' handles."""

    def cut(module: nn.Module, args: tuple, looked_up: Tensor) -> Tensor | None:
        if args and args[0].shape == x.shape and torch.equal(args[0], x):
            leaves.append(looked_up.detach().requires_grad_())
            return leaves[-1]
        return None

    tables = (
        [m for m in model.modules() if isinstance(m, nn.Embedding)] if isinstance(model, nn.Module) else []
    )
    return [table.register_forward_hook(cut) for table in tables]


def _measure_gradients(subject: Subject, forward: Callable[[], Tensor], leaves: list[Tensor]) -> Tensor:
    with torch.enable_grad():
        out = forward()[0]
    n, width = out.shape
    squares = torch.zeros(n, n, dtype=torch.float64)
    if not out.requires_grad:
        return squares
    for direction in subject.directions(min(width, N_DIRECTIONS), width):
        for t, projected in enumerate((out * direction.to(out.dtype)).sum(-1)):
            for grad in torch.autograd.grad(projected, leaves, retain_graph=True, allow_unused=True):
                if grad is not None:
                    squares[t] += grad[0].detach().double().square().sum(-1).cpu()
    return squares.sqrt()


@torch.no_grad()
def _substitute_tokens(subject: Subject, model: Any, x: Tensor) -> Tensor:
    out, n = subject.run(model, x).out[0], x.shape[1]
    moves = torch.zeros(n, n, dtype=torch.float64)
    for s in range(n):
        for step in range(1, N_SUBSTITUTES + 1):
            other = x.clone()
            other[0, s] = (x[0, s] + step) % subject.width
            moved = (subject.run(model, other).out[0] - out).norm(dim=-1).double().cpu()
            moves[:, s] = torch.maximum(moves[:, s], moved)
    # An expert that gets another number of rows rounds differently, so the smallest changes here mean nothing.
    return moves.where(moves > subject.tolerance * out.norm(dim=-1).max().item(), 0.0)


# ---------------------------------------------------------------- the picture


def causality_picture(seen: Float[Tensor, "reading read"]) -> Snapshot:
    """The heat map of `reach`, with a cross on every leak, and its description in words."""
    n, leaks, blind = len(seen), future_pairs(seen), int((seen.diagonal() == 0).sum())
    alt = f"Heat map of {n} reading tokens (rows) by {n} read tokens (columns): "
    if leaks:
        first = min(leaks)
        alt += f"{len(leaks)} pairs above the diagonal are filled, the first at row {first[0]}, column {first[1]}; "
    else:
        alt += "everything above the diagonal is empty; "
    alt += f"{blind} of {n} fields on the diagonal are empty." if blind else "the diagonal is filled."
    return Snapshot(draw_reach(seen), alt)


def draw_reach(seen: Float[Tensor, "reading read"]) -> Figure:
    """A heat map on a log scale: exact zeros are white, and every entry that should be 0 has a cross."""
    figure = plots.new_figure(6.4, 5.0)
    axes = figure.subplots()
    leaks, blind = future_pairs(seen), (seen.diagonal() == 0).nonzero().flatten().tolist()
    if leaks:
        title = f"The future is seen: {plural(len(leaks), 'crossed field')} above the diagonal"
    elif blind:
        title = f"Blind to itself: {plural(len(blind), 'ring')} on the diagonal"
    else:
        title = "Nobody sees the future: white above the diagonal"
    figure.suptitle(title)
    values = np.ma.masked_less_equal(np.nan_to_num(seen.numpy(), posinf=0.0, neginf=0.0), 0.0)
    if values.count():
        low, high = float(values.min()), float(values.max())
        # A thousandth of the largest is already dark: below lies no difference that anybody needs to see.
        norm = LogNorm(vmin=max(low, high * 1e-4) if low < high else high / 10, vmax=high, clip=True)
        image = axes.imshow(values, cmap="cividis", norm=norm)
        figure.colorbar(image, label="size of d out(t) / d in(s), log scale", ax=axes, shrink=0.9)
    else:
        axes.imshow(np.zeros(values.shape), cmap="Greys")
    size = min(9.0, 120 / len(seen))
    for pairs, marker in ((leaks, "x"), ([(t, t) for t in blind], "o")):
        if pairs:
            rows, columns = zip(*pairs)
            axes.plot(
                columns,
                rows,
                marker,
                color=LEAK,
                markersize=size,
                markerfacecolor="none",
                markeredgewidth=size / 5,
            )
    axes.plot([-0.5, len(seen) - 0.5], [-0.5, len(seen) - 0.5], color="#444444", linewidth=0.8, linestyle=":")
    axes.set_xlabel("token s that is read")
    axes.set_ylabel("token t that reads")
    return figure
