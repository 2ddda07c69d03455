"""QK-clip: keep attention logits small by shrinking the weights that make them (Kimi K2, sec. 2.1).

In training, logits of a few heads may grow until the softmax is a choice of one token. After a step in which a
head's largest logit was above the threshold tau, its query and key weights are multiplied so that the same logit
would be tau. Heads below tau stay as they are. Layers measure with `max_logit`; `clip_qk_` of a layer shrinks.
"""

import functools

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nanokimi import ranks

LARGEST_BLOCK = 2**28  # logits that `max_logit` holds at a time on a GPU: 1.1 GB in float32


@torch.no_grad()
def max_logit(
    q: Float[Tensor, "batch n_heads queries qk_dim"],
    k: Float[Tensor, "batch n_heads keys qk_dim"],
    scale: float,
    visible: Bool[Tensor, "queries keys"] | None = None,
) -> Float[Tensor, " n_heads"]:
    """The largest scaled logit of every head, over the batch and all visible pairs. Exact.

    Visible is what `visible` says; without it, what is causal, where the queries are the last of the keys' positions.
    Queries are taken some at a time with the keys that they can see, so that memory grows with the context, not
    with its square: 64 on a CPU, where half of the products are then never made, and on a GPU as many as give
    LARGEST_BLOCK logits, because there each product has a price of its own.
    """
    n_queries, n_keys = q.shape[-2], k.shape[-2]
    rows, full = _queries_at_once(q, n_keys), torch.promote_types(q.dtype, torch.float32)
    matrices_q, matrices_k = q.flatten(0, 1), k.flatten(0, 1)
    best = []
    for start in range(0, n_queries, rows):
        stop = min(start + rows, n_queries)
        if visible is None:
            seen = n_keys - n_queries + stop
            # What `causal_mask` hides, in one operation less.
            hidden = q.new_ones(stop - start, seen, dtype=torch.bool).triu(seen - (stop - start) + 1)
        else:
            seen, hidden = n_keys, ~visible[start:stop]
        # In float32 also where training runs in bfloat16, whose 8 significant bits would round a logit of 100 to 0.5.
        with torch.autocast(q.device.type, enabled=False):
            logits = torch.bmm(matrices_q[:, start:stop].to(full), matrices_k[:, :seen].to(full).mT)
        by_head = logits.masked_fill_(hidden, -torch.inf).unflatten(0, q.shape[:2])
        best.append(by_head.amax(dim=(0, 2, 3)))
    return functools.reduce(torch.maximum, best).float() * scale


def _queries_at_once(q: Float[Tensor, "batch n_heads queries qk_dim"], n_keys: int) -> int:
    if q.device.type == "cpu":
        return 64
    return max(64, LARGEST_BLOCK // max(1, q.shape[0] * q.shape[1] * n_keys))


def clip_factor(max_qk_logit: Float[Tensor, " n_heads"], tau: float) -> Float[Tensor, " n_heads"]:
    """g, by which the logits of every head must shrink: tau / max_qk_logit, and 1 for a head below tau.

    A logit is a product of query and key: each side takes sqrt(g), or one side g where the other must stay.
    """
    return tau / max_qk_logit.clamp(min=tau)


@torch.no_grad()
def scale_heads_(
    weight: Float[Tensor, "rows columns"], factor: Float[Tensor, " n_heads"], part: slice = slice(None)
) -> None:
    """Multiply the rows of every head by the head's factor, in place.

    The rows of the first head come first, then those of the second ... `part` picks some of the rows of each head.
    """
    if ranks.is_part(weight):  # this rank may hold some rows of a head
        by_row = factor.new_ones(len(weight), 1)
        scale_heads_(by_row, factor, part)
        ranks.own(weight).mul_(ranks.part(by_row, weight))
    else:
        weight.unflatten(0, (len(factor), -1))[:, part].mul_(factor[:, None, None])
