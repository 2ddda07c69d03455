"""The tables of docs/results.md that come from the studies of facts."""

from __future__ import annotations

from statistics import fmean, median

from lab_utils.study.record import Found
from lab_utils.study.trial import Outcome


def facts_table(study: Found) -> str:
    """A row per arm and rate of a study of facts, a mean over its seeds; steps are compared with the first arm's."""
    lines = [
        "| | learning rate | seeds | facts known, as told (least..greatest) | in new words | bits per active parameter "
        "| bits per parameter | step, vs dense |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows: dict[tuple[str, float], list[Outcome]] = {}
    for each in study.outcomes:
        rows.setdefault((each.arm, each.lr), []).append(each)
    steps = {arm: median(seconds) for arm, seconds in study.step_seconds.items()}
    for (arm, lr), seeds in sorted(rows.items()):
        known = [each.seen.known for each in seeds]
        bits = fmean(each.seen.bits for each in seeds)
        lines.append(
            f"| {arm} | {lr:g} | {len(seeds)} | {fmean(known):.1%} ({min(known):.1%}..{max(known):.1%}) "
            f"| {fmean(each.held_out.known for each in seeds):.1%} | {bits / seeds[0].body_active:.2f} "
            f"| {bits / seeds[0].body_total:.2f} | {steps[arm] / steps['dense']:.2f} |"
        )
    return "\n".join(lines)
