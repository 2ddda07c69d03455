"""From results to the rows of the table: what each arm costs, what it reaches, and when it reaches GPT's final loss."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from lab_utils.bench.plan import BASELINE
from lab_utils.bench.results import ArmFacts, Results, Run


@dataclass(frozen=True)
class Spread:
    """A number measured several times: its mean (or median), its least and greatest value, how many there are."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. None: not measured, or never reached."""

    arm: str
    total: int
    body_active: int
    flops_per_token: float
    tokens_per_s: float | None
    step_ratio: Spread | None  # step time divided by GPT's, round by round: median, lower and upper quartile
    seconds: float | None  # of all steps, from the step time measured in turn
    train_seconds: Spread | None  # of all steps, by the clock while training
    peak_memory: Spread | None
    loss: Spread | None
    perplexity: Spread | None
    bits_per_byte: Spread | None
    floor: float | None
    tokens_to_target: (
        Spread | None
    )  # until GPT's final loss with the same seed, over the seeds that reached it
    seconds_to_target: Spread | None
    share_to_target: float | None  # of GPT's tokens
    has_target: (
        bool  # whether GPT came to its end with a seed of this arm, so that there is a final loss to reach
    )
    n_seeds: int
    steered: bool = False  # by hand, with any seed
    diverged: tuple[int, ...] = ()  # the steps at which trainings with some seeds diverged


def spread_of(values: Sequence[float]) -> Spread | None:
    """Mean, least and greatest value; None if there are no values."""
    return Spread(fmean(values), min(values), max(values), len(values)) if values else None


# ---------------------------------------------------------------- along a loss curve


def interpolate(xs: Sequence[float], ys: Sequence[float], x: float) -> float | None:
    """y at `x`, linear between neighbours; None outside the measured range."""
    for (x0, y0), (x1, y1) in itertools.pairwise(zip(xs, ys)):
        if x0 <= x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return ys[0] if len(xs) == 1 and xs[0] == x else None


def first_reach(xs: Sequence[float], losses: Sequence[float], target: float) -> float | None:
    """The x at which the loss first falls to `target`, linear between evaluations; None if it never does.

    A curve that starts at or below the target has reached it by its first evaluation, so the x of that one is returned.
    """
    for i, loss in enumerate(losses):
        if loss <= target:
            if i == 0:
                return xs[0]
            x0, y0 = xs[i - 1], losses[i - 1]
            return x0 + (xs[i] - x0) * (y0 - target) / (y0 - loss)
    return None


def loss_at_tokens(run: Run, tokens: float) -> float | None:
    """Validation loss after `tokens`, interpolated."""
    return interpolate([p.tokens for p in run.points], [p.loss for p in run.points], tokens)


def tokens_to(run: Run, target: float) -> float | None:
    """Tokens until the validation loss first falls to `target`, interpolated."""
    return first_reach([p.tokens for p in run.points], [p.loss for p in run.points], target)


# ---------------------------------------------------------------- the table


def seconds_per_token(facts: ArmFacts) -> float | None:
    """Seconds per token of training, from the median step; None where the steps were not timed."""
    return median(facts.step_seconds) / facts.tokens_per_step if facts.step_seconds else None


def planned_tokens(facts: ArmFacts) -> int:
    """The tokens that the whole training of an arm sees."""
    return facts.tokens_per_step * facts.train["steps"]


def step_ratio(facts: ArmFacts, baseline: ArmFacts | None) -> Spread | None:
    """Step time divided by the baseline's, round by round: the median, with the quartiles as low and high."""
    if baseline is None or not facts.step_seconds:
        return None
    if len(facts.step_seconds) != len(baseline.step_seconds):
        return None
    ratios = sorted(a / b for a, b in zip(facts.step_seconds, baseline.step_seconds))
    last = len(ratios) - 1
    return Spread(median(ratios), ratios[last // 4], ratios[last - last // 4], len(ratios))


def table_rows(results: Results) -> list[Row]:
    """A row per arm, in the order of the plan. Seeds whose training did not finish are left out."""
    return [_row(results, facts) for facts in results.arms.values()]


def _row(results: Results, facts: ArmFacts) -> Row:
    runs = [run for seed in results.seeds if (run := results.run(facts.name, seed))]
    per_token = seconds_per_token(facts)
    reached, shares = [], []
    # Of the windows that every evaluation has; where none was made, that of the whole text, which is nearly the same.
    floors = [point.floor_bits_per_byte for run in results.runs for point in run.points]
    for run in runs:
        gpt = results.run(BASELINE, run.seed)
        tokens = tokens_to(run, gpt.final.loss) if gpt else None
        if tokens is not None:
            reached.append(tokens)
            shares.append(tokens / gpt.final.tokens)
    memory = [run.peak_memory for run in runs if run.peak_memory is not None]
    timed = per_token is not None
    return Row(
        arm=facts.name,
        total=facts.total,
        body_active=facts.body_active,
        flops_per_token=facts.flops_per_token,
        tokens_per_s=1 / per_token if timed else None,
        step_ratio=step_ratio(facts, results.arms.get(BASELINE)),
        seconds=per_token * facts.tokens_per_step * facts.train["steps"] if timed else None,
        train_seconds=spread_of([run.train_seconds for run in runs]),
        peak_memory=spread_of(memory),
        loss=spread_of([run.final.loss for run in runs]),
        perplexity=spread_of([run.final.perplexity for run in runs]),
        bits_per_byte=spread_of([run.final.bits_per_byte for run in runs]),
        floor=floors[0] if floors else results.corpus.get("floor"),
        tokens_to_target=spread_of(reached),
        seconds_to_target=spread_of([tokens * per_token for tokens in reached]) if timed else None,
        share_to_target=fmean(shares) if shares else None,
        has_target=any(results.run(BASELINE, run.seed) for run in runs),
        n_seeds=len(runs),
        steered=any(run.steered for run in results.runs if run.arm == facts.name),
        diverged=tuple(
            step for seed in results.seeds if (step := results.diverged_at(facts.name, seed)) is not None
        ),
    )


def reach_sentences(rows: Sequence[Row]) -> list[str]:
    """When each other arm reaches GPT's final loss; a single line where there is no such loss."""
    if not any(row.has_target for row in rows):
        trained = any(row.arm == BASELINE for row in rows)
        why = "did not come to the end of its training" if trained else "was not trained"
        return [f"GPT {why}, so there is no final loss of it to reach"]
    found = []
    for row in rows:
        if row.has_target and row.arm != BASELINE:
            share = row.share_to_target
            when = "never" if share is None else f"after {share:.0%} of GPT's tokens"
            by_hand = " (it was steered by hand)" if row.steered else ""
            found.append(f"{row.arm} reaches GPT's final loss {when}{by_hand}")
    return found or ["no other model came to the end of its training, so none can be compared with GPT"]
