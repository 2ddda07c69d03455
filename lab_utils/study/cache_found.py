"""What the study of the cache found: measurements, trainings, what follows from them, and the tables that show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import fmean, median
from typing import Any

from pydantic import TypeAdapter

from lab_utils.show.table import Table, count, memory
from lab_utils.study.decoding import Decoded, largest_batch, longest_context
from lab_utils.study.trainings import Trained, at_best_rate, final_losses
from nanokimi.config import KimiConfig
from nanokimi.count import cache_elements

BUDGET = 10**9  # the bytes of cache whose reach is told: 1 GB


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far `BUDGET` goes with the cache of one model, by formula."""

    model: str
    numbers_per_token: float  # at the longest context that was measured
    longest_context: int  # of one text
    largest_batch: dict[int, int]  # by the context that every text may reach


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the study gave, and by name why a job gave nothing."""

    decoded: tuple[Decoded, ...]
    reach: tuple[Reach, ...]
    trained: tuple[Trained, ...]
    lost: dict[str, str]


def read_found(record: dict[str, Any]) -> Found:
    """What a record says that the study found."""
    return TypeAdapter(Found).validate_python({each.name: record[each.name] for each in fields(Found)})


def find_reach(models: dict[str, KimiConfig], contexts: Sequence[int]) -> tuple[Reach, ...]:
    """How far the budget goes with each model."""
    return tuple(
        Reach(
            model=name,
            numbers_per_token=cache_elements(cfg, max(contexts)) / max(contexts),
            longest_context=longest_context(cfg, BUDGET),
            largest_batch={context: largest_batch(cfg, context, BUDGET) for context in contexts},
        )
        for name, cfg in models.items()
    )


def tokens_per_second(each: Decoded) -> float:
    """Of all texts together, by the median round."""
    return each.batch * each.tokens / median(each.seconds)


def speed_ratio(each: Decoded, first: Decoded) -> float:
    """How many times as fast as `first`: the median over the rounds."""
    return median(theirs / mine for mine, theirs in zip(each.seconds, first.seconds, strict=True))


# ---------------------------------------------------------------- tables


def decoding_table(decoded: Sequence[Decoded]) -> Table:
    """Tokens per second, against the first model at the same place, and the bytes held."""
    heads = ["batch", "context", "attention", "tokens/s", "against\nthe first", "cache"]
    first = {(each.batch, each.context): each for each in reversed(decoded)}
    rows = [
        [
            str(each.batch),
            f"{each.context:,}",
            each.model,
            f"{tokens_per_second(each):,.0f}",
            f"{speed_ratio(each, first[each.batch, each.context]):.2f}",
            memory(each.cache_bytes),
        ]
        for each in decoded
    ]
    caption = f"All texts together; medians over rounds in turns. {compare_with_formula(decoded)}"
    return Table.of(heads, rows, caption, words=(2,))


def compare_with_formula(decoded: Sequence[Decoded]) -> str:
    """A sentence that says whether the bytes that were counted are those of the formula."""
    wrong = sum(each.cache_bytes != each.formula_bytes for each in decoded)
    if wrong:
        return f"The bytes that were counted differ from the formula in {wrong} of {len(decoded)} rows."
    return f"The bytes that were counted are those of the formula in all {len(decoded)} rows."


def reach_table(reach: Sequence[Reach]) -> Table:
    """What 1 GB of cache holds."""
    contexts = list(reach[0].largest_batch)
    heads = ["attention", "numbers\nper token", "longest\ncontext", *(f"batch at\n{n:,}" for n in contexts)]
    rows = [
        [
            each.model,
            f"{each.numbers_per_token:,.0f}",
            f"{each.longest_context:,}",
            *(f"{each.largest_batch[n]:,}" for n in contexts),
        ]
        for each in reach
    ]
    return Table.of(heads, rows, "What fits into 1 GB of cache in float32, by the formula.")


def quality_table(trained: Sequence[Trained]) -> Table:
    """Every arm at its best rate: its cache, its size, and what it reaches."""
    heads = ["arm", "cache, numbers\nper token", "active\nbody", "rate", "val. loss\nnats/token",
             "bits\nper byte", "seeds"]  # fmt: skip
    rows = []
    for arm, found in at_best_rate(trained).items():
        losses = final_losses(found)
        spread = f"\n{min(losses):.3f}..{max(losses):.3f}" if len(losses) > 1 else ""
        rows.append(
            [
                arm,
                f"{found[0].cache_per_token:,}",
                count(found[0].body_active),
                f"{found[0].lr:g}",
                f"{fmean(losses):.3f}{spread}",
                f"{fmean(each.run.final.bits_per_byte for each in found):.3f}",
                str(len(found)),
            ]
        )
    return Table.of(heads, rows, "Each arm at its best rate; every rate is in results.json.")
