"""What must hold for every router and its experts: K experts per token, no choice dropped, and a bias that changes
only who is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lab_utils.inspector.answer import Routing, named_number
from lab_utils.inspector.finding import Finding, amount, does_not_apply, relative_difference
from lab_utils.inspector.subject import Subject
from lab_utils.show.words import plural

K_EXPERTS, NO_DROPS = "K experts per token", "no dropped tokens"
BIAS = "bias steers only"

COUNT_NAMES = ("counts", "load", "expert_load", "expert_counts", "tokens_per_expert")
BIAS_NAMES = ("expert_bias", "e_score_correction_bias")
TOP_K_NAMES = ("top_k", "num_experts_per_tok", "k")
NO_ROUTER = "Nothing in it reports what a router chose (expert_idx and weights)."
BATCH = 4
CROWD = 256  # equal tokens, which all choose the same experts: more than any sensible capacity


def probe_k_experts(subject: Subject) -> Finding:
    """Whether every token has K different experts, and all counts that the module keeps sum to tokens x K."""
    model, x = subject.fresh(), subject.inputs(BATCH, subject.seq_len)
    with torch.no_grad():
        layers = subject.run(model, x).routing
        if not layers:
            return does_not_apply(K_EXPERTS, NO_ROUTER)
        # The counts of a second pass: a module may count from its first pass on.
        before = [_counts(layer) for layer in layers]
        layers = subject.run(model, x).routing
    n_tokens, chosen_each = x.numel() if subject.takes_tokens else x.shape[0] * x.shape[1], []
    for layer, old in zip(layers, before, strict=True):
        top_k = named_number(layer.layer, *TOP_K_NAMES) or layer.expert_idx.shape[1]
        problem = _find_choice_problem(layer, top_k, n_tokens)
        if problem := problem or _find_count_problem(layer, old, n_tokens * top_k):
            return Finding(K_EXPERTS, False, f"{where(layer)}{problem}")
        chosen_each.append(top_k)
    counted = sum(len(counts) for counts in before)
    kept = f"; {plural(counted, 'count')} that it keeps sum to the same" if counted else ""
    return Finding(
        K_EXPERTS,
        True,
        f"Each of {n_tokens} tokens has {chosen_each[0]} different experts of {layers[0].n_experts()} in "
        f"{plural(len(layers), 'router')}: {n_tokens} x {chosen_each[0]} = {n_tokens * chosen_each[0]} choices{kept}.",
    )


def _find_choice_problem(layer: Routing, top_k: int, n_tokens: int) -> str:
    """What is wrong with the chosen experts, as a sentence; empty where nothing is."""
    chosen, n_experts = layer.expert_idx, layer.n_experts()
    if len(chosen) != n_tokens:
        return f"{len(chosen)} of {n_tokens} tokens have a choice at all."
    if chosen.shape[1] != top_k:
        return f"a token has {plural(chosen.shape[1], 'expert')}, and top_k is {top_k}."
    if chosen.min() < 0 or chosen.max() >= n_experts:
        return f"expert {int(chosen.max() if chosen.max() >= n_experts else chosen.min())} is chosen of {n_experts}."
    ordered = chosen.sort(dim=1).values
    twice = (ordered[:, 1:] == ordered[:, :-1]).any(dim=1)
    if twice.any():
        t = int(twice.nonzero()[0])
        return f"{int(twice.sum())} of {n_tokens} tokens have an expert twice, such as token {t}: {chosen[t].tolist()}."
    return ""


def _counts(layer: Routing) -> dict[str, Tensor]:
    """The counts of tokens per expert that the facts or the layer keep, by name."""
    found = {}
    for holder in (layer.stats, layer.layer):
        for name in COUNT_NAMES:
            value = getattr(holder, name, None)
            if isinstance(value, Tensor) and value.shape == (layer.n_experts(),):
                found.setdefault(name, value.detach().clone())
    return found


def _find_count_problem(layer: Routing, before: dict[str, Tensor], expected: int) -> str:
    """What is wrong with the counts, as a sentence; empty where nothing is."""
    true = torch.bincount(layer.expert_idx.flatten(), minlength=layer.n_experts())
    for name, value in _counts(layer).items():
        # A count of this pass alone, or one that has grown by this pass.
        grown = value - before[name]
        if not any(torch.equal(seen.long(), true) for seen in (value, grown)):
            got = int(grown.sum()) if grown.any() else int(value.sum())
            if got == expected:
                worst = int((value - true).abs().argmax())
                return f"{name} says {int(value[worst])} tokens of expert {worst}, which {int(true[worst])} chose."
            return f"{name} sums to {got}, and tokens x K is {expected}."
    return ""


def probe_dropped_tokens(subject: Subject) -> Finding:
    """Whether every choice counts: the output depends on every weight of every token, in training too.

    It is asked twice: with random tokens, and with a crowd of equal ones, which an expert of limited capacity cannot
    serve. d out / d weight of a (token, choice) is that expert's output; where it is exactly 0, the expert did not run.
    """
    model = subject.fresh()
    if isinstance(model, nn.Module):
        _train_without_dropout(model)
    rows = max(1, CROWD // subject.seq_len)
    alike = subject.inputs(1, 1).expand(rows, subject.seq_len, *([] if subject.takes_tokens else [-1]))
    cases = (("random", subject.inputs(BATCH, subject.seq_len)), ("equal", alike.contiguous()))
    asked = 0
    for kind, x in cases:
        with torch.enable_grad():
            answer = subject.run(model, x)
        if not answer.routing:
            return does_not_apply(NO_DROPS, NO_ROUTER)
        for layer in answer.routing:
            effect = _effects_of_choices(subject, answer.out, layer)
            if effect is None:
                return does_not_apply(
                    NO_DROPS, f"{where(layer)}the weights that it reports carry no gradient from the output."
                )
            lost = (effect == 0) | (layer.weights == 0)
            asked += lost.numel()
            if lost.any():
                tokens, empty = int(lost.any(dim=1).sum()), int(lost.all(dim=1).sum())
                return Finding(
                    NO_DROPS,
                    False,
                    f"{where(layer)}{int(lost.sum())} of {plural(lost.numel(), 'choice')} of {len(lost)} {kind} "
                    f"tokens add nothing to the output; {plural(tokens, 'token')} lost an expert "
                    f"and {empty} all of them.",
                    {"lost": lost},
                )
    return Finding(
        NO_DROPS,
        True,
        f"All {asked:,} choices add to the output, also with {alike.shape[0] * alike.shape[1]} equal tokens that crowd "
        "the same experts.",
    )


def _train_without_dropout(model: nn.Module) -> None:
    """Set training mode, in which capacities act, but without random masks."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()


def _effects_of_choices(subject: Subject, out: Tensor, layer: Routing) -> Tensor | None:
    """d (a random mixture of the output) / d weight, tokens x K; None where no gradient arrives."""
    weights = layer.stats.weights
    if not (weights.requires_grad and out.requires_grad):
        return None
    generator = torch.Generator().manual_seed(subject.seed + 2)
    mixture = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out)
    (grad,) = torch.autograd.grad((out * mixture).sum(), weights, retain_graph=True, allow_unused=True)
    return None if grad is None else grad.flatten(0, -2)


def probe_expert_bias(subject: Subject) -> Finding:
    """Whether the balancing bias changes who is chosen, and nothing else.

    A token that keeps its experts under a random bias must keep its weights and output; with K = E every token must.
    A large bias on the least chosen expert must bring every token to it.
    """
    model, x = subject.fresh(), subject.inputs(BATCH, subject.seq_len)
    with torch.no_grad():
        layers = subject.run(model, x).routing
        if not layers:
            return does_not_apply(BIAS, NO_ROUTER)
        biases = _biases(model)
        if len(biases) != len(layers):
            return does_not_apply(
                BIAS,
                f"It has {plural(len(layers), 'router')} and {len(biases)} biases called expert_bias.",
            )
        compared = 0
        for i, bias in enumerate(biases):
            for other in biases:
                other.zero_()
            plain = subject.run(model, x).routing[i]
            if problem := _find_steering_problem(subject, model, x, i, bias, plain):
                return Finding(BIAS, False, f"{where(plain)}{problem}")
            kept, moved, by = _measure_leak(subject, model, x, i, bias, plain)
            compared += kept
            if not moved <= subject.tolerance:
                return Finding(
                    BIAS,
                    False,
                    f"{where(plain)}a bias of up to {amount(by)} leaves {plural(kept, 'token')} with the same experts "
                    f"and yet moves their weights or output by {amount(moved)} of the largest.",
                )
    steered = layers[0].expert_idx.shape[1] < layers[0].n_experts()
    bold = "a large one brings every token to its expert" if steered else "K = E leaves nothing to steer"
    return Finding(
        BIAS,
        True,
        f"{plural(compared, 'token')} that keep their experts under a random bias keep weights and output; {bold}.",
    )


def _biases(model: Any) -> list[Tensor]:
    """The balancing biases, in the order of the layers."""
    if not isinstance(model, nn.Module):
        return []
    named = [*model.named_buffers(), *model.named_parameters()]
    found = {name: tensor for name, tensor in named if name.rpartition(".")[2] in BIAS_NAMES}
    order = {id(m): i for i, m in enumerate(model.modules())}
    owner = {name: order[id(model.get_submodule(name.rpartition(".")[0]))] for name in found}
    return [found[name] for name in sorted(found, key=owner.__getitem__)]


def _find_steering_problem(
    subject: Subject, model: Any, x: Tensor, i: int, bias: Tensor, plain: Routing
) -> str:
    """Whether a large bias fails to bring every token to its expert, as a sentence; empty where it does not fail."""
    n_experts = plain.n_experts()
    if plain.expert_idx.shape[1] == n_experts:
        return ""
    shunned = int(torch.bincount(plain.expert_idx.flatten(), minlength=n_experts).argmin())
    bias.zero_()[shunned] = 1e4
    pushed = subject.run(model, x).routing[i].expert_idx
    bias.zero_()
    came = (pushed == shunned).any(dim=1)
    if came.all():
        return ""
    return (
        f"a bias of 10,000 on expert {shunned} brings {int(came.sum())} of {len(came)} tokens to it, not all."
    )


def _measure_leak(
    subject: Subject, model: Any, x: Tensor, i: int, bias: Tensor, plain: Routing
) -> tuple[int, float, float]:
    """How many tokens keep their experts under a random bias, how much their weights or output change, and the bias.

    The bias shrinks until at least half of the tokens keep their experts.
    """
    generator = torch.Generator().manual_seed(subject.seed + 3)
    draw = torch.rand(bias.shape, generator=generator, dtype=torch.float64) * 2 - 1
    before, kept, moved = _by_expert(plain), None, plain
    for size in (0.3, 0.1, 0.03, 0.01, 0.003, 0.001):
        bias.copy_(draw * size)
        moved = subject.run(model, x).routing[i]
        kept = ((_by_expert(moved) != 0) == (before != 0)).all(dim=1)
        if kept.sum() * 2 >= len(kept):
            break
    bias.zero_()
    assert kept is not None
    difference = relative_difference(_by_expert(moved)[kept], before[kept])
    if plain.out is not None and moved.out is not None:
        outs = (layer.out.flatten(0, 1)[kept] for layer in (moved, plain))
        difference = max(difference, relative_difference(*outs))
    return int(kept.sum()), difference, float(draw.abs().max() * size)


def _by_expert(layer: Routing) -> Tensor:
    """The weights as tokens x experts; 0 where an expert was not chosen."""
    weights = layer.weights
    return weights.new_zeros(len(weights), layer.n_experts()).scatter(1, layer.expert_idx, weights)


def where(layer: Routing) -> str:
    """The layer's name and a colon, to begin a sentence with; empty for a plain function."""
    return f"{layer.name}: " if layer.name else ""


def chosen_experts(layers: tuple[Routing, ...]) -> Iterator[tuple[str, set[int]]]:
    """For every router its name and the experts that at least one token chose."""
    for layer in layers:
        yield layer.name, set(layer.expert_idx.flatten().tolist())
