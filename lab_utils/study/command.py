"""A study as a command: trains and measures what its preset says, and prints what came out.

    python -m lab_utils.study --name facts --profile smoke
    python -m lab_utils.study --name cache --profile smoke
    python -m lab_utils.study --name facts --where local:2

It writes out/study/<name>-<profile>/: results.json, report.html, and a folder per training in runs/. Begun again after
a kill, it goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from lab_utils.bench.command import Parser, tell
from lab_utils.bench.place import HERE, Local, read_place
from lab_utils.study.cache import run_cache
from lab_utils.study.cache_plan import CACHE, CachePlan, make_cache_plan
from lab_utils.study.plan import make_study
from lab_utils.study.record import RESULTS, claim_folder, run_study
from lab_utils.study.report import as_text, write_report
from nanokimi.cli.options import read_folder, read_whole
from nanokimi.cli.terminal import say
from nanokimi.system.interpreter import check_same_tree
from nanokimi.text.corpus import load_corpus

FAILED = 1


def run(argv: Sequence[str]) -> int:
    """The exit code: 0, or 1 where a training never came. `ValueError` for bad input; nothing is written then."""
    parser = Parser(
        prog="python -m lab_utils.study", description=__doc__.partition("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--name", default="facts", help="which study: facts, cache")
    parser.add_argument(
        "--profile", default="auto", help="smoke (a minute), cpu (which auto is), for facts map"
    )
    parser.add_argument(
        "--seeds",
        default="1",
        help="how many; for facts each after the first is trained at the best rate only",
    )
    parser.add_argument("--where", default=HERE, help="here, local:N (N trainings at once), slurm")
    parser.add_argument("--out", type=str, default="", help="the folder [default: out/study/NAME-PROFILE]")
    options = parser.parse_args(argv)
    profile = "cpu" if options.profile == "auto" else options.profile
    seeds = read_whole(options.seeds)
    plan = (
        make_cache_plan(profile, seeds) if options.name == CACHE else make_study(options.name, profile, seeds)
    )
    place = read_place(options.where) or Local(1)
    check_same_tree()
    folder = read_folder(options.out or f"out/study/{plan.name}-{plan.profile}")
    if isinstance(plan, CachePlan):
        return run_cache(plan, folder, place)
    corpora = []
    for data in plan.texts():
        tell(f"text: {data.n_characters:,} characters, {data.n_exposures} exposures of each fact")
        corpora.append(load_corpus(data, seq_len=plan.preset.train.seq_len))
    claim_folder(plan, folder)
    tell(f"study {plan.name}, profile {profile}: {plan.n_trainings} trainings")
    found = run_study(plan, corpora, folder.resolve(), place, tell)
    say(as_text(found))
    for name, reason in found.lost.items():
        say(f"{name} never came: {reason}")
    report = write_report(found, folder)
    say(f"record: {folder / RESULTS}, report: {report}")
    return FAILED if found.lost else 0
