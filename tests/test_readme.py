"""README and docs give the numbers that were measured, and README what the notebooks and the tested code say."""

import json
import re
import shutil
from pathlib import Path

import pytest

from benchmarks.records import RESULTS, record_path
from benchmarks.tables import tables
from lab_utils.bench.plan import make_plan
from lab_utils.course.chapters import all_exercises
from lab_utils.course.progress import COURSE
from tests.core.test_public import SIX_LINES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "table"),
    [(file, table) for file, found in tables().items() for table in found],
    ids=lambda text: text.splitlines()[0][:40],
)
def test_a_table_is_the_recorded_one(file, table):
    """To renew a table after a run: `python -m benchmarks.tables` prints it, below the name of its file."""
    assert table in (ROOT / file).read_text(encoding="utf-8")


def test_a_record_of_another_machine_changes_no_table(tmp_path, monkeypatch):
    """Whoever measures on a machine of their own still passes the tests."""
    before = tables()
    shutil.copytree(RESULTS, tmp_path / "results")
    for kind in ("perf", "scaling", "one-gpu"):
        (tmp_path / "results" / f"{kind}-another-machine.json").write_text("{}")
    monkeypatch.setattr("benchmarks.tables.RESULTS", tmp_path / "results")
    assert tables() == before
    assert RESULTS not in record_path("faults", record=False).resolve().parents


def test_every_arm_has_the_best_rate_of_its_own_sweep():
    sweep = json.loads((RESULTS / "sweep-cpu.json").read_text(encoding="utf-8"))["arms"]
    plan = make_plan("cpu", "ladder")
    assert {arm.name for arm in plan.arms} == set(sweep)
    for arm in plan.arms:
        losses = {float(rate): loss for rate, loss in sweep[arm.name]["loss"].items() if loss is not None}
        assert arm.train.optim.lr == min(losses, key=losses.__getitem__)


def test_the_code_is_the_code_that_a_test_runs():
    """tests/core/test_public.py builds, trains and samples with these lines, at a small size."""
    assert re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL) == [SIX_LINES]


@pytest.mark.parametrize("chapter", COURSE, ids=lambda chapter: chapter.number)
def test_the_course_table_says_what_each_notebook_says(chapter):
    cells = json.loads((ROOT / "notebooks" / chapter.file).read_text(encoding="utf-8"))["cells"]
    minutes = re.search(r"\*\*Takes\*\* (\d+) minutes", "".join(cells[0]["source"]))[1]
    link = f"[{chapter.title}](notebooks/{chapter.file})"
    assert f"| {chapter.number} | {link} | {chapter.about} | {minutes} |" in README


def test_the_exercises_and_the_known_mistakes_are_counted():
    exercises, words = all_exercises().values(), " ".join(README.split())
    assert f"There are {len(exercises)} exercises." in words
    assert "more than a thousand known mistakes" in words
    assert sum(len(exercise.mistakes) for exercise in exercises) > 1000


def test_readme_is_one_to_two_screens():
    assert len(README.splitlines()) <= 110 and len(README.split()) <= 1500


def test_the_first_screen_says_how_to_begin_for_whom_and_where_it_runs():
    first, picture, _ = README.partition("![The training panel")
    assert picture and len(first.split()) <= 250
    assert "git clone " in first and "make lab" in first and "For those who" in first
    head, _, *rows = re.findall(r"^\|(.*)\|$", first, re.M)
    assert [cell.strip() for cell in head.split("|")][:5] == ["system", "state", "Python", "disk", "memory"]
    assert [re.findall(r"\w+", row)[0] for row in rows] == ["Linux", "macOS", "Windows"]
    assert all(len(row.split("|")) == len(head.split("|")) for row in rows)


def test_the_memory_of_the_first_screen_is_the_largest_of_the_table():
    told = float(re.search(r"up to ([\d.]+) GB", README)[1])
    largest = max(int(mb) for mb in re.findall(r"(\d+) MB \|$", README, re.M))
    assert told == round(largest / 1000, 1)
