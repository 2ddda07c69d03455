"""Routing written down token by token in Python's double precision: what the tests of the router compare with."""

import math

from nanokimi.config import MoEConfig
from nanokimi.router import RouterStats


def scores_by_hand(logits: list[float], scoring: str) -> list[float]:
    if scoring == "sigmoid":
        return [1 / (1 + math.exp(-x)) for x in logits]
    total = math.fsum(math.exp(x) for x in logits)
    return [math.exp(x) / total for x in logits]


def route_by_hand(logits: list[float], bias: list[float], cfg: MoEConfig, factor: float) -> dict[int, float]:
    """Expert -> weight for one token, by docs/specification.md, section 1, in Python's double precision."""
    scores = scores_by_hand(logits, cfg.scoring)
    choice = [s + b for s, b in zip(scores, bias, strict=True)]
    allowed = list(range(len(logits)))
    if cfg.n_group > 1:
        size = len(logits) // cfg.n_group
        groups = [allowed[i * size : (i + 1) * size] for i in range(cfg.n_group)]
        worth = [sum(sorted(choice[e] for e in group)[-2:]) for group in groups]
        best = sorted(range(cfg.n_group), key=worth.__getitem__, reverse=True)[: cfg.topk_group]
        allowed = [e for g in best for e in groups[g]]
    chosen = sorted(allowed, key=choice.__getitem__, reverse=True)[: cfg.top_k]
    weights = {e: scores[e] for e in chosen}
    if cfg.norm_topk_prob:
        total = math.fsum(weights.values())
        weights = {e: w / total for e, w in weights.items()}
    return {e: w * factor for e, w in weights.items()}


def rows(stats: RouterStats) -> list[dict[int, float]]:
    """Expert -> weight for every token; fails where a token names one expert twice."""
    found = []
    for experts, weights in zip(stats.expert_idx.flatten(0, -2), stats.weights.flatten(0, -2), strict=True):
        row = dict(zip(experts.tolist(), weights.tolist(), strict=True))
        assert len(row) == len(experts)
        found.append(row)
    return found
