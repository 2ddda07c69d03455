"""Does every parameter learn? The optimizers must hold it exactly once, a gradient must reach it, one step move it."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lab_utils.inspector.answer import Routing
from lab_utils.inspector.balance import feeds_a_loss
from lab_utils.inspector.finding import Finding, does_not_apply, join_names
from lab_utils.inspector.routing import chosen_experts
from lab_utils.inspector.subject import Subject, copy_module
from lab_utils.show.words import plural

NAME = "parameters learn"
BATCH = 8
BALANCE_COEF = 0.01


def probe_parameters(
    subject: Subject, optimizers: Sequence[torch.optim.Optimizer] = (), balance_loss: Callable | None = None
) -> Finding:
    """Whether every parameter learns in one step of a copy of the module and its optimizers.

    Without optimizers it is AdamW over all parameters. The loss is the next-token loss (tokens) or a random mixture of
    the output (vectors), plus a hundredth of the balance loss. It finds parameters that no optimizer or more than one
    holds, frozen ones, ones without a gradient or a change, and tensors in the graph that are no parameters of the
    module: made in forward or kept in a plain list. It also finds routers that the output teaches nothing, because all
    chosen experts have one weight, as with K = 1 and normalised weights: only the balance loss moves such a router.
    """
    if not isinstance(subject.model, nn.Module):
        return does_not_apply(NAME, "A function has no parameters.")
    if not any(True for _ in subject.model.parameters()):
        return does_not_apply(NAME, "It has no parameters.")
    model, copies = _copy_with_optimizers(subject, optimizers)
    names = {id(p): name for name, p in model.named_parameters()}
    held = Counter(id(p) for optimizer in copies for group in optimizer.param_groups for p in group["params"])
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.enable_grad():
        loss, routing = _loss(subject, model, balance_loss)
        strangers = [leaf for leaf in _leaves(loss) if id(leaf) not in names]
        if loss.requires_grad:
            loss.backward()
    for optimizer in copies:
        optimizer.step()
    parameters = {names[id(p)]: p for p in model.parameters() if id(p) in names}
    idle = {name for name in parameters if _is_idle_expert(name, parameters[name], routing)}
    problems = {
        "unknown to the optimizer": [names[i] for i in names if not held[i]],
        "held more than once": [names[i] for i in names if held[i] > 1],
        "frozen": [name for name, p in parameters.items() if not p.requires_grad],
        "without gradient": [
            name
            for name, p in parameters.items()
            if p.requires_grad and not _has_gradient(p) and name not in idle
        ],
    }
    # A layer made late leaves the parameter that it replaces without a gradient.
    late = [name for name, p in model.named_parameters() if id(p) not in names]
    accounted = {name for found in problems.values() for name in found} | idle
    problems["with a gradient, yet unmoved"] = [
        name for name, p in parameters.items() if name not in accounted and torch.equal(p, before[name])
    ]
    found = {what: those for what, those in problems.items() if those}
    sentences = [f"{what}: {join_names(those)}" for what, those in found.items()]
    if strangers:
        kinds = [str(tuple(leaf.shape)) for leaf in strangers]
        made = f" ({join_names(late)})" if late else ""
        learn = "tensor learns" if len(strangers) == 1 else "tensors learn"
        sentences.insert(
            0,
            f"{len(strangers)} {learn} without being a parameter of the module, made in forward or kept in a plain "
            f"list{made}: {join_names(kinds)}",
        )
        found["not parameters of the module"] = kinds
    if untaught := [layer.name or "the router" for layer in routing if _has_one_weight(layer)]:
        found["taught nothing by the output"] = untaught
        sentences.append(
            "all chosen experts have one weight, so the output teaches the router nothing (K = 1 needs weights that "
            f"are not normalised): {join_names(untaught)}"
        )
    if sentences:
        text = "; ".join(sentences)
        return Finding(NAME, False, f"{text[:1].upper()}{text[1:]}.", found)
    whose = (
        f"the {plural(len(optimizers), 'optimizer')}"
        if optimizers
        else "an AdamW made before the first forward"
    )
    return Finding(
        NAME,
        True,
        f"All {len(names)} parameters are held once by {whose}, have a gradient and move in one step"
        f"{_describe_idle_experts(idle, routing)}.",
        {"idle": sorted(idle)},
    )


def _copy_with_optimizers(
    subject: Subject, optimizers: Sequence[torch.optim.Optimizer]
) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
    """Copies of the module and of its optimizers: the new optimizers hold the new module and have no state."""
    memo: dict[int, Any] = {}
    model = copy_module(subject.model, memo)
    copies = []
    for optimizer in optimizers:
        twin = object.__new__(type(optimizer))
        # copy.deepcopy(optimizer) would lose the attributes that torch does not know.
        # A scheduler's wrapper around `step` would step the original, so it is left out.
        kept = {name: value for name, value in vars(optimizer).items() if name not in ("step", "state")}
        vars(twin).update(copy.deepcopy(kept, memo), state=defaultdict(dict))
        copies.append(twin)
    # Each parameter in place, so that the optimizers still hold it.
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(subject.dtype)
        tensor.grad = None
    model.train()
    return model, copies or [torch.optim.AdamW([p for p in model.parameters()], lr=1e-3)]


def _loss(
    subject: Subject, model: nn.Module, balance_loss: Callable | None
) -> tuple[Tensor, tuple[Routing, ...]]:
    x = subject.inputs(BATCH, subject.seq_len, draw=4)
    out, routing = subject.run(model, x)
    if subject.takes_tokens and out.shape[-1] > int(x.max()):
        targets = subject.inputs(BATCH, subject.seq_len, draw=5)
        loss = F.cross_entropy(out.flatten(0, 1), targets.flatten())
    else:
        generator = torch.Generator().manual_seed(subject.seed + 5)
        loss = (out * torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out)).sum()
    if balance_loss is not None:
        for layer in filter(feeds_a_loss, routing):
            loss = loss + BALANCE_COEF * balance_loss(layer.stats)
    return loss, routing


def _has_one_weight(layer: Routing) -> bool:
    """Whether every chosen expert of every token has the same weight, although there are others to choose."""
    weights = layer.weights.detach().double()
    return layer.n_experts() > 1 and bool(weights.max() - weights.min() <= 1e-6 * weights.abs().max())


def _leaves(loss: Tensor) -> list[Tensor]:
    """Every leaf of the graph that would get a gradient, in the order in which the search meets it."""
    found: dict[int, Tensor] = {}
    todo, met = [loss.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in met:
            continue
        met.add(node)
        if (variable := getattr(node, "variable", None)) is not None:
            found[id(variable)] = variable
        todo += [before for before, _ in node.next_functions]
    return list(found.values())


def _has_gradient(p: nn.Parameter) -> bool:
    return p.grad is not None and bool(p.grad.count_nonzero())


def _is_idle_expert(name: str, p: nn.Parameter, routing: tuple[Routing, ...]) -> bool:
    """Whether a parameter belongs to an expert (`experts.3.up.weight`) that no token of the batch chose."""
    if _has_gradient(p):
        return False
    for layer, chosen in chosen_experts(routing):
        inside = name.removeprefix(f"{layer}.") if layer else name
        numbers = [int(part) for part in inside.split(".") if part.isdigit()]
        if (not layer or inside != name) and numbers and numbers[0] not in chosen:
            return True
    return False


def _describe_idle_experts(idle: set[str], routing: tuple[Routing, ...]) -> str:
    """The end of a sentence about the experts that had no token in this batch; empty where all had some."""
    unused = sum(layer.n_experts() - len(set(layer.expert_idx.flatten().tolist())) for layer in routing)
    if not unused:
        return ""
    whole = f" (with {plural(len(idle), 'parameter')} of their own)" if idle else ""
    return f"; {plural(unused, 'expert')} had no token in this batch and did not learn{whole}"
