"""Where the numbers of a benchmark come from, in sentences: the device of each, and what never came."""

from __future__ import annotations

from collections.abc import Iterator

from lab_utils.bench.results import Results
from lab_utils.machine.describe import describe


def lost_sentences(results: Results) -> Iterator[str]:
    """A sentence for every training, and for the timing, that was begun as a job and gave no result."""
    for each in results.lost:
        run = f"{each.arm} with seed {each.seed}"
        yield f"{run} never came: {each.reason}. No verdict is drawn where it is missing."
    if results.untimed:
        yield f"The step times never came: {results.untimed}. No verdict is drawn from time."


def origin_sentences(results: Results) -> Iterator[str]:
    """How many ranks there were, and every device that jobs or ranks ran on, with the numbers that are its own.

    None where the notebook has trained.
    """
    jobs = [run for run in results.runs if run.tries]
    if not jobs and not results.lost:
        return
    ranks = max(facts.ranks for facts in results.arms.values())
    if ranks > 1:
        yield (
            f"All numbers are those of {ranks} ranks: processes that share the micro-batches of each step. Peak memory "
            "is that of the rank with the most."
        )
    if any(facts.step_seconds for facts in results.arms.values()):
        # A rank has a share of the threads that the notebook has.
        device = jobs[0].tries[0] if ranks > 1 and jobs else describe(results.environment["machine"])
        yield f"Step times, and all times that follow from them: measured in turns on one device, {device}."
    devices = dict.fromkeys(run.tries[-1] for run in jobs)
    for device in devices:
        runs = ", ".join(f"{run.arm} seed {run.seed}" for run in jobs if run.tries[-1] == device)
        yield f"Losses and peak memory of {runs if len(devices) > 1 else 'all trainings'}: {device}."
    for run in jobs:
        if len(run.tries) > 1:
            others = [each for each in dict.fromkeys(run.tries) if each != run.tries[-1]]
            where = f", also on {' and on '.join(others)}" if others else ""
            yield f"{run.arm} with seed {run.seed} was begun {len(run.tries)} times{where}, and went on where it was."
    if len(devices) > 1:
        yield "Peak memory is compared between different devices here, and losses carry the rounding of each."
