"""The tables of notebook 08 and of the report: what is planned, what was measured, the numbers behind the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, median

from lab_utils.bench.compare import Row, Spread, planned_tokens, step_ratio
from lab_utils.bench.curves import role_curves
from lab_utils.bench.plan import BASELINE
from lab_utils.bench.results import ArmFacts, Results
from lab_utils.bench.verdicts import Verdict, fairness
from lab_utils.machine.memory import MB
from lab_utils.show.table import Table, count, seconds

DASH = "–"
OF_GPT = (("step", "vs GPT"), ("tokens to", "GPT's loss"), ("seconds", "to it"))  # columns of the comparison


# ---------------------------------------------------------------- the comparison


def comparison_table(rows: Sequence[Row]) -> Table:
    """The main table, a row per arm. Below a mean over several seeds stand its least and greatest value.

    The columns about GPT are left out where it was not trained.
    """
    heads = (
        ("model",),
        ("total", "params"),
        ("active", "body"),
        ("FLOPs", "/token"),
        ("tokens", "/s"),
        ("step", "vs GPT"),
        ("time", "(s)"),
        ("peak", "MB"),
        ("val. loss", "nats/token"),
        ("perplexity",),
        ("bits", "per byte"),
        ("tokens to", "GPT's loss"),
        ("seconds", "to it"),
    )
    floors = {row.floor for row in rows if row.floor is not None}
    seeds = sorted({row.n_seeds for row in rows})
    notes = [
        f"floor: {floors.pop():.3f} bits per byte" if len(floors) == 1 else "floor: not known for this text"
    ]
    notes.append(f"seeds: {seeds[0]}" if len(seeds) == 1 else f"seeds: {seeds[0]} to {seeds[-1]}")
    if seeds[-1] > 1:
        notes.append("below a mean: least..greatest over the seeds")
    if steered := [row.arm for row in rows if row.steered]:
        notes.append(f"steered by hand: {', '.join(steered)}")
    has_gpt = any(row.arm == BASELINE for row in rows)
    kept = [i for i, head in enumerate(heads) if has_gpt or head not in OF_GPT]
    pick = lambda cells: tuple(cells[i] for i in kept)
    return Table(pick(heads), tuple(pick(_cells(row)) for row in rows), "; ".join(notes))


def _cells(row: Row) -> tuple[tuple[str, ...], ...]:
    return (
        (row.arm,),
        (count(row.total),),
        (count(row.body_active),),
        (count(row.flops_per_token),),
        (DASH if row.tokens_per_s is None else f"{row.tokens_per_s:,.0f}",),
        (DASH if row.step_ratio is None else f"{row.step_ratio.mean:.2f}",),
        (DASH if row.seconds is None else seconds(row.seconds),),
        _spread(row.peak_memory, lambda x: f"{x / MB:.0f}"),
        _loss(row),
        _spread(row.perplexity, lambda x: f"{x:#.3g}".rstrip(".")),
        _spread(row.bits_per_byte, lambda x: f"{x:.3f}"),
        _reached(row),
        (DASH if row.seconds_to_target is None else seconds(row.seconds_to_target.mean),),
    )


def _spread(value: Spread | None, show: Callable[[float], str]) -> tuple[str, ...]:
    if value is None:
        return (DASH,)
    if value.n < 2:
        return (show(value.mean),)
    low, high = show(value.low), show(value.high)
    if low[-1] == high[-1] and low[-1].isalpha():
        low = low[:-1]  # 386..393k: one unit for both
    return (show(value.mean), f"{low}..{high}")


def _loss(row: Row) -> tuple[str, ...]:
    """The validation loss; where trainings diverged, at which step or how many."""
    found = _spread(row.loss, lambda x: f"{x:.3f}")
    if not row.diverged:
        return found
    if row.loss is not None:
        return (*found, f"{len(row.diverged)} diverged")
    first, last = min(row.diverged), max(row.diverged)
    return ("diverged", f"at step {first}" + (f"..{last}" if last > first else ""))


def _reached(row: Row) -> tuple[str, ...]:
    value = row.tokens_to_target
    if value is None:
        return ("not reached" if row.has_target else DASH,)
    lines = [f"{count(value.mean)} ({row.share_to_target:.0%})"]
    if value.n > 1:
        lines += _spread(value, count)[1:]
    if value.n < row.n_seeds:
        lines.append(f"{value.n} of {row.n_seeds} seeds")
    return tuple(lines)


def plan_table(arms: Sequence[ArmFacts]) -> Table:
    """What will be trained: the sizes and costs, which are known before the training."""
    heads = (
        ("model",),
        ("total", "params"),
        ("active", "params"),
        ("active", "body"),
        ("FLOPs", "per token"),
        ("cache", "numbers per token"),
        ("optimizer",),
        ("learning rate",),
        ("tokens", "in total"),
    )
    cells = tuple(
        (
            (arm.name,),
            (count(arm.total),),
            (count(arm.active),),
            (count(arm.body_active),),
            (count(arm.flops_per_token),),
            (f"{arm.cache_per_token:,.0f}",),
            (arm.train["optim"]["optimizer"],),
            (f"{arm.train['optim']['lr']:g}",),
            (count(planned_tokens(arm)),),
        )
        for arm in arms
    )
    return Table(heads, cells)


def verdict_table(verdicts: Sequence[Verdict], first: str = "question") -> Table:
    """The numbers behind verdicts: both arms' means, their difference, the spread, and the answer."""
    heads = (
        (first,),
        ("compared",),
        ("from",),
        ("to",),
        ("difference",),
        ("per seed",),
        ("spread",),
        ("verdict",),
    )
    caption = "" if verdicts else "nothing to compare: this run trained no two arms that differ in one thing"
    return Table(heads, tuple(_verdict_cells(verdict) for verdict in verdicts), caption)


def _verdict_cells(verdict: Verdict) -> tuple[tuple[str, ...], ...]:
    pairs = verdict.pairs
    means = [
        verdict.write(fmean(side)) if side else DASH
        for side in ([p.baseline for p in pairs], [p.challenger for p in pairs])
    ]
    return (
        (verdict.question,),
        (f"{verdict.baseline} → {verdict.challenger}",),
        (means[0],),
        (means[1],),
        (DASH if verdict.mean is None else verdict.write(verdict.mean, "+"),),
        (" ".join(verdict.write(p.difference, "+") for p in pairs) or DASH,),
        (DASH if verdict.spread is None else verdict.write(verdict.spread),),
        (f"{verdict.winner} is lower" if verdict.winner else verdict.answer,),
    )


def fairness_sentences(results: Results) -> list[str]:
    """How far the arms are from GPT in size and cost, and whether they saw the same batches; or why nobody knows."""
    if len(results.arms) < 2:
        return ["One model was planned, so there is nothing that it could be fair to compare it with."]
    facts, found = fairness(results), []
    if facts.body_active is None:
        found.append("GPT was not trained, and sizes and costs are compared with GPT's only.")
    else:
        found.append(f"Active parameters are within {facts.body_active:.2%} of GPT's (allowed: 2 %).")
        found.append(f"FLOPs per token are within {facts.flops:.2%} of GPT's (allowed: 5 %).")
    if facts.same_batches is None:
        found.append("With no seed did two models come to their end, so there are no batches to compare.")
    else:
        same = "the same batches" if facts.same_batches else "DIFFERENT batches: the comparison is not fair"
        found.append(f"With every seed, all arms saw {same}.")
    return found


def role_table(results: Results) -> Table | None:
    """Bits per byte by role at the end (mean over the seeds) with the floors; None where the text has no roles."""
    roles = role_curves(results)
    if not roles:
        return None
    arms = [curve.arm for curve in roles[0].curves]
    tokens = next(run for run in results.runs if run.complete).final.by_role
    heads = (("role",), ("share of", "tokens"), ("floor", "bits/byte"), *((arm, "bits/byte") for arm in arms))
    n_tokens = sum(facts["n_tokens"] for facts in tokens.values())
    cells = tuple(
        (
            (role.role,),
            (f"{tokens[role.role]['n_tokens'] / n_tokens:.0%}",),
            (f"{role.floor:.3f}",),
            *((f"{curve.mean[-1]:.3f}",) for curve in role.curves),
        )
        for role in roles
    )
    return Table(heads, cells)


def step_table(results: Results) -> Table:
    """Step times measured in turn, and how many numbers decoding keeps per token."""
    heads = (
        ("model",),
        ("rounds",),
        ("median step", "(ms)"),
        ("fastest..slowest", "(ms)"),
        ("vs GPT", "median"),
        ("vs GPT", "quartiles"),
        ("cache", "numbers per token"),
    )
    rows = []
    for facts in results.arms.values():
        ms = [1000 * seconds for seconds in facts.step_seconds]
        ratio = step_ratio(facts, results.arms.get(BASELINE))
        rows.append(
            (
                (facts.name,),
                (str(len(ms)),),
                (f"{median(ms):.1f}" if ms else DASH,),
                (f"{min(ms):.1f}..{max(ms):.1f}" if ms else DASH,),
                (f"{ratio.mean:.2f}" if ratio else DASH,),
                (f"{ratio.low:.2f}..{ratio.high:.2f}" if ratio else DASH,),
                (f"{facts.cache_per_token:,.0f}",),
            )
        )
    return Table(heads, tuple(rows))


def sentence(verdict: Verdict) -> str:
    """A verdict in words, `Equal tokens: kimi wins, gpt loses. ...`, or why there is none."""
    if verdict.winner:
        return (
            f"{verdict.question}: {verdict.winner} wins, {verdict.loser} loses. The {verdict.quantity} differs by "
            f"{verdict.write(abs(verdict.mean))} (spread {verdict.write(verdict.spread)}); {verdict.reason}."
        )
    return f"{verdict.question}: {verdict.answer}: {verdict.reason}."
