"""A study as a command: trains and measures what its preset says, and prints what came out.

    python -m lab_utils.study --name facts --profile smoke
    python -m lab_utils.study --name muon --seeds 3
    python -m lab_utils.study --name facts --where local:2

It writes out/study/<name>-<profile>/: results.json, report.html, and a folder per training in runs/. Begun again after
a kill, it goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from lab_utils.bench.command import Parser, tell
from lab_utils.bench.place import HERE, Local, read_place
from lab_utils.study.arms_plan import ArmsPlan, make_arms_plan
from lab_utils.study.arms_study import run_arms
from lab_utils.study.cache import run_cache
from lab_utils.study.cache_plan import CACHE, CachePlan, make_cache_plan
from lab_utils.study.folder import RESULTS, claim_folder
from lab_utils.study.plan import StudyPlan, make_study, study_names
from lab_utils.study.record import run_study
from lab_utils.study.report import as_text, write_report
from lab_utils.study.trainings import count_by_rule
from nanokimi.cli.options import read_folder, read_whole
from nanokimi.cli.settings import check_letters
from nanokimi.cli.terminal import say
from nanokimi.system.interpreter import check_same_tree
from nanokimi.system.printable import quote
from nanokimi.system.refusals import require
from nanokimi.text.corpus import load_corpus

FAILED = 1
FACTS = "facts"


def run(argv: Sequence[str]) -> int:
    """The exit code: 0, or 1 where a training never came. `ValueError` for bad input; nothing is written then."""
    parser = Parser(
        prog="python -m lab_utils.study", description=__doc__.partition("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--name", default=FACTS, help=f"which study: {', '.join(study_names())}")
    parser.add_argument(
        "--profile",
        default="auto",
        help="smoke (a minute), cpu (which auto is), and others, of facts map and many",
    )
    parser.add_argument(
        "--seeds",
        default="1",
        help="how many; each after the first is trained at the best rates only",
    )
    parser.add_argument(
        "--data",
        default="",
        help="another text for muon, clip, balance or sparsity: tinystories, or a path of UTF-8 text",
    )
    parser.add_argument("--where", default=HERE, help="here, local:N (N trainings at once), slurm")
    parser.add_argument("--out", type=str, default="", help="the folder [default: out/study/NAME-PROFILE]")
    options = parser.parse_args(argv)
    profile = "cpu" if options.profile == "auto" else options.profile
    seeds = read_whole(options.seeds)
    plan = _make_plan(options.name, profile, seeds, options.data)
    place = read_place(options.where) or Local(1)
    check_same_tree()
    folder = read_folder(options.out or f"out/study/{plan.name}-{plan.profile}")
    if isinstance(plan, CachePlan):
        return run_cache(plan, folder, place)
    if isinstance(plan, ArmsPlan):
        return run_arms(plan, folder, place)
    corpora = []
    for data in plan.texts():
        tell(f"text: {data.n_characters:,} characters, {data.n_exposures} exposures of each fact")
        corpora.append(load_corpus(data, seq_len=plan.preset.train.seq_len))
    claim_folder(plan, folder)
    n_trainings = count_by_rule(plan.cells, len({cell.place for cell in plan.cells}))
    tell(f"study {plan.name}, profile {profile}: {n_trainings} trainings")
    found = run_study(plan, corpora, folder.resolve(), place, tell)
    say(as_text(found))
    for name, reason in found.lost.items():
        say(f"{name} never came: {reason}")
    report = write_report(found, folder)
    say(f"record: {folder / RESULTS}, report: {report}")
    return FAILED if found.lost else 0


def _make_plan(name: str, profile: str, seeds: int, data: str) -> StudyPlan | CachePlan | ArmsPlan:
    check_letters(data, "--data", "name another")
    if name not in (FACTS, CACHE):
        return make_arms_plan(name, profile, seeds, data)
    require(not data, f"--data={quote(data)}: the study {name} has a text of its own; leave it out")
    return make_study(name, profile, seeds) if name == FACTS else make_cache_plan(profile, seeds)
