"""A sentence in the place of a picture that cannot be: what is wrong, instead of a traceback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True)
class Sentence:
    """What stands where there is no picture: why not."""

    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f'<p role="alert">{escape(self.text)}</p>'


def shown(draw: Callable[[], Any]) -> Any:
    """What `draw` gives, or the sentence of the `ValueError` that says why it cannot."""
    try:
        return draw()
    except ValueError as error:
        return Sentence(str(error))


def as_html(picture: Any) -> str:
    """A snapshot, a table, a report or a sentence as HTML."""
    return picture.html() if hasattr(picture, "html") else picture._repr_html_()
