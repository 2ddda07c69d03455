"""The frame of all the observatory's widgets: labelled controls, a line for sentences, a picture.

They are made only where a person can use them (`front_end.is_live`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as w

from lab_utils.machine.spoken import speak
from lab_utils.machine.widgets import take_place
from lab_utils.show.note import Sentence, as_html

WIDE = {"description_width": "initial"}


class Panel:
    """Controls above, HTML below. It is drawn at once, and again when a control changes or, with `button`, when that
    is pressed.

    `draw` returns HTML; a `ValueError` from it becomes a sentence under the controls, and the old picture disappears.
    """

    def __init__(self, controls: Sequence[w.Widget], draw: Callable[[], str], button: str = ""):
        self._draw = draw
        self.sentence, self.picture = w.HTML(), w.HTML()
        row = list(controls)
        if button:
            self.button = w.Button(description=button, tooltip=button, layout=w.Layout(width="max-content"))
            self.button.on_click(self.redraw)
            row.append(self.button)
        else:
            for control in controls:
                control.observe(self.redraw, "value")
        # JupyterLab's own style for tables and text, which HTML inside a widget does not get by itself.
        self.picture.add_class("jp-RenderedHTMLCommon")
        self.box = w.VBox(
            [
                w.HBox(row, layout=w.Layout(flex_flow="row wrap", grid_gap="4px 18px")),
                self.sentence,
                self.picture,
            ]
        )
        speak(self.box)
        take_place(self.box)
        self.redraw()

    def redraw(self, *_: Any) -> None:
        self.sentence.value = ""
        try:
            self.picture.value = self._draw()
        except ValueError as error:
            self.picture.value = ""
            self.sentence.value = as_html(Sentence(str(error)))

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.box._repr_mimebundle_(**options)


def prompt_field(prompt: str) -> w.Textarea:
    return w.Textarea(
        value=prompt,
        description="Prompt",
        continuous_update=False,
        rows=2,
        style=WIDE,
        layout=w.Layout(width="min(46em, 95%)"),
    )


def choice(label: str, options: Sequence[Any], value: Any) -> w.Dropdown:
    return w.Dropdown(
        options=list(options),
        value=value,
        description=label,
        style=WIDE,
        layout=w.Layout(width="max-content"),
    )
