"""Steering: what may be changed while a training runs, written down so that the run can be repeated.

`train` asks its caller for the interventions of every step. Each sets one setting of `Steering` to a value, and is
kept in the step's record and in every later checkpoint. A run with an intervention is *steered*: people learn from it,
but it is compared with nothing. `replay` makes a steer from its log, which gives the same numbers again.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from nanokimi import ranks
from nanokimi.config import ConfigError, MoEConfig, TrainConfig, to_dict
from nanokimi.kimi import Kimi
from nanokimi.model import Model
from nanokimi.moe import MoE
from nanokimi.presets.yaml_config import build
from nanokimi.router import scaling_factor
from nanokimi.system.checked import settings
from nanokimi.system.printable import quote
from nanokimi.system.real_numbers import Positive, PositiveOrZero
from nanokimi.system.refusals import require
from nanokimi.system.whole_numbers import Size, SizeOrZero

BALANCING = ("switch_coef", "sequence_coef", "bias_update_rate")


@settings
class Steering:
    """The settings that an intervention may change, as they stand at one step.

    lr_factor: multiplies the learning rate of the schedule.
    switch_coef, sequence_coef, bias_update_rate: those of `BalanceConfig`. With all of them 0 nothing balances the
        experts, and their biases stay as they are; but method=quantile goes on, and takes no bias_update_rate.
    inference_top_k: experts per token in evaluations and samples; None for as many as in training.
    frozen_experts: pairs of (layer, expert), layers counted from 0 and dense ones included. The weights of these
        experts get no update at all.
    """

    lr_factor: Positive = 1.0
    switch_coef: PositiveOrZero = 0.0
    sequence_coef: PositiveOrZero = 0.0
    bias_update_rate: PositiveOrZero = 0.0
    inference_top_k: Size | None = None
    frozen_experts: tuple[tuple[SizeOrZero, SizeOrZero], ...] = ()

    @classmethod
    def from_config(cls, cfg: TrainConfig) -> "Steering":
        """The settings that a training with this configuration begins with."""
        return cls(**{name: getattr(cfg.balance, name) for name in BALANCING})

    def intervene(self, interventions: "Iterable[Intervention]") -> "Steering":
        """The settings after these interventions, made in their order."""
        return replace(self, **{each.what: each.value for each in interventions})

    def apply_to(self, cfg: TrainConfig) -> TrainConfig:
        """The same training with the learning rate and the balancing of these settings."""
        balance = replace(cfg.balance, **{name: getattr(self, name) for name in BALANCING})
        return replace(cfg, optim=replace(cfg.optim, lr=cfg.optim.lr * self.lr_factor), balance=balance)


@dataclass(frozen=True)
class Intervention:
    """From step `step` (counted from 1) on, the setting `what` of `Steering` has the value `value`.

    Raises `ConfigError` for a setting that `Steering` does not have, and for a value that it does not allow.
    """

    step: int
    what: str
    value: Any  # of the type that `Steering` gives to `what`

    def __post_init__(self) -> None:
        known = [field.name for field in fields(Steering)]
        if self.what not in known:
            raise ConfigError(f"what={quote(self.what)} cannot be steered; allowed are {', '.join(known)}")
        counted = type(self.step) is int and self.step >= 1
        require(counted, f"step={quote(self.step)} of an intervention must be a whole number of at least 1")
        built = build(Steering, {self.what: self.value}, where=f"intervention at step {quote(self.step)}")
        # JSON has lists for tuples, and 1 for 1.0: equal interventions are made equal here.
        object.__setattr__(self, "value", getattr(built, self.what))

    def check_fits(self, model: Model) -> None:
        """Raise `ConfigError` where the model lacks what is steered: a router, a layer of experts, an expert."""
        if self.what == "lr_factor" or not self.value:
            return
        if not isinstance(model, Kimi) or model.cfg.moe is None or not model.moe_layers():
            raise ConfigError(
                f"{self.what}={quote(self.value)}: this model has no experts and nothing to route"
            )
        moe = model.cfg.moe
        if self.what == "inference_top_k":
            _replace_top_k(moe, self.value)
        if self.what == "frozen_experts":
            layers = range(model.cfg.first_k_dense_replace, model.cfg.n_layers)
            experts = range(moe.n_routed_experts)
            _refuse_sharded(model)
            for layer, expert in self.value:
                where = f"frozen_experts: layer {layer}"
                require(layer in layers, f"{where} has no experts; allowed are {layers[0]}..{layers[-1]}")
                require(expert in experts, f"{where} has no expert {expert}; allowed are 0..{experts[-1]}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `Intervention(**data)` makes an equal one of it."""
        pairs = self.what == "frozen_experts"
        value = [list(pair) for pair in self.value] if pairs else self.value
        return {"step": self.step, "what": self.what, "value": value}


class EndTraining(Exception):
    """A steer raises this to end the training now: the step under way is given up, the steps before it are saved."""


# Called with the number of a step, it returns the interventions from that step on. `train` asks before the step, and
# again while the step is under way: when the answer has changed, the step is given up and taken anew. The training
# pauses for as long as the answer takes.
Steer = Callable[[int], Sequence[Intervention]]


def read_answer(answer: object) -> tuple[Intervention, ...]:
    """What a steer returned, None for no intervention; `ConfigError` for anything else than a list of them."""
    listed = list(answer) if isinstance(answer, Sequence) and not isinstance(answer, str) else [answer]
    found = tuple(each for each in listed if isinstance(each, Intervention))
    right = answer is None or len(found) == len(listed)
    require(right, f"steer returned {quote(answer)}: it must return a list of Intervention, or None")
    return found


def check_interventions(asked: tuple[Intervention, ...], step: int, model: Model) -> tuple[Intervention, ...]:
    """Return the same interventions; raise `ConfigError` for one that is of another step or does not fit this model."""
    for each in asked:
        came = f"{each.what}={quote(each.value)} of step {quote(each.step)} came at step {step}"
        require(each.step == step, f"the intervention {came}")
        each.check_fits(model)
    return asked


def replay(log: Iterable[Mapping[str, Any]]) -> Steer:
    """A steer that repeats the interventions of a run; `log` has its records, the lines of steps.jsonl as dicts."""
    found = [Intervention(**each) for line in log for each in line.get("interventions", ())]
    return lambda step: [each for each in found if each.step == step]


# ---------------------------------------------------------------- what the settings do to a model


def _refuse_sharded(model: Model) -> None:
    """`ConfigError` for a model whose experts are dealt to several ranks."""
    # A rank that lacks the expert has nothing to hold, and the others would wait for it.
    whole = not any(map(ranks.is_part, model.parameters()))
    require(whole, "frozen_experts: no expert of a sharded model can be frozen: use --layout=replicated")


def _replace_top_k(cfg: MoEConfig, top_k: int) -> MoEConfig:
    """The same routing with another number of experts per token, and the scaling factor that training had.

    The factor is kept although it was derived for another K, so that exactly one thing changes.
    """
    changes = {"top_k": top_k, "routed_scaling_factor": scaling_factor(cfg)}
    return build(MoEConfig, to_dict(cfg) | changes, where="inference_top_k")


@contextlib.contextmanager
def use_inference_top_k(model: Model, top_k: int | None) -> Iterator[None]:
    """A block in which every router of `model` chooses `top_k` experts per token; None changes nothing.

    Raises `ConfigError` where `top_k` is above the number of experts.
    """
    if not isinstance(model, Kimi) or top_k is None:
        yield
        return
    layers = model.moe_layers()
    before = [layer.cfg for layer in layers]
    try:
        for layer in layers:
            layer.cfg = _replace_top_k(layer.cfg, top_k)
        yield
    finally:
        for layer, cfg in zip(layers, before, strict=True):
            layer.cfg = cfg


@contextlib.contextmanager
def freeze_experts(
    model: Model, optimizers: Sequence[torch.optim.Optimizer], experts: Iterable[tuple[int, int]]
) -> Iterator[None]:
    """A block for one optimizer step in which the weights of these (layer, expert) pairs do not move.

    At the start their gradients are set to zero, so that they do not count in the gradient's norm. At the end weights
    and momenta are bit for bit what they were: no update, no decay. Experts of one bank share one parameter, so no
    optimizer can leave out one of them by itself. The router's row for the expert goes on learning.
    """
    kept, experts = [], list(experts)
    if experts:
        _refuse_sharded(model)
    for layer, expert in experts:
        mlp = model.layers[layer].mlp
        assert isinstance(mlp, MoE)
        for p in mlp.experts.parameters():
            assert p.grad is not None
            p.grad[expert] = 0.0
            state = next(
                o.state[p] for o in optimizers if any(p is q for g in o.param_groups for q in g["params"])
            )
            # Before the first step there is no momentum; a gradient of zero then leaves it at zero.
            tensors = [p, *(t for t in state.values() if t.shape == p.shape)]
            kept += [(t, expert, t[expert].detach().clone()) for t in tensors]
    yield
    with torch.no_grad():
        for tensor, expert, value in kept:
            tensor[expert] = value
