"""The inputs of the exercises of notebook 04, and what is looked at in their answers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.exercise import Case, Parts, call, call_with_gradients
from nanokimi.config import MoEConfig
from nanokimi.experts import ExpertBank
from nanokimi.router import RouterStats, topk_route


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return 1.5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


# ---------------------------------------------------------------- topk_route


def observe_route(implementation: Callable, logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> Parts:
    """The choice without its order: the weight of every expert, 0 where it was not chosen; and the gradient of
    float32 logits through the weights. (That of bfloat16 logits is rounded where the learner converts them.)
    """
    if logits.dtype == torch.float32:
        logits = logits.detach().requires_grad_()
    stats = implementation(logits, expert_bias, cfg)
    if not isinstance(stats, RouterStats):
        stats = RouterStats(*stats)
    dense = torch.zeros_like(stats.scores).scatter(-1, stats.expert_idx, stats.weights.to(stats.scores.dtype))
    chosen = torch.zeros_like(stats.scores).scatter(-1, stats.expert_idx, 1.0).int()
    parts = {"logits": stats.logits, "scores": stats.scores, "chosen": chosen, "weights by expert": dense}
    if logits.requires_grad:
        if stats.weights.requires_grad:
            (dense * numbers(*dense.shape)).sum().backward()
        moved = torch.zeros_like(logits) if logits.grad is None else logits.grad
        parts["gradient of the logits, by the weights"] = moved
    return parts


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
    ]


def weights_sum_to_the_factor(parts: Parts, logits: Tensor, bias: Tensor, cfg: MoEConfig) -> bool:
    if not cfg.norm_topk_prob or cfg.routed_scaling_factor is None:
        return True
    total = parts["weights by expert"].sum(dim=-1)
    # As wide as bfloat16 rounds: who returns that is told of the format, and not of the sum as well.
    return torch.allclose(total.float(), torch.full_like(total.float(), cfg.routed_scaling_factor), atol=0.02)


def no_bias_when_all_are_chosen(parts: Parts, logits: Tensor, bias: Tensor, cfg: MoEConfig) -> bool:
    if cfg.top_k < cfg.n_routed_experts:
        return True
    right = topk_route(logits, torch.zeros_like(bias), cfg)
    dense = torch.zeros_like(right.scores).scatter(-1, right.expert_idx, right.weights)
    return torch.allclose(parts["weights by expert"], dense, atol=1e-5)


# ---------------------------------------------------------------- load and losses


def counts_of(implementation: Callable, expert_idx: Tensor, n_experts: int) -> Parts:
    """The counts, as int64 where they are whole numbers of another width."""
    parts = call(implementation, expert_idx, n_experts)
    return {
        name: part.long()
        if isinstance(part, Tensor) and part.dtype in (torch.int32, torch.int16, torch.uint8)
        else part
        for name, part in parts.items()
    }


def load_cases() -> list[Case]:
    return [
        Case("one token, one choice", (torch.tensor([[2]]), 4)),
        Case("two tokens, two choices each", (torch.tensor([[0, 1], [1, 3]]), 4)),
        Case("nobody chose the last experts", (torch.tensor([[0, 1], [1, 0], [0, 1]]), 6)),
        Case(
            "a batch of sequences",
            (torch.randint(5, (2, 7, 3), generator=torch.Generator().manual_seed(0)), 5),
        ),
        Case("everything to one expert", (torch.full((9, 1), 3), 8)),
        # Counts of 8 or 16 bits run over.
        Case("33,000 tokens to one of two experts", (torch.ones(33_000, 1, dtype=torch.long), 2)),
    ]


def violation_cases() -> list[Case]:
    loads = (
        [5.0, 5.0, 5.0],
        [6.0, 2.0],
        [0.0, 0.0, 12.0, 0.0],
        [5.0, 5.0, 5.0, 1.0],
        [1.0, 2.0, 3.0, 8.0],
        [7.0],
        [0.5, 0.25, 0.25],
    )
    says = (
        "an even load",
        "two experts, three to one",
        "everything to one of four",
        "one expert far below the others",
        "four experts",
        "one expert",
        "shares instead of counts",
    )
    return [Case(text, (torch.tensor(load),)) for text, load in zip(says, loads, strict=True)]


def stats_from(
    logits: Tensor, top_k: int, bias: Tensor | float = 0.0, scoring: str = "sigmoid"
) -> RouterStats:
    scores = logits.sigmoid() if scoring == "sigmoid" else logits.softmax(dim=-1)
    idx = (scores.detach() + bias).topk(top_k, dim=-1).indices
    return RouterStats(logits, scores, idx, scores.gather(-1, idx))


def loss_and_gradient(
    implementation: Callable, logits: Tensor, top_k: int, bias: Tensor | float, scoring: str
) -> Parts:
    """The loss as a function of the logits, and its gradient."""
    return call_with_gradients(lambda z: implementation(stats_from(z, top_k, bias, scoring)), logits)


# Every expert is liked most by one of four tokens, second by one, and so on: even, and no two scores of a token are
# equal, for among equal scores each way of choosing the best is right and gives another gradient.
EVEN_LOGITS = torch.stack([torch.tensor([1.5, 0.5, -0.5, -1.5]).roll(t) for t in range(4)])[None]


def loss_cases() -> list[Case]:
    bias = torch.tensor([0.0, 0.9, 0.0, -0.9])
    return [
        Case("one token, K = 1", (torch.tensor([[[2.0, 0.0, -1.0, 1.0]]]), 1, 0.0, "sigmoid")),
        Case("an even router", (EVEN_LOGITS, 2, 0.0, "sigmoid")),
        Case("three tokens, K = 2", (numbers(1, 3, 4), 2, 0.0, "sigmoid")),
        Case("a batch, K = 2", (numbers(3, 5, 4), 2, 0.0, "sigmoid")),
        Case("softmax scores", (numbers(2, 5, 4), 2, 0.0, "softmax")),
        Case("a bias that changes the choice", (numbers(2, 6, 4), 2, bias, "sigmoid")),
        Case("five tokens, K = 1", (numbers(1, 5, 4), 1, 0.0, "sigmoid")),
        Case("collapsed, K = 1", (torch.tensor([12.0, 0.0, 0.0]).expand(1, 5, 3).clone(), 1, 0.0, "sigmoid")),
    ]


def one_when_even(parts: Parts, logits: Tensor, *_: Any) -> bool:
    return not torch.equal(logits, EVEN_LOGITS) or abs(float(parts["result"]) - 1) < 1e-4


def gradient_flows(parts: Parts, logits: Tensor, *_: Any) -> bool:
    """Where the tokens differ and the load is uneven the loss can be made smaller."""
    moves = next(p for name, p in parts.items() if name.startswith("gradient"))
    nothing_to_gain = logits.shape[1] < 3 or torch.equal(logits, EVEN_LOGITS) or float(logits.max()) > 11
    return nothing_to_gain or bool(moves.any())


# ---------------------------------------------------------------- update_expert_bias_


def bias_after(implementation: Callable, bias: Tensor, load: Tensor, rate: float, times: int) -> Parts:
    for _ in range(times):
        implementation(bias, load, rate)
    return {"bias afterwards": bias}


def bias_cases() -> list[Case]:
    return [
        Case("two experts", (torch.zeros(2), torch.tensor([3, 1]), 0.1, 1)),
        Case("one busy, three idle", (torch.zeros(4), torch.tensor([9, 1, 1, 1]), 0.1, 1)),
        Case("a mean that is no whole number", (torch.zeros(4), torch.tensor([4, 3, 2, 2]), 0.1, 1)),
        Case("an even load changes nothing", (torch.tensor([0.2, -0.2]), torch.tensor([4, 4]), 0.1, 1)),
        Case(
            "a bias that is there already", (torch.tensor([0.5, -0.5, 0.0]), torch.tensor([7, 2, 3]), 0.01, 1)
        ),
        Case(
            "a bias whose mean is not 0", (torch.tensor([0.5, -0.25, 0.0]), torch.tensor([7, 2, 3]), 0.01, 1)
        ),
        Case("three steps", (torch.zeros(3), torch.tensor([7, 2, 3]), 0.01, 3)),
        Case("a load at exactly the mean", (torch.zeros(3), torch.tensor([4, 3, 2]), 0.1, 1)),
        # The steps of the last case have the mean 0; here they have not.
        Case("a load at the mean, and more below it", (torch.zeros(4), torch.tensor([6, 3, 2, 1]), 0.1, 1)),
        Case("a mean half way between two loads", (torch.zeros(4), torch.tensor([4, 3, 2, 1]), 0.1, 1)),
        Case("biases beyond 1 and -1", (torch.tensor([1.5, -1.25, 0.5]), torch.tensor([7, 2, 3]), 0.01, 1)),
        Case("an expert without tokens", (torch.zeros(4), torch.tensor([3, 3, 3, 0]), 0.1, 1)),
    ]


def mean_stays(parts: Parts, bias: Tensor, *_: Any) -> bool:
    return abs(float(parts["bias afterwards"].mean() - bias.mean())) < 1e-6


def busiest_does_not_rise(parts: Parts, bias: Tensor, load: Tensor, *_: Any) -> bool:
    busiest = int(load.argmax())
    return float(parts["bias afterwards"][busiest]) < float(bias[busiest]) + 1e-6


# ---------------------------------------------------------------- derived_scaling_factor


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
    implementation: Callable, x: Tensor, idx: Tensor, weights: Tensor, bank: ExpertBank
) -> Parts:
    """The output, the gradients of the tokens, of the weights and of the experts, and whether work was wasted."""
    rows_run: list[int] = []
    bank.register_forward_pre_hook(lambda module, args: rows_run.append(len(args[0])))
    parts = call_with_gradients(lambda x, weights: implementation(x, idx, weights, bank), x, weights)
    grads = {
        f"gradient of {n}": torch.zeros_like(p) if p.grad is None else p.grad
        for n, p in bank.named_parameters()
    }
    return parts | grads | {"rows run beyond tokens · K": max(0, sum(rows_run) - idx.numel())}


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
        case("sixty tokens, K = 4 of 16", many, 16),
    ]
