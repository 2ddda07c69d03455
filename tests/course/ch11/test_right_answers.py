"""Right answers to notebook 11, written in other ways than the core, pass; tests that ask too much fail."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lab_utils.course.chapters import find
from nanokimi.experts import ExpertBank, swiglu
from nanokimi.moe import dispatch
from tests.course.keys import judge_answer


def batches_by_the_remainder(rank, n_ranks, step, grad_accum):
    return [step * grad_accum + i for i in range(grad_accum) if i % n_ranks == rank]


def batches_as_a_range(rank, n_ranks, step, grad_accum):
    return range(step * grad_accum + rank, step * grad_accum + grad_accum, n_ranks)


def batches_as_a_tensor(rank, n_ranks, step, grad_accum):
    return torch.arange(grad_accum).view(-1, n_ranks)[:, rank] + step * grad_accum


def gradient_in_a_loop(gradients, n_tokens):
    total = torch.zeros_like(gradients[0])
    for gradient, n in zip(gradients, n_tokens):
        total = total + n * gradient
    return total / n_tokens.sum()


def gradient_by_broadcasting(gradients, n_tokens):
    return (gradients * n_tokens[:, None] / n_tokens.sum()).sum(0)


def gradient_in_numpy(gradients, n_tokens):
    return torch.from_numpy(np.average(gradients.numpy(), axis=0, weights=n_tokens.numpy())).to(
        gradients.dtype
    )


def bytes_of_chunks(shapes, rank, n_ranks, bytes_per_number):
    total = 0
    for shape in shapes:
        chunks = torch.empty(shape).chunk(n_ranks)
        total += chunks[rank].numel() * bytes_per_number if rank < len(chunks) else 0
    return total


def bytes_of_ranges(shapes, rank, n_ranks, bytes_per_number):
    held = 0
    for shape in shapes:
        block = -(-shape[0] // n_ranks)
        row = torch.Size(shape[1:]).numel()
        held += len(range(shape[0])[block * rank : block * (rank + 1)]) * row
    return bytes_per_number * held


def counts_pair_by_pair(expert_idx, n_experts, n_ranks):
    share = n_experts // n_ranks
    counts = torch.zeros(n_ranks, share, dtype=torch.int32)
    for e in expert_idx.flatten().tolist():
        counts[e // share, e % share] += 1
    return counts


def counts_by_bincount(expert_idx, n_experts, n_ranks):
    return torch.bincount(expert_idx.flatten(), minlength=n_experts).reshape(n_ranks, n_experts // n_ranks)


def counts_by_histogram(expert_idx, n_experts, n_ranks):
    return F.one_hot(expert_idx.flatten(), n_experts).sum(0).view(n_ranks, -1)


def orders_in_python(received):
    labels = [e for row in received.tolist() for e, n in enumerate(row) for _ in range(n)]
    order = sorted(range(len(labels)), key=lambda i: labels[i])
    back = [0] * len(order)
    for place, i in enumerate(order):
        back[i] = place
    return torch.tensor(order, dtype=torch.long), torch.tensor(back, dtype=torch.long)


def orders_from_borders(received):
    ends = received.flatten().cumsum(0).view_as(received)
    pieces = [
        torch.arange(int(ends[s, e] - received[s, e]), int(ends[s, e]))
        for e in range(received.shape[1])
        for s in range(len(received))
    ]
    order = torch.cat(pieces)
    return order, torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))


def waits_in_python(load, n_ranks, seconds_per_row):
    share = len(load) // n_ranks
    busy = [sum(load.tolist()[r * share : (r + 1) * share]) * seconds_per_row for r in range(n_ranks)]
    return torch.tensor([max(busy) - each for each in busy])


def waits_by_chunks(load, n_ranks, seconds_per_row):
    rows = torch.stack([part.sum() for part in load.chunk(n_ranks)])
    return (rows.max() - rows) * seconds_per_row


def visits_by_sets(expert_idx, n_experts, n_nodes):
    share = n_experts // n_nodes
    return torch.tensor([len({e // share for e in row}) for row in expert_idx.tolist()], dtype=torch.int32)


def visits_by_marks(expert_idx, n_experts, n_nodes):
    marks = torch.zeros(len(expert_idx), n_nodes, dtype=torch.bool)
    marks[torch.arange(len(expert_idx))[:, None], expert_idx * n_nodes // n_experts] = True
    return marks.sum(1)


def traffic_layer_by_layer(cfg, n_ranks, bytes_per_number):
    total = 0.0
    for layer in range(cfg.n_layers):
        if cfg.moe is not None and layer >= cfg.first_k_dense_replace:
            total += 4 * cfg.moe.top_k * cfg.d_model * bytes_per_number * (1 - 1 / n_ranks)
    return total


def traffic_of_there_and_back(cfg, n_ranks, bytes_per_number):
    if not cfg.moe:
        return 0.0
    out = (cfg.n_layers - cfg.first_k_dense_replace) * cfg.moe.top_k * cfg.d_model * bytes_per_number
    return 2 * (out + out) * (n_ranks - 1) / n_ranks


def clips_what_is_equal_and_opposite(clip_over_ranks):
    gradients = torch.tensor([[10.0, 1.0], [-10.0, 1.0]])
    assert torch.allclose(clip_over_ranks(gradients, 1.5), torch.tensor([0.0, 1.0]), atol=1e-5)


def clips_as_one_machine_does(clip_over_ranks):
    generator = torch.Generator().manual_seed(1)
    gradients = torch.randn(4, 5, generator=generator)
    weight = torch.nn.Parameter(torch.zeros(5))
    weight.grad = gradients.mean(dim=0)
    torch.nn.utils.clip_grad_norm_(weight, 0.5)
    torch.testing.assert_close(clip_over_ranks(gradients, 0.5), weight.grad, rtol=1e-4, atol=1e-5)


def exchanges_with_random_choices(exchange):
    bank, generator = ExpertBank(6, 4, 3), torch.Generator().manual_seed(2)
    x = torch.randn(30, 4, generator=generator)
    idx = torch.rand(30, 6, generator=generator).topk(2, dim=-1).indices
    weights = torch.rand(30, 2, generator=generator)
    for p in bank.parameters():
        torch.nn.init.normal_(p, generator=generator)
    torch.testing.assert_close(
        exchange(x, idx, weights, bank, 2), dispatch(x, idx, weights, bank), rtol=1e-4, atol=1e-4
    )


def exchanges_what_experts_give(exchange):
    bank, generator = ExpertBank(4, 3, 2), torch.Generator().manual_seed(3)
    for p in bank.parameters():
        torch.nn.init.normal_(p, generator=generator)
    x, idx = torch.randn(4, 3, generator=generator), torch.tensor([[1], [0], [1], [0]])
    right = [swiglu(x[t], bank.gate_up_proj[e], bank.down_proj[e]) for t, (e,) in enumerate(idx.tolist())]
    assert torch.allclose(exchange(x, idx, torch.ones(4, 1), bank, 2), torch.stack(right), atol=1e-4)


RIGHT = [
    ("micro_batches_of", batches_by_the_remainder),
    ("micro_batches_of", batches_as_a_range),
    ("micro_batches_of", batches_as_a_tensor),
    ("whole_gradient", gradient_in_a_loop),
    ("whole_gradient", gradient_by_broadcasting),
    ("whole_gradient", gradient_in_numpy),
    ("bytes_held", bytes_of_chunks),
    ("bytes_held", bytes_of_ranges),
    ("send_counts", counts_pair_by_pair),
    ("send_counts", counts_by_bincount),
    ("send_counts", counts_by_histogram),
    ("regroup", orders_in_python),
    ("regroup", orders_from_borders),
    ("waiting_seconds", waits_in_python),
    ("waiting_seconds", waits_by_chunks),
    ("nodes_visited", visits_by_sets),
    ("nodes_visited", visits_by_marks),
    ("traffic_per_token", traffic_layer_by_layer),
    ("traffic_per_token", traffic_of_there_and_back),
    ("test_sound_clipping", clips_what_is_equal_and_opposite),
    ("test_sound_clipping", clips_as_one_machine_does),
    ("test_sound_exchange", exchanges_with_random_choices),
    ("test_sound_exchange", exchanges_what_experts_give),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=lambda value: getattr(value, "__name__", value))
def test_a_right_answer_passes(name, answer):
    result = judge_answer(name, answer)
    assert result.status == "passed", result


def gradient_that_forgets_one_rank(gradients, n_tokens):
    return gradient_in_a_loop(gradients[:-1], n_tokens[:-1]) if len(n_tokens) > 1 else gradients[0]


def orders_of_an_unstable_sort(received):
    order, back = orders_in_python(received)
    return (order, back) if len(order) < 4 else (order.flip(0), back.flip(0))


@pytest.mark.parametrize(
    ("name", "answer"),
    [("whole_gradient", gradient_that_forgets_one_rank), ("regroup", orders_of_an_unstable_sort)],
)
def test_a_wrong_answer_that_nobody_listed_fails(name, answer):
    assert judge_answer(name, answer).status == "failed"


def test_a_hunt_has_its_fault_in_one_place():
    """A colleague's clipping is right on one rank, and the exchange on one rank and with a rank per expert."""
    from lab_utils.course.chapters.ch11_machines import bugs, hunts

    one = torch.tensor([[6.0, 8.0]])
    for piece in (bugs.clip_of_a_colleague, bugs.clip_by_the_mean_norm):
        assert torch.allclose(piece(one, 5.0), torch.tensor([3.0, 4.0]))
    generator = torch.Generator().manual_seed(0)
    bank, x = ExpertBank(4, 3, 2), torch.randn(9, 3, generator=generator)
    for p in bank.parameters():
        torch.nn.init.normal_(p, generator=generator)
    idx = torch.rand(9, 4, generator=generator).topk(2, dim=-1).indices
    weights = torch.rand(9, 2, generator=generator)
    for piece in (bugs.exchange_of_a_colleague, bugs.exchange_row_by_row, hunts.exchange_with_the_way_back):
        for n_ranks in (1, 4):
            found = piece(x, idx, weights, bank, n_ranks)
            assert torch.allclose(found, dispatch(x, idx, weights, bank), atol=1e-5)
    assert find("test_sound_exchange").is_hunt
