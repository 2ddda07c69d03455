"""Sentences in a notebook: in place of a picture that cannot be drawn, in a line under a cell, in a coloured frame."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from IPython.display import DisplayHandle

from lab_utils.show.colours import ON_PAPER
from nanokimi.record import StepRecord


def with_code(text: str) -> str:
    """A text as HTML, in which what stands between backticks is code."""
    return re.sub("`([^`\n]+)`", r"<code>\1</code>", escape(text))


@dataclass(frozen=True)
class Sentence:
    """Why there is no picture, in its place."""

    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f'<p role="alert">{with_code(self.text)}</p>'


def draw_or_explain(draw: Callable[[], Any]) -> Any:
    """What `draw` gives, or the sentence of its `ValueError`."""
    try:
        return draw()
    except ValueError as error:
        return Sentence(str(error))


def as_html(picture: Any) -> str:
    """A snapshot, a table, a report or a sentence as HTML."""
    return picture.html() if hasattr(picture, "html") else picture._repr_html_()


class StatusLine:
    """One line under a cell that is written again and again; its last text stays in the notebook."""

    def __init__(self) -> None:
        self._handle: DisplayHandle | None = None

    def show(self, text: str) -> None:
        data = {"text/plain": text}
        if self._handle is None:
            self._handle = DisplayHandle()
            self._handle.display(data, raw=True)
        else:
            self._handle.update(data, raw=True)


def write_time_left(seconds: float) -> str:
    """The end of a line about work under way: `, about 12 s left`; empty for less than a second."""
    return f", about {seconds:.0f} s left" if seconds >= 1 else ""


def write_step(record: StepRecord) -> str:
    """Where a training is: `step 120 of 250, loss 3.21, about 12 s left`."""
    left = record.seconds / record.step * (record.n_steps - record.step)
    return f"step {record.step:,} of {record.n_steps:,}, loss {record.loss:.2f}{write_time_left(left)}"


BAR = f"padding:.4em .9em;max-width:60em;{ON_PAPER}"


@dataclass(frozen=True)
class Note:
    """A sentence in a coloured frame."""

    text: str
    colour: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        lines = "<br>".join(with_code(line) for line in self.text.splitlines())
        return f'<div style="border-left:6px solid {self.colour};{BAR}">{lines}</div>'
