"""The study of the cache: what latent attention costs and gives while decoding, and what it is worth at equal cache.

First untrained models decode, one job after another; then the arms are trained, as jobs of the benchmark. What was
done stays done: the study goes on after a kill where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from lab_utils.bench.command import tell
from lab_utils.bench.jobs import Lost, open_queue, work_off
from lab_utils.bench.place import Cluster, Local
from lab_utils.bench.plan import Plan
from lab_utils.bench.progress import Progress, Tell
from lab_utils.bench.results import Results, Run, collect
from lab_utils.bench.tables import DASH, sentence
from lab_utils.bench.unattended import Training
from lab_utils.bench.verdicts import equal_memory
from lab_utils.machine.describe import environment
from lab_utils.show.table import Table, count, memory
from lab_utils.study.cache_plan import CachePlan
from lab_utils.study.decoding import Decoded, Decoding, largest_batch, longest_context
from lab_utils.study.record import JOBS, RESULTS, claim_folder, describe_study
from nanokimi.cli.terminal import say
from nanokimi.count import cache_elements, count_parameters
from nanokimi.system.atomic import write_json
from nanokimi.text.corpus import Corpus, load_corpus

BUDGET = 1 << 30  # the bytes of cache whose reach is told: 1 GiB
FAILED = 1


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far `BUDGET` goes with the cache of one model, by formula."""

    model: str
    numbers_per_token: float  # at the longest context that was measured
    longest_context: int  # of one text
    largest_batch: dict[int, int]  # by the context that every text may reach


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One arm at one rate with one seed."""

    arm: str
    lr: float
    cache_per_token: int
    body_active: int
    run: Run


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the study gave, and by name why a job gave nothing."""

    decoded: tuple[Decoded, ...]
    reach: tuple[Reach, ...]
    trained: tuple[Trained, ...]
    lost: dict[str, str]


def run_cache(plan: CachePlan, folder: Path, place: Local | Cluster) -> int:
    """Run the study, write its record and print its tables; the exit code: 1 where a job never came."""
    corpus = load_corpus(plan.preset.data, seq_len=plan.preset.train.seq_len)
    claim_folder(plan, folder)
    found = run_cache_study(plan, corpus, folder.resolve(), place, tell)
    results = to_results(plan, corpus, found.trained)
    write_json(folder / RESULTS, _describe(plan, found, results))
    say("\n\n".join(map(str, (decoding_table(found.decoded), reach_table(found.reach)))))
    if results is not None:
        say("\n" + str(quality_table(results)))
        say(sentence(equal_memory(results, plan.preset.challenger)))
    for name, reason in found.lost.items():
        say(f"{name} never came: {reason}")
    say(f"record: {folder / RESULTS}")
    return FAILED if found.lost else 0


def run_cache_study(
    plan: CachePlan, corpus: Corpus, folder: Path, place: Local | Cluster, tell: Tell
) -> Found:
    """Run all jobs, and return what they gave."""
    alone = replace(place, at_once=1)  # two measurements at once would measure each other
    jobs = _measurements(plan, folder)
    tell(
        f"study {plan.name}, profile {plan.profile}: {len(jobs)} measurements, then {len(plan.cells)} trainings"
    )
    decoded = work_off(jobs, open_queue(alone, folder / JOBS), alone, tell)
    cells = {f"{cell.trained.name} seed {cell.trained.train.seed}": cell for cell in plan.cells}
    arms = {name: cell.trained.with_vocabulary_of(corpus) for name, cell in cells.items()}
    trainings = {name: Training(plan.preset.data, arm, folder) for name, arm in arms.items()}
    runs = work_off(trainings, open_queue(place, folder / JOBS), place, tell, Progress(folder, arms, tell))
    trained = [
        Trained(
            arm=cells[name].arm,
            lr=arms[name].train.optim.lr,
            cache_per_token=cache_elements(arms[name].model, 1),
            body_active=count_parameters(arms[name].model).body_active,
            run=run,
        )
        for name, run in runs.items()
        if not isinstance(run, Lost)
    ]
    return Found(
        decoded=tuple(each for done in decoded.values() if not isinstance(done, Lost) for each in done.found),
        reach=find_reach(plan),
        trained=tuple(trained),
        lost={name: each.reason for name, each in (decoded | runs).items() if isinstance(each, Lost)},
    )


def _measurements(plan: CachePlan, folder: Path) -> dict[str, Decoding]:
    """A job per batch and context, by its name."""
    asked = plan.preset.decoding
    return {
        f"decoding {batch} x {context}": Decoding(
            models=plan.models,
            batch=batch,
            context=context,
            rounds=asked.rounds,
            tokens=asked.tokens,
            device=plan.preset.train.device,
            file=folder / "decoding" / f"{batch}x{context}.json",
        )
        for batch in asked.batches
        for context in asked.contexts
    }


def find_reach(plan: CachePlan) -> tuple[Reach, ...]:
    """How far the budget goes with each model."""
    contexts = plan.preset.decoding.contexts
    return tuple(
        Reach(
            model=name,
            numbers_per_token=cache_elements(cfg, max(contexts)) / max(contexts),
            longest_context=longest_context(cfg, BUDGET),
            largest_batch={context: largest_batch(cfg, context, BUDGET) for context in contexts},
        )
        for name, cfg in plan.models.items()
    )


def to_results(plan: CachePlan, corpus: Corpus, trained: Sequence[Trained]) -> Results | None:
    """Every arm at its best rate, as results of a benchmark; None where no training came to its end.

    The best rate is the one with the most finished seeds, and among these with the lowest mean loss.
    """
    arms, runs = [], []
    for arm in plan.preset.arms:
        places: dict[float, list[Run]] = {}
        for each in trained:
            if each.arm == arm and each.run.complete:
                places.setdefault(each.lr, []).append(each.run)
        if not places:
            continue
        best = min(places, key=lambda lr: (-len(places[lr]), fmean(run.final.loss for run in places[lr])))
        cell = next(c for c in plan.cells if c.arm == arm and c.trained.train.optim.lr == best)
        arms.append(replace(cell.trained, name=arm).with_vocabulary_of(corpus))
        runs += [replace(run, arm=arm) for run in places[best]]
    if plan.preset.challenger not in {arm.name for arm in arms}:
        return None
    chosen = Plan(profile=plan.profile, data=plan.preset.data, arms=tuple(arms), seeds=plan.seeds)
    return collect(chosen, corpus, runs, {})


def _describe(plan: CachePlan, found: Found, results: Results | None) -> dict[str, Any]:
    """The record, as plain data."""
    verdict = None if results is None else asdict(equal_memory(results, plan.preset.challenger))
    return describe_study(plan) | {
        "command": f"make study NAME={plan.name} PROFILE={plan.profile} SEEDS={len(plan.seeds)}",
        "environment": environment(plan.preset.train.device),
        "budget_bytes": BUDGET,
        **asdict(found),
        "verdict": verdict,
    }


# ---------------------------------------------------------------- tables


def decoding_table(decoded: Sequence[Decoded]) -> Table:
    """Tokens per second of all texts together, against the first model at the same place, and the bytes held."""
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
    wrong = sum(each.cache_bytes != each.formula_bytes for each in decoded)
    equal = f"in {wrong} of {len(decoded)} rows they are not" if wrong else "in every row they are"
    caption = (
        f"Bytes that all layers store, counted; {equal} those of the formula. Medians over rounds in turns."
    )
    return Table.of(heads, rows, caption, words=(2,))


def tokens_per_second(each: Decoded) -> float:
    """All texts together, by the median round."""
    return each.batch * each.tokens / median(each.seconds)


def speed_ratio(each: Decoded, first: Decoded) -> float:
    """How many times as fast as `first`: the median over the rounds."""
    return median(theirs / mine for mine, theirs in zip(each.seconds, first.seconds, strict=True))


def reach_table(reach: Sequence[Reach]) -> Table:
    """What 1 GiB of cache holds."""
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
    return Table.of(heads, rows, "What fits into 1 GiB (2^30 bytes) of cache in float32, by the formula.")


def quality_table(results: Results) -> Table:
    """Every arm at its best rate: its cache, its size, and what it reaches."""
    heads = [
        "arm",
        "cache\nnumbers/token",
        "active\nbody",
        "rate",
        "val. loss\nnats/token",
        "bits\nper byte",
        "seeds",
    ]
    rows = []
    for name, facts in results.arms.items():
        runs = [run for seed in results.seeds if (run := results.run(name, seed))]
        losses = [run.final.loss for run in runs]
        spread = f"\n{min(losses):.3f}..{max(losses):.3f}" if len(losses) > 1 else ""
        rows.append(
            [
                name,
                f"{facts.cache_per_token:,.0f}",
                count(facts.body_active),
                f"{facts.train['optim']['lr']:g}",
                f"{fmean(losses):.3f}{spread}" if losses else DASH,
                f"{fmean(run.final.bits_per_byte for run in runs):.3f}" if runs else DASH,
                str(len(runs)),
            ]
        )
    return Table.of(heads, rows, "Each arm at its best rate; every rate is in results.json.")
