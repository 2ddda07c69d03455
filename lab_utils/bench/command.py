"""The benchmark as a command: runs notebook 08 without a browser, then prints the table and the verdicts.

    python -m lab_utils.bench --profile smoke
    python -m lab_utils.bench --arms ladder --seeds 3 --data stories.txt
    python -m lab_utils.bench --arms ladder --seeds 3 --where local:2
    python -m lab_utils.bench --ranks 2

It writes out/bench/<time>/ with the executed notebook, report.html, results.json, and a folder per training in runs/.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from lab_utils.bench.compare import table_rows
from lab_utils.bench.elsewhere import check_place, run_elsewhere
from lab_utils.bench.failures import GONE, NOT_WRITTEN, explain, explain_files
from lab_utils.bench.measured import measure_rest
from lab_utils.bench.new_folder import check_writable, new_folder
from lab_utils.bench.on_ranks import describe_ranks, on_ranks
from lab_utils.bench.origins import lost_sentences
from lab_utils.bench.place import HERE, Cluster, choose_profile, read_place
from lab_utils.bench.plan import Plan, make_plan
from lab_utils.bench.report import write_report, write_results
from lab_utils.bench.results import read_results, run_folder
from lab_utils.bench.tables import comparison_table, sentence
from lab_utils.bench.verdicts import ladder, not_trained, verdicts
from lab_utils.bench.watch import LINE_EVERY_SECONDS, Expected, Watcher
from lab_utils.machine.describe import describe, environment
from lab_utils.machine.headless import NotebookFailed, check_parameters, run_notebook
from nanokimi.cli.memory import check_memory
from nanokimi.cli.options import read_folder, read_whole
from nanokimi.cli.settings import check_letters
from nanokimi.cli.terminal import CannotPrint, say, source_is_an_option
from nanokimi.config import ConfigError
from nanokimi.device import choose_device
from nanokimi.presets.plain_yaml import parse
from nanokimi.system.printable import one_line, quote
from nanokimi.system.refusals import require
from nanokimi.text import corpus
from nanokimi.text.sources import SOURCES

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "08_train_kimi_vs_gpt.ipynb"
BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130
MOST_SEEDS, MOST_RANKS = 10**6, 64
T = TypeVar("T")
OWN_OPTION = {
    "profile": "--profile",
    "arms": "--arms",
    "seeds": "--seeds",
    "data": "--data",
    "out_dir": "--out",
    "ranks": "--ranks",
}


def run(argv: Sequence[str]) -> int:
    """The exit code: 0, 2 for bad input (nothing is written then), 1 for a failure, 128 and its number for a signal."""
    folder: Path | None = None
    plan: Plan | None = None
    try:
        options = _parse(argv)
        parameters = _parameters(options)
        place, ranks = options.where, options.ranks
        require(ranks == 1 or place is None, f"--ranks={ranks} is for --where=here: a job is one process")
        profile = choose_profile(options.profile, place)
        data = _absolute(options.data or "")
        plan = on_ranks(make_plan(profile, options.arms, options.seeds, data), ranks)
        on_this_machine = not isinstance(place, Cluster)  # whose jobs have what this machine may lack
        if on_this_machine:
            choose_device(plan.arms[0].train.device)
        out = check_writable(options.out)
        check_letters(str(out.absolute()), "--out", "name another")
        check_letters(data, "--data", "name another")
        if place is not None:
            check_place(plan, out)
        text = _prepare(plan, on_this_machine)
        seeds = "1 seed" if len(plan.seeds) == 1 else f"{len(plan.seeds)} seeds"
        tell(f"profile {profile}: {', '.join(arm.name for arm in plan.arms)}; {seeds}")
        if words := describe_ranks(plan):
            tell(words)
        if on_this_machine:
            tell(describe(environment(plan.arms[0].train.device)["machine"]))
        folder = new_folder(out)
        if place is not None:
            run_elsewhere(plan, text, folder.resolve(), place, tell)
            return _conclude(folder)
        parameters |= {
            "profile": profile,
            "arms": options.arms,
            "seeds": options.seeds,
            "data": data,
            "out_dir": str(folder.resolve()),
            "ranks": ranks,
        }
        _run(plan, folder, parameters)
        _measure(plan, text, folder)
        return _conclude(folder)
    except KeyboardInterrupt as error:
        kept = f"; what was done so far is in {folder}" if folder else "; nothing was written"
        tell(f"interrupted{kept}")
        return getattr(error, "exit_code", INTERRUPTED)
    except NotebookFailed as error:
        found, gone = NOT_WRITTEN.match(str(error)), GONE.match(str(error))
        if gone or found or not folder.exists():
            tell(
                f"bench: {explain_files(Path(gone[1]) if gone else folder, found and (found[1] or found[2]))}"
            )
            return BAD_INPUT
        tell(f"bench: {explain(str(error), plan)} (see {folder / NOTEBOOK.name})")
        return FAILED
    except BrokenPipeError:
        raise
    except CannotPrint as error:
        tell(f"bench: {error}; the report is {folder / 'report.html'}")
        return BAD_INPUT
    except OSError as error:
        tell(f"bench: {explain_files(folder, error.strerror, error.filename) if folder else error}")
        return BAD_INPUT
    except ValueError as error:
        tell(f"bench: {error}")
        return BAD_INPUT if folder is None else FAILED


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m lab_utils.bench", description=__doc__.partition("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--profile", default="auto", help="auto (gpu with CUDA, else cpu), smoke, cpu, gpu")
    parser.add_argument("--arms", default="default", help="default, ladder, or names with commas: gpt,kimi")
    parser.add_argument(
        "--seeds", type=_from_1_to(MOST_SEEDS), default=1, help="how many seeds; 3 are needed for a verdict"
    )
    parser.add_argument(
        "--data",
        type=_as_option(_read_data),
        help="storyworld, almanac, tinystories, or the path of a text or folder [default: the profile's text]",
    )
    parser.add_argument(
        "--where",
        type=_as_option(read_place),
        default=HERE,
        help="here (notebook 08), local:N (N trainings at once), slurm, or slurm:FILE.yaml with a cluster's settings",
    )
    parser.add_argument(
        "--ranks", type=_from_1_to(MOST_RANKS), default=1, help="how many processes train each model together"
    )
    parser.add_argument(
        "--out",
        type=_as_option(read_folder),
        default=Path("out/bench"),
        help="where the run's folder is made",
    )
    parser.add_argument(
        "-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="a notebook parameter"
    )
    return parser.parse_args(argv)


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    """The notebook parameters given with -p. `ConfigError` for unknown names and for those with their own option."""
    found = {}
    for text in options.parameter:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"parameter {quote(text)} must look like name=value")
        found[name.strip()] = parse(value, f"parameter {quote(text)}: {quote(value)}")
    require(
        NOTEBOOK.exists(),
        f"the benchmark runs notebooks/{NOTEBOOK.name}, which is not installed with the package: run it in a "
        "checkout of the repository, with make bench",
    )
    check_parameters(NOTEBOOK, list(found))
    for name in found:
        if name in OWN_OPTION:
            raise ConfigError(f"parameter {quote(name)} has its own option: {OWN_OPTION[name]}")
    return found


def _as_option(read: Callable[[str], T]) -> Callable[[str], T]:
    """The reader of a word as an option's type: what it refuses is told under the option's name."""

    def parse(word: str) -> T:
        try:
            return read(word)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def _from_1_to(most: int) -> Callable[[str], int]:
    """The reader of a whole number in this range, as an option's type."""

    def read(text: str) -> int:
        number = read_whole(text)
        require(1 <= number <= most, f"{quote(text)} must be a whole number from 1 to {most:,}")
        return number

    return _as_option(read)


def _read_data(text: str) -> str:
    require(
        bool(text.strip()),
        f"{quote(text)} must name storyworld, almanac, tinystories or the path of a text or folder",
    )
    return text


def _absolute(data: str) -> str:
    """An absolute path where `data` is one: the notebook runs in another folder than this command."""
    path = Path(data).expanduser()
    return str(path.resolve()) if data and data not in SOURCES and path.exists() else data


def _prepare(plan: Plan, on_this_machine: bool) -> corpus.Corpus:
    """The text. Its token file is made now, with progress, so that bad text is found before anything is written.

    on_this_machine: the trainings must fit its memory then.
    """
    started = time.monotonic()
    shown = started - LINE_EVERY_SECONDS + 2  # quick work ends before the first line

    def show(stage: str, done: float, total: float | None) -> None:
        nonlocal shown
        if time.monotonic() - shown > LINE_EVERY_SECONDS:
            shown = time.monotonic()
            tell(f"text: {stage}, " + (f"{done / total:.0%}" if total else f"{done / 1e6:.0f} MB"))

    try:
        with source_is_an_option():
            text = corpus.load_corpus(plan.data, show, seq_len=plan.arms[0].train.seq_len)
    except corpus.TextError as error:  # the profile sets seq_len
        raise corpus.TextError(str(error).removesuffix(" or a smaller seq_len")) from None
    for arm in plan.with_vocabulary_of(text).arms if on_this_machine else ():
        check_memory(arm.model, arm.train)
    took = time.monotonic() - started
    tell(
        f"text: {text.name}, {len(text.train):,} tokens to train on, {len(text.val):,} held out ({took:.0f} s)"
    )
    return text


def _run(plan: Plan, folder: Path, parameters: dict[str, Any]) -> None:
    expected = []
    for arm in plan.trials():
        seed = arm.train.seed
        name = f"{arm.name} seed {seed}" if len(plan.seeds) > 1 else arm.name
        expected.append(Expected(name, run_folder(folder.absolute(), arm.name, seed), arm.train.steps))
    tell("timing the steps of all arms in turn, then training")
    environ = {"NANOKIMI_LIVE": "0", "NANOKIMI_PROFILE": plan.profile}
    with Watcher(expected, sys.stderr):
        run_notebook(NOTEBOOK, folder / NOTEBOOK.name, parameters, environ)


def _measure(plan: Plan, text: corpus.Corpus, folder: Path) -> None:
    """What each model can do, kept with the results after each arm, and then the report once more."""
    tell("measuring what the models can do")
    results = read_results(folder / "results.json")
    results = measure_rest(results, plan.data, text, folder, lambda found: write_results(found, folder), tell)
    write_report(results, folder)


def _conclude(folder: Path) -> int:
    """Print the table, the verdicts and what never came; the exit code."""
    results = read_results(folder / "results.json")
    lines = [str(comparison_table(table_rows(results)))]
    lines += [f"no verdict: it {why}"] if (why := not_trained(results)) else []
    lines += [sentence(verdict) for verdict in (*verdicts(results), *ladder(results))]
    lines += lost_sentences(results)
    lines.append(f"report: {folder / 'report.html'}")
    say("\n".join(lines))
    return FAILED if results.lost or results.untimed else 0


def tell(line: str) -> None:
    with contextlib.suppress(OSError):  # a terminal that was closed meanwhile stops no work
        print(one_line(line), file=sys.stderr, flush=True)
