"""Notebook 11: wrong answers, written in other ways than the known mistakes, are told as what they are."""

import pytest
import torch
import torch.nn.functional as F

from tests.course.keys import judge_answer

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


def nodes_of(node):
    """A nodes_visited that marks in a table the nodes that `node(idx, n_experts, n_nodes)` gives."""

    def nodes_visited(expert_idx, n_experts, n_nodes):
        marks = torch.zeros(len(expert_idx), n_nodes, dtype=torch.bool)
        return marks.scatter_(1, node(expert_idx, n_experts, n_nodes), True).sum(-1)

    return nodes_visited


def nodes_of_each_number(expert_idx, n_experts, n_nodes):
    node = expert_idx.div(n_nodes, rounding_mode="floor")
    return sum(((node == i).any(-1).long() for i in range(n_nodes)), torch.zeros(len(node), dtype=torch.long))


def nodes_as_classes(expert_idx, n_experts, n_nodes):
    return (F.one_hot(expert_idx // n_nodes, n_nodes).sum(1) > 0).sum(-1)


def counts_that_arrive_at_rank_0(expert_idx, n_experts, n_ranks):
    share = n_experts // n_ranks
    counts = torch.zeros(n_ranks, share, dtype=torch.long)
    for sender, part in enumerate(torch.tensor_split(expert_idx, n_ranks)):
        for expert in part.flatten().tolist():
            if expert < share:
                counts[sender, expert] += 1
    return counts


def counts_of_the_same_slice(expert_idx, n_experts, n_ranks):
    share = n_experts // n_ranks
    load = torch.bincount(expert_idx.flatten(), minlength=n_experts)
    return torch.stack([load[:share] for _ in range(n_ranks)])


def order_of_slices(start):
    """A regroup that takes slices; `start(ends, counts)` says where each of them begins."""

    def regroup(received):
        counts = received.flatten()
        starts = start(counts.cumsum(0), counts).view_as(received)
        n_ranks, n_experts = received.shape
        order = []
        for e in range(n_experts):
            for s in range(n_ranks):
                order += range(int(starts[s, e]), int(starts[s, e] + received[s, e]))
        order = torch.tensor(order, dtype=torch.long)
        return order, order.argsort()

    return regroup


def order_by_buckets(received):
    block = torch.bucketize(torch.arange(int(received.sum())), received.flatten().cumsum(0))
    order = (block % received.size(1)).argsort(stable=True)
    return order, order.argsort()


def wait_of(reduced):
    """A waiting_seconds that gives `reduced(waits)`."""

    def waiting_seconds(load, n_ranks, seconds_per_row):
        busy = load.unflatten(0, (n_ranks, -1)).sum(-1) * seconds_per_row
        return reduced(busy.amax() - busy)

    return waiting_seconds


NAMED = [
    ("nodes_visited", nodes_of(lambda e, _, n: e // n), "visits_divided_by_nodes_scattered"),
    ("nodes_visited", nodes_of_each_number, "visits_divided_by_nodes_compared"),
    ("nodes_visited", nodes_as_classes, "visits_divided_by_nodes_one_hot"),
    ("nodes_visited", nodes_of(lambda e, m, n: e % (m // n)), "visits_of_places_scattered"),
    ("send_counts", counts_that_arrive_at_rank_0, "counts_of_rank_0_as_the_receiver"),
    ("send_counts", counts_of_the_same_slice, "counts_for_rank_0_in_every_row"),
    ("regroup", order_of_slices(lambda ends, counts: ends), "order_from_inclusive_sums"),
    ("regroup", order_by_buckets, "order_with_ends_included"),
    ("waiting_seconds", wait_of(torch.sum), "seconds_of_all_once"),
    ("waiting_seconds", wait_of(torch.mean), "seconds_on_average_once"),
    ("waiting_seconds", wait_of(lambda w: w.max() * torch.ones_like(w)), "seconds_at_most"),
]


@pytest.mark.parametrize(("name", "answer", "mistake"), NAMED, ids=[each[2] for each in NAMED])
def test_a_wrong_answer_is_named(name, answer, mistake):
    result = judge_answer(name, answer)
    assert [each.name for each in result.diagnoses] == [mistake], result


def test_slices_from_where_they_begin_are_right():
    result = judge_answer("regroup", order_of_slices(lambda ends, counts: ends - counts))
    assert result.status == "passed", result
