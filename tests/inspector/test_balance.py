"""Wrong balance losses, and routers that no loss reaches."""

import math

import pytest
import torch
from torch import nn

from nanokimi.router import RouterStats, expert_load, load_balance_loss, sequence_balance_loss
from tests.inspector.invariants import (
    BALANCE,
    LEARN,
    inspect_harsh,
)
from tests.inspector.reader_modules import CutOffRouter, E, Experts, Plain


def test_balance_curve_by_hand():
    """K = 1, logits +a for expert 0 and -a for three: f_0 = 1 and 4·P_0 = 4/(1 + 3·e^(-2a))."""
    finding = inspect_harsh(Experts())[BALANCE]
    for skew, value in finding.data["curve"][1]:
        assert value == pytest.approx(4 / (1 + 3 * math.exp(-2 * skew)), rel=1e-6)


def p_over_chosen(stats):
    """docs/mistakes.md, number 7."""
    share = expert_load(stats.expert_idx, E) / stats.expert_idx.numel()
    chosen = torch.zeros_like(stats.logits).scatter(-1, stats.expert_idx, 1.0)
    return E * (share * (stats.logits.softmax(-1) * chosen).flatten(0, -2).mean(0)).sum()


def times_k(stats):
    """docs/mistakes.md, number 10."""
    return stats.expert_idx.shape[-1] * load_balance_loss(stats)


def p_detached(stats):
    """docs/mistakes.md, number 12."""
    return load_balance_loss(stats).detach()


def of_counts_alone(stats):
    share = expert_load(stats.expert_idx, E) / stats.expert_idx.numel()
    return E * (share**2).sum()


def upside_down(stats):
    return 2 - load_balance_loss(stats)


def with_a_floor(stats):
    return load_balance_loss(stats).clamp(min=1.5)


@pytest.mark.parametrize(
    ("wrong", "evidence"),
    [
        (p_over_chosen, "Even routing of 4 experts at K = 1 gives 0.25, and 1 is right."),
        (times_k, "Even routing of 4 experts at K = 2 gives 2, and 1 is right."),
        (with_a_floor, "Even routing of 4 experts at K = 1 gives 1.5, and 1 is right."),
        (p_detached, "the loss of its own facts carries no gradient."),
        (of_counts_alone, "the loss of its own facts carries no gradient."),
        (upside_down, "It is smaller away from even routing: -2 at a skew of 100 (K = 1)."),
    ],
)
def test_wrong_balance_losses(wrong, evidence):
    inspection = inspect_harsh(Experts(), balance_loss=wrong)
    assert (inspection.failed, inspection[BALANCE].evidence) == ((BALANCE,), evidence)


class AttentionThenCutOff(nn.Module):
    """The loss reaches the attention below, and not the router."""

    def __init__(self):
        super().__init__()
        self.attention, self.moe = Plain(), CutOffRouter()

    def forward(self, x):
        return self.moe(self.attention(x))


def test_a_router_that_is_cut_off_while_the_layers_below_are_not():
    inspection = inspect_harsh(AttentionThenCutOff())
    assert inspection.failed == (BALANCE, LEARN)
    assert (
        inspection[BALANCE].evidence
        == "moe: the loss moves no parameter of the layer: its router is cut off."
    )


@pytest.mark.parametrize("right", [load_balance_loss, sequence_balance_loss])
def test_right_balance_losses(right):
    assert inspect_harsh(Experts(), balance_loss=right)[BALANCE].passed


def test_made_up_facts_are_those_of_the_core():
    """The loss is asked with even facts of 4 experts over 16 tokens, at K = 1 and K = 2."""
    asked = []

    def listen(stats):
        asked.append(stats)
        return load_balance_loss(stats)

    inspect_harsh(Experts(), balance_loss=listen)
    even = [stats for stats in asked if not stats.logits.any()]
    assert all(isinstance(stats, RouterStats) for stats in even)
    assert [expert_load(stats.expert_idx, E).tolist() for stats in even] == [[4] * 4, [8] * 4]
