"""The inputs of topk_route, derived_scaling_factor and dispatch, and what is looked at in their answers."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lab_utils.course.exercise import Case, Parts, call, call_with_gradients
from nanokimi.config import MoEConfig
from nanokimi.experts import ExpertBank
from nanokimi.router import RouterStats


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return 1.5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


# ---------------------------------------------------------------- topk_route


def observe_route(implementation: Callable, logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> Parts:
    """The choice without its order: the weight of every expert, 0 where it was not chosen; and the gradients of
    float32 logits through all that comes back. (Those of bfloat16 logits are rounded where the learner converts them.)

    Where all scores are 0 only weights that are nan count: the core divides by logarithms there, a learner by 1e-20.
    """
    if logits.dtype == torch.float32:
        logits = logits.detach().requires_grad_()
    stats = implementation(logits, expert_bias, cfg)
    if not isinstance(stats, RouterStats):
        stats = RouterStats(*stats)
    if cfg.scoring == "sigmoid" and not logits.float().sigmoid().any():
        return {"weights that are nan": int(stats.weights.isnan().sum())}
    dense = torch.zeros_like(stats.scores).scatter(-1, stats.expert_idx, stats.weights.to(stats.scores.dtype))
    chosen = torch.zeros_like(stats.scores).scatter(-1, stats.expert_idx, 1.0).int()
    parts = {"logits": stats.logits, "scores": stats.scores, "chosen": chosen, "weights by expert": dense}
    if logits.requires_grad:
        for name, part in (("weights", dense), ("scores", stats.scores), ("logits returned", stats.logits)):
            parts[f"gradient of the logits, by the {name}"] = _gradient(part, logits)
    return parts


def _gradient(part: Tensor, leaf: Tensor) -> Tensor:
    """The gradient of a fixed weighted sum of `part`."""
    if not part.requires_grad:
        return torch.zeros_like(leaf)
    total = (part * numbers(*part.shape)).sum()
    (found,) = torch.autograd.grad(total, leaf, retain_graph=True, allow_unused=True)
    return torch.zeros_like(leaf) if found is None else found


def route_cases() -> list[Case]:
    cfg = MoEConfig(n_routed_experts=4, top_k=2, routed_scaling_factor=1.0)
    z, b = numbers(2, 3, 4), 0.3 * numbers(4)
    one = torch.tensor([[[2.0, 0.0, -1.0, 1.0]]])
    return [
        Case("one token, no bias", (one, torch.zeros(4), cfg)),
        Case("a bias that changes the choice", (one, torch.tensor([0.0, 0.4, 0.0, 0.0]), cfg)),
        Case("biases below zero", (one, torch.tensor([-3.0, -2.0, -2.5, -2.2]), cfg)),
        Case("a scaling factor of 2.5", (one, torch.zeros(4), replace(cfg, routed_scaling_factor=2.5))),
        Case("a batch, with a bias", (z, b, replace(cfg, routed_scaling_factor=2.5))),
        Case("weights as they are, not normalised", (z, b, replace(cfg, norm_topk_prob=False))),
        Case(
            "not normalised, a scaling factor of 2.5",
            (z, b, replace(cfg, norm_topk_prob=False, routed_scaling_factor=2.5)),
        ),
        Case("softmax scores", (z, b, replace(cfg, scoring="softmax"))),
        Case("softmax scores, not normalised", (z, b, replace(cfg, scoring="softmax", norm_topk_prob=False))),
        Case("the factor derived", (z, b, replace(cfg, routed_scaling_factor=None))),
        Case("one expert per token", (z, b, replace(cfg, top_k=1))),
        Case("all experts chosen: the bias must not show", (z, 3 * b, replace(cfg, top_k=4))),
        Case("bfloat16 logits: float32 throughout", (z.bfloat16(), b, cfg)),
        Case("logits so low that all scores are 0", (one - 200, torch.zeros(4), cfg), aside=True),
    ]


def weights_sum_to_the_factor(parts: Parts, logits: Tensor, bias: Tensor, cfg: MoEConfig) -> bool:
    if "weights by expert" not in parts or not cfg.norm_topk_prob or cfg.routed_scaling_factor is None:
        return True
    if not (parts["chosen"].sum(dim=-1) == cfg.top_k).all():
        return True  # who names an expert twice gave it two weights, and one of them is seen
    total = parts["weights by expert"].sum(dim=-1)
    # As wide as bfloat16 rounds: who returns that is told of the format, and not of the sum as well.
    return torch.allclose(total.float(), torch.full_like(total.float(), cfg.routed_scaling_factor), atol=0.02)


# ---------------------------------------------------------------- derived_scaling_factor


def observe_factor(implementation: Callable, *args: int) -> Parts:
    """The factor, and whether torch's own generator is left alone: who sets its seed changes every later draw."""
    torch.manual_seed(17)  # a seed that no answer sets by chance
    before = torch.get_rng_state()
    parts = call(implementation, *args)
    left = torch.equal(before, torch.get_rng_state())
    return parts | {"torch's own generator": "as it was" if left else "drawn from, or its seed set"}


def factor_cases() -> list[Case]:
    sizes = ((1, 1), (4, 4), (4, 2), (8, 1), (16, 2), (64, 6))
    cases = [Case(f"K = {k} of E = {e}", (e, k, 2000)) for e, k in sizes]
    return [
        *cases,
        Case("2,001 draws", (8, 2, 2001)),
        Case("2,500 draws", (8, 2, 2500)),
        Case("20,000 draws, the default", (4, 2)),
    ]


# ---------------------------------------------------------------- dispatch


def bank_of(n_experts: int, d_model: int, width: int) -> ExpertBank:
    bank = ExpertBank(n_experts, d_model, width)
    with torch.no_grad():
        for seed, p in enumerate(bank.parameters()):
            p.copy_(numbers(*p.shape, seed=seed))
    return bank


def observe_dispatch(
    implementation: Callable, x: Tensor, expert_idx: Tensor, weights: Tensor, bank: ExpertBank
) -> Parts:
    """The output, the gradients of the tokens, of the weights and of the experts, and whether work was wasted."""
    rows_run: list[int] = []
    bank.register_forward_pre_hook(lambda module, args: rows_run.append(len(args[0])))
    parts = call_with_gradients(
        lambda x, weights: implementation(x, expert_idx, weights, bank), x, weights, names=["x", "weights"]
    )
    grads = {
        f"gradient of {n}": torch.zeros_like(p) if p.grad is None else p.grad
        for n, p in bank.named_parameters()
    }
    return parts | grads | {"rows run beyond tokens · K": max(0, sum(rows_run) - expert_idx.numel())}


def dispatch_cases() -> list[Case]:
    def case(
        says: str, idx: list[list[int]], n_experts: int, weights: list[list[float]] | None = None
    ) -> Case:
        expert_idx = torch.tensor(idx)
        weighs = numbers(*expert_idx.shape).sigmoid() if weights is None else torch.tensor(weights)
        return Case(says, (numbers(len(idx), 3), expert_idx, weighs, bank_of(n_experts, 3, 2)))

    many = torch.rand(60, 16, generator=torch.Generator().manual_seed(0)).topk(4, dim=-1).indices.tolist()
    return [
        case("one token, one expert", [[0]], 1),
        case("two tokens, K = 1", [[1], [0]], 2),
        case("three tokens, K = 2", [[0, 1], [2, 0], [1, 2]], 3),
        case("experts without tokens", [[4, 1], [1, 4], [4, 1]], 6),
        case("all tokens to one expert", [[2], [2], [2], [2]], 4),
        case("K = E", [[1, 0, 2], [2, 1, 0]], 3),
        # A weight of 0 has a gradient, and its expert runs.
        case("weights of 0, below 0, above 1", [[0, 1], [1, 2]], 3, weights=[[0.0, 1.7], [-0.4, 0.5]]),
        case("weights near 0", [[0, 1], [1, 2]], 3, weights=[[1e-9, 0.7], [0.4, 1e-9]]),
        case("sixty tokens, K = 4 of 16", many, 16),
    ]
