"""The rules for notebooks, as functions that find their faults: readable on GitHub, small, built as the course is."""

import ast
import importlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

MAX_BYTES = 300_000
PARTS = ("derivation", "exercise", "check", "handover")
LAST_CELLS = 8


def source(cell: dict) -> str:
    return "".join(cell["source"])


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def parsed(cell: dict) -> ast.Module:
    """The code of a cell as a syntax tree; IPython's magics become calls."""
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


def walls_of_text(text: str) -> list[str]:
    """Pieces of more than eight lines. A blank line, a list item and a table row begin a new piece."""
    pieces = re.split(r"\n\s*\n|\n(?=\s*(?:[-*|]|\d+\.)\s)", text)
    return [piece for piece in pieces if piece.count("\n") >= 8]


# ---------------------------------------------------------------- a notebook of the course


class Opening(NamedTuple):
    """What the first cell of a notebook says about the notebook, as markdown."""

    title: str
    aim: str  # what the reader will be able to do
    takes: str
    needs: str


def read_opening(notebook: NotebookNode) -> Opening:
    """The title, the first paragraph, and the text after **Takes** and after **Needs**; empty where it is missing."""
    cell = next((cell for cell in notebook.cells if cell.cell_type == "markdown"), None)
    blocks = re.split(r"\n\s*\n", cell.source.strip()) if cell else [""]
    title, _, rest = blocks[0].partition("\n")
    blocks = [block for block in (rest, *blocks[1:]) if block.strip()]
    cost = " ".join(" ".join(block.split()) for block in blocks if re.search(r"\*\*(Takes|Needs)\*\*", block))
    found = {
        key: text.strip()
        for key, text in re.findall(r"\*\*(Takes|Needs)\*\*(.*?)(?=\*\*(?:Takes|Needs)\*\*|$)", cost)
    }
    aims = [block for block in blocks if not re.search(r"\*\*(Takes|Needs)\*\*", block)]
    aim = "\n\n".join(aims[: 2 if aims and aims[0].rstrip().endswith(":") else 1])
    heading = re.fullmatch(r"#\s+(.+?)\s*", title)
    return Opening(heading[1] if heading else "", aim, found.get("Takes", ""), found.get("Needs", ""))


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
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    asked = re.findall(r"^(\w+) = predict\(", code, re.M)
    for name in sorted({name for name in asked if asked.count(name) > 1}):
        # Whoever has run all cells, guesses, and runs a score again would be told of the last question.
        yield f"several questions are called {name}"
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


def minutes_faults(text: str) -> Iterator[str]:
    """What is wrong with a notebook's minutes: each exercise says its own, and the first cell says their sum.

    "*`attend` takes about 15 minutes.*" stands above the cell of the exercise, after the exercise before.
    """
    notebook = nbformat.reads(text, as_version=4)
    told: dict[str, list[int]] = {}
    above = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            above += cell.source + "\n"
        elif cell["id"].endswith("-exercise"):
            name = cell["id"].removesuffix("-exercise")
            told[name] = [int(n) for n in re.findall(rf"\*`{name}` takes about (\d+) minutes\.\*", above)]
            above = ""
    for name, minutes in told.items():
        if len(minutes) != 1:
            yield f"exercise {name}: the text above it must say once '*`{name}` takes about N minutes.*'"
    if told:
        takes = read_opening(notebook).takes
        sums = re.match(r"(\d+) minutes: (\d+) to read, (\d+) for the exercises", takes)
        work = sum(sum(minutes) for minutes in told.values())
        if sums is None:
            yield "its first cell does not say '**Takes** N minutes: N to read, N for the exercises'"
        elif int(sums[3]) != work:
            yield f"its first cell says {sums[3]} minutes for the exercises, which say {work}"
        elif int(sums[1]) != int(sums[2]) + work:
            yield f"{sums[2]} minutes to read and {work} for the exercises are not {sums[1]}"


def hands_over(code: ast.Module, name: str) -> bool:
    """Whether the code imports `name`, or the class whose method it is, from nanokimi.

    A test for somebody's code is not in the core. Its handover calls `reveal` with its name instead.
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
    """Names that the code defines by def, class, assignment or import, but no methods and no parameters of functions.

    A name that is imported from nanokimi under its own name is not among them: it keeps its meaning.
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


# ---------------------------------------------------------------- all of them, in order


def defined_again(notebooks: Sequence[tuple[str, dict]]) -> Iterator[str]:
    """Cells that define a name of the core again after its handover, in the same notebook or a later one."""
    handed_over: set[str] = set()
    for file, notebook in notebooks:
        for cell in notebook["cells"]:
            if cell["cell_type"] != "code":
                continue
            for name in sorted(handed_over & bound_names(parsed(cell))):
                yield f"{file}, cell {cell['id']}: it defines {name} again after its handover"
            if "handover" in tags(cell):
                handed_over.add(cell["id"].removesuffix("-handover"))


def old_progress(notebooks: Sequence[tuple[str, dict]]) -> Iterator[str]:
    """Committed tables of progress whose counts are not those of the notebooks' exercises now.

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
