"""results.json, steps.jsonl and the logbook are altered: what they say is shown, or refused in a line.

Values of JSON become others of wrong types and ranges, names go or change, text is cut and bytes flip. What is accepted
is shown: all tables, verdicts, the report's page, and what the pictures of steps draw.
"""

import contextlib
import copy
import io
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.faults.batches import judge, run_in_batches
from benchmarks.faults.outcome import Outcome
from lab_utils.bench import pictures, report, tables
from lab_utils.bench.compare import table_rows
from lab_utils.bench.results import ResultsError, read_results, run_folder, to_json
from lab_utils.bench.verdicts import ladder, verdicts
from lab_utils.course.logbook import Logbook

NAME = "results or a logbook altered"
RELEASE, SAMPLE = 500, 10
RECORD = Path(__file__).parents[1] / "results" / "ladder-storyworld.json"
ARMS, POINTS = ("gpt", "kimi-moe", "kimi"), 2

VALUES = (
    *(
        None,
        True,
        False,
        -1,
        0,
        1,
        3,
        1.5,
        -0.5,
        1e308,
        -1e308,
        5e-324,
        10**18,
        10**30,
        "",
        "x",
        "3",
        "gpt",
        "\x1b[2J",
    ),
    *(
        "\ud800",
        "a" * 100_000,
        "<script>alert(1)</script>",
        [],
        {},
        [1],
        [[]],
        {"a": 1},
        [None] * 50,
        "@NAN@",
        "@INF@",
    ),
    *("@LONG@", "@DEEP@"),
)
# What becomes text that no value of Python is written as.
RAW = {"@NAN@": "NaN", "@INF@": "1e999", "@LONG@": "7" * 5000, "@DEEP@": "[" * 50_000 + "]" * 50_000}


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Alter records `tries` times."""
    return run_in_batches("mutated_results", tries, seed, folder, on_progress)


def prepare(folder: Path) -> None:
    """Three arms of a recorded run with few points, their steps, and a logbook."""
    found = read_results(RECORD)
    runs = [replace(run, points=run.points[-POINTS:]) for run in found.runs if run.arm in ARMS]
    small = replace(found, runs=tuple(runs), arms={name: found.arms[name] for name in ARMS})
    (folder / "results.json").write_text(json.dumps(to_json(small)))
    step = {"step": 1, "loss": 5.0, "expert_load": [], "max_vio": [], "max_qk_logit": None}
    routed = {"expert_load": [[1.0, 1.0, 0.5, 1.5]], "max_vio": [0.5], "max_qk_logit": [[1.0, 2.0]]}
    for name in ARMS:
        (folder / f"{name}.jsonl").write_text(
            "".join(
                json.dumps(step | (routed if name != "gpt" else {}) | {"step": i}) + "\n"
                for i in range(1, 21)
            )
        )
    book = {
        "checks": {"attend": {"solved": True, "attempts": 2}},
        "hints": {"attend": 1},
        "predictions": {"08-x": True},
    }
    (folder / "progress.json").write_text(json.dumps(book))
    report.render(small, folder)


def try_one(folder: Path, draw: random.Random) -> str:
    """What is wrong with how one altered record is read and shown."""
    kind = draw.choice(("results", "results", "results", "steps", "logbook"))
    out = folder / "altered"
    out.mkdir(exist_ok=True)
    if kind == "logbook":
        content = alter((folder / "progress.json").read_text(), draw)
        (out / "progress.json").write_bytes(content)
        verdict = judge(lambda: use_logbook(out / "progress.json"), ())
    else:
        results = (folder / "results.json").read_text()
        content = alter(results, draw) if kind == "results" else results.encode()
        (out / "results.json").write_bytes(content)
        for name in ARMS:
            lines = (folder / f"{name}.jsonl").read_text().splitlines(keepends=True)
            place = run_folder(out, name, 0)
            place.mkdir(parents=True, exist_ok=True)
            if kind == "steps" and name == "kimi":
                i = draw.randrange(len(lines))
                content = alter(lines[i], draw)
                (place / "steps.jsonl").write_bytes("".join(lines[:i]).encode() + content + b"\n")
            else:
                (place / "steps.jsonl").write_text("".join(lines))
        draws = kind == "steps" or draw.random() < 0.2
        verdict = judge(lambda: show(out, draws), ResultsError)
    shutil.rmtree(out)
    return verdict and f"{kind} as {content[:80]!r}: {verdict}"


def show(out: Path, draws: bool) -> None:
    """Everything that the benchmark and its report make of the results, but for the painting of pictures."""
    found = read_results(out / "results.json")
    str(tables.comparison_table(table_rows(found)))
    for verdict in [*verdicts(found), *ladder(found)]:
        tables.sentence(verdict)
    str(tables.plan_table(list(found.arms.values())))
    if draws:
        with mock.patch.object(pictures, "Snapshot", lambda figure, alt: alt):
            assert all(isinstance(alt, str) for alt in pictures.all_pictures(found, out).values())
    with mock.patch.object(report, "all_pictures", lambda *_: {}):
        report.render(found, out)


def use_logbook(path: Path) -> None:
    """Read the learner's logbook and make an entry of each kind."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        logbook = Logbook.open(path)
        logbook.note_check("attend", "failed")
        logbook.note_hint("attend", 2)
        logbook.note_prediction("08-x", False)
        logbook.solved("attend")
    for line in said.getvalue().splitlines():
        assert line.isprintable() and len(line) < 800, line


# ---------------------------------------------------------------- what is done to JSON


def alter(text: str, draw: random.Random) -> bytes:
    """The text with one to three values changed, or with other letters or bytes."""
    what = draw.random()
    if what < 0.75:
        data = json.loads(text)
        for _ in range(draw.randint(1, 3)):
            change(data, draw)
        text = json.dumps(data)
        for mark, raw in RAW.items():
            text = text.replace(f'"{mark}"', raw)
        return text.encode()
    if what < 0.85:
        i, j = sorted(draw.randrange(len(text) + 1) for _ in range(2))
        return (text[:i] + text[j:] if draw.random() < 0.5 else text[i:j]).encode()
    if what < 0.9:
        return text.encode(draw.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-32")))
    content = bytearray(text.encode())
    for _ in range(draw.randint(1, 8)):
        content[draw.randrange(len(content))] = draw.randrange(256)
    return bytes(content)


def change(data: Any, draw: random.Random) -> None:
    """One place in the data gets another value or name, goes, or is doubled."""
    place = data
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and draw.random() < 0.9:
            place = place[key]
            continue
        break
    what = draw.random()
    if what < 0.7:
        place[key] = copy.deepcopy(draw.choice(VALUES))
    elif what < 0.85 or isinstance(place, list):
        place.insert(0, place[key]) if isinstance(place, list) and draw.random() < 0.5 else place.pop(key)
    else:
        place[str(draw.choice(VALUES))[:50]] = place.pop(key)
