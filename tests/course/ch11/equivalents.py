"""For the exercises of notebook 11."""

from nanokimi.cluster.gradients import micro_batches_of, whole_gradient
from nanokimi.cluster.memory import bytes_held
from nanokimi.cluster.traffic import nodes_visited, traffic_per_token, waiting_seconds
from nanokimi.expert_parallel import regroup, send_counts
from tests.course.equivalents import after, name_mutants

ORDER = "the larger and the smaller of two have no order"
EQUIVALENT = {
    "bytes_held": name_mutants(
        "total += max(0, min(block, n_rows - rank * block)) * math.prod(rest)",
        ("max(0, min(block, n_rows - rank * block))", "max(min(block, n_rows - rank * block), 0)", ORDER),
        ("min(block, n_rows - rank * block)", "min(n_rows - rank * block, block)", ORDER),
    ),
    "regroup": name_mutants(
        "expert = torch.arange(n_experts, device=received.device).repeat(n_ranks)",
        (", device=received.device", "", "the check runs on the CPU"),
    ),
}


def batches_of_the_next_step(rank, n_ranks, step, grad_accum):
    return micro_batches_of(rank, n_ranks, step + 1, grad_accum)


def batches_of_the_neighbour(rank, n_ranks, step, grad_accum):
    return micro_batches_of((rank + 1) % n_ranks, n_ranks, step, grad_accum)


def gradient_with_the_shares_turned(gradients, n_tokens):
    return whole_gradient(gradients, n_tokens.flip(0))


def bytes_of_one_rank_more(shapes, rank, n_ranks, bytes_per_number):
    return bytes_held(shapes, rank, n_ranks + 1, bytes_per_number)


def bytes_of_the_next_rank(shapes, rank, n_ranks, bytes_per_number):
    return bytes_held(shapes, rank + 1, n_ranks, bytes_per_number)


def traffic_of_one_rank_more(cfg, n_ranks, bytes_per_number):
    return traffic_per_token(cfg, n_ranks + 1, bytes_per_number)


EXTRA = {
    "micro_batches_of": (batches_of_the_next_step, batches_of_the_neighbour),
    "whole_gradient": (
        gradient_with_the_shares_turned,
        after(whole_gradient, lambda result, *_: -result),
        after(whole_gradient, lambda result, *_: result / result.norm()),
    ),
    "bytes_held": (bytes_of_one_rank_more, bytes_of_the_next_rank),
    "send_counts": (
        after(send_counts, lambda result, *_: result + 1),
        after(send_counts, lambda result, *_: result.roll(1, 0)),
        after(send_counts, lambda result, *_: result.flip(1)),
    ),
    "regroup": (
        after(regroup, lambda result, *_: (result[0], result[1].roll(1))),
        after(regroup, lambda result, *_: (result[0].flip(0), result[1])),
    ),
    "waiting_seconds": (
        after(waiting_seconds, lambda result, *_: result.flip(0)),
        after(waiting_seconds, lambda result, *_: 2 * result),
    ),
    "nodes_visited": (
        after(nodes_visited, lambda result, *_: result + 1),
        after(nodes_visited, lambda result, *_: result.flip(0)),
    ),
    "traffic_per_token": (
        traffic_of_one_rank_more,
        after(traffic_per_token, lambda result, *_: 1.5 * result),
    ),
}
