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
