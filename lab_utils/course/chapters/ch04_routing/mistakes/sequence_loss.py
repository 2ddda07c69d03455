"""The sequence-wise loss written out, with the places where the known mistakes of notebook 04 go."""

import torch


def sequence_loss(stats, chosen=None, probability=None, over: int | tuple = -2, hot=None):
    """mean over the batch of sum f_i P_i; `hot` has a 1 for every choice that counts."""
    return of_each_sequence(stats, chosen, probability, over, hot).mean()


def of_each_sequence(stats, chosen=None, probability=None, over: int | tuple = -2, hot=None):
    """sum f_i P_i of every sequence."""
    seq_len, n_experts = stats.scores.shape[-2:]
    top_k = stats.expert_idx.shape[-1]
    if hot is None:
        chosen = stats.scores.topk(top_k, dim=-1).indices if chosen is None else chosen
        hot = torch.zeros_like(stats.scores).scatter(-1, chosen, 1.0)
    if probability is None:
        probability = stats.scores / stats.scores.sum(dim=-1, keepdim=True)
    tokens = seq_len * (len(stats.scores) if over != -2 else 1)
    mean = probability.mean(dim=over, keepdim=True)
    return (hot.sum(dim=over, keepdim=True) * n_experts / (top_k * tokens) * mean).sum(dim=-1)
