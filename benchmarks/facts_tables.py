"""The tables of docs/results.md that come from the studies of facts."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, median

from lab_utils.study.record import Found
from lab_utils.study.trial import Outcome, by_place


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


def map_table(study: Found) -> str:
    """A row per text, a column per arm: the share of facts known as told, and the best rate of those tried."""
    return _per_text(
        study,
        lambda seeds: f"{fmean(each.seen.known for each in seeds):.0%} ({seeds[0].lr:g})",
        "facts known",
    )


def bits_table(study: Found) -> str:
    """The same for the bits kept per active parameter, and per parameter."""

    def bits(seeds: list[Outcome]) -> str:
        kept = fmean(each.seen.bits for each in seeds)
        return f"{kept / seeds[0].body_active:.2f} / {kept / seeds[0].body_total:.2f}"

    return _per_text(study, bits, "bits per active parameter / per parameter")


def _per_text(study: Found, write: Callable[[list[Outcome]], str], what: str) -> str:
    places = by_place(study.outcomes)
    arms = list(dict.fromkeys(arm for _, _, arm in places))
    lines = [
        f"| facts | exposures | {' | '.join(f'{arm}: {what}' for arm in arms)} |",
        "|---" * (2 + len(arms)) + "|",
    ]
    for characters, exposures in dict.fromkeys((n, e) for n, e, _ in places):
        found = [places[characters, exposures, arm] for arm in arms]
        cells = [f"{found[0][0].seen.n_facts:,}", str(exposures), *map(write, found)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
