"""Steering: what may be changed while a training runs, written down so that the run can be repeated.

`train` asks its caller for the interventions of every step. Each sets one setting of `Steering` to a value; it
stands in the step's record and in every later checkpoint. A run with an intervention is *steered*: it teaches, but
compares with nothing. Fed back through `replay`, its log gives the same numbers again.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

from nanokimi.config import ConfigError, MoEConfig, TrainConfig, to_dict
from nanokimi.kimi import Kimi
from nanokimi.model import Model
from nanokimi.router import scaling_factor
from nanokimi.yaml_config import build

BALANCING = ("switch_coef", "sequence_coef", "bias_update_rate")


@checked_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Steering:
    """The settings that an intervention may change, as they stand at one step.

    `lr_factor` multiplies the schedule's learning rate. The three coefficients are those of `BalanceConfig`: with
    all of them 0 nothing balances the experts, and their biases stay where they are. `inference_top_k` is how many
    experts a token takes in evaluations and samples (None: as in training). `frozen_experts` are pairs of (layer,
    expert), layers counted from 0 with the dense ones: the weights of these experts get no update at all.
    """

    lr_factor: float = 1.0
    switch_coef: float = 0.0
    sequence_coef: float = 0.0
    bias_update_rate: float = 0.0
    inference_top_k: int | None = None
    frozen_experts: tuple[tuple[int, int], ...] = ()

    @model_validator(mode="after")
    def _check(self):
        if self.lr_factor <= 0:
            raise ValueError(f"lr_factor={self.lr_factor} must be above 0")
        for name in BALANCING:
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must be 0 or more")
        if self.inference_top_k is not None and self.inference_top_k < 1:
            raise ValueError(f"inference_top_k={self.inference_top_k} must be at least 1")
        return self

    @classmethod
    def of(cls, cfg: TrainConfig) -> "Steering":
        """The settings that a training begins with."""
        return cls(**{name: getattr(cfg.balance, name) for name in BALANCING})

    def after(self, interventions: "Iterable[Intervention]") -> "Steering":
        """The settings once these interventions are made, in their order."""
        return replace(self, **{each.what: each.value for each in interventions})

    def applied_to(self, cfg: TrainConfig) -> TrainConfig:
        """The training as it is to go on: with this learning rate and this balancing."""
        balance = replace(cfg.balance, **{name: getattr(self, name) for name in BALANCING})
        return replace(cfg, optim=replace(cfg.optim, lr=cfg.optim.lr * self.lr_factor), balance=balance)


@dataclass(frozen=True)
class Intervention:
    """From step `step` (from 1) on, the setting `what` of `Steering` has the value `value`."""

    step: int
    what: str
    value: Any  # of the type that `Steering` gives to `what`

    def __post_init__(self) -> None:
        known = [field.name for field in fields(Steering)]
        if self.what not in known:
            raise ConfigError(f"what={self.what!r} cannot be steered; allowed are {', '.join(known)}")
        if isinstance(self.step, bool) or not isinstance(self.step, int) or self.step < 1:
            raise ConfigError(f"step={self.step!r} of an intervention must be a whole number of at least 1")
        checked = build(Steering, {self.what: self.value}, where=f"intervention at step {self.step}")
        # JSON has lists for tuples, and 1 for 1.0: equal interventions are made equal here.
        object.__setattr__(self, "value", getattr(checked, self.what))

    def check_fits(self, model: Model) -> None:
        """`ConfigError` where the model lacks what is steered: a router, a layer of experts, an expert."""
        if self.what == "lr_factor" or not self.value:
            return
        moe = model.cfg.moe if isinstance(model, Kimi) and model.moe_layers() else None
        if moe is None:
            raise ConfigError(f"{self.what}={self.value}: this model has no experts and nothing to route")
        if self.what == "inference_top_k":
            with_top_k(moe, self.value)
        if self.what == "frozen_experts":
            layers = range(model.cfg.first_k_dense_replace, model.cfg.n_layers)
            experts = range(moe.n_routed_experts)
            for layer, expert in self.value:
                if layer not in layers:
                    raise ConfigError(
                        f"frozen_experts: layer {layer} has no experts; allowed are {layers[0]}..{layers[-1]}"
                    )
                if expert not in experts:
                    raise ConfigError(
                        f"frozen_experts: layer {layer} has no expert {expert}; allowed are 0..{experts[-1]}"
                    )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `Intervention(**data)` gives it back."""
        pairs = self.what == "frozen_experts"
        value = [list(pair) for pair in self.value] if pairs else self.value
        return {"step": self.step, "what": self.what, "value": value}


class EndTraining(Exception):
    """What a steer raises to end the training now: the step under way is given up, those before it are saved."""


# The interventions of a step, as the caller wants them now. Asked before the step, and again while it is under way: a
# step about which the answer has changed is given up and taken anew. To take its time over the answer is to pause.
Steer = Callable[[int], Sequence[Intervention]]


def check_interventions(asked: tuple[Intervention, ...], step: int, model: Model) -> tuple[Intervention, ...]:
    """The same interventions; `ConfigError` for one that is not of this step or does not fit this model."""
    for each in asked:
        if each.step != step:
            raise ConfigError(
                f"the intervention {each.what}={each.value} of step {each.step} came at step {step}"
            )
        each.check_fits(model)
    return asked


def replay(log: Iterable[Mapping[str, Any]]) -> Steer:
    """A steer that intervenes as the run did whose records (lines of steps.jsonl, as dicts) are given."""
    found = [Intervention(**each) for line in log for each in line.get("interventions", ())]
    return lambda step: [each for each in found if each.step == step]


# ---------------------------------------------------------------- what the settings do to a model


def with_top_k(cfg: MoEConfig, top_k: int) -> MoEConfig:
    """The same routing with another number of experts a token, and the scaling factor that training had.

    The factor is kept although it was derived for another K, so that exactly one thing changes.
    """
    changes = {"top_k": top_k, "routed_scaling_factor": scaling_factor(cfg)}
    return build(MoEConfig, to_dict(cfg) | changes, where="inference_top_k")


@contextlib.contextmanager
def use_inference_top_k(model: Model, top_k: int | None) -> Iterator[None]:
    """Within the block every router chooses `top_k` experts a token; None leaves them alone."""
    layers = model.moe_layers() if isinstance(model, Kimi) and top_k is not None else []
    before = [layer.cfg for layer in layers]
    try:
        for layer in layers:
            layer.cfg = with_top_k(layer.cfg, top_k)
        yield
    finally:
        for layer, cfg in zip(layers, before, strict=True):
            layer.cfg = cfg


@contextlib.contextmanager
def freeze_experts(
    model: Model, optimizers: Sequence[torch.optim.Optimizer], experts: Iterable[tuple[int, int]]
) -> Iterator[None]:
    """Within the block, which takes the optimizer step, the weights of these (layer, expert) pairs do not move.

    Their gradient is set to zero (so it does not count in the gradient's norm either), and after the step weights
    and momenta are bit for bit what they were: no update, no decay. Experts of one bank share one parameter, so
    no optimizer can leave one of them out by itself. The router's row for the expert goes on learning.
    """
    kept = []
    for layer, expert in experts:
        for p in model.layers[layer].mlp.experts.parameters():
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
