"""Small valid inputs of the exercises of notebook 04, corners among them: idle experts, loads below the mean, K = E."""

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite
from torch import Tensor

from lab_utils.course.chapters.ch04_routing.cases import bank_of
from nanokimi.config import MoEConfig
from tests.course.equivalents import name_mutants

SIZES = st.integers(1, 4)


@composite
def numbers(draw: DrawFn, *shape: int) -> Tensor:
    """Drawn at random, so that no two are equal: which of two equal scores is the better one is nobody's to say."""
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))


@composite
def routers(draw: DrawFn) -> tuple:
    n_experts = draw(st.integers(1, 5))
    cfg = MoEConfig(
        n_routed_experts=n_experts,
        top_k=draw(st.integers(1, n_experts)),
        scoring=draw(st.sampled_from(["sigmoid", "softmax"])),
        norm_topk_prob=draw(st.booleans()),
        routed_scaling_factor=draw(st.sampled_from([1.0, 2.5])),
    )
    bias = draw(st.sampled_from([0.0, 0.1, 1.0])) * draw(numbers(n_experts))
    return draw(numbers(draw(SIZES), draw(SIZES), n_experts)), bias, cfg


@composite
def factors(draw: DrawFn) -> tuple:
    n_experts = draw(st.integers(1, 6))
    return n_experts, draw(st.integers(1, n_experts)), draw(st.sampled_from([1, 999, 1000, 1001, 2500]))


@composite
def choices(draw: DrawFn) -> tuple:
    n_experts = draw(st.integers(1, 5))
    shape = [draw(SIZES) for _ in range(draw(st.integers(1, 3)))]
    n = int(torch.tensor(shape).prod())
    idx = draw(st.lists(st.integers(0, n_experts - 1), min_size=n, max_size=n))
    return torch.tensor(idx).view(shape), n_experts


def loads(whole: bool) -> SearchStrategy[Tensor]:
    """How many tokens each expert got: even, none for some, all for one, a few below the mean."""
    some = st.lists(st.integers(0, 6), min_size=1, max_size=5).filter(any)
    return some.map(lambda load: torch.tensor(load, dtype=torch.long if whole else torch.float32))


@composite
def losses(draw: DrawFn) -> tuple:
    n_experts = draw(st.integers(1, 5))
    bias = draw(st.sampled_from([0.0, 1.0])) * draw(numbers(n_experts))
    return (
        draw(numbers(draw(SIZES), draw(SIZES), n_experts)),
        draw(st.integers(1, n_experts)),
        bias,
        draw(st.sampled_from(["sigmoid", "softmax"])),
    )


@composite
def updates(draw: DrawFn) -> tuple:
    load = draw(loads(whole=True))
    rate = draw(st.sampled_from([0.01, 0.1]))
    return draw(numbers(len(load))), load, rate, draw(st.integers(1, 3))


@composite
def dispatches(draw: DrawFn) -> tuple:
    n_experts, d_model, n_tokens = draw(st.integers(1, 5)), draw(SIZES), draw(st.integers(1, 5))
    top_k = draw(st.integers(1, n_experts))
    every = [draw(st.permutations(range(n_experts))) for _ in range(n_tokens)]
    weights = draw(st.sampled_from([0.0, 1.0])) * draw(numbers(n_tokens, top_k)).abs()
    idx = torch.tensor([order[:top_k] for order in every])
    return draw(numbers(n_tokens, d_model)), idx, weights, bank_of(n_experts, d_model, 2)


INPUTS: dict[str, SearchStrategy[tuple]] = {
    "topk_route": routers(),
    "derived_scaling_factor": factors(),
    "expert_load": choices(),
    "max_violation": loads(whole=False).map(lambda load: (load,)),
    "load_balance_loss": losses(),
    "sequence_balance_loss": losses(),
    "update_expert_bias_": updates(),
    "dispatch": dispatches(),
}

# Answers that do the same in a notebook, with the reason.
APART = {
    "dispatch": name_mutants(
        "counts = expert_load(expert_idx, bank.down_proj.shape[0]).tolist()",
        (
            "expert_load(expert_idx, bank.down_proj.shape[0]).tolist()",
            "_unchanged(expert_load(expert_idx, bank.down_proj.shape[0]))",
            "the tests check types, and the bank's counts are whole numbers",
        ),
    )
}
