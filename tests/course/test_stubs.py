"""Stubs put back: exactly the committed cells, nothing else, and never without a copy of the work."""

import json
import shutil
from datetime import date
from pathlib import Path

import nbformat
import pytest

from lab_utils.course import stubs as module
from lab_utils.course.chapters import all_exercises
from lab_utils.course.grading.names import stubs
from lab_utils.course.start_again import SURE, start_again
from lab_utils.course.stubs import collect, defines, main, put_back_file

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FOUR = "04_topk_routing.ipynb"
WORK = "def topk_route(logits, expert_bias, cfg):\n    return my_work"


def read(path: Path) -> dict:
    """A notebook as plain JSON: its cells by id."""
    return {cell["id"]: cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]}


@pytest.fixture
def four(tmp_path) -> Path:
    """Notebook 04 as it is committed."""
    return Path(shutil.copy(NOTEBOOKS / FOUR, tmp_path))


def edit(path: Path, change) -> None:
    notebook = nbformat.read(path, as_version=4)
    change(notebook, {cell.id: cell for cell in notebook.cells})
    nbformat.write(notebook, path)


def solve(notebook, cells) -> None:
    cells["topk_route-exercise"].source = WORK
    cells["topk_route-check"].outputs = [nbformat.v4.new_output("stream", text="of my answer")]


def copies(path: Path) -> list[str]:
    return sorted(each.name for each in (path.parent / "before").glob("*"))


def test_the_stubs_are_those_of_the_committed_notebooks():
    assert stubs() == collect(NOTEBOOKS), "run python -m lab_utils.course.stubs --collect notebooks"
    assert list(stubs()) == list(collect(NOTEBOOKS))
    assert set(stubs()) == set(all_exercises())


@pytest.mark.parametrize("name", sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
def test_a_solved_notebook_gets_its_committed_cells_back(name, tmp_path):
    """All but the outputs of exercises and checks is byte for byte what was committed."""
    path = Path(shutil.copy(NOTEBOOKS / name, tmp_path))
    exercises = [cell["id"] for cell in read(path).values() if cell["id"].endswith("-exercise")]
    if not exercises:
        with pytest.raises(ValueError, match="no exercise"):
            put_back_file(path)
        return

    def solve_all(notebook, cells) -> None:
        for identity in exercises:
            cells[identity].source = f"{identity.removesuffix('-exercise')} = print"

    edit(path, solve_all)
    put_back_file(path)
    now, committed = path.read_text(encoding="utf-8"), (NOTEBOOKS / name).read_text(encoding="utf-8")
    emptied = json.loads(committed)
    for cell in emptied["cells"]:
        if cell["id"] in exercises or cell["id"].endswith("-check"):
            cell["outputs"], cell["execution_count"] = [], None
    assert now == json.dumps(emptied, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def test_the_work_is_kept_and_an_earlier_copy_is_not_overwritten(four):
    for number, more in enumerate(["", "-2", "-3"]):
        edit(four, solve)
        before = four.read_bytes()
        says = put_back_file(four)
        kept = four.parent / "before" / f"04_topk_routing-{date.today()}{more}.ipynb"
        assert kept.read_bytes() == before and len(copies(four)) == number + 1
        assert says.startswith(f"stubs again: topk_route. Your work is kept in before/{kept.name}.")
        assert "Reload Notebook from Disk" in says


def test_stubs_leave_the_file_alone(four):
    before = four.read_bytes()
    assert "11 exercises of it: all stubs already" in put_back_file(four)
    assert four.read_bytes() == before and copies(four) == []


def test_a_cell_is_found_whatever_happened_to_its_id(four):
    """Its id lost; the cell deleted; cell and check deleted, the handover left; all of it deleted."""
    gone = {
        *("expert_load-exercise", "max_violation-exercise", "max_violation-check"),
        *(f"dispatch-{part}" for part in ("derivation", "exercise", "check", "handover")),
    }

    def damage(notebook, cells) -> None:
        cells["topk_route-exercise"].source = WORK
        cells["topk_route-exercise"].id = "new"
        notebook.cells = [cell for cell in notebook.cells if cell.id not in gone]

    edit(four, damage)
    assert put_back_file(four).startswith("stubs again: topk_route, expert_load, max_violation.")
    made_again = {"expert_load-exercise", "max_violation-exercise"}
    cells = list(read(four).values())
    assert [cell["id"] for cell in cells] == [i for i in read(NOTEBOOKS / FOUR) if i not in gone - made_again]
    for cell in cells:
        if cell["id"].endswith("-exercise"):
            assert "".join(cell["source"]) == stubs()[cell["id"].removesuffix("-exercise")]
            assert cell["metadata"]["tags"] == ["exercise"]


def test_work_in_the_cell_of_another_part_is_left_alone(four):
    """The exercise's cell is gone, and the derivation holds the work: it stays, and a stub comes above the check."""

    def damage(notebook, cells) -> None:
        cells["topk_route-derivation"].source = WORK
        notebook.cells = [cell for cell in notebook.cells if cell.id != "topk_route-exercise"]

    edit(four, damage)
    assert put_back_file(four).endswith("; left alone: another cell that defines topk_route")
    cells = read(four)
    assert list(cells) == list(read(NOTEBOOKS / FOUR))
    assert "".join(cells["topk_route-derivation"]["source"]) == WORK


@pytest.mark.parametrize("kind", ["markdown", "raw"])
def test_work_that_was_turned_into_text_is_left_alone_and_the_stub_gets_its_id(four, kind, recwarn):
    def damage(notebook, cells) -> None:
        place = notebook.cells.index(cells["topk_route-exercise"])
        text = nbformat.v4.new_markdown_cell(WORK, id="topk_route-exercise")
        notebook.cells[place] = text if kind == "markdown" else nbformat.v4.new_raw_cell(WORK, id=text.id)

    edit(four, damage)
    assert put_back_file(four).startswith("stubs again: topk_route.") and not list(recwarn)
    made = nbformat.read(four, as_version=4).cells
    assert [cell.source for cell in made if cell.id == "topk_route-exercise"] == [stubs()["topk_route"]]
    assert [cell.cell_type for cell in made if cell.source == WORK] == [kind]


def test_half_of_a_letter_is_told_before_anything_is_written(four):
    edit(four, solve)
    before = four.read_bytes().replace(b"# 04", rb"# \ud83d 04", 1)
    four.write_bytes(before)
    with pytest.raises(ValueError, match="half of a letter"):
        put_back_file(four)
    assert four.read_bytes() == before and copies(four) == []


def test_what_can_not_be_put_back_is_told(four):
    def damage(notebook, cells) -> None:
        solve(notebook, cells)
        notebook.cells = [cell for cell in notebook.cells if "expert_load-" not in cell.id] + [
            nbformat.v4.new_code_cell(WORK, id="mine"),
            nbformat.v4.new_markdown_cell("# left", id="expert_load-derivation"),
        ]

    edit(four, damage)
    says = put_back_file(four)
    assert says.endswith(
        "; no cell and no check left of expert_load; left alone: another cell that defines topk_route"
    )
    assert read(four)["mine"]["source"] == WORK.splitlines(keepends=True)


def test_a_notebook_without_ids_is_put_back(four):
    """Old front ends write format 4.4, which has none."""
    notebook = json.loads(four.read_text(encoding="utf-8"))
    notebook["nbformat_minor"] = 4
    for cell in notebook["cells"]:
        if cell.pop("id") == "topk_route-exercise":
            cell["source"] = [WORK]
    four.write_text(json.dumps(notebook))
    assert put_back_file(four).startswith("stubs again: topk_route.")
    assert read(four)["topk_route-exercise"]["source"] == stubs()["topk_route"].splitlines(keepends=True)


@pytest.mark.parametrize(
    ("source", "does"),
    [
        ("def attend(q):", True),
        ("x = 1\nasync  def attend(q): ...", True),
        ("class attend:", True),
        ("attend = lambda q: q", True),
        ("attend: Callable = print", True),
        ("attend == 3", False),
        ("def attend_to(q): ...", False),
        ("    attend = 3", False),
        ("from nanokimi.attention import attend", False),
    ],
)
def test_what_defines_a_name(source, does):
    assert defines(nbformat.v4.new_code_cell(source), "attend") is does
    assert not defines(nbformat.v4.new_markdown_cell(source), "attend")


def test_a_file_that_is_saved_meanwhile_is_left_alone(four, monkeypatch):
    """Between the reading and the writing the front end saves: neither version is lost."""
    edit(four, solve)
    keep = module._keep

    def keep_while_somebody_saves(path, content):
        four.write_text("saved meanwhile")
        return keep(path, content)

    monkeypatch.setattr(module, "_keep", keep_while_somebody_saves)
    with pytest.raises(ValueError, match="saved meanwhile"):
        put_back_file(four)
    assert four.read_text() == "saved meanwhile"


def test_the_command_costs_a_bad_file_its_own_line(four, tmp_path, capsys):
    edit(four, solve)
    bad = tmp_path / "bad.ipynb"
    bad.write_text("{")
    assert main([str(bad), str(tmp_path / "gone.ipynb"), str(four)]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("stubs: 04_topk_routing.ipynb: stubs again: topk_route.")
    assert [line.partition(": ")[2] for line in err.splitlines()] == [
        f"{bad}: file {bad} is not a notebook",
        f"{tmp_path / 'gone.ipynb'}: notebook {tmp_path / 'gone.ipynb'} does not exist",
    ]
    assert main([str(four)]) == 0
    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == 2


# ---------------------------------------------------------------- the button


@pytest.fixture
def live(monkeypatch, four):
    monkeypatch.setenv("NANOKIMI_LIVE", "1")
    monkeypatch.chdir(four.parent)
    return four


def test_the_button_asks_twice_and_says_what_it_did(live):
    edit(live, solve)
    row, message = start_again("04").children
    choice, button = row.children
    assert choice.options == ("04 · TopK routing and balance",)
    button.click()
    assert button.description == SURE and "Save the notebook first" in message.value
    assert copies(live) == []
    button.click()
    assert ">stubs again: topk_route." in message.value and len(copies(live)) == 1


def test_another_choice_asks_anew_and_a_missing_file_is_a_sentence(live):
    row, message = start_again().children
    choice, button = row.children
    assert len(choice.options) == 9
    button.click()
    choice.index = 1
    assert button.description != SURE and message.value == ""
    button.click()
    button.click()
    assert ">Nothing was changed: there is no 02_attention.ipynb in " in message.value


def test_the_open_notebook_is_taken_whatever_its_name(live, monkeypatch):
    edit(live, solve)
    mine = live.rename(live.with_name("mine <b>.ipynb"))
    shutil.copy(NOTEBOOKS / FOUR, live)
    monkeypatch.setenv("JPY_SESSION_NAME", str(mine))
    row, message = start_again("04").children
    row.children[1].click()
    row.children[1].click()
    assert copies(live) == [f"mine <b>-{date.today()}.ipynb"]
    assert "mine &lt;b&gt;" in message.value


def test_without_a_front_end_the_command_is_told():
    assert "python -m lab_utils.course.stubs 04_topk_routing.ipynb" in repr(start_again("04"))
    assert "python -m lab_utils.course.stubs 02_attention.ipynb" in repr(start_again())
    with pytest.raises(ValueError, match="no notebook '08' with exercises; known: 01, 02"):
        start_again("08")
