"""Predict before you run: make a guess, run the cell, see whether it was right. A guess is never required.

    guess = predict("scale", "Without 1/sqrt(d), does the largest weight grow?", choices=("grows", "shrinks"))
    ...                       # the cell that measures it
    guess.score("grows")      # or, for a number: guess.score(0.83, tolerance=0.1)

In a live notebook the question has buttons or a number field. Elsewhere, and under Run All, it is text, and the score
says what the answer was. `guess=` makes a guess in code.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from IPython.display import display

from lab_utils.course.logbook import Logbook
from lab_utils.machine.front_end import is_live
from lab_utils.show.colours import BLUE, GREEN, VERMILION
from lab_utils.show.note import Note, with_code
from nanokimi.system.checked import checked
from nanokimi.system.printable import quote

YOURS = "Your guess"


class Prediction:
    """A question, and the reader's guess where there is one."""

    def __init__(
        self, name: str, choices: Sequence[str] | None, guess: str | float | None, field: Any = None
    ):
        self.name, self.choices, self._guess, self._field = name, choices, guess, field

    @property
    def guess(self) -> str | float | None:
        """The reader's guess: the one given in code, or else what the buttons or the field say now."""
        return self._guess if self._field is None else self._field.value

    def score(self, answer: str | float, tolerance: float = 0.1) -> Note:
        """A note that says whether the guess was right. A choice must be the same; a number may differ by a share of
        `tolerance`, 0 or more. Raises a `ValueError` for an answer that is none of the choices or no number."""
        if (share := _as_number("tolerance", tolerance)) < 0:
            raise ValueError(f"tolerance={quote(tolerance)} must be 0 or more, such as tolerance=0.1")
        if self.choices is None:
            return self._score_number(_as_number("answer", answer), share)
        if answer not in self.choices:
            raise ValueError(f"answer={quote(answer)} is none of the choices: {', '.join(self.choices)}")
        return self._note(self.guess == answer, str(answer))

    def _score_number(self, answer: float, tolerance: float) -> Note:
        guess = self.guess
        right = isinstance(guess, float) and abs(guess - answer) <= tolerance * abs(answer)
        return self._note(right, f"{answer:.4g}", f" (within {tolerance:.0%} counts)")

    def _note(self, right: bool, measured: str, near: str = "") -> Note:
        if self.guess is None:
            refused = self._field.refusal if isinstance(self._field, _NumberField) else ""
            none = f"{refused} The" if refused else "You made no guess; the"
            return Note(f"Measured: {measured}. {none} next question is a new chance.", BLUE)
        Logbook.open().note_prediction(self.name, right)
        guess = self.guess if isinstance(self.guess, str) else f"{self.guess:.4g}"
        begin = "Your guess was right" if right else "Not what you guessed"
        text = f"{begin}: you said {guess}, measured was {measured}{near}."
        return Note(text, GREEN if right else VERMILION)


@checked
def predict(
    name: str,
    question: str,
    *,
    choices: Sequence[str] | None = None,
    guess: str | float | None = None,
) -> Prediction:
    """Show a question; the returned object holds the guess and scores it. Without `choices` the guess is a number."""
    if choices is not None and not choices:
        raise ValueError(
            f'choices={quote(choices)} must hold what can be chosen, such as choices=("yes", "no")'
        )
    if guess is not None and choices is not None and guess not in choices:
        raise ValueError(f"guess={quote(guess)} is none of the choices: {', '.join(choices)}")
    if choices is None and guess is not None:
        guess = _as_number("guess", guess)
    if guess is None and is_live():
        field = _field(question, choices)
        return Prediction(name, choices, None, field)
    text = f"Before you run on: {question}"
    if choices is not None:
        text += "\nChoices: " + " · ".join(choices)
    display(Note(text, BLUE))
    return Prediction(name, choices, guess)


def _as_number(name: str, value: Any) -> float:
    """A finite number, whatever holds it. Raises a `ValueError`."""
    with contextlib.suppress(TypeError, ValueError, RuntimeError, OverflowError):
        if not isinstance(value, str) and math.isfinite(number := float(value)):
            return number
    raise ValueError(f"{name}={quote(value)} must be a number, such as {name}=3")


def _field(question: str, choices: Sequence[str] | None) -> Any:
    """Shows the question with buttons or a number field, empty until the reader touches them; returns the field."""
    import ipywidgets

    from lab_utils.machine.widgets import as_lines, take_place

    # Only a live notebook needs widgets, and their import takes time.
    label = ipywidgets.HTML(as_lines(f"<b>Before you run on:</b> {with_code(question)}"))
    if choices is not None:
        field = ipywidgets.RadioButtons(
            options=list(choices), value=None, description=YOURS, layout={"width": "max-content"}
        )
        box = ipywidgets.VBox([label, field])
    else:
        typed = ipywidgets.Text(
            placeholder="a number", description=YOURS, continuous_update=False, layout={"width": "18em"}
        )
        field, message = _NumberField(typed), ipywidgets.HTML()
        box = ipywidgets.VBox([label, typed, message])

        def refuse(_: Any) -> None:
            message.value = as_lines(f'<span role="alert">{escape(field.refusal)}</span>')

        typed.observe(refuse, "value")
    take_place(box)
    display(box)
    return field


@dataclass(frozen=True)
class _NumberField:
    """A text field that is read as a number, "30 %" as 30; text that is no number is no guess."""

    widget: Any

    @property
    def typed(self) -> str:
        return self.widget.value.strip()

    @property
    def refusal(self) -> str:
        """Why what was typed is no guess; empty where it is one, and where nothing was typed."""
        if not self.typed or self.value is not None:
            return ""
        return f"{quote(self.typed)} is no number, so it is no guess: write figures, such as 6 or 0.25."

    @property
    def value(self) -> float | None:
        try:
            value = float(self.typed.removesuffix("percent").removesuffix("%").replace(",", "."))
        except ValueError:
            return None
        return value if math.isfinite(value) else None
