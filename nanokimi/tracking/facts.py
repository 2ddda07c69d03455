"""What is tracked of a step: its record as numbers that become curves, and as tables."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from nanokimi.record import StepRecord


class Table(NamedTuple):
    """Rows of values under named columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def list_numbers(record: StepRecord) -> Iterator[tuple[str, float]]:
    """The name and the value of everything in a record that becomes a curve."""
    for name in ("loss", "balance_loss", "grad_norm", "lr", "tokens", "tokens_per_s", "seconds"):
        yield f"train/{name}", getattr(record, name)
    for layer, (max_vio, entropy) in enumerate(zip(record.max_vio, record.router_entropy, strict=True)):
        yield f"router/max_vio/{layer}", max_vio
        yield f"router/entropy/{layer}", entropy
    for layer, heads in enumerate(record.max_qk_logit or ()):
        yield f"max_qk_logit/{layer}", max(heads)
    found = record.evaluation
    if found is None:
        return
    for name in ("loss", "perplexity", "bits_per_byte"):
        yield f"validation/{name}", getattr(found, name)
    if found.floor_bits_per_byte is not None:
        yield "validation/floor_bits_per_byte", found.floor_bits_per_byte
    for role, loss in (found.by_role or {}).items():
        yield f"validation/bits_per_byte/{role}", loss.bits_per_byte


def list_tables(record: StepRecord) -> Iterator[tuple[str, Table]]:
    """The load of every expert (1.0 is an even share) where there is an evaluation, and what the caller has changed."""
    if record.evaluation is not None and record.expert_load:
        columns = ("MoE layer", *(f"expert {each}" for each in range(len(record.expert_load[0]))))
        yield "router/load", Table(columns, [[n, *load] for n, load in enumerate(record.expert_load)])
    if record.interventions:
        changed = [(each.what, str(each.value)) for each in record.interventions]
        yield "interventions", Table(("setting", "value"), changed)
