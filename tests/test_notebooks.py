"""What holds for every committed notebook: it reads well on GitHub, is small, and runs headless."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from lab_utils.render import without_volatile

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
MAX_BYTES = 300_000


def source(cell: dict) -> str:
    return "".join(cell["source"])


def faults(text: str) -> Iterator[str]:
    """What is wrong with a notebook, given as its JSON."""
    notebook = json.loads(text)
    cells = notebook["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    if len(text.encode()) > MAX_BYTES:
        yield f"it has {len(text.encode()):,} bytes, {MAX_BYTES:,} are allowed"
    if "widgets" in notebook["metadata"]:
        yield "widget state is saved"
    ids = [cell.get("id") for cell in cells]
    if None in ids or len(set(ids)) < len(ids):
        yield "cell ids are missing or not unique"
    for cell in code:
        yield from (f"cell {cell.get('id')}: {fault}" for fault in _code_faults(cell))
        for output in cell["outputs"]:
            yield from (f"output of {cell.get('id')}: {fault}" for fault in _output_faults(output))
    if re.search(r"(?<![\w.}])/(?:root|home|Users|tmp)/\w+", text):
        yield "it names a folder of somebody's machine"


def _code_faults(cell: dict) -> Iterator[str]:
    if "parameters" in cell["metadata"].get("tags", []):
        for statement in ast.parse(source(cell)).body:
            try:
                assert isinstance(statement, ast.Assign)
                ast.literal_eval(statement.value)
            except (AssertionError, ValueError):
                yield f"line {statement.lineno} of the parameters is no literal"
    if re.search(r"\b(?:fig|figure|plt|pyplot)\.show\(", source(cell)):
        yield "fig.show() shows nothing in converted HTML"
    if re.search(r"\bif\b.*\b(?:smoke|fast|quick)\b", source(cell), re.I):
        yield "sizes shrink through the profile, not through an if"


def _output_faults(output: dict) -> Iterator[str]:
    if output["output_type"] == "error":
        yield "an error"
    data = output.get("data", {})
    if any("widget" in mime for mime in data):
        yield "a widget"
    if "image/png" in data and not output["metadata"].get("image/png", {}).get("alt"):
        yield "a picture without alternative text"
    if "<script" in "".join(data.get("text/html", "")):
        yield "a script"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_has_no_fault(path):
    assert list(faults(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_outputs_are_committed_and_in_order(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), (
        "run lab_utils.render"
    )
    assert any(cell["outputs"] for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_wall_of_text(path):
    """More than eight lines of text want a picture, a number, code or a list between them."""
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "markdown":
            for paragraph in source(cell).split("\n\n"):
                assert paragraph.count("\n") < 8, paragraph


def test_rendering_drops_what_differs_every_time_and_nothing_else():
    cell = nbformat.v4.new_code_cell("x", id="a", metadata={"papermill": {"duration": 1}, "tags": []})
    kept = nbformat.v4.new_code_cell("y", id="b", metadata={"execution": {"t": "1"}, "tags": ["parameters"]})
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    info = {"name": "python", "version": "3.11.9"}
    made = nbformat.v4.new_notebook(
        cells=[cell, kept],
        metadata={"papermill": {}, "kernelspec": kernelspec, "language_info": info},
    )
    found = without_volatile(made)
    assert found.metadata == {"kernelspec": kernelspec, "language_info": {"name": "python"}}
    assert [(c.source, c.metadata) for c in found.cells] == [("x", {}), ("y", {"tags": ["parameters"]})]


# ---------------------------------------------------------------- the faults are found


def notebook(cell: dict | None = None, **metadata) -> str:
    good = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "source": "x = 1",
        "outputs": [],
        "execution_count": 1,
    }
    return json.dumps({"cells": [good, good | {"id": "b"} | (cell or {})], "metadata": metadata})


def parameters(text: str) -> dict:
    return {"metadata": {"tags": ["parameters"]}, "source": text}


def output(**data) -> dict:
    return {"outputs": [{"output_type": "display_data", "metadata": {}, "data": data}]}


def test_a_good_notebook_passes():
    assert list(faults(notebook(parameters('x = 1  # one\ny = -2.5\nz = ["a", None]')))) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (notebook(parameters("n = 2 * 3 if x else 1")), "no literal"),
        (notebook(parameters("n = len('abc')")), "no literal"),
        (notebook(parameters("import os")), "no literal"),
        (notebook({"id": "a"}), "not unique"),
        (notebook({"source": "fig.show()"}), "fig.show()"),
        (notebook({"source": "plt.show()"}), "fig.show()"),
        (notebook({"source": "steps = 10 if smoke else 300"}), "through an if"),
        (notebook({"source": 'if profile == "smoke":\n    steps = 3'}), "through an if"),
        (notebook({"outputs": [{"output_type": "error"}]}), "an error"),
        (notebook(output(**{"application/vnd.jupyter.widget-view+json": {}})), "a widget"),
        (notebook(output(**{"image/png": "iVBOR"})), "without alternative text"),
        (notebook(output(**{"text/html": "<script>1</script>"})), "a script"),
        (notebook({"source": 'open("' + "/ho" + 'me/me/text.txt")'}), "somebody's machine"),
        (notebook({"source": "x" * MAX_BYTES}), "bytes"),
        (notebook(widgets={}), "widget state"),
    ],
)
def test_a_fault_is_found(text, fault):
    (found,) = faults(text)
    assert fault in found
