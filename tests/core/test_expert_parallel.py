"""Experts on several ranks give what `moe.dispatch` gives on one: outputs and all gradients, to the last bit.

Four processes are started once; groups of one, two and four of them are the ranks.
"""

import pytest
import torch
from torch import Tensor

from lab_utils.machine.ranks import Ranks
from nanokimi.config import ConfigError
from nanokimi.expert_parallel import experts_of_rank, regroup, send_counts
from nanokimi.experts import ExpertBank
from tests.core import parallel_work

N_TOKENS, N_RANKS = 41, 4
pytestmark = pytest.mark.slow


def chosen(experts: list[int], top_k: int) -> Tensor:
    """Choices of `top_k` different experts among these, for all tokens."""
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randperm(len(experts), generator=generator)[:top_k] for _ in range(N_TOKENS)]
    return torch.tensor(experts)[torch.stack(rows)]


LOADS = {
    "all experts": chosen(list(range(8)), 3),
    "experts without a token": chosen([0, 3, 4, 5], 2),
    "ranks without a row": chosen([2, 3], 2),
    "one expert has everything": torch.full((N_TOKENS, 1), 5),
}
BORDERS = {
    "as many tokens on each rank": {1: [0, 41], 2: [0, 20, 41], 4: [0, 10, 20, 30, 41]},
    "ranks without a token": {1: [0, 41], 2: [0, 41, 41], 4: [0, 0, 30, 30, 41]},
}


@pytest.fixture(scope="module")
def ranks():
    with Ranks(N_RANKS, seconds=180, modules=[parallel_work.__name__]) as started:
        yield started


@pytest.mark.parametrize("n_ranks", [1, 2, 4])
@pytest.mark.parametrize("borders", BORDERS)
@pytest.mark.parametrize("load", LOADS)
def test_several_ranks_give_what_one_gives(ranks, load, borders, n_ranks):
    differences = ranks.run(parallel_work.compare, LOADS[load], BORDERS[borders][n_ranks], n_ranks)
    assert differences == [[]] * N_RANKS


def test_no_rank_waits_for_one_whose_tokens_ask_for_no_gradient(ranks):
    """The inputs are data: only the way back of the rows has a gradient, and a rank without rows must take part."""
    idx, borders = LOADS["ranks without a row"], [0, 10, 20, 30, 41]
    assert ranks.run(parallel_work.compare, idx, borders, 4, False) == [[]] * N_RANKS


def test_a_difference_would_be_seen(ranks):
    """The borders say that the ranks have other tokens than those of which they bring the choices."""
    told = ranks.run(parallel_work.compare, LOADS["all experts"], [0, 10, 20, 30, 41], 4, True, 1)
    assert all(any(line.endswith("output") for line in found) for found in told)


# ---------------------------------------------------------------- the parts, by hand


def test_counts_are_by_rank_and_by_expert():
    idx = torch.tensor([[0, 3], [3, 5], [3, 1]])
    assert send_counts(idx, 6, 3).tolist() == [[1, 1], [0, 3], [0, 1]]
    assert send_counts(idx, 6, 2).tolist() == [[1, 1, 0], [3, 0, 1]]
    assert send_counts(idx[:0], 6, 2).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_rows_that_arrived_are_put_together_by_expert_and_back():
    """From rank 0 come a a b, from rank 1 a b b: rows 0 1 2 and 3 4 5."""
    order, back = regroup(torch.tensor([[2, 1], [1, 2]]))
    assert order.tolist() == [0, 1, 3, 2, 4, 5]
    assert order[back].tolist() == list(range(6))
    order, back = regroup(torch.zeros(2, 3, dtype=torch.long))
    assert len(order) == len(back) == 0


def test_the_experts_are_dealt_in_their_order():
    bank = ExpertBank(6, 4, 3).double()
    parts = [experts_of_rank(bank, rank, 3) for rank in range(3)]
    assert torch.equal(torch.cat([part.down_proj for part in parts]), bank.down_proj)
    assert torch.equal(torch.cat([part.gate_up_proj for part in parts]), bank.gate_up_proj)
    assert parts[0].down_proj.data_ptr() != bank.down_proj.data_ptr()


@pytest.mark.parametrize(
    ("rank", "n_ranks", "says"),
    [
        (0, 4, "n_ranks=4 must divide the 6 experts: each rank holds as many"),
        (0, 0, "n_ranks=0 must divide the 6 experts: each rank holds as many"),
        (3, 3, r"rank=3 must lie in 0\.\.2"),
        (-1, 3, r"rank=-1 must lie in 0\.\.2"),
    ],
)
def test_what_cannot_be_dealt_is_refused_in_one_line(rank, n_ranks, says):
    with pytest.raises(ConfigError, match=says):
        experts_of_rank(ExpertBank(6, 4, 3), rank, n_ranks)
