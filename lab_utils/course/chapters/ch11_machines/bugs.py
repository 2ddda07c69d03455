"""Broken pieces of notebook 11."""

import torch

from nanokimi.expert_parallel import experts_of_rank, send_counts


def clip_of_a_colleague(gradients, max_norm):
    """The gradient of a step from those of its ranks, with its norm bounded. What is wrong?"""
    norms = gradients.norm(dim=1, keepdim=True)
    return (gradients * (max_norm / norms.clamp(min=max_norm))).mean(dim=0)


def clip_by_the_mean_norm(gradients, max_norm):
    """The same fault: the norms of the ranks are asked, not that of their mean."""
    norm = sum(float(row.norm()) for row in gradients) / len(gradients)
    return gradients.mean(dim=0) * min(1.0, max_norm / max(norm, 1e-12))


def exchange_of_a_colleague(x, expert_idx, weights, bank, n_ranks):
    """Expert parallelism with all ranks in one process. What is wrong?"""
    n_experts, top_k = len(bank.down_proj), expert_idx.shape[1]
    tokens = torch.arange(len(x)).tensor_split(n_ranks)  # of each rank
    orders = [expert_idx[t].flatten().argsort(stable=True) for t in tokens]
    sent = torch.stack([send_counts(expert_idx[t], n_experts, n_ranks) for t in tokens])  # from, to, expert
    leaving = [
        x[t][order // top_k].split(counts.sum(1).tolist()) for t, order, counts in zip(tokens, orders, sent)
    ]
    answers = []
    for rank in range(n_ranks):
        expert = torch.arange(n_experts // n_ranks).repeat(n_ranks).repeat_interleave(sent[:, rank].flatten())
        rows = torch.cat([parts[rank] for parts in leaving])[expert.argsort(stable=True)]
        outs = experts_of_rank(bank, rank, n_ranks)(rows, sent[:, rank].sum(0).tolist())
        answers.append(outs.split(sent[:, rank].sum(1).tolist()))
    y = []
    for rank, order in enumerate(orders):
        back = torch.cat([parts[rank] for parts in answers])[order.argsort()]
        y.append((weights[tokens[rank]].flatten()[:, None] * back).unflatten(0, (-1, top_k)).sum(1))
    return torch.cat(y)


def exchange_row_by_row(x, expert_idx, weights, bank, n_ranks):
    """The same fault, in lists: what a rank gives back lies by expert, and is handed out by sender."""
    n_experts, top_k = len(bank.down_proj), expert_idx.shape[1]
    share = n_experts // n_ranks
    of_rank = [t.tolist() for t in torch.arange(len(x)).tensor_split(n_ranks)]
    pairs = [
        sorted(((int(expert_idx[t, k]), t, k) for t in own for k in range(top_k)), key=lambda p: p[0])
        for own in of_rank
    ]
    y = torch.zeros_like(x)
    for rank in range(n_ranks):
        arrived = [pair for own in pairs for pair in own if pair[0] // share == rank]
        by_expert = sorted(arrived, key=lambda pair: pair[0])
        rows = x[[t for _, t, _ in by_expert]]
        outs = bank(rows, [sum(e == pair[0] for pair in by_expert) for e in range(n_experts)])
        for (_, t, k), out in zip(arrived, outs):
            y = y.index_add(0, torch.tensor([t]), (weights[t, k] * out)[None])
    return y
