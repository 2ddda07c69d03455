"""The clinic for a person: a slider through the steps, the loads and alarms there, and the experts of one token."""

from __future__ import annotations

from typing import Any

from lab_utils.observatory import pictures
from lab_utils.observatory.clinic import ClinicTrace
from lab_utils.observatory.token_strip import make_visible
from lab_utils.show.note import Sentence, as_html
from lab_utils.show.table import Table


def make_clinic_widget(panel: Any, trace: ClinicTrace) -> Any:
    """Eight routers at the step and with the token that the reader chooses; `panel` is the module of widgets."""
    step = panel.w.SelectionSlider(
        options=trace.steps,
        value=trace.steps[-1],
        description="Step",
        continuous_update=False,
        style=panel.WIDE,
        layout=panel.w.Layout(width="min(40em, 95%)"),
    )
    token = panel.w.ToggleButtons(
        options=[(f"{i}: {make_visible(text)}", i) for i, text in enumerate(trace.probe)],
        description="Token",
        style={"button_width": "max-content"},
    )

    def draw() -> str:
        at = trace.steps.index(step.value)
        parts = (pictures.moment_picture(trace, at), list_experts_of_token(trace, at, token.value))
        alarms = Sentence(pictures.write_alarms(trace, at))
        return "".join(map(as_html, (parts[0], alarms, parts[1])))

    return panel.Panel([step, token], draw)


def list_experts_of_token(trace: ClinicTrace, at: int, token: int) -> Table:
    """Where each of the eight routers sends one token of the probe text at one moment."""
    if not 0 <= token < len(trace.probe):
        raise ValueError(
            f"token {token} does not exist: the probe text has tokens 0 to {len(trace.probe) - 1}"
        )
    step = trace.courses[0].frames[at].step
    rows = [[course.name, " ".join(map(str, course.frames[at].probe[token]))] for course in trace.courses]
    return Table.of(["router", f"experts of\n{make_visible(trace.probe[token])}"], rows, f"after step {step}")
