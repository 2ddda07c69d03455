"""The inputs of the exercises of notebook 04 on balance: loads, losses and the bias update; and what is looked at."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.chapters.ch04_routing.cases import numbers
from lab_utils.course.exercise import Case, Parts, call, call_with_gradients
from nanokimi.router import RouterStats


def counts_of(implementation: Callable, expert_idx: Tensor, n_experts: int) -> Parts:
    """The counts, as int64 where they are whole numbers of another width."""
    parts = call(implementation, expert_idx, n_experts)
    return {
        name: part.long()
        if isinstance(part, Tensor) and part.dtype in (torch.int32, torch.int16, torch.int8, torch.uint8)
        else part
        for name, part in parts.items()
    }


def load_cases() -> list[Case]:
    return [
        Case("one token, one choice", (torch.tensor([[2]]), 4)),
        Case("two tokens, two choices each", (torch.tensor([[0, 1], [1, 3]]), 4)),
        Case("one axis, six choices", (torch.tensor([2, 0, 2, 1, 3, 2]), 4), aside=True),
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
        [6.0, 4.0, 1.0, 1.0],
    )
    says = (
        "an even load",
        "two experts, three to one",
        "everything to one of four",
        "one expert far below the others",
        "four experts",
        "one expert",
        "shares instead of counts",
        "two experts above the mean",
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
    """The loss as a function of the logits, and its gradient: where scores are equal that of any choice is right."""
    if torch.equal(logits, UNIFORM_LOGITS):
        return {"result": call(implementation, stats_from(logits, top_k, bias, scoring))["result"]}
    return call_with_gradients(
        lambda z: implementation(stats_from(z, top_k, bias, scoring)), logits, names=["stats.logits"]
    )


# Every expert is liked most by one of four tokens, second by one, and so on: even, and no two scores of a token are
# equal, for among equal scores each way of choosing the best is right and gives another gradient.
EVEN_LOGITS = torch.stack([torch.tensor([1.5, 0.5, -0.5, -1.5]).roll(t) for t in range(4)])[None]


UNIFORM_LOGITS = torch.zeros(1, 3, 4)


def loss_cases() -> list[Case]:
    bias = torch.tensor([0.0, 0.9, 0.0, -0.9])
    return [
        Case("one token, K = 1", (torch.tensor([[[2.0, 0.0, -1.0, 1.0]]]), 1, 0.0, "sigmoid")),
        Case("an even router", (EVEN_LOGITS, 2, 0.0, "sigmoid")),
        Case("three tokens, K = 2", (numbers(1, 3, 4), 2, 0.0, "sigmoid")),
        Case("a batch of three sequences, K = 2", (numbers(3, 5, 4), 2, 0.0, "sigmoid")),
        Case("softmax scores, two sequences", (numbers(2, 5, 4), 2, 0.0, "softmax")),
        Case("a bias that changes the choice, two sequences", (numbers(2, 6, 4), 2, bias, "sigmoid")),
        Case("five tokens, K = 1", (numbers(1, 5, 4), 1, 0.0, "sigmoid")),
        Case("equal scores everywhere, K = 2", (UNIFORM_LOGITS.clone(), 2, 0.0, "sigmoid")),
        Case("collapsed, K = 1", (torch.tensor([12.0, 0.0, 0.0]).expand(1, 5, 3).clone(), 1, 0.0, "sigmoid")),
    ]


def one_when_even(parts: Parts, logits: Tensor, *_: Any) -> bool:
    return not torch.equal(logits, EVEN_LOGITS) or abs(float(parts["result"]) - 1) < 1e-4


def gradient_flows(parts: Parts, logits: Tensor, *_: Any) -> bool:
    """Where the tokens differ and the load is uneven the loss can be made smaller."""
    moves = [p for name, p in parts.items() if name.startswith("gradient")]
    nothing_to_gain = logits.shape[1] < 3 or torch.equal(logits, EVEN_LOGITS) or float(logits.max()) > 11
    return nothing_to_gain or all(bool(each.any()) for each in moves)


# ---------------------------------------------------------------- update_expert_bias_


def bias_after(implementation: Callable, expert_bias: Tensor, load: Tensor, rate: float, times: int) -> Parts:
    for _ in range(times):
        implementation(expert_bias, load, rate)
    return {"bias afterwards": expert_bias}


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
        # float16 and bfloat16 hold no 2049.
        Case(
            "one token more than the others have", (torch.zeros(3), torch.tensor([2049, 2048, 2048]), 0.1, 1)
        ),
    ]


def mean_stays(parts: Parts, bias: Tensor, *_: Any) -> bool:
    return abs(float(parts["bias afterwards"].mean() - bias.mean())) < 1e-5


def busiest_does_not_rise(parts: Parts, bias: Tensor, load: Tensor, *_: Any) -> bool:
    busiest = int(load.argmax())
    return float(parts["bias afterwards"][busiest]) < float(bias[busiest]) + 1e-6
