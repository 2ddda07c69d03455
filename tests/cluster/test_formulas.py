"""The formulas of many ranks against what torch does: gradients, chunks, loads, sets of nodes, counted rows."""

import pytest
import torch

from nanokimi.cluster.gradients import micro_batches_of, whole_gradient
from nanokimi.cluster.memory import bytes_held
from nanokimi.cluster.traffic import nodes_visited, traffic_per_token, waiting_seconds
from nanokimi.config import KimiConfig, MoEConfig
from nanokimi.model import build_model
from nanokimi.presets.yaml_config import load_model_config
from nanokimi.router import expert_load, max_violation


@pytest.mark.parametrize("n_ranks", [1, 2, 3, 4, 6, 12])
def test_the_ranks_take_the_micro_batches_of_a_step_once_each(n_ranks):
    taken = [micro_batches_of(rank, n_ranks, 5, 12) for rank in range(n_ranks)]
    assert sorted(i for each in taken for i in each) == list(range(60, 72))
    assert {len(each) for each in taken} == {12 // n_ranks}
    assert micro_batches_of(1, 2, 0, 6) == [1, 3, 5]


def test_the_gradient_of_the_whole_is_that_of_all_tokens_at_once():
    generator = torch.Generator().manual_seed(0)
    x, target = (torch.randn(9, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    w = torch.randn(4, generator=generator, dtype=torch.float64, requires_grad=True)

    def gradient(tokens: slice) -> torch.Tensor:
        return torch.autograd.grad(((x[tokens] * w - target[tokens]) ** 2).sum(dim=1).mean(), w)[0]

    parts = torch.stack([gradient(part) for part in (slice(0, 2), slice(2, 3), slice(3, 9))])
    found = whole_gradient(parts, torch.tensor([2, 1, 6]))
    torch.testing.assert_close(found, gradient(slice(0, 9)), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("n_ranks", [1, 2, 3, 4, 7])
def test_the_bytes_are_those_of_torchs_chunks(n_ranks):
    weights = list(build_model(load_model_config("kimi-smoke")).parameters())
    shapes = [tuple(w.shape) for w in weights]
    for rank in range(n_ranks):
        chunks = [w.chunk(n_ranks) for w in weights]
        held = sum(4 * c[rank].numel() for c in chunks if rank < len(c))
        assert bytes_held(shapes, rank, n_ranks, 4) == held


def test_the_mean_wait_is_max_vio_in_seconds():
    load = torch.tensor([8.0, 0.0, 1.0, 3.0])
    waits = waiting_seconds(load, 2, 0.5)
    assert waits.tolist() == [0.0, 2.0]
    of_ranks = load.view(2, 2).sum(dim=1)
    assert waits.mean().item() == pytest.approx(max_violation(of_ranks) * 0.5 * of_ranks.mean().item())


def test_nodes_are_counted_once_per_token():
    idx = torch.stack([torch.randperm(12, generator=torch.Generator().manual_seed(i))[:5] for i in range(40)])
    assert nodes_visited(idx, 12, 4).tolist() == [len({e // 3 for e in row}) for row in idx.tolist()]


def test_the_traffic_is_that_of_rows_that_are_counted():
    """Each rank has eight tokens, whose choices are even: the rows that find their expert elsewhere, times four."""
    cfg = KimiConfig(
        n_layers=3, d_model=32, n_heads=2, first_k_dense_replace=1, moe=MoEConfig(n_routed_experts=8, top_k=2)
    )
    n_ranks, idx = 4, torch.arange(64).view(32, 2) % 8
    home = torch.arange(32) // 8
    away = int((idx // 2 != home[:, None]).sum())
    assert expert_load(idx, 8).tolist() == [8] * 8
    assert 32 * traffic_per_token(cfg, n_ranks, 2) == 2 * 4 * away * 32 * 2
    assert traffic_per_token(load_model_config("kimi-k2"), 64, 2) == pytest.approx(27.1e6, rel=2e-3)
    dense = KimiConfig(moe=None, n_layers=3)
    assert traffic_per_token(dense, 4, 2) == 0.0
