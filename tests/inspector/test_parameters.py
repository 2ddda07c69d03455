"""Parameters that do not learn are found; optimizers are copied, never stepped."""

import copy

import pytest
import torch
from torch import nn

from lab_utils.inspector.inspect_model import inspect_model
from nanokimi.config import MoEConfig, OptimConfig
from nanokimi.model import build_model
from nanokimi.optim import build_optimizers
from tests import tiny
from tests.inspector.invariants import (
    LEARN,
    flatten,
    inspect_harsh,
)
from tests.inspector.reader_modules import D, Experts, Plain
from tests.tiny import harsh_


class BuiltInForward(Plain):
    """docs/mistakes.md, number 5: a new layer every time, and none is ever trained."""

    def forward(self, x):
        return super().forward(x) + nn.Linear(D, D, bias=False, dtype=x.dtype)(x)


class BuiltLate(Plain):
    """The same on the first forward pass, after the optimizer."""

    def forward(self, x):
        if not hasattr(self, "late"):
            self.late = nn.Linear(D, D, bias=False, dtype=x.dtype)
        return super().forward(x) + self.late(x)


class InAPlainList(Plain):
    def __init__(self):
        super().__init__()
        self.hidden = [nn.Parameter(torch.eye(D, dtype=torch.float64))]

    def forward(self, x):
        return super().forward(x) + x @ self.hidden[0].to(x.dtype)


class Frozen(Plain):
    def __init__(self):
        super().__init__()
        self.o.weight.requires_grad_(False)


class Unused(Plain):
    def __init__(self):
        super().__init__()
        self.forgotten = nn.Linear(D, D)


class Detached(Plain):
    def place(self, x, start):
        return x + self.positions[: x.shape[1]].detach()


@pytest.mark.parametrize(
    ("broken", "evidence"),
    [
        (BuiltInForward, "1 tensor learns without being a parameter of the module"),
        (BuiltLate, "made in forward or kept in a plain list (late.weight): (8, 8)"),
        (InAPlainList, "1 tensor learns without being a parameter of the module"),
        (Frozen, "Frozen: o.weight."),
        (Unused, "Without gradient: forgotten.weight, forgotten.bias."),
        (Detached, "Without gradient: positions."),
    ],
)
def test_parameters_that_do_not_learn(broken, evidence):
    inspection = inspect_harsh(broken())
    assert inspection.failed == (LEARN,)
    assert evidence in inspection[LEARN].evidence


def test_optimizers_that_know_too_few_or_too_many():
    layer = harsh_(Plain())
    some = torch.optim.AdamW([layer.q.weight, layer.k.weight, layer.v.weight, layer.positions])
    again = torch.optim.SGD([layer.o.weight, layer.q.weight], lr=0.1)
    evidence = [inspect_model(layer, optimizers=o)[LEARN].evidence for o in ([some], [some, again])]
    assert evidence == ["Unknown to the optimizer: o.weight.", "Held more than once: q.weight."]


def test_a_learning_rate_of_zero_moves_nothing():
    layer = harsh_(Plain())
    groups = [
        {"params": [layer.q.weight], "lr": 0.0},
        {"params": [p for p in layer.parameters() if p is not layer.q.weight]},
    ]
    inspection = inspect_model(layer, optimizers=[torch.optim.AdamW(groups, lr=1e-3)])
    assert inspection[LEARN].evidence == "With a gradient, yet unmoved: q.weight."


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_the_cores_optimizers_in_use(name):
    """With state from earlier steps and a scheduler around them: copied, never stepped."""
    model = harsh_(build_model(tiny.kimi("mla")))
    optimizers = build_optimizers(model, OptimConfig(optimizer=name))
    model(torch.zeros(1, 4, dtype=torch.long)).logits.sum().backward()
    schedulers = [torch.optim.lr_scheduler.ConstantLR(o, factor=0.5) for o in optimizers]
    for optimizer in optimizers:
        optimizer.step()
    for scheduler in schedulers:
        scheduler.step()
    before = copy.deepcopy([model.state_dict(), *(o.state_dict() for o in optimizers)])
    assert inspect_model(model, optimizers=optimizers).failed == ()
    after = [model.state_dict(), *(o.state_dict() for o in optimizers)]
    assert flatten(after) == flatten(before)


class OftenIdle(Experts):
    """Expert 3 is never good enough: it has no token, which is not the same as being dead."""

    def choose(self, scores):
        idle = torch.tensor([0.0, 0.0, 0.0, -10.0], dtype=scores.dtype)
        return (scores + self.expert_bias + idle).topk(self.top_k).indices


@pytest.mark.parametrize("scoring", ["sigmoid", pytest.param("softmax", marks=pytest.mark.slow)])
def test_a_router_that_the_output_teaches_nothing_is_found(scoring):
    """One expert per token with normalised weights, each of them 1: docs/mistakes.md, number 31."""
    for top_k, norm, passed in ((1, True, False), (1, False, True), (2, True, True)):
        cfg = MoEConfig(
            n_routed_experts=4, top_k=top_k, moe_intermediate_size=8, scoring=scoring, norm_topk_prob=norm
        )
        finding = inspect_harsh(build_model(tiny.kimi(moe=cfg)))[LEARN]
        assert finding.passed == passed
        if not passed:
            assert finding.data["taught nothing by the output"] == ["layers.1.mlp"]
            assert (
                "so the output teaches the router nothing (K = 1 needs weights that are not normalised)"
                in (finding.evidence)
            )


def test_an_idle_expert_is_told_apart_from_a_dead_parameter():
    finding = inspect_harsh(OftenIdle())[LEARN]
    assert finding.passed
    assert finding.data["idle"] == ["experts.3.weight"]
    assert "1 expert had no token in this batch and did not learn" in finding.evidence
