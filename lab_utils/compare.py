"""From results to conclusions: the rows of the table, what each rung of the ladder buys, a verdict a question.

Pure functions of `Results`. The rules, which the report repeats:

- Losses are compared seed by seed: both arms of a pair saw the same batches.
- A verdict needs three seeds that all agree, and a mean difference above the spread (the larger of the two arms'
  distances between their best and worst seed). Otherwise it reads "undecided".
- Where a run, a seed or a measurement is missing there is no conclusion.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from lab_utils.arms import BASELINE, CHALLENGER, LADDER
from lab_utils.results import ArmFacts, Results, Run

SEEDS_NEEDED = 3


@dataclass(frozen=True)
class Spread:
    """A number measured with several seeds."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def width(self) -> float:
        return self.high - self.low


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. None: not measured, or never reached."""

    arm: str
    total: int
    body_active: int
    flops_per_token: float
    tokens_per_s: float | None
    step_ratio: Spread | None  # step time over GPT's, round by round: median, lower and upper quartile
    seconds: float | None  # all steps, by the step time measured in turns
    train_seconds: Spread | None  # all steps, as they passed
    peak_memory: Spread | None
    loss: Spread | None
    perplexity: Spread | None
    bits_per_byte: Spread | None
    floor: float | None
    tokens_to_target: Spread | None  # until GPT's final loss of the same seed, over the seeds that reached it
    seconds_to_target: Spread | None
    share_to_target: float | None  # of GPT's tokens
    n_seeds: int


@dataclass(frozen=True)
class Pair:
    """Both arms of a comparison with one seed."""

    seed: int
    baseline: float
    challenger: float

    @property
    def difference(self) -> float:
        return self.challenger - self.baseline


Answer = Literal["challenger", "baseline", "undecided", "no conclusion"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer to one question, with the rows that it rests on. Lower numbers are better in all of them."""

    question: str
    baseline: str
    challenger: str
    quantity: str
    answer: Answer
    reason: str
    pairs: tuple[Pair, ...]
    mean: float | None  # difference, challenger - baseline
    spread: float | None

    @property
    def winner(self) -> str | None:
        return {"challenger": self.challenger, "baseline": self.baseline}.get(self.answer)


def spread_of(values: Sequence[float]) -> Spread | None:
    """Mean, least and greatest; None of nothing."""
    return Spread(fmean(values), min(values), max(values), len(values)) if values else None


# ---------------------------------------------------------------- along a loss curve


def interpolate(xs: Sequence[float], ys: Sequence[float], x: float) -> float | None:
    """y at `x`, linear between neighbours; None outside the measured range."""
    for (x0, y0), (x1, y1) in itertools.pairwise(zip(xs, ys)):
        if x0 <= x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return ys[0] if len(xs) == 1 and xs[0] == x else None


def first_reach(xs: Sequence[float], losses: Sequence[float], target: float) -> float | None:
    """Where the loss first comes down to `target`, linear between evaluations; None if it never does.

    A curve that starts at or below the target has reached it by its first evaluation: that x is given.
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
    """Tokens until the validation loss first comes down to `target`, interpolated."""
    return first_reach([p.tokens for p in run.points], [p.loss for p in run.points], target)


# ---------------------------------------------------------------- the table


def seconds_per_token(facts: ArmFacts) -> float | None:
    """By the median step measured in turns with the other arms."""
    return median(facts.step_seconds) / facts.tokens_per_step if facts.step_seconds else None


def step_ratio(facts: ArmFacts, baseline: ArmFacts | None) -> Spread | None:
    """Step time over the baseline's, round by round: the median with its quartiles as low and high."""
    if baseline is None or not facts.step_seconds:
        return None
    if len(facts.step_seconds) != len(baseline.step_seconds):
        return None
    ratios = sorted(a / b for a, b in zip(facts.step_seconds, baseline.step_seconds))
    last = len(ratios) - 1
    return Spread(median(ratios), ratios[last // 4], ratios[last - last // 4], len(ratios))


def table_rows(results: Results) -> list[Row]:
    """A row an arm, in the order of the plan; seeds whose training did not finish are left out."""
    return [_row(results, facts) for facts in results.arms.values()]


def _row(results: Results, facts: ArmFacts) -> Row:
    runs = [run for seed in results.seeds if (run := results.run(facts.name, seed))]
    per_token = seconds_per_token(facts)
    reached, shares = [], []
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
        floor=runs[0].final.floor_bits_per_byte if runs else None,
        tokens_to_target=spread_of(reached),
        seconds_to_target=spread_of([tokens * per_token for tokens in reached]) if timed else None,
        share_to_target=fmean(shares) if shares else None,
        n_seeds=len(runs),
    )


# ---------------------------------------------------------------- verdicts


def judge(
    question: str,
    quantity: str,
    results: Results,
    value: Callable[[Run], float | None],
    baseline: str = BASELINE,
    challenger: str = CHALLENGER,
) -> Verdict:
    """Compare `value` (lower is better) of two arms over all planned seeds, by the rules at the top."""
    pairs, missing = [], []
    for seed in results.seeds:
        values = []
        for arm in (baseline, challenger):
            run = results.run(arm, seed)
            found = value(run) if run else None
            if run is None:
                missing.append(f"{arm} with seed {seed} did not finish")
            elif found is None or not math.isfinite(found):
                missing.append(f"{arm} with seed {seed} has no {quantity}")
            values.append(found)
        if None not in values and all(map(math.isfinite, values)):
            pairs.append(Pair(seed, *values))
            if not _same_batches(results, seed, baseline, challenger):
                missing.append(f"the arms saw different batches with seed {seed}")
    absent = [arm for arm in (baseline, challenger) if arm not in results.arms]
    mean = fmean(pair.difference for pair in pairs) if pairs else None
    spread = _spread(pairs) if len(pairs) > 1 else None
    answer: Answer = "no conclusion"
    if absent:
        reason = f"needs {baseline} and {challenger}; {' and '.join(absent)} was not trained"
    elif missing:
        reason = missing[0] + (f" ({len(missing) - 1} more)" if len(missing) > 1 else "")
    elif len(pairs) < SEEDS_NEEDED:
        seeds = "1 seed" if len(pairs) == 1 else f"{len(pairs)} seeds"
        reason = f"{seeds}, {SEEDS_NEEDED} needed"
    else:
        answer, reason = _decide(pairs, spread)
    return Verdict(
        question=question,
        baseline=baseline,
        challenger=challenger,
        quantity=quantity,
        answer=answer,
        reason=reason,
        pairs=tuple(pairs),
        mean=mean,
        spread=spread,
    )


def _decide(pairs: Sequence[Pair], spread: float) -> tuple[Answer, str]:
    lower = sum(pair.difference < 0 for pair in pairs)
    higher = sum(pair.difference > 0 for pair in pairs)
    if len(pairs) not in (lower, higher):
        return "undecided", f"lower with {lower} of {len(pairs)} seeds"
    if abs(fmean(pair.difference for pair in pairs)) <= spread:
        return "undecided", "all seeds agree, but the difference does not exceed the spread"
    side: Answer = "challenger" if lower else "baseline"
    return side, f"all {len(pairs)} seeds agree, and the difference exceeds the spread"


def _spread(pairs: Sequence[Pair]) -> float:
    """The larger of the two arms' distances between their best and their worst seed."""
    sides = ([pair.baseline for pair in pairs], [pair.challenger for pair in pairs])
    return max(max(side) - min(side) for side in sides)


def _same_batches(results: Results, seed: int, *arms: str) -> bool:
    return len({results.run(arm, seed).batch_digest for arm in arms}) == 1


def verdicts(results: Results) -> list[Verdict]:
    """GPT against Kimi: equal tokens, equal FLOPs, equal wall clock, memory."""
    return [
        judge("Equal tokens", "validation loss at the end", results, lambda run: run.final.loss),
        judge("Equal FLOPs", "validation loss at equal FLOPs", results, _loss_at_equal(results, _flops)),
        judge(
            "Equal wall clock",
            "validation loss after equal time",
            results,
            _loss_at_equal(results, seconds_per_token),
        ),
        judge("Memory", "peak memory of training (MiB)", results, _peak_mib),
    ]


def _flops(facts: ArmFacts) -> float:
    return facts.flops_per_token


def _peak_mib(run: Run) -> float | None:
    return None if run.peak_memory is None else run.peak_memory / 2**20


def _loss_at_equal(
    results: Results, cost_per_token: Callable[[ArmFacts], float | None]
) -> Callable[[Run], float | None]:
    """The loss of a run when it has cost as much as the cheaper of the two arms costs in all."""

    def value(run: Run) -> float | None:
        costs = {
            arm: cost_per_token(results.arms[arm]) for arm in (BASELINE, CHALLENGER) if arm in results.arms
        }
        if len(costs) < 2 or None in costs.values():
            return None
        budget = min(costs[arm] * planned_tokens(results.arms[arm]) for arm in costs)
        # Rounding must not push the cheaper arm's own end out of its curve.
        tokens = min(budget / costs[run.arm], run.final.tokens)
        return loss_at_tokens(run, tokens)

    return value


def planned_tokens(facts: ArmFacts) -> int:
    return facts.tokens_per_step * facts.train["steps"]


def ladder(results: Results) -> list[Verdict]:
    """What each rung changes in the final loss, against the trained rung before it."""
    steps = {
        "kimi-dense": "RoPE, RMSNorm and SwiGLU",
        "kimi-mla": "latent attention (MLA)",
        "kimi-moe": "experts",
        "kimi-bias": "bias balancing",
        "kimi": "MuonClip",
    }
    rungs = [arm for arm in LADDER if arm in results.arms]
    pairs = [
        (before, after, steps[after])
        for before, after in itertools.pairwise(rungs)
        if LADDER.index(after) == LADDER.index(before) + 1
    ]
    return [_loss_verdict(results, *pair) for pair in pairs]


def optimizer_or_architecture(results: Results) -> list[Verdict]:
    """The same optimizer on both sides, or the same model: so that neither is credited with the other's gain."""
    pairs = (
        ("gpt", "gpt-muon", "Muon instead of AdamW, for GPT"),
        ("kimi-bias", "kimi", "MuonClip instead of AdamW, for Kimi"),
        ("gpt", "kimi-bias", "Kimi instead of GPT, both with AdamW"),
        ("gpt-muon", "kimi", "Kimi instead of GPT, both with Muon"),
    )
    trained = [pair for pair in pairs if pair[0] in results.arms and pair[1] in results.arms]
    return [_loss_verdict(results, *pair) for pair in trained]


def _loss_verdict(results: Results, before: str, after: str, question: str) -> Verdict:
    quantity = "validation loss at the end"
    return judge(question, quantity, results, lambda run: run.final.loss, before, after)


# ---------------------------------------------------------------- fairness


@dataclass(frozen=True, kw_only=True)
class Fairness:
    """What makes the comparison fair, as measured: the largest distances from GPT, and the batches."""

    body_active: float | None  # 0.02 is 2 %
    flops: float | None
    same_batches: bool | None  # over all seeds; None where fewer than two arms finished


def fairness(results: Results) -> Fairness:
    gpt = results.arms.get(BASELINE)
    others = [facts for name, facts in results.arms.items() if name != BASELINE]
    digests = [
        {run.batch_digest for name in results.arms if (run := results.run(name, seed))}
        for seed in results.seeds
    ]
    several = [
        seed
        for seed in results.seeds
        if sum(results.run(name, seed) is not None for name in results.arms) > 1
    ]
    known = gpt is not None and bool(others)
    return Fairness(
        body_active=max(abs(o.body_active / gpt.body_active - 1) for o in others) if known else None,
        flops=max(abs(o.flops_per_token / gpt.flops_per_token - 1) for o in others) if known else None,
        same_batches=all(len(found) <= 1 for found in digests) if several else None,
    )
