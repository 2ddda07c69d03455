"""Settings that train nothing: those that nothing reads beside the others, and those that leave a part untrained.

A setting of its default value is never called idle: nobody asked for it. Clips can only be judged when a run is over.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from nanokimi.config import (
    BalanceConfig,
    BlockLatentConfig,
    DataConfig,
    GPTConfig,
    KimiConfig,
    ModelConfig,
    MoEConfig,
    TrainConfig,
)
from nanokimi.system.printable import quote


@dataclass(frozen=True)
class _Run:
    """The settings of a run, and what the rules ask about them."""

    data: DataConfig
    model: ModelConfig
    train: TrainConfig

    @property
    def moe(self) -> MoEConfig | None:
        """The experts' section, where a layer has experts."""
        model = self.model
        if isinstance(model, KimiConfig) and model.first_k_dense_replace < model.n_layers:
            return model.moe
        return None

    @property
    def balance(self) -> BalanceConfig:
        return self.train.balance

    def turns_nothing(self) -> bool:
        """Whether no layer of a Kimi turns queries and keys by their positions."""
        model = self.model
        if not isinstance(model, KimiConfig):
            return False
        return model.attention == "kda" or (model.mla is not None and model.mla.use_nope)

    @property
    def rope_pairs(self) -> int:
        model = self.model
        if not isinstance(model, KimiConfig):
            return 0
        return (model.mla.qk_rope_head_dim if model.mla else model.d_model // model.n_heads) // 2

    def has_one_pair(self) -> bool:
        return isinstance(self.model, KimiConfig) and self.rope_pairs == 1 and self.model.rope.yarn is None

    def has_all_experts_on(self) -> bool:
        """Whether every token goes to every expert, so that there is no load to even."""
        return self.moe is not None and self.moe.top_k == self.moe.n_routed_experts

    def has_weights_of_one(self) -> bool:
        """Whether the one expert of a token has weight 1 whatever the router says."""
        return self.moe is not None and self.moe.top_k == 1 and self.moe.norm_topk_prob

    def falls_at_the_last_step_only(self) -> bool:
        return self.train.warmup_steps == self.train.steps - 1


Rule = tuple[str, Callable[[_Run], bool], str]
_NOT_TURNED = "no layer turns queries and keys by their positions"
_NO_EXPERTS = "no layer of the model has experts"
_ALL_EXPERTS = "with top_k = n_routed_experts every token goes to every expert, and the load is always even"
_NO_MUON = "only optimizer=muon reads it"
_WORLDS = ("storyworld", "almanac")
_OTHER_TEXT = "only source=storyworld or source=almanac reads it"
_BALANCING = tuple(field.name for field in fields(BalanceConfig))

# The setting, when nothing depends on its value, and why.
IDLE: tuple[Rule, ...] = (
    ("data.n_characters", lambda run: run.data.source not in _WORLDS, _OTHER_TEXT),
    ("data.n_stories", lambda run: run.data.source != "storyworld", "only source=storyworld reads it"),
    ("data.n_exposures", lambda run: run.data.source != "almanac", "only source=almanac reads it"),
    ("data.seed", lambda run: run.data.source not in _WORLDS, _OTHER_TEXT),
    ("data.vocab_size", lambda run: run.data.tokenizer != "bpe", "only tokenizer=bpe is trained to a size"),
    ("model.moe", lambda run: run.moe is None, "first_k_dense_replace = n_layers makes every layer dense"),
    (
        "model.first_k_dense_replace",
        lambda run: isinstance(run.model, KimiConfig) and run.model.moe is None,
        "without a section moe: every layer is dense",
    ),
    (
        "model.intermediate_size",
        lambda run: run.moe is not None and getattr(run.model, "first_k_dense_replace", 0) == 0,
        "no layer is dense: first_k_dense_replace=0",
    ),
    ("model.rope.base", _Run.turns_nothing, _NOT_TURNED),
    ("model.rope.yarn", _Run.turns_nothing, _NOT_TURNED),
    ("model.rope.base", _Run.has_one_pair, "of two turned numbers the only pair turns alike with every base"),
    (
        "model.moe.n_group",
        lambda run: run.moe is not None and run.moe.topk_group == run.moe.n_group,
        "topk_group = n_group keeps all groups",
    ),
    (
        "model.moe.scoring",
        lambda run: (
            run.has_weights_of_one()
            and run.moe is not None
            and run.moe.n_group == run.moe.topk_group
            and not (run.balance.sequence_coef or run.balance.bias_update_rate)
            and run.balance.method == "sign"
        ),
        "with top_k=1 and norm_topk_prob=true the order of the logits alone decides",
    ),
    (
        "model.moe.norm_topk_prob",
        lambda run: (
            run.has_all_experts_on()
            and run.moe is not None
            and run.moe.scoring == "softmax"
            and run.moe.routed_scaling_factor is not None
        ),
        "the softmax of all experts already sums to 1",
    ),
    ("train.optim.muon_momentum", lambda run: run.train.optim.optimizer != "muon", _NO_MUON),
    ("train.optim.ns_steps", lambda run: run.train.optim.optimizer != "muon", _NO_MUON),
    ("train.schedule", lambda run: run.train.min_lr_ratio == 1, "min_lr_ratio=1 leaves the rate as it is"),
    (
        "train.decay_fraction",
        lambda run: run.train.schedule != "wsd" or run.train.min_lr_ratio == 1,
        "only schedule=wsd reads it, with a min_lr_ratio below 1",
    ),
    (
        "train.decay_fraction",
        _Run.falls_at_the_last_step_only,
        "warmup_steps = steps - 1 leaves one step after the warm-up, the last",
    ),
    (
        "train.min_lr_ratio",
        lambda run: run.train.schedule == "cosine" and run.falls_at_the_last_step_only(),
        "warmup_steps = steps - 1 leaves one step after the warm-up, and it has the full rate",
    ),
    *((f"train.balance.{name}", lambda run: run.moe is None, _NO_EXPERTS) for name in _BALANCING),
    *(
        (f"train.balance.{name}", _Run.has_all_experts_on, _ALL_EXPERTS)
        for name in _BALANCING
        if name != "z_coef"
    ),
)


def idle_settings(
    data: DataConfig, model: ModelConfig, train: TrainConfig, val_tokens: int | None = None
) -> list[str]:
    """A line for every setting that does nothing, and for every part of the model that is not trained; mostly none.

    val_tokens: how many tokens there are to measure on, where that is known.

    >>> from nanokimi import DataConfig, TrainConfig, load_model_config
    >>> from nanokimi.config import OptimConfig
    >>> idle_settings(DataConfig(), load_model_config("gpt-tiny"), TrainConfig(optim=OptimConfig(ns_steps=3)))
    ['train.optim.ns_steps=3 does nothing: only optimizer=muon reads it']
    """
    run = _Run(data, model, train)
    found: dict[str, str] = {}
    for name, is_idle, why in IDLE:
        value, default = _look_up(run, name)
        if value != default and is_idle(run):
            said = "" if is_dataclass(value) else f"={quote(value)}"
            found.setdefault(name, f"{name}{said} does nothing: {why}")
    return [*found.values(), *_untrained(run, val_tokens)]


def _untrained(run: _Run, val_tokens: int | None) -> Iterator[str]:
    """What acts, and yet leaves a part of the model untrained, or idle, or the training unmeasured."""
    model, train = run.model, run.train
    if run.has_weights_of_one() and run.moe is not None and run.moe.n_routed_experts > 1:
        yield (
            "model.moe.top_k=1 with norm_topk_prob=true: the one expert of a token has weight 1 whatever the router "
            "says, so the text teaches the router nothing; set model.moe.norm_topk_prob=false"
        )
    if run.has_all_experts_on() and run.moe is not None and run.moe.n_routed_experts > 1:
        yield (
            f"model.moe.top_k={run.moe.top_k} chooses all n_routed_experts={run.moe.n_routed_experts}: every token "
            "goes to every expert, and the router only weighs what they give"
        )
    if isinstance(model, GPTConfig) and model.max_seq_len > train.seq_len:
        yield (
            f"model.max_seq_len={model.max_seq_len} is above train.seq_len={train.seq_len}: a GPT's positions from "
            f"{train.seq_len} on are never trained; set both to the same length"
        )
    latent: BlockLatentConfig | None = getattr(model, "block_latent", None)
    if latent is not None and latent.block_len >= train.seq_len:
        yield (
            f"model.block_latent.block_len={latent.block_len} with train.seq_len={train.seq_len}: no window is longer "
            "than a block, so no token sees a latent and none is trained; lower block_len"
        )
    if train.eval_every > train.steps:
        yield (
            f"train.eval_every={train.eval_every} is above train.steps={train.steps}: the run is measured and saved "
            "once, at its end"
        )
    windows = None if val_tokens is None else (val_tokens - 1) // train.seq_len
    if windows is not None and windows < train.eval_windows:
        measured = "its only window is" if windows == 1 else f"all {windows:,} windows are"
        yield (
            f"train.eval_windows={train.eval_windows} is more than the validation text has: {measured} measured"
        )


class Clips:
    """The clips of a training, judged when it is over: did they ever act?"""

    def __init__(self, train: TrainConfig):
        self._train = train
        self._grad_norm, self._logit = 0.0, -math.inf

    def see(self, grad_norm: float, max_qk_logit: list[list[float]] | None) -> None:
        """Note what a step's record says of its gradient and its logits."""
        self._grad_norm = max(self._grad_norm, grad_norm)
        self._logit = max([self._logit, *map(max, max_qk_logit or [])])

    def list_idle(self) -> list[str]:
        """A line for every clip that was asked for, other than by default, and never acted."""
        found, clip, tau = [], self._train.grad_clip, self._train.qk_clip_tau
        if clip != TrainConfig().grad_clip and self._grad_norm <= clip:
            largest = f"the largest gradient had a norm of {self._grad_norm:.3g}"
            found.append(f"train.grad_clip={clip:g} never acted: {largest}")
        if tau is not None and self._logit <= tau:
            largest = f"the largest attention logit was {self._logit:.3g}"
            found.append(f"train.qk_clip_tau={tau:g} never acted: {largest}")
        return found


def describe_standstill(val_losses: Sequence[float]) -> str:
    """A line where all measurements of a training gave one loss, so that it taught nothing; else empty."""
    if len(val_losses) < 2 or len(set(val_losses)) > 1:
        return ""
    return (
        f"the validation loss was {val_losses[0]:.4f} at every measurement, to the last digit: the model has learned "
        "nothing; train.optim.lr may be too small, or a setting of the model hide its input"
    )


def _look_up(run: _Run, name: str) -> tuple[Any, Any]:
    """The value of a setting and its default; equal where its section is missing."""
    value: Any = run
    for part in name.split("."):
        if not hasattr(value, part):
            return None, None
        holder, value = value, getattr(value, part)
    default = {field.name: field.default for field in fields(holder)}[name.rpartition(".")[2]]
    return value, default
