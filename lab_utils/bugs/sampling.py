"""Broken pieces of notebook 10."""

import torch


def probs_with_late_temperature(logits, temperature=1.0, top_k=None, top_p=None):
    """Top-k, then top-p, then temperature; the text reads well. What is wrong?"""
    probs = logits.float().softmax(dim=-1)
    ordered, ids = probs.sort(descending=True, stable=True)
    if top_k is not None:
        ordered[top_k:] = 0
        ordered = ordered / ordered.sum()
    if top_p is not None:
        ordered[ordered.cumsum(dim=-1) - ordered >= top_p] = 0
    ordered = ordered ** (1 / temperature)
    return torch.zeros_like(probs).scatter(0, ids, ordered / ordered.sum())


def probs_keeping_ties(logits, temperature=1.0, top_k=None, top_p=None):
    """Top-k in one line, as it is often written. What is wrong?"""
    logits = logits.float() / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, len(logits))).values[-1]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    return logits.softmax(dim=-1)
