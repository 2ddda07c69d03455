"""Broken routers fail the probe for their mistake, and no other."""

import pytest
from torch import nn

from tests.inspector.invariants import (
    BALANCE,
    BIAS,
    K_EXPERTS,
    LEARN,
    NO_DROPS,
    inspect_harsh,
)
from tests.inspector.reader_modules import CutOffRouter, E, Experts, K


class SameTwice(Experts):
    def choose(self, scores):
        return (scores + self.expert_bias).topk(1).indices.expand(-1, -1, K)


class OneOfTwo(Experts):
    def choose(self, scores):
        return (scores + self.expert_bias).topk(1).indices


class CountsDoubled(Experts):
    """docs/mistakes.md, number 11: as under activation checkpointing, which runs the forward pass twice."""

    def count(self, idx):
        super().count(idx)
        super().count(idx)


class Capacity(Experts):
    """docs/mistakes.md, number 3: an expert takes 128 choices and lets the others go."""

    def served(self, idx, weights):
        place = nn.functional.one_hot(idx.flatten(), E).cumsum(0).gather(1, idx.flatten()[:, None])
        return (place <= 128).view_as(idx)


class SkipsTheWeak(Experts):
    def served(self, idx, weights):
        return weights > 0.4


class BiasInTheWeights(Experts):
    """docs/mistakes.md, number 6."""

    def weigh(self, scores, idx):
        return super().weigh(scores + self.expert_bias, idx)


class BiasInTheSum(Experts):
    """What is reported is right; what is used is not."""

    def used(self, scores, idx, weights):
        return self.weigh(scores + self.expert_bias, idx)


class BiasUnused(Experts):
    def choose(self, scores):
        return scores.topk(self.top_k).indices


class DetachedFacts(Experts):
    """The loss of facts that are cut from the graph moves nothing."""

    def report(self, logits, scores, idx, weights):
        return super().report(logits.detach(), scores.detach(), idx, weights)


@pytest.mark.parametrize(
    ("broken", "fails"),
    [
        # Normalised, the weight of one expert is a constant: the output teaches the router nothing.
        (SameTwice, (K_EXPERTS, LEARN)),
        (OneOfTwo, (K_EXPERTS, LEARN)),
        (CountsDoubled, (K_EXPERTS,)),
        (Capacity, (NO_DROPS,)),
        (SkipsTheWeak, (NO_DROPS,)),
        (BiasInTheWeights, (BIAS,)),
        (BiasInTheSum, (BIAS,)),
        (BiasUnused, (BIAS,)),
        (DetachedFacts, (BALANCE,)),
        (CutOffRouter, (BALANCE, LEARN)),
    ],
)
def test_broken_routing(broken, fails):
    assert inspect_harsh(broken()).failed == fails


@pytest.mark.parametrize("broken", [BiasInTheWeights, BiasInTheSum])
def test_all_experts_chosen_and_the_output_moves_with_the_bias(broken):
    class AllOfThem(broken):
        top_k = E

    assert inspect_harsh(AllOfThem()).failed == (BIAS,)
