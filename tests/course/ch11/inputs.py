"""Small valid inputs for the exercises of notebook 11: ranks without anything, rows that do not divide, even loads."""

import torch
from hypothesis import strategies as st

from lab_utils.course.chapters.ch11_machines.cases import model


@st.composite
def batches(draw):
    n_ranks = draw(st.integers(1, 5))
    grad_accum = n_ranks * draw(st.integers(1, 4))
    return draw(st.integers(0, n_ranks - 1)), n_ranks, draw(st.integers(0, 6)), grad_accum


@st.composite
def gradients(draw):
    n_ranks, width = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    numbers = st.lists(st.integers(-4, 4).map(float), min_size=width, max_size=width)
    rows = draw(st.lists(numbers, min_size=n_ranks, max_size=n_ranks))
    n_tokens = draw(st.lists(st.integers(0, 9), min_size=n_ranks, max_size=n_ranks).filter(any))
    return torch.tensor(rows, dtype=draw(st.sampled_from([torch.float32, torch.float64]))), torch.tensor(
        n_tokens
    )


@st.composite
def shards(draw):
    shape = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)
    n_ranks = draw(st.integers(1, 6))
    shapes = draw(st.lists(shape, max_size=3))
    return shapes, draw(st.integers(0, n_ranks - 1)), n_ranks, draw(st.sampled_from([1, 2, 4, 16]))


@st.composite
def chosen(draw):
    """Choices of different experts, how many experts there are, and a number of ranks or nodes that divides them."""
    n_ranks, share = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    n_experts = n_ranks * share
    top_k = draw(st.integers(1, n_experts))
    rows = draw(st.lists(st.permutations(range(n_experts)), max_size=6))
    return torch.tensor([row[:top_k] for row in rows], dtype=torch.long).view(-1, top_k), n_experts, n_ranks


@st.composite
def arrivals(draw):
    n_ranks, n_experts = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    counts = st.lists(st.integers(0, 3), min_size=n_experts, max_size=n_experts)
    return (torch.tensor(draw(st.lists(counts, min_size=n_ranks, max_size=n_ranks))),)


@st.composite
def loads(draw):
    n_ranks, share = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    numbers = st.lists(st.integers(0, 9).map(float), min_size=n_ranks * share, max_size=n_ranks * share)
    return torch.tensor(draw(numbers)), n_ranks, draw(st.sampled_from([0.25, 1.0, 3.0, 1e-6]))


@st.composite
def traffic(draw):
    n_layers = draw(st.integers(1, 4))
    cfg = model(
        n_layers, draw(st.integers(0, n_layers)), draw(st.sampled_from([4, 8, 10])), draw(st.integers(1, 4))
    )
    return cfg, draw(st.integers(1, 9)), draw(st.sampled_from([1, 2, 4]))


INPUTS = {
    "micro_batches_of": batches(),
    "whole_gradient": gradients(),
    "bytes_held": shards(),
    "send_counts": chosen(),
    "regroup": arrivals(),
    "waiting_seconds": loads(),
    "nodes_visited": chosen(),
    "traffic_per_token": traffic(),
}
