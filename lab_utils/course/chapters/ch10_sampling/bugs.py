"""Broken pieces of notebook 10."""

import torch

from nanokimi.generate import next_token_probs


def check_settings(temperature, top_k, top_p):
    """ValueError for a setting that is none, as the core says it."""
    next_token_probs(torch.zeros(1), temperature, top_k, top_p)


def probs_of_a_colleague(logits, temperature=1.0, top_k=None, top_p=None):
    """The distribution that is sampled from; its texts read well. What is wrong?"""
    check_settings(temperature, top_k, top_p)
    probs = logits.float().softmax(dim=-1)
    if temperature == 0:
        return torch.zeros_like(probs).scatter(0, probs.argmax(dim=-1, keepdim=True), 1.0)
    ordered, ids = probs.sort(descending=True, stable=True)
    if top_k is not None:
        ordered[top_k:] = 0
        ordered = ordered / ordered.sum()
    if top_p is not None and top_p < 1:
        ordered[ordered.cumsum(dim=-1) - ordered >= top_p] = 0
    ordered = ordered ** (1 / temperature)
    return torch.zeros_like(probs).scatter(0, ids, ordered / ordered.sum())


def probs_of_another_colleague(logits, temperature=1.0, top_k=None, top_p=None):
    """The distribution that is sampled from, the three steps in order. What is wrong?"""
    check_settings(temperature, top_k, top_p)
    if temperature == 0:
        return torch.zeros(len(logits)).scatter(0, logits.argmax(dim=-1, keepdim=True), 1.0)
    logits = logits.float() / temperature
    if top_k is not None:
        smallest = logits.topk(min(top_k, len(logits))).values[-1]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    probs, ids = logits.softmax(dim=-1).sort(descending=True, stable=True)
    if top_p is not None and top_p < 1:
        probs[probs.cumsum(dim=-1) - probs >= top_p] = 0
    return torch.zeros_like(probs).scatter(0, ids, probs / probs.sum())


def probs_heated_last(logits, temperature=1.0, top_k=None, top_p=None):
    """The same fault as the first colleague's."""
    check_settings(temperature, top_k, top_p)
    if temperature == 0:
        return next_token_probs(logits, temperature)
    probs = next_token_probs(logits, 1.0, top_k, top_p).double() ** (1 / temperature)
    return (probs / probs.sum()).float()


def probs_of_all_who_tie(logits, temperature=1.0, top_k=None, top_p=None):
    """The same fault as the other colleague's."""
    check_settings(temperature, top_k, top_p)
    if temperature > 0 and top_k is not None:
        n_larger = (logits > logits[:, None]).sum(dim=1)
        logits = logits.float().masked_fill(n_larger >= top_k, -torch.inf)
    return next_token_probs(logits, temperature, None, top_p)
