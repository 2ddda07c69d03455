"""A class graded in one command: how long it takes, how much memory, and whether every row is what was planted.

    python -m benchmarks.grading [--students 30] [--jobs 2] [--record]

Each student hands in every notebook that has exercises. Each exercise is answered right (the core's source, as
`reveal` shows it), wrong (one of the known mistakes) or not at all, by chance. A row is right if every exercise of it
has the planted status.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.records import add_record_option, record_path
from lab_utils.course.exercise import Exercise
from lab_utils.course.hints import reveal
from lab_utils.course.progress import COURSE
from lab_utils.machine import linux
from nanokimi.system import atomic

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
MISTAKE = """from lab_utils.course.chapters import all_exercises

{name} = all_exercises()["{name}"].mistakes[{number}].wrong"""
RIGHT, WRONG, UNTOUCHED = "passed", "failed", "not tried"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grading")
    parser.add_argument("--students", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    add_record_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        planted = plant(folder / "class", options.students, random.Random(options.seed))
        seconds, memory = grade(folder, options.jobs)
        with open(folder / "grades.csv", encoding="utf-8", newline="") as file:
            rows = {row["path"]: row for row in csv.DictReader(file)}
    wrong = [
        f"{path}, {name}: {rows.get(path, {}).get(name)!r}, planted {status!r}"
        for path, statuses in planted.items()
        for name, status in statuses.items()
        if rows.get(path, {}).get(name) != status
    ]
    for line in wrong:
        print(line)
    result = {
        "students": options.students,
        "rows": len(planted),
        "exercises": sum(map(len, planted.values())),
        "wrong": len(wrong),
        "jobs": options.jobs,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[2], 1),
        "seconds": round(seconds),
        "peak_memory_mb": round(memory / 1e6),
    }
    print(json.dumps(result))
    atomic.write_json(record_path("grading", options.record), result)
    return 1 if wrong else 0


def plant(folder: Path, n_students: int, draw: random.Random) -> dict[str, dict[str, str]]:
    """Write the class. Returns the planted status of every exercise, by the notebook's path."""
    planted = {}
    for number in range(n_students):
        for chapter in COURSE:
            if chapter.exercises():
                notebook = json.loads((NOTEBOOKS / chapter.file).read_text(encoding="utf-8"))
                key = f"student-{number:02d}/{chapter.file}"
                planted[key] = {e.name: answer(notebook, e, draw) for e in chapter.exercises()}
                (folder / key).parent.mkdir(parents=True, exist_ok=True)
                (folder / key).write_text(json.dumps(notebook), encoding="utf-8")
    return planted


def answer(notebook: dict, exercise: Exercise, draw: random.Random) -> str:
    """Put an answer by chance into the notebook. Returns what it should count as."""
    cell = next(cell for cell in notebook["cells"] if cell.get("id") == f"{exercise.name}-exercise")
    status = draw.choice([RIGHT, RIGHT, WRONG, UNTOUCHED])
    if status == RIGHT:
        cell["source"] = reveal(exercise.name).source
    elif status == WRONG:
        cell["source"] = MISTAKE.format(name=exercise.name, number=draw.randrange(len(exercise.mistakes)))
    return status


def grade(folder: Path, jobs: int) -> tuple[float, int]:
    """Grade the class in one command. Returns the seconds, and the most bytes that all its processes held."""
    words = [
        sys.executable,
        "-m",
        "lab_utils.course.grade",
        "class",
        "--csv",
        "grades.csv",
        "--json",
        "grades.json",
    ]
    started, most = time.monotonic(), 0
    environ = os.environ | {"PYTHONPATH": str(NOTEBOOKS.parent)}
    with subprocess.Popen(
        [*words, "--jobs", str(jobs)], cwd=folder, env=environ, stdout=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            most = max(most, linux.sum_memory(linux.find_tree(process.pid), exactly=True))
            time.sleep(1)
    return time.monotonic() - started, most


if __name__ == "__main__":
    sys.exit(main())
