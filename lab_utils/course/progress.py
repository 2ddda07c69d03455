"""The map of the course, and how far the reader has come on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab_utils.course.chapters import all_exercises
from lab_utils.course.exercise import Exercise
from lab_utils.course.logbook import Logbook
from lab_utils.machine.front_end import is_live
from lab_utils.show.table import Table, as_html
from lab_utils.show.words import kind_of, plural
from nanokimi.system.checked import fits_signature
from nanokimi.system.printable import quote


@dataclass(frozen=True)
class Chapter:
    """A notebook of the course, and what it is about in a few words."""

    file: str
    title: str
    about: str

    @property
    def number(self) -> str:
        return self.file[:2]

    def exercises(self) -> list[Exercise]:
        return [e for e in all_exercises().values() if e.notebook == self.number]


COURSE = (
    Chapter("00_start_here.ipynb", "Start here", "check the machine, see a model learn for a minute"),
    Chapter("01_text_and_tokens.ipynb", "Text and tokens", "a text with a known floor, cut into tokens"),
    Chapter("02_attention.ipynb", "Attention", "looking up by dot product, the mask, heads, RoPE, norms"),
    Chapter("03_swiglu_experts.ipynb", "SwiGLU experts", "gating, and a bank of small MLPs"),
    Chapter(
        "04_topk_routing.ipynb",
        "TopK routing and balance",
        "who gets which token, and how the load stays even",
    ),
    Chapter(
        "05_latent_attention.ipynb",
        "Latent attention",
        "a small cache: MLA, and blocks that latents summarise",
    ),
    Chapter(
        "06_full_model.ipynb",
        "The full model",
        "Kimi put together, checked against DeepseekV3, counted to K2",
    ),
    Chapter(
        "07_muon_and_muonclip.ipynb", "Muon and MuonClip", "orthogonal updates, and logits that stay bounded"
    ),
    Chapter("08_train_kimi_vs_gpt.ipynb", "Train Kimi against GPT", "a fair comparison, and what it shows"),
    Chapter("09_router_observatory.ipynb", "Router observatory", "what the experts do in a trained model"),
    Chapter("10_generate.ipynb", "Generate", "from logits to text, with a cache"),
    Chapter(
        "11_many_machines.ipynb",
        "Many machines",
        "gradients, weights and experts on several ranks, and who waits",
    ),
)


@dataclass(frozen=True)
class Row:
    """How far the reader is in one chapter. `read`: passed after the answer was shown; `left`: not passed yet."""

    chapter: Chapter
    solved: int
    total: int
    left: tuple[str, ...]
    hints: int
    read: int = 0
    begun: tuple[str, ...] = ()  # those of `left` that were tried


@dataclass(frozen=True)
class Progress:
    """How far the reader is: a row per chapter, and how many predictions were right."""

    rows: tuple[Row, ...]
    right: int
    guesses: int

    def __repr__(self) -> str:
        lines = [f"{row.chapter.number} {row.chapter.title:28s} {_describe(row)}" for row in self.rows]
        return "\n".join([*lines, self._count_predictions()])

    def _repr_html_(self) -> str:
        rows = [
            [f"{row.chapter.number} · {row.chapter.title}", _bar(row), _describe(row)] for row in self.rows
        ]
        heads = ["notebook", "progress", "exercises"]
        return as_html(Table.of(heads, rows, self._count_predictions(), words=(0, 1, 2)))

    def _count_predictions(self) -> str:
        return (
            f"Predictions: {self.right} of {self.guesses} right."
            if self.guesses
            else "No prediction made yet."
        )


def _describe(row: Row) -> str:
    """How far one chapter is, in words."""
    if not row.total:
        return "no exercises"
    text = f"{row.solved} of {row.total} solved"
    if row.read:
        text += f", {row.read} read"
    if row.hints:
        text += f", {plural(row.hints, 'hint')}"
    left = [f"{name} (begun)" if name in row.begun else name for name in row.left]
    return text + (f"; left: {', '.join(left)}" if row.begun or 0 < len(left) < row.total else "")


def _bar(row: Row) -> str:
    """Ten squares, filled as far as the chapter is solved; those of exercises that were read are half full."""
    if not row.total:
        return ""
    filled = round(10 * row.solved / row.total)
    passed = round(10 * (row.solved + row.read) / row.total)
    return "■" * filled + "▨" * (passed - filled) + "□" * (10 - passed)


@fits_signature
def progress(notebook: str | int | None = None) -> Progress:
    """How far the reader is in one notebook (2 or "02"), or in all that have exercises.

    Raises a `ValueError` where there is no such notebook.
    """
    number = None if notebook is None else _read_number(notebook)
    logbook, rows = Logbook.open(), []
    for chapter in COURSE:
        exercises = chapter.exercises()
        if number not in (None, chapter.number) or (number is None and not exercises):
            continue
        names = [each.name for each in exercises]
        solved, read = sum(map(logbook.solved, names)), sum(map(logbook.read, names))
        left = tuple(n for n in names if not logbook.solved(n) and not logbook.read(n))
        hints = sum(logbook.hints.get(name, 0) for name in names)
        rows.append(Row(chapter, solved, len(names), left, hints, read, tuple(filter(logbook.begun, left))))
    guesses = [right for name, right in logbook.predictions.items() if name.startswith(number or "")]
    return Progress(tuple(rows), sum(guesses), len(guesses))


def _read_number(notebook: Any) -> str:
    """The two figures of a notebook's number."""
    text = str(notebook) if isinstance(notebook, str | int) and not isinstance(notebook, bool) else ""
    number = text.zfill(2) if text.isascii() and text.isdigit() else ""
    if number in {chapter.number for chapter in COURSE}:
        return number
    known = all_exercises()
    if text in known:
        raise ValueError(
            f"{text} is an exercise: progress({known[text].notebook!r}) shows the notebook that it is in"
        )
    wrong = f"there is no notebook {quote(text)}" if text else f"{kind_of(notebook)} is no notebook's number"
    numbers = ", ".join(chapter.number for chapter in COURSE)
    raise ValueError(f"{wrong}; its number is one of {numbers}, as in progress(2)")


@fits_signature
def reset_button() -> Any:
    """A button that empties the logbook after a second click. Without a front end: a line that says how to do it."""
    if not is_live():
        return ResetByHand()
    import ipywidgets

    from lab_utils.machine.widgets import as_lines, take_place

    # Only a live notebook needs widgets, and their import takes time.
    button = ipywidgets.Button(
        description="Forget my progress", icon="trash", layout={"width": "max-content"}
    )
    message = ipywidgets.HTML("")  # a label would cut its words off on a narrow screen

    def click(_: Any) -> None:
        if button.description == "Forget my progress":
            button.description = "Really? Click again"
            message.value = as_lines("Solved exercises, hints and guesses are erased.")
            return
        Logbook.open().reset()
        button.description, message.value = "Forget my progress", as_lines("The logbook is empty.")

    button.on_click(click)
    # On a narrow screen the message goes below the button, and the button keeps its words.
    box = ipywidgets.HBox([button, message], layout={"flex_flow": "row wrap"})
    take_place(box)
    return box


@dataclass(frozen=True)
class ResetByHand:
    """What is shown where there can be no button."""

    def __repr__(self) -> str:
        return "To forget all progress: from lab_utils.course.logbook import Logbook; Logbook.open().reset()"
