"""The load-balance loss written out, with the places where the known mistakes of notebook 04 go."""

from nanokimi.router import expert_load as core_load


def balance_loss(stats, share=None, probability=None, factor=None):
    """E · sum f_i P_i, with the places where a mistake goes."""
    n_experts = stats.logits.shape[-1]
    if share is None:
        share = shares(stats)
    if probability is None:
        probability = stats.logits.softmax(dim=-1)
    product = (share * probability.flatten(0, -2).mean(dim=0)).sum()
    return (n_experts if factor is None else factor) * product


def shares(stats, idx=None):
    """f: the shares of the choices, or of those in `idx`."""
    n_experts = stats.logits.shape[-1]
    idx = stats.expert_idx if idx is None else idx
    return core_load(idx, n_experts) / idx.numel()
