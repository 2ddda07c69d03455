"""From results to conclusions: GPT against Kimi, what each rung of the ladder changes, and whether it was fair.

Pure functions of `Results`. The rules, which the report repeats:

- Losses are compared seed by seed: both arms of a pair saw the same batches.
- A verdict needs three seeds that all agree, and a mean difference above the spread. The spread is the distance
  between the best and the worst seed of an arm; the larger one of the two arms counts. Otherwise the answer is
  "undecided".
- There is no conclusion where a run, a seed or a measurement is missing, where a run diverged, or where somebody
  steered one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from lab_utils.bench.compare import loss_at_tokens, planned_tokens, seconds_per_token
from lab_utils.bench.plan import BASELINE, CHALLENGER, LADDER
from lab_utils.bench.results import ArmFacts, Results, Run
from lab_utils.machine.memory import MB

SEEDS_NEEDED = 3


@dataclass(frozen=True)
class Pair:
    """The compared number of both arms with one seed."""

    seed: int
    baseline: float
    challenger: float

    @property
    def difference(self) -> float:
        return self.challenger - self.baseline


Answer = Literal["challenger", "baseline", "undecided", "no conclusion"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer to one question, with the pairs that it is based on. Lower numbers are better in all of them."""

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

    @property
    def loser(self) -> str | None:
        return {"challenger": self.baseline, "baseline": self.challenger}.get(self.answer)

    def write(self, value: float, sign: str = "") -> str:
        """A value of the compared quantity as text: memory in whole MB, losses with three digits."""
        return f"{value:{sign}.{0 if '(MB)' in self.quantity else 3}f}"


def compare_arms(
    question: str,
    quantity: str,
    results: Results,
    value: Callable[[Run], float | None],
    baseline: str = BASELINE,
    challenger: str = CHALLENGER,
) -> Verdict:
    """The verdict on `value` (lower is better) of two arms over all planned seeds, by the rules of this module."""
    pairs, missing = [], []
    for seed in results.seeds:
        values = []
        for arm in (baseline, challenger):
            run = results.run(arm, seed)
            found = value(run) if run else None
            if run is None:
                step = results.diverged_at(arm, seed)
                ended = "did not finish" if step is None else f"diverged at step {step}"
                missing.append(f"{arm} with seed {seed} {ended}")
            elif run.steered:
                missing.append(f"{arm} with seed {seed} was steered by hand")
                found = None
            elif found is None or not math.isfinite(found):
                missing.append(f"{arm} with seed {seed} has no {quantity}")
            values.append(found)
        if None not in values and all(map(math.isfinite, values)):
            pairs.append(Pair(seed, *values))
            if not _same_batches(results, seed, baseline, challenger):
                missing.append(f"the arms saw different batches with seed {seed}")
    if absent := not_trained(results, baseline, challenger):
        missing = [absent]
    return conclude(question, quantity, baseline, challenger, pairs, missing)


def conclude(
    question: str,
    quantity: str,
    baseline: str,
    challenger: str,
    pairs: Sequence[Pair],
    missing: Sequence[str] = (),
) -> Verdict:
    """The verdict that pairs of numbers allow, by the rules of this module; `missing` says what is not there."""
    spread = _spread(pairs) if len(pairs) > 1 else None
    answer: Answer = "no conclusion"
    if missing:
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
        mean=fmean(pair.difference for pair in pairs) if pairs else None,
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
    """The distance between an arm's best and worst seed; the larger one of the two arms."""
    sides = ([pair.baseline for pair in pairs], [pair.challenger for pair in pairs])
    return max(max(side) - min(side) for side in sides)


def _same_batches(results: Results, seed: int, *arms: str) -> bool:
    return len({results.run(arm, seed).batch_digest for arm in arms}) == 1


def not_trained(results: Results, baseline: str = BASELINE, challenger: str = CHALLENGER) -> str:
    """Why two arms cannot be compared: one of them was not planned. Empty where both were."""
    absent = [arm for arm in (baseline, challenger) if arm not in results.arms]
    were = "were" if len(absent) > 1 else "was"
    return f"needs {baseline} and {challenger}; {' and '.join(absent)} {were} not trained" if absent else ""


def verdicts(results: Results) -> list[Verdict]:
    """GPT against Kimi: equal tokens, equal FLOPs, equal wall clock, memory. Empty where one of them is no arm."""
    if not_trained(results):
        return []
    return [
        compare_arms("Equal tokens", "validation loss at the end", results, lambda run: run.final.loss),
        compare_arms(
            "Equal FLOPs",
            "validation loss at equal FLOPs",
            results,
            _loss_at_equal(results, lambda facts: facts.flops_per_token),
        ),
        compare_arms(
            "Equal wall clock",
            "validation loss after equal time",
            results,
            _loss_at_equal(results, seconds_per_token),
        ),
        compare_arms("Memory", "peak memory of training (MB)", results, _peak_mb),
    ]


def _peak_mb(run: Run) -> float | None:
    return None if run.peak_memory is None else run.peak_memory / MB


def _loss_at_equal(
    results: Results, cost_per_token: Callable[[ArmFacts], float | None]
) -> Callable[[Run], float | None]:
    """The loss of a run at the moment when it has cost as much as the whole training of the cheaper arm."""

    def value(run: Run) -> float | None:
        costs = {arm: cost_per_token(results.arms[arm]) for arm in (BASELINE, CHALLENGER)}
        if None in costs.values():
            return None
        budget = min(costs[arm] * planned_tokens(results.arms[arm]) for arm in costs)
        # Rounding must not move the cheaper arm's end beyond its curve.
        tokens = min(budget / costs[run.arm], run.final.tokens)
        return loss_at_tokens(run, tokens)

    return value


EQUAL_CACHE = 0.01  # of the numbers that decoding keeps per token


def equal_memory(results: Results, challenger: str) -> Verdict | None:
    """The challenger against the best arm whose cache per token is as large, within 1 %; None where there is none.

    The best is the one with the lowest mean loss of its finished runs, so that the challenger meets the strongest one.
    """
    size = results.arms[challenger].cache_per_token
    losses: dict[str, float] = {}
    for name, facts in results.arms.items():
        if name != challenger and abs(facts.cache_per_token / size - 1) <= EQUAL_CACHE:
            runs = [run for seed in results.seeds if (run := results.run(name, seed))]
            losses[name] = fmean(run.final.loss for run in runs) if runs else math.inf
    if not losses:
        return None
    return compare_arms(
        "Equal memory",
        "validation loss at equal cache",
        results,
        lambda run: run.final.loss,
        min(losses, key=losses.__getitem__),
        challenger,
    )


def ladder(results: Results) -> list[Verdict]:
    """How each rung changes the final loss of the rung before it. Rungs without their neighbour are left out."""
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
    """Pairs with the same optimizer or the same model, so that the gain of one is not credited to the other."""
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
    return compare_arms(question, quantity, results, lambda run: run.final.loss, before, after)


# ---------------------------------------------------------------- fairness


@dataclass(frozen=True, kw_only=True)
class Fairness:
    """Measurements that show whether the comparison is fair: the largest distances from GPT, and the batches."""

    body_active: float | None  # 0.02 is 2 %
    flops: float | None
    same_batches: bool | None  # over all seeds; None where fewer than two arms finished


def fairness(results: Results) -> Fairness:
    """How far the arms are from GPT in size and cost, and whether they saw the same batches."""
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
