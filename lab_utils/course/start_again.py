"""start_again("04"): a button that puts the exercises of a notebook back to their stubs; a copy of the work is kept."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from lab_utils.course.progress import COURSE, Chapter
from lab_utils.machine.front_end import is_live
from lab_utils.show.words import kind_of
from nanokimi.system.checked import fits_signature
from nanokimi.system.printable import quote

LABEL = "Put its exercises back"
SURE = "Really? Click again"
SAVE = "Save the notebook first (Ctrl+S): what is not saved is not kept. Your progress stays as it is."
WAIT = "One moment: the notebook is read ..."  # the first time takes seconds, and SAVE would still ask for a click


@dataclass(frozen=True)
class StartAgainByHand:
    """What is shown where there can be no button."""

    chapters: tuple[Chapter, ...]

    def __repr__(self) -> str:
        file = self.chapters[0].file if len(self.chapters) == 1 else "02_attention.ipynb"
        return f"To begin a notebook again: python -m lab_utils.course.stubs {file} (a copy is kept)"


@fits_signature
def start_again(number: str | int | None = None) -> Any:
    """A choice of notebook and a button that gives its exercise cells their stubs again, after a second click.

    `number` (4 or "04") leaves no choice. Without a front end: a line with the command that does the same. Raises a
    `ValueError` for a number of which there is no notebook with exercises.
    """
    figures = None if number is None else _two_figures(number)
    chapters = tuple(c for c in COURSE if c.exercises() and figures in (None, c.number))
    if not chapters:
        wrong = f"there is no notebook {quote(figures)} with exercises"
        if not figures:
            wrong = f"{kind_of(number)} is no notebook's number"
        known = ", ".join(c.number for c in COURSE if c.exercises())
        raise ValueError(f"{wrong}; known: {known}")
    if not is_live():
        return StartAgainByHand(chapters)
    # Only a live notebook needs widgets, and their import takes time.
    import ipywidgets

    from lab_utils.machine.widgets import as_lines, take_place

    by_label = {f"{c.number} · {c.title}": c for c in chapters}
    choice = ipywidgets.Dropdown(
        options=tuple(by_label),
        description="Notebook",
        layout={"width": "max-content", "max_width": "98%"},
    )
    button = ipywidgets.Button(description=LABEL, icon="undo", layout={"width": "max-content"})
    message = ipywidgets.HTML("")

    def ask_anew(_: Any) -> None:
        button.description, message.value = LABEL, ""

    def click(_: Any) -> None:
        if button.description == LABEL:
            button.description, message.value = SURE, as_lines(SAVE)
            return
        button.description, message.value = LABEL, as_lines(WAIT)
        message.value = as_lines(escape(_try(by_label[str(choice.value)])))

    choice.observe(ask_anew, "value")
    button.on_click(click)
    # On a narrow screen the button goes below the choice; in one row it would be cut off.
    row = ipywidgets.HBox([choice, button], layout={"flex_flow": "row wrap"})
    box = ipywidgets.VBox([row, message])
    take_place(box)
    return box


def _two_figures(number: Any) -> str:
    """The number as notebooks have it, or the text that it is; empty for anything else."""
    if isinstance(number, bool) or not isinstance(number, str | int):
        return ""
    return str(number).zfill(2) if str(number).isdigit() else str(number)


def _try(chapter: Chapter) -> str:
    # It reads notebooks, and the import of that takes seconds.
    from lab_utils.course.stubs import find_notebook, put_back_file

    try:
        return put_back_file(find_notebook(chapter.file, [e.name for e in chapter.exercises()]))
    except (ValueError, OSError) as error:
        return f"Nothing was changed: {error}"
