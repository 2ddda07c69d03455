"""Broken pieces of notebook 02."""

import math

import torch


def attend_by_columns(q, k, v, scale, visible=None):
    """Attention whose weights look right in a picture and train well; what is wrong?"""
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * scale
    if visible is None:
        visible = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(scores.shape[-1] - scores.shape[-2])
    scores = scores.masked_fill(~visible, -math.inf)
    weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    weights = weights / weights.sum(dim=-2, keepdim=True)
    return torch.einsum("bhqk,bhkd->bhqd", weights, v)


def decode_step(q, k, v, cache, attend, apply_rope, turn):
    """One decoding step: the new token's query and key are turned, its key and value stored. What is wrong?

    `turn(positions)` gives the rotations of those positions; `cache` is a list of the keys and values so far.
    """
    rotation = turn(torch.arange(q.shape[-2]))
    cache.append((apply_rope(k, rotation), v))
    keys, values = (torch.cat(parts, dim=-2) for parts in zip(*cache))
    return attend(apply_rope(q, rotation), keys, values, q.shape[-1] ** -0.5)


def attend_key_by_key(q, k, v, scale, visible=None):
    """The same fault, one key after the other."""
    n_queries, n_keys = q.shape[-2], k.shape[-2]
    if visible is None:
        visible = torch.ones(n_queries, n_keys, dtype=torch.bool).tril(n_keys - n_queries)
    scores = (q @ k.mT * scale).masked_fill(~visible, -math.inf)
    scores = scores - scores.amax(dim=-1, keepdim=True)
    out = torch.zeros(*q.shape[:-1], v.shape[-1])
    for s in range(n_keys):
        weight = scores[..., s].exp()
        out = out + (weight / weight.sum(dim=-1, keepdim=True))[..., None] * v[..., s : s + 1, :]
    return out


def attend_with_a_softmax_over_queries(q, k, v, scale, visible=None):
    """The same fault in the plainest words: what a query sees does not depend on other keys, and still it is wrong."""
    if visible is None:
        visible = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril(k.shape[-2] - q.shape[-2])
    return (q @ k.mT * scale).masked_fill(~visible, -math.inf).softmax(dim=-2) @ v


def decode_step_with_one_entry(q, k, v, cache, attend, apply_rope, turn):
    """The same fault, with a cache that holds one pair of tensors and lets them grow."""
    places = turn(torch.zeros(q.shape[-2], dtype=torch.long) + torch.arange(q.shape[-2]))
    new = (apply_rope(k, places), v)
    cache[:] = [tuple(torch.cat(pair, dim=-2) for pair in zip(cache[0], new))] if cache else [new]
    return attend(apply_rope(q, places), *cache[0], q.shape[-1] ** -0.5)
