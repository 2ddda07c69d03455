"""Writes results.json and report.html, a page with its pictures inside, which needs no network.

`python -m lab_utils.bench.report out/bench/<time>` writes both again from the files of the run, and measures first what
the models can do, where that is missing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path

from lab_utils.bench import compare, tables, verdicts
from lab_utils.bench.ability_table import ability_table, unmeasured_sentences
from lab_utils.bench.measured import measure_from_folder
from lab_utils.bench.origins import lost_sentences, origin_sentences
from lab_utils.bench.pictures import all_pictures
from lab_utils.bench.results import Results, ResultsError, read_results, to_json
from lab_utils.machine.describe import describe
from lab_utils.show import table
from lab_utils.show.page import make_page
from nanokimi.system.atomic import write_json, write_text
from nanokimi.system.printable import one_line, quote

CSS = """
main { max-width: 1100px; }
table { font-size: .82rem; }
figcaption { font-size: .88rem; max-width: 46rem; }
figure { margin: 1rem 0; overflow-x: auto; }
figure img { max-width: none; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(235px, 1fr)); gap: .9rem; margin: .8rem 0; }
.card { border: 1px solid var(--line); border-left: 5px solid var(--quiet); border-radius: 6px; padding: .7rem .9rem; }
.card.challenger { border-left-color: var(--kimi); }
.card.baseline { border-left-color: var(--gpt); }
.card b { display: block; font-size: 1.05rem; }
.card p { margin: .25rem 0 0; font-size: .86rem; }
.abilities th[scope=row] { white-space: pre; font-weight: normal; }
.card .question { color: var(--quiet); font-size: .8rem; letter-spacing: .02em; }
"""

CAPTIONS = {
    "loss": "Mean over the seeds; the band reaches from the best to the worst seed. Seconds are steps times the step "
    "time that was measured in turn, so that a slow minute of the machine puts no arm at a disadvantage.",
    "roles": "The storyworld knows the role of every token: grammar is forced, a choice is random, a fact follows from "
    "the world, a copy from the story. The floor is the loss of a reader who knows the world.",
    "router": "First seed, mean of the last tenth of the steps. Purple experts get less than an even share, orange "
    "ones more.",
    "balance": "First seed. MaxVio is the busiest expert's load divided by the mean load, minus 1; mean of the layers.",
    "logits": "First seed. Only trainings with QK-clip measure it, because measuring costs time.",
}

HOW = (
    "Every arm sees the same batches in the same order; the digest of all tokens that it was trained on is recorded.",
    "Active parameters are those that one token uses, without embeddings and head. FLOPs are those of a training "
    "step, forward and backward; a multiply-add counts as two.",
    "Learning rates come from a recorded sweep (benchmarks/results/sweep-*.json).",
    "Step times were measured in turn (A B C A B C ...); time is steps times the median step. "
    "The time by the clock while training is in results.json.",
    "Tokens and seconds until GPT's final loss are interpolated linearly between evaluations, seed by seed.",
    "A verdict needs three seeds that all agree and a mean difference above the spread: the distance between an arm's "
    "best and worst seed, for the arm where it is larger. There is no conclusion where a run or a seed is missing, "
    "where a run diverged, or where somebody steered one.",
    "Peak memory on a CPU is the resident set of the process with its libraries; on CUDA it is what torch allocated. "
    "1 MB is 1,000,000 bytes.",
)


def write_report(results: Results, out_dir: Path) -> None:
    """Write results.json and report.html into `out_dir`, which holds the run's folders."""
    write_results(results, out_dir)
    write_text(out_dir / "report.html", render(results, out_dir))


def write_results(results: Results, out_dir: Path) -> None:
    """Write results.json into `out_dir`, whole or not at all."""
    write_json(out_dir / "results.json", to_json(results) | _conclusions(results))


def _conclusions(results: Results) -> dict:
    """Table rows and verdicts as plain data, for readers of results.json."""
    return {
        "table": [asdict(row) for row in compare.table_rows(results)],
        "verdicts": [asdict(verdict) for verdict in verdicts.verdicts(results)],
        "ladder": [asdict(verdict) for verdict in verdicts.ladder(results)],
        "same_optimizer_or_model": [
            asdict(verdict) for verdict in verdicts.optimizer_or_architecture(results)
        ],
        "fairness": asdict(verdicts.fairness(results)),
    }


def render(results: Results, out_dir: Path) -> str:
    """The report as one HTML text."""
    pictures = all_pictures(results, out_dir)

    def picture(name: str) -> str:
        if name not in pictures:
            return ""
        return f"<figure>{pictures[name].html()}<figcaption>{escape(CAPTIONS[name])}</figcaption></figure>"

    rows = compare.table_rows(results)
    body = [
        _head(results),
        _steered(results),
        _diverged(results),
        _list(lost_sentences(results)),
        "<h2>The comparison</h2>" + table.as_html(tables.comparison_table(rows)),
        _verdicts(results),
        picture("loss"),
        _ladder(results),
        _roles(results, picture("roles")),
        _section("What the models can do", _abilities(results)),
        _section("What the router did", picture("router") + picture("balance")),
        _section("Attention logits", picture("logits")),
        _fairness(results),
        _section("Where the numbers come from", _list(origin_sentences(results))),
        _details(results),
    ]
    return make_page(_title(results), "<main>" + "\n".join(part for part in body if part) + "</main>", CSS)


def _steered(results: Results) -> str:
    """A list of the runs that a person changed while they ran; empty if there are none."""
    lines = [
        f"{run.arm} with seed {run.seed} was steered by hand ("
        + "; ".join(f"step {each['step']}: {each['what']} = {each['value']}" for each in run.interventions)
        + "): it counts for no verdict."
        for run in results.runs
        if run.steered
    ]
    return _list(lines)


def _diverged(results: Results) -> str:
    """A list of the runs that diverged, and why; empty if none did."""
    lines = [
        f"{run.arm} with seed {run.seed} diverged: {run.diverged_because}. All other arms stand."
        for run in results.runs
        if run.diverged_at is not None
    ]
    return _list(lines)


def _section(title: str, content: str) -> str:
    return f"<h2>{title}</h2>{content}" if content else ""


def _title(results: Results) -> str:
    both = not verdicts.not_trained(results)
    return f"{'Kimi against GPT' if both else ' and '.join(results.arms)} on {results.corpus['source']}"


def _head(results: Results) -> str:
    corpus, seeds = results.corpus, len(results.seeds)
    facts = next(iter(results.arms.values()))
    tokens = compare.planned_tokens(facts)
    when = results.environment["created"].replace("T", " ")
    return (
        f"<h1>{escape(_title(results))}</h1>"
        f'<p class="quiet">Profile {escape(results.profile)}: {facts.train["steps"]:,} steps of '
        f"{facts.tokens_per_step:,} tokens ({table.count(tokens)} in total), from a text of "
        f"{table.count(corpus['train_tokens'])} tokens; vocabulary {corpus['n_vocab']:,}, "
        f"{seeds} seed{'s' if seeds > 1 else ''}. "
        f"{escape(describe(results.environment['machine']))}. {escape(when)}.</p>"
    )


def _verdicts(results: Results) -> str:
    if why := verdicts.not_trained(results):
        return _section("Verdicts", f"<p>There is none: it {escape(why)}.</p>")
    found = verdicts.verdicts(results)
    cards = "".join(_card(verdict) for verdict in found)
    note = (
        "<p>Kimi is an architecture and an optimizer, MuonClip. The ladder shows what each of them gives "
        "(<code>make bench ARMS=ladder SEEDS=3</code>).</p>"
    )
    return (
        f'<h2>Verdicts</h2><div class="cards">{cards}</div>{note}'
        + "<details><summary>The numbers behind the verdicts (lower is better in all of them)</summary>"
        + table.as_html(tables.verdict_table(found))
        + "</details>"
    )


def _card(verdict: verdicts.Verdict) -> str:
    if verdict.winner:
        headline = f"{verdict.winner} wins, {verdict.loser} loses"
    else:
        headline = verdict.answer
    numbers = "; ".join(
        f"seed {p.seed}: {verdict.baseline} {verdict.write(p.baseline)}, "
        f"{verdict.challenger} {verdict.write(p.challenger)}"
        for p in verdict.pairs
    )
    spread = "" if verdict.spread is None else f" Spread {verdict.write(verdict.spread)}."
    return (
        f'<div class="card {verdict.answer.split()[0]}"><span class="question">{escape(verdict.question)}: '
        f"{escape(verdict.quantity)}</span><b>{escape(headline)}</b><p>{escape(verdict.reason)}.{spread}</p>"
        f"<p><small>{escape(numbers)}</small></p></div>"
    )


def _ladder(results: Results) -> str:
    rungs, beside = verdicts.ladder(results), verdicts.optimizer_or_architecture(results)
    content = ""
    if len(rungs) > 1:
        content += (
            "<p>Each rung changes one thing of the rung before it. Losses are in nats per token; a negative "
            "difference is better.</p>"
        )
        content += table.as_html(tables.verdict_table(rungs, "the rung adds"))
    if beside:
        content += (
            "<p>The same model with another optimizer, or another model with the same optimizer, so that the gain "
            "of one is not credited to the other:</p>"
        )
        content += table.as_html(tables.verdict_table(beside, "what changes"))
    return _section("What each idea changes", content)


def _roles(results: Results, picture: str) -> str:
    rows = tables.role_table(results)
    return _section("Loss by role", table.as_html(rows) + picture) if rows else ""


def _abilities(results: Results) -> str:
    found = ability_table(results)
    shown = f'<div class="abilities">{table.as_html(found)}</div>' if found else ""
    return shown + _list(unmeasured_sentences(results))


def _fairness(results: Results) -> str:
    title = "Why the comparison is fair" if len(results.arms) > 1 else "How it was measured"
    return _section(title, _list([*tables.fairness_sentences(results), *HOW]))


def _list(items: Iterable[str]) -> str:
    """The sentences as a list; empty where there are none."""
    lines = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<ul>{lines}</ul>" if lines else ""


def _details(results: Results) -> str:
    def fold(title: str, data: object) -> str:
        return f"<details><summary>{escape(title)}</summary><pre>{escape(json.dumps(data, indent=1))}</pre></details>"

    arms = {name: {"model": facts.model, "train": facts.train} for name, facts in results.arms.items()}
    return (
        "<h2>Everything else</h2>"
        + "<details><summary>Step times and cache</summary>"
        + table.as_html(tables.step_table(results))
        + _compiled(results)
        + "</details>"
        + fold("Configurations of all arms", arms)
        + fold("The text", results.corpus)
        + fold("Machine, versions, commit", results.environment)
        + "<footer><p>All numbers, with every evaluation of every run, are in results.json beside this file; every "
        "step has a line in runs/*/steps.jsonl.</p></footer>"
    )


def _compiled(results: Results) -> str:
    """A list of the trainings whose step was compiled, with the seconds of it; empty if none was."""
    lines = [
        f"{run.arm} with seed {run.seed}: compiled in {run.compile_seconds:.1f} s, which no other time includes."
        for run in results.runs
        if run.compile_seconds
    ]
    return _list(lines)


def main(argv: Sequence[str]) -> int:
    if len(argv) != 1:
        print("usage: python -m lab_utils.bench.report FOLDER", file=sys.stderr)
        return 2
    folder = Path(argv[0])
    try:
        results = read_results(folder / "results.json")
        results = measure_from_folder(results, folder, lambda found: write_results(found, folder), _tell)
        write_report(results, folder)
    except ResultsError as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        place = quote(str(error.filename or folder))
        print(f"report: {place} cannot be read or written: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def _tell(line: str) -> None:
    print(one_line(line), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
