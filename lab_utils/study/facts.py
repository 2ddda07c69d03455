"""What a study of facts says: which arm knows more after as much text, and after as much time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from lab_utils.bench.compare import interpolate
from lab_utils.bench.verdicts import Pair, Verdict, conclude
from lab_utils.study.trial import Outcome, by_place

FACT = "fact"  # the role of a value's tokens


def facts_verdicts(
    outcomes: Sequence[Outcome], step_seconds: Mapping[str, Sequence[float]]
) -> dict[tuple[int, int], list[Verdict]]:
    """By characters and exposures: every arm against the first one, at equal text and at equal time.

    step_seconds: of every arm, the seconds of a training step, measured in turns.
    """
    found: dict[tuple[int, int], list[Verdict]] = {}
    places = by_place(outcomes)
    for (n_characters, n_exposures, arm), seeds in places.items():
        baseline = next(name for n, e, name in places if (n, e) == (n_characters, n_exposures))
        if arm == baseline:
            continue
        against = places[n_characters, n_exposures, baseline]
        ends = _equal_time(baseline, arm, step_seconds)
        found.setdefault((n_characters, n_exposures), []).extend(
            [
                _compare("Equal text", "facts not known (%)", against, seeds, _not_known),
                _compare(
                    "Equal time",
                    "loss on facts (nats per token)",
                    against,
                    seeds,
                    lambda each, ends=ends: fact_loss_at(each, ends[each.arm]) if ends else None,
                ),
            ]
        )
    return found


def _equal_time(
    baseline: str, arm: str, step_seconds: Mapping[str, Sequence[float]]
) -> dict[str, float] | None:
    """The share of each training at which both have taken as long, the end of the quicker one; None without times."""
    times = [step_seconds.get(each, ()) for each in (baseline, arm)]
    if not all(times):
        return None
    ratio = median(times[1]) / median(times[0])
    return {baseline: min(1.0, ratio), arm: min(1.0, 1 / ratio)}


def fact_losses(outcome: Outcome) -> list[float]:
    """Loss on the tokens of values, nats per token, at every evaluation."""
    roles = [point.by_role for point in outcome.run.points]
    return [role[FACT].get("nats_per_token", math.nan) for role in roles if role and FACT in role]


def fact_loss_at(outcome: Outcome, share: float) -> float | None:
    """The same after this share of the training, interpolated; None outside what was measured."""
    tokens = [float(point.tokens) for point in outcome.run.points]
    return interpolate(tokens, fact_losses(outcome), share * outcome.run.final.tokens)


def _not_known(outcome: Outcome) -> float:
    assert outcome.seen is not None
    return 100 * (1 - outcome.seen.known)


def _compare(
    question: str,
    quantity: str,
    baseline: Sequence[Outcome],
    challenger: Sequence[Outcome],
    value: Callable[[Outcome], float | None],
) -> Verdict:
    others = {each.seed: each for each in challenger}
    pairs, missing = [], []
    for each in baseline:
        other = others.get(each.seed)
        mine, theirs = value(each), value(other) if other else None
        if mine is None or theirs is None:
            missing.append(f"{challenger[0].arm} with seed {each.seed} has no {quantity}")
        else:
            pairs.append(Pair(each.seed, mine, theirs))
    return conclude(question, quantity, baseline[0].arm, challenger[0].arm, pairs, missing)
