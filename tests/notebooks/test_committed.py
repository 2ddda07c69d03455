"""The committed notebooks keep the rules of `rules.py`, and their outputs are those of their code."""

import base64
import json
import re
from pathlib import Path

import nbformat
import pytest

from lab_utils.show import architecture
from lab_utils.site import render
from nanokimi.presets.yaml_config import load_model_config
from tests.notebooks.rules import (
    course_faults,
    defined_again,
    faults,
    minutes_faults,
    old_progress,
    read_opening,
    source,
    walls_of_text,
)

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_built_as_the_course_is(path):
    assert list(course_faults(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_number_of_a_notebook_is_that_of_its_file(path):
    assert read_opening(nbformat.read(path, as_version=4)).title[:2] == path.name[:2]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_minutes_of_a_notebook_are_those_of_reading_and_of_its_exercises(path):
    assert list(minutes_faults(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_outputs_come_from_the_code_that_stands_there(path):
    assert render.is_fresh(nbformat.read(path, as_version=4)), f"{path.name} has changed: run make render"


def drawn(html: str) -> tuple[str, str]:
    """The words and the SVG of a drawing. How much smaller a long line is set may differ between machines."""
    alt, data = re.search(r'alt="(.*?)".*base64,([\w+/=]+)', html, re.DOTALL).groups()
    return alt, re.sub(r"font-size:[\d.]+px\"", "", base64.b64decode(data).decode())


@pytest.mark.parametrize("number", ["00", "02", "03", "04", "05", "06", "07"])
def test_the_architecture_is_committed_as_it_is_drawn_now(number):
    (path,) = (path for path in NOTEBOOKS if path.name.startswith(number))
    cells = {cell["id"]: cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]}
    for name in ["you-are-here", *(["whole"] if number == "06" else [])]:
        (output,) = cells[name]["outputs"]
        now = eval(source(cells[name]), {**vars(architecture), "load_model_config": load_model_config})
        assert drawn("".join(output["data"]["text/html"])) == drawn(now.html()), (
            f"{path.name}: run make render"
        )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_has_no_fault(path):
    assert list(faults(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_outputs_are_committed_and_in_order(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), (
        f"{path.name}: run make render"
    )
    assert any(cell["outputs"] for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_wall_of_text(path):
    """At most eight lines of text stand together without a picture, a number, code or a list."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "markdown"]
    assert [wall for cell in cells for wall in walls_of_text(source(cell))] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_cell_that_trains_says_how_long_it_still_takes(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    trains = [source(cell) for cell in cells if re.search(r"\b(train|run_clinic)\(", source(cell))]
    tells = ("write_step(", "write_time_left(", " s left", "TrainingPanel(")
    long = [text for text in trains if "train-smoke" not in text]  # that one takes seconds
    assert [text for text in long if not any(each in text for each in tells)] == []


def test_no_notebook_defines_a_core_name_again_after_its_handover():
    notebooks = [(path.name, json.loads(path.read_text(encoding="utf-8"))) for path in NOTEBOOKS]
    assert list(defined_again(notebooks)) == []


def test_tables_of_progress_count_the_exercises_that_there_are():
    notebooks = [(path.name, json.loads(path.read_text(encoding="utf-8"))) for path in NOTEBOOKS]
    assert list(old_progress(notebooks)) == []
