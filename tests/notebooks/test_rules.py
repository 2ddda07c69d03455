"""The rules find the faults of small made-up notebooks, and nothing else."""

import json

import nbformat
import pytest

from tests.notebooks.rules import (
    MAX_BYTES,
    PARTS,
    course_faults,
    defined_again,
    faults,
    minutes_faults,
    old_progress,
    read_opening,
    walls_of_text,
)


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
    """A notebook with one exercise. `changes` replace the sources of its cells; None removes a cell."""
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
        (course(later=['guess = predict("04-a", "?")'] * 2), "several questions are called guess"),
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


def timed(takes: str, *lines: str) -> str:
    """A notebook with one exercise, `topk_route`, and `lines` above it."""
    made = nbformat.reads(course(opening=f"# 04 · R\n\n**Takes** {takes}; running one."), as_version=4)
    made.cells[1:1] = [nbformat.v4.new_markdown_cell(line) for line in lines]
    return nbformat.writes(made)


FIVE = "*`topk_route` takes about 5 minutes.*"
TAKES = "7 minutes: 2 to read, 5 for the exercises"


def test_minutes_that_add_up_pass_and_so_does_a_notebook_without_exercises():
    assert list(minutes_faults(timed(TAKES, f"## Routing\n\n{FIVE}"))) == []
    assert list(minutes_faults(course(opening=OPENING, derivation=None, exercise=None))) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (timed("5 minutes: 5 to read, 0 for the exercises"), "exercise topk_route"),
        (timed("12 minutes: 2 to read, 10 for the exercises", FIVE, FIVE), "exercise topk_route"),
        (timed("7 minutes to read and work through", FIVE), "first cell does not say"),
        (
            timed("8 minutes: 2 to read, 6 for the exercises", FIVE),
            "6 minutes for the exercises, which say 5",
        ),
        (timed("8 minutes: 2 to read, 5 for the exercises", FIVE), "are not 8"),
    ],
)
def test_minutes_that_do_not_add_up_are_found(text, fault):
    assert any(fault in found for found in minutes_faults(text))


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


def test_a_wall_of_text_is_found():
    eight, nine = "\n".join(["word"] * 8), "\n".join(["word"] * 9)
    assert walls_of_text(f"{eight}\n\n{eight}\n- {eight}\n1. {eight}\n" + "| a | b |\n" * 9) == []
    assert walls_of_text(f"{eight}\n\n- {nine}") == [f"- {nine}"]


def test_an_opening_is_read_whatever_its_order_of_lines():
    text = "# 01 · T\nAt the end:\n\n- a\n- b\n\nMore.\n\n**Needs** a\nword. **Takes** 5 minutes."
    cells = [nbformat.v4.new_code_cell("x"), nbformat.v4.new_markdown_cell(text)]
    found = read_opening(nbformat.v4.new_notebook(cells=cells))
    assert found.title == "01 · T"
    assert found.aim == "At the end:\n\n- a\n- b"
    assert found.takes == "5 minutes."
