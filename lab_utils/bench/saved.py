"""What results.json and steps.jsonl must hold for the report to be computed from them, where no class says it.

A file may have more than is listed here. What is listed has these names, these types and these ranges.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from nanokimi.system.real_numbers import Number, Positive, PositiveOrZero
from nanokimi.system.whole_numbers import Count, Size, SizeOrZero

_OPEN = with_config(ConfigDict(extra="allow"))

# What a picture can show: matplotlib draws no axis up to 1e308.
Load = Annotated[PositiveOrZero, Field(le=10**6)]
Logit = Annotated[Number, Field(ge=-1e30, le=1e30)]


@_OPEN
class SavedModel(TypedDict):
    """The settings of an arm's model, as they are saved."""

    kind: str
    first_k_dense_replace: NotRequired[SizeOrZero]


@_OPEN
class SavedOptim(TypedDict):
    """The settings of an optimizer, as they are saved."""

    optimizer: str
    lr: Positive


@_OPEN
class SavedTraining(TypedDict):
    """The settings of an arm's training, as they are saved."""

    steps: Count
    batch_size: Size
    seq_len: Size
    grad_accum: Size
    optim: SavedOptim
    qk_clip_tau: NotRequired[Positive | None]


@_OPEN
class SavedRole(TypedDict):
    """The loss on the tokens of one role."""

    bits_per_byte: Number
    nats_per_token: NotRequired[Number]
    floor_bits_per_byte: PositiveOrZero
    n_tokens: NotRequired[Count]


@_OPEN
class SavedIntervention(TypedDict):
    """What a person changed while a training ran."""

    step: Count
    what: str
    value: Any


@_OPEN
class SavedCorpus(TypedDict):
    """The text in numbers."""

    source: str
    train_tokens: Count
    n_vocab: Size


@_OPEN
class SavedMachine(TypedDict):
    """The machine in words."""

    device: str
    cpu: str
    cores: Count | None
    threads: Count
    memory_bytes: Count | None
    system: str


@_OPEN
class SavedEnvironment(TypedDict):
    """Machine and time of a run."""

    created: str
    machine: SavedMachine


@_OPEN
class SavedStep(TypedDict):
    """What the pictures read in a line of steps.jsonl."""

    expert_load: list[Annotated[list[Load], Field(min_length=1)]]
    max_vio: list[Load]
    max_qk_logit: Annotated[list[Annotated[list[Logit], Field(min_length=1)]], Field(min_length=1)] | None
