"""What holds for every committed notebook: it reads well on GitHub, is small, fresh, and built as the course is."""

import ast
import hashlib
import importlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from lab_utils.machine.headless import NotebookFailed
from lab_utils.site import render
from lab_utils.site.page import read_opening

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
MAX_BYTES = 300_000
PARTS = ("derivation", "exercise", "check", "handover")
LAST_CELLS = 8


def source(cell: dict) -> str:
    return "".join(cell["source"])


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def parsed(cell: dict) -> ast.Module:
    """The code of a cell, magics of IPython included."""
    return ast.parse(TransformerManager().transform_cell(source(cell)))


# ---------------------------------------------------------------- one notebook


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
    for cell in cells:
        if cell["cell_type"] == "markdown":
            yield from (f"cell {cell.get('id')}: {fault}" for fault in _picture_faults(source(cell)))
    if re.search(r"(?<![\w.}])/(?:root|home|Users|tmp)/\w+", text):
        yield "it names a folder of somebody's machine"


def _code_faults(cell: dict) -> Iterator[str]:
    if "parameters" in tags(cell):
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
    for mime in data:
        if mime.startswith("image/") and not output["metadata"].get(mime, {}).get("alt"):
            yield "a picture without alternative text"
    if "application/vnd.plotly.v1+json" in data and "image/png" not in data:
        yield "a plotly figure without a PNG, which offline pages show"
    html = "".join(data.get("text/html", ""))
    if "<script" in html:
        yield "a script"
    yield from _picture_faults(html)


def _picture_faults(text: str) -> Iterator[str]:
    """Pictures without alternative text, in markdown or HTML."""
    written = re.findall(r"!\[(.*?)\]\(", text)
    tagged = [re.search(r'\balt="([^"]*)"', tag) for tag in re.findall(r"<img\b[^>]*>", text)]
    if not all(written) or not all(alt and alt[1] for alt in tagged):
        yield "a picture without alternative text"


def course_faults(text: str) -> Iterator[str]:
    """What a notebook of the course lacks: its opening, its recap, the four cells of an exercise."""
    notebook = nbformat.reads(text, as_version=4)
    opening = read_opening(notebook)
    if not re.match(r"\d\d · \S", opening.title):
        yield "its first cell does not begin with '# NN · Title'"
    if not re.search(r"\bable to\b|\bAt (?:its|the) end\b", opening.aim):
        yield "its first cell does not say what one will be able to do"
    if not re.search(r"\b(?:minutes?|seconds?)\b", opening.takes) or "run" not in opening.takes.lower():
        yield "its first cell does not say after **Takes** how long reading and running take"
    if not opening.needs:
        yield "its first cell does not say what it **Needs**"
    end = [cell for cell in notebook.cells[-LAST_CELLS:] if cell.cell_type == "markdown"]
    if not any(re.search(r"^#+ Recap\b", cell.source, re.M) for cell in end):
        yield f"there is no heading Recap in its last {LAST_CELLS} cells"
    yield from _exercise_faults(notebook.cells)


def _exercise_faults(cells: Sequence[dict]) -> Iterator[str]:
    at = {cell["id"]: i for i, cell in enumerate(cells)}
    for cell in cells:
        for part in set(tags(cell)) & set(PARTS):
            if not cell["id"].endswith(f"-{part}"):
                yield f"cell {cell['id']}: its tag is {part}, so its id must end in -{part}"
    for name in (i.removesuffix("-exercise") for i in at if i.endswith("-exercise")):
        four = [f"{name}-{part}" for part in PARTS]
        places = [at[identity] for identity in four if identity in at]
        if len(places) < 4:
            yield f"exercise {name}: there is no cell {next(i for i in four if i not in at)}"
        elif places != sorted(places):
            yield f"exercise {name}: its cells must stand in the order {', '.join(PARTS)}"
        elif untagged := [i for i, part in zip(four, PARTS) if part not in tags(cells[at[i]])]:
            yield f"cell {untagged[0]}: its tag {untagged[0].rpartition('-')[2]} is missing"
        else:
            if name not in bound_names(parsed(cells[places[1]])):
                yield f"cell {four[1]}: it does not define {name}"
            if not hands_over(parsed(cells[places[3]]), name):
                yield f"cell {four[3]}: it does not import {name} from nanokimi"


def hands_over(code: ast.Module, name: str) -> bool:
    """Whether it imports `name`, or the class whose method it is, from nanokimi; a test of a colleague's code, which
    the core has no use for, is revealed instead.
    """
    for node in ast.walk(code):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "nanokimi":
            for alias in node.names:
                imported = getattr(importlib.import_module(node.module), alias.name)
                if alias.asname is None and (alias.name == name or hasattr(imported, name)):
                    return True
        if isinstance(node, ast.Call) and name.startswith("test_"):
            words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            if getattr(node.func, "id", "") == "reveal" and words == [name]:
                return True
    return False


def bound_names(code: ast.AST) -> set[str]:
    """Names that the code gives a meaning to by def, class, assignment or import; what nanokimi itself calls so is no
    new meaning.

    Methods are not among them, nor are the parameters of functions.
    """
    found: set[str] = set()
    for node in ast.iter_child_nodes(code):
        match node:
            case ast.ClassDef(name=name):
                found.add(name)
                for method in node.body:
                    found |= bound_names(method)
                continue
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.ImportFrom(module=module, names=names):
                own = (module or "").partition(".")[0] == "nanokimi"
                renamed = {alias.asname for alias in names if alias.asname not in (None, alias.name)}
                found |= renamed if own else {alias.asname or alias.name for alias in names}
            case ast.Import(names=names):
                found |= {alias.asname or alias.name.partition(".")[0] for alias in names}
        found |= bound_names(node)
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_built_as_the_course_is(path):
    assert list(course_faults(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_number_of_a_notebook_is_that_of_its_file(path):
    assert read_opening(nbformat.read(path, as_version=4)).title[:2] == path.name[:2]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_outputs_come_from_the_code_that_stands_there(path):
    assert render.is_fresh(nbformat.read(path, as_version=4)), f"{path.name} has changed: run make render"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_has_no_fault(path):
    assert list(faults(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_outputs_are_committed_and_in_order(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), (
        "run lab_utils.site.render"
    )
    assert any(cell["outputs"] for cell in cells)


def walls_of_text(text: str) -> list[str]:
    """Pieces over eight lines long. A blank line, an item of a list and a row of a table begin a new one."""
    pieces = re.split(r"\n\s*\n|\n(?=\s*(?:[-*|]|\d+\.)\s)", text)
    return [piece for piece in pieces if piece.count("\n") >= 8]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_wall_of_text(path):
    """More than eight lines of text want a picture, a number, code or a list between them."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "markdown"]
    assert [wall for cell in cells for wall in walls_of_text(source(cell))] == []


def test_a_wall_of_text_is_found():
    eight, nine = "\n".join(["word"] * 8), "\n".join(["word"] * 9)
    assert walls_of_text(f"{eight}\n\n{eight}\n- {eight}\n1. {eight}\n" + "| a | b |\n" * 9) == []
    assert walls_of_text(f"{eight}\n\n- {nine}") == [f"- {nine}"]


# ---------------------------------------------------------------- all of them, in order


def defined_again(notebooks: Sequence[tuple[str, dict]]) -> Iterator[str]:
    """Cells that give a name of the core another meaning after its handover, in this notebook or a later one."""
    handed_over: set[str] = set()
    for file, notebook in notebooks:
        for cell in notebook["cells"]:
            if cell["cell_type"] != "code":
                continue
            for name in sorted(handed_over & bound_names(parsed(cell))):
                yield f"{file}, cell {cell['id']}: it defines {name} again after its handover"
            if "handover" in tags(cell):
                handed_over.add(cell["id"].removesuffix("-handover"))


def test_no_notebook_defines_a_core_name_again_after_its_handover():
    notebooks = [(path.name, json.loads(path.read_text(encoding="utf-8"))) for path in NOTEBOOKS]
    assert list(defined_again(notebooks)) == []


def old_progress(notebooks: Sequence[tuple[str, dict]]) -> Iterator[str]:
    """Committed tables of progress that count other exercises than the notebooks have now.

    A notebook's own code does not change when another one gains an exercise, so its stamp cannot tell.
    """
    counts = {
        file[:2]: sum(cell["id"].endswith("-exercise") for cell in notebook["cells"])
        for file, notebook in notebooks
    }
    counts = {number: count for number, count in counts.items() if count}
    for file, notebook in notebooks:
        for cell in notebook["cells"]:
            call = re.match(r"progress\((?:\"(\d\d)\")?\)$", source(cell))
            if cell["cell_type"] != "code" or not call:
                continue
            text = "".join("".join(output["data"]["text/plain"]) for output in cell["outputs"])
            told = {
                number: int(count) for number, count in re.findall(r"^(\d\d) .* of (\d+) solved", text, re.M)
            }
            expected = counts if call[1] is None else {call[1]: counts.get(call[1], 0)}
            if told != expected:
                numbers = sorted(n for n in told | expected if told.get(n) != expected.get(n))
                yield f"{file}, cell {cell['id']}: old counts of exercises for {', '.join(numbers)}: run make render"


def test_tables_of_progress_count_the_exercises_that_there_are():
    notebooks = [(path.name, json.loads(path.read_text(encoding="utf-8"))) for path in NOTEBOOKS]
    assert list(old_progress(notebooks)) == []


def test_an_old_table_of_progress_is_found():
    def made(text: str, call: str) -> dict:
        cell = {"id": "end", "cell_type": "code", "source": call, "metadata": {}}
        return cell | {"outputs": [{"output_type": "execute_result", "data": {"text/plain": text}}]}

    four = json.loads(course())
    four["cells"].append(made("04 Routing   0 of 1 solved\nNo prediction made yet.", 'progress("04")'))
    start = {"cells": [made("04 Routing   0 of 1 solved", "progress()")]}
    notebooks = [("00.ipynb", start), ("04.ipynb", four)]
    assert list(old_progress(notebooks)) == []
    five = json.loads(course("other"))
    assert list(old_progress([*notebooks, ("05.ipynb", five)])) == [
        "00.ipynb, cell end: old counts of exercises for 05: run make render"
    ]
    four["cells"] = four["cells"][:1] + four["cells"][-1:]
    assert [line.partition(",")[0] for line in old_progress(notebooks)] == ["00.ipynb", "04.ipynb"]


# ---------------------------------------------------------------- rendering


def test_rendering_drops_what_differs_every_time_and_nothing_else():
    cell = nbformat.v4.new_code_cell("x", id="a", metadata={"papermill": {"duration": 1}, "tags": []})
    kept = nbformat.v4.new_code_cell("y", id="b", metadata={"execution": {"t": "1"}, "tags": ["parameters"]})
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    info = {"name": "python", "version": "3.11.9"}
    made = nbformat.v4.new_notebook(
        cells=[cell, kept],
        metadata={"papermill": {}, "kernelspec": kernelspec, "language_info": info},
    )
    found = render.drop_volatile(made)
    assert found.metadata == {"kernelspec": kernelspec, "language_info": {"name": "python"}}
    assert [(c.source, c.metadata) for c in found.cells] == [("x", {}), ("y", {"tags": ["parameters"]})]


def small_notebook(folder: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell(text, id=f"c{i}") for i, text in enumerate(sources)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = folder / "01_small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def test_rendering_hides_the_readers_progress_and_stamps_the_notebook(tmp_path, monkeypatch, capsys):
    mine = tmp_path / "mine.json"
    monkeypatch.setenv("NANOKIMI_PROGRESS", str(mine))
    code = "import os, pathlib\np = pathlib.Path(os.environ['NANOKIMI_PROGRESS'])"
    write = "print(p.exists()); p.write_text('{}'); print(os.environ['NANOKIMI_PROFILE'])"
    path = small_notebook(tmp_path, code, write)
    assert render.main([str(path), str(path), "--profile", "smoke"]) == 0
    assert not mine.exists()
    assert os.environ["NANOKIMI_PROGRESS"] == str(mine)
    found = nbformat.read(path, as_version=4)
    # The second rendering does not see what the first one wrote.
    assert found.cells[1].outputs[0].text == "False\nsmoke\n"
    expected = hashlib.sha256(json.dumps([code, write]).encode()).hexdigest()
    assert found.metadata["nanokimi"] == {"rendered_from": expected}
    assert capsys.readouterr().out == "render: 01_small.ipynb (1 of 2)\nrender: 01_small.ipynb (2 of 2)\n"


def test_a_stamp_holds_for_the_code_in_its_order_and_not_for_the_text():
    one, two = nbformat.v4.new_code_cell("x = 1"), nbformat.v4.new_code_cell("y = 2")
    made = render.stamp(nbformat.v4.new_notebook(cells=[one, two]))
    assert render.is_fresh(made)
    made.cells.insert(1, nbformat.v4.new_markdown_cell("A word."))
    assert render.is_fresh(made)
    made.cells = [two, one]
    assert not render.is_fresh(made)
    made.cells = [one, nbformat.v4.new_code_cell("y = 3")]
    assert not render.is_fresh(made)
    assert not render.is_fresh(nbformat.v4.new_notebook(cells=[one]))


def test_rendering_names_the_notebook_that_fails_and_leaves_it_alone(tmp_path, capsys):
    path = small_notebook(tmp_path, "raise ValueError('no such thing')")
    before = path.read_bytes()
    assert render.main([str(path), "--profile", "smoke"]) == 1
    assert path.read_bytes() == before
    assert capsys.readouterr().err == "render: 01_small.ipynb: cell 1: ValueError: no such thing\n"


def test_rendering_does_not_undo_an_edit_that_was_made_meanwhile(tmp_path, monkeypatch):
    path = small_notebook(tmp_path, "x = 1")

    def run_and_edit(notebook, target, parameters, environ):
        target.write_bytes(notebook.read_bytes())
        small_notebook(tmp_path, "x = 2")

    monkeypatch.setattr(render, "run_notebook", run_and_edit)
    with pytest.raises(NotebookFailed, match="edited while it ran"):
        render.render(path, "smoke")
    assert nbformat.read(path, as_version=4).cells[0].source == "x = 2"


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
        (notebook(output(**{"image/svg+xml": "<svg/>"})), "without alternative text"),
        (notebook(output(**{"text/html": "<img src='data:,'>"})), "without alternative text"),
        (notebook({"cell_type": "markdown", "source": "![](a.png)"}), "without alternative text"),
        (
            notebook({"cell_type": "markdown", "source": 'See <img src="a" alt="">'}),
            "without alternative text",
        ),
        (notebook(output(**{"application/vnd.plotly.v1+json": {}})), "without a PNG"),
        (notebook(output(**{"text/html": "<script>1</script>"})), "a script"),
        (notebook({"source": 'open("' + "/ho" + 'me/me/text.txt")'}), "somebody's machine"),
        (notebook({"source": "x" * MAX_BYTES}), "bytes"),
        (notebook(widgets={}), "widget state"),
    ],
)
def test_a_fault_is_found(text, fault):
    (found,) = faults(text)
    assert fault in found


OPENING = "# 04 · Routing\n\nAt the end you will be able to route.\n\n**Takes** 5 minutes, running one. **Needs** 03."
SOURCES = {
    "derivation": "scores = [1, 2]",
    "exercise": "def topk_route(logits):\n    raise NotImplementedError",
    "check": "check(topk_route)",
    "handover": "from nanokimi.router import topk_route",
}


def course(name: str = "topk_route", **changes) -> str:
    """A notebook with one exercise. `changes` put other sources in its cells; None takes a cell out."""
    code = {f"{name}-{part}": text for part, text in (SOURCES | changes).items() if part in PARTS}
    cells = [nbformat.v4.new_markdown_cell(changes.get("opening", OPENING), id="title")]
    for identity, text in code.items():
        if text is not None:
            tag = changes.get("tag", identity.rpartition("-")[2])
            cells.append(nbformat.v4.new_code_cell(text, id=identity, metadata={"tags": [tag]}))
    cells += [
        nbformat.v4.new_code_cell(text, id=f"later{i}") for i, text in enumerate(changes.get("later", []))
    ]
    cells.append(nbformat.v4.new_markdown_cell(changes.get("recap", "## Recap\n\n- Done."), id="recap"))
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells))


def test_a_good_notebook_of_the_course_passes():
    assert list(course_faults(course())) == []


def test_a_method_is_handed_over_with_its_class_and_a_test_is_revealed():
    stub = "def clip_qk_(mla, max_logit, tau):\n    raise NotImplementedError"
    handover = "from nanokimi.mla import MultiHeadLatentAttention"
    assert list(course_faults(course("clip_qk_", exercise=stub, handover=handover))) == []
    stub = "def test_sound_clip(clip_qk_):\n    raise NotImplementedError"
    assert (
        list(course_faults(course("test_sound_clip", exercise=stub, handover='reveal("test_sound_clip")')))
        == []
    )
    (fault,) = course_faults(course("test_sound_clip", exercise=stub, handover='reveal("test_other")'))
    assert "does not import test_sound_clip" in fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (course(opening=OPENING.replace("# 04 ·", "#")), "NN · Title"),
        (
            course(opening=OPENING.replace("At the end you will be able to", "Here we")),
            "what one will be able to",
        ),
        (course(opening=OPENING.replace(", running one", "")), "after **Takes**"),
        (course(opening=OPENING.replace("**Takes** 5 minutes, running one.", "")), "after **Takes**"),
        (course(opening=OPENING.replace("**Needs** 03.", "")), "**Needs**"),
        (course(recap="## The end"), "no heading Recap"),
        (course(later=["x = 1"] * 2, recap="A Recap: see above"), "no heading Recap"),
        (course(handover=None), "no cell topk_route-handover"),
        (course(derivation=None), "no cell topk_route-derivation"),
        (course(exercise="def topk(logits): ..."), "does not define topk_route"),
        (course(handover="topk_route"), "does not import topk_route"),
        (course(handover="from lab_utils.router import topk_route"), "does not import topk_route"),
        (course(handover="from nanokimi.router import topk_route as route"), "does not import topk_route"),
        (course(tag="other"), "its tag derivation is missing"),
    ],
)
def test_a_fault_of_the_course_is_found(text, fault):
    (found,) = course_faults(text)
    assert fault in found


def test_cells_of_an_exercise_out_of_order_and_a_tag_without_its_id_are_found():
    mixed = nbformat.reads(course(), as_version=4)
    mixed.cells[2], mixed.cells[3] = mixed.cells[3], mixed.cells[2]
    (found,) = course_faults(nbformat.writes(mixed))
    assert "in the order" in found
    strange = nbformat.reads(course(later=["x = 1"]), as_version=4)
    strange.cells[5].metadata["tags"] = ["exercise"]
    (found,) = course_faults(nbformat.writes(strange))
    assert found == "cell later0: its tag is exercise, so its id must end in -exercise"


@pytest.mark.parametrize(
    "again",
    [
        "def topk_route(x): ...",
        "class topk_route: ...",
        "topk_route = None",
        "a, topk_route = 1, 2",
        "for topk_route in []: ...",
        "if (topk_route := 1): ...",
        "with open(x) as topk_route: ...",
        "def helper():\n    def topk_route(x): ...",
        "from colleague import topk_route",
        "from colleague import route as topk_route",
        "from nanokimi.router import expert_load as topk_route",
        "import colleague as topk_route",
        "%time pass\ntopk_route = 1",
    ],
)
@pytest.mark.parametrize("where", ["the same notebook", "a later one"])
def test_a_core_name_that_is_defined_again_is_found(again, where):
    first, later = ([again], []) if where == "the same notebook" else ([], [again])
    notebooks = [
        ("04.ipynb", json.loads(course(later=first))),
        ("05.ipynb", {"cells": json.loads(course("x", later=later))["cells"][-1 - len(later) :]}),
    ]
    (found,) = defined_again(notebooks)
    assert found.endswith("cell later0: it defines topk_route again after its handover")


@pytest.mark.parametrize(
    "harmless",
    [
        "from nanokimi.router import topk_route",
        "from nanokimi.router import topk_route as topk_route",
        "from nanokimi.router import topk_route as the_core",
        "topk_route(1, 2)",
        "class Mine:\n    def topk_route(self): ...",
        "def test(topk_route): topk_route(1)",
        "async for x in topk_route(1): ...",
        "!echo topk_route = 1",
    ],
)
def test_the_use_of_a_core_name_is_no_definition(harmless):
    assert list(defined_again([("04.ipynb", json.loads(course(later=[harmless])))])) == []


def test_a_definition_before_the_handover_is_the_exercise():
    before = json.loads(course())
    after = [("03.ipynb", before), ("04.ipynb", {"cells": before["cells"][:3]})]
    assert list(defined_again(after[:1])) == []
    assert len(list(defined_again(after))) == 1
