"""The frame of the panel's six pictures as the layout of one plotly figure."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lab_utils.live.data import PanelData
from lab_utils.live.frame import ENTROPY, LOAD, LOGITS, LOSS, MAX_VIO, PLACES, ROLES, Frame, describe_frame
from lab_utils.live.looks import LEVEL_COLOUR
from lab_utils.show.colours import INK, LINE, PAPER, QUIET

HEIGHT = 760
# Plotly draws with colours that it can compute with, so the theme's come over them, as rules: paper, letters, grid, and
# the curves that are black or dark grey. The words in the heat map stay as they are: plotly chooses them for its cells.
IN_THEME = f"""<style>
.nk-training .js-plotly-plot .main-svg, .nk-training .js-plotly-plot .bglayer .bg {{
  background: transparent !important; fill: transparent !important }}
.nk-training .js-plotly-plot :is([class$="tick"], .infolayer) text {{ fill: {INK} !important }}
.nk-training .js-plotly-plot .annotation .bg {{ fill: {PAPER} !important }}
.nk-training .js-plotly-plot .gridlayer path {{ stroke: {LINE} !important }}
.nk-training .js-plotly-plot [style*="stroke: rgb(0, 0, 0)"] {{ stroke: {INK} !important }}
.nk-training .js-plotly-plot [style*="stroke: rgb(68, 68, 68)"] {{ stroke: {QUIET} !important }}
.nk-training .js-plotly-plot .annotation [style*="fill: rgb(68, 68, 68)"],
.nk-training .js-plotly-plot .annotation [style*="fill: rgb(0, 0, 0)"] {{ fill: {INK} !important }}
</style>"""
AXIS = {"gridcolor": "#e6e9ef", "zeroline": False, "linecolor": "#9aa3b2", "ticks": "outside", "ticklen": 3}


def make_layout(data: PanelData) -> dict[str, Any]:
    """Axes with units, a title per picture that says what to see, legends, levels and marks of interventions."""
    return deepcopy(_make_layout(describe_frame(data)))


def name_axis(letter: str, place: int) -> str:
    """What a picture's axis is called in a layout: xaxis, xaxis2 ..."""
    return f"{letter}axis{place if place > 1 else ''}"


@lru_cache(maxsize=8)  # plotly takes a quarter of a second, and the frame is nearly always the one before
def _make_layout(frame: Frame) -> dict[str, Any]:
    titles = [f"<b>{escape(title)}</b>" for title in frame.titles]
    figure = make_subplots(3, 2, subplot_titles=titles, horizontal_spacing=0.085, vertical_spacing=0.13)
    for place, title in zip(PLACES, figure.layout.annotations):
        left = _axis(figure, "x", place).domain[0]
        title.update(x=left, xanchor="left", xshift=-50, yshift=4, font_size=13)
    figure.update_layout(
        template=None,
        height=HEIGHT,
        autosize=True,
        margin={"l": 62, "r": 10, "t": 30, "b": 46},
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"size": 12, "color": "#1d2433"},
        hovermode="closest",
        showlegend=False,
        uirevision=frame.axis,  # a reader's zoom survives the redrawing, until the axis changes
    )
    _set_axes(figure, frame)
    for place, height in frame.levels:
        look = {"color": LEVEL_COLOUR, "dash": "dot", "width": 1.5}
        figure.add_hline(height, line=look, **_cell(place))
    for place, names in frame.names:
        _add_legend(figure, place, names)
    for place, x, numbers, colour in frame.marks:
        _add_mark(figure, place, x, numbers, colour)
    # plotly leaves out an empty list; without one, a browser keeps the lines that it has.
    return {"shapes": []} | figure.layout.to_plotly_json()


def _axis(figure: go.Figure, letter: str, place: int) -> Any:
    return figure.layout[name_axis(letter, place)]


def _cell(place: int) -> dict[str, Any]:
    """Where a picture lies, for plotly's functions; by themselves they leave out a picture without curves."""
    return {"row": (place + 1) // 2, "col": 2 - place % 2, "exclude_empty_subplots": False}


def _set_axes(figure: go.Figure, frame: Frame) -> None:
    figure.update_xaxes(**AXIS)
    figure.update_yaxes(**AXIS)
    over = "tokens seen" if frame.axis == "tokens" else "seconds of training steps"
    titles = {
        LOSS: (over, "bits per byte"),
        ROLES: (over, "bits per byte"),
        LOAD: ("expert", "layer"),
        MAX_VIO: (over, "MaxVio"),
        LOGITS: ("layer", "logit (log scale)"),
        ENTROPY: (over, "nats"),
    }
    for place, words in titles.items():
        for letter, text in zip("xy", words):
            _axis(figure, letter, place).title = {"text": text, "standoff": 4}
    for place in (LOSS, ROLES, MAX_VIO, ENTROPY):
        _axis(figure, "x", place).update(rangemode="tozero", tickformat="~s")
    for place in (LOSS, ROLES, MAX_VIO):
        _axis(figure, "y", place).rangemode = "tozero"
    _axis(figure, "x", LOAD).update(dtick=1 if frame.n_experts <= 16 else 8, showgrid=False)
    _axis(figure, "y", LOAD).update(autorange="reversed", dtick=1, showgrid=False)
    _axis(figure, "y", LOGITS).update(type="log", dtick=1)
    if n := frame.n_layers:
        _axis(figure, "x", LOGITS).update(tickvals=list(range(n)), range=[-0.6, n - 0.4])


def _add_legend(figure: go.Figure, place: int, names: tuple[tuple[str, str, str], ...]) -> None:
    """One line of words, each with its curve's sign, inside a picture, where its curves leave room."""
    # The name is written in ink: many a curve's colour is too light for letters.
    words = (
        f'{escape(name)} <span style="color:{colour}"><b>{sign}</b></span>' for name, sign, colour in names
    )
    low = place in (LOGITS, ENTROPY)
    figure.add_annotation(
        text="&nbsp;&nbsp; ".join(words), xref="x domain", yref="y domain", showarrow=False,
        x=1, y=0 if low else 1, xanchor="right", yanchor="bottom" if low else "top",
        bgcolor="rgba(255,255,255,0.8)", font_size=11, **_cell(place),
    )  # fmt: skip


def _add_mark(figure: go.Figure, place: int, x: float, numbers: str, colour: str) -> None:
    # Across from the legend, which would cover it.
    side = "top right" if place == ENTROPY else "bottom right"
    figure.add_vline(
        x, line={"color": colour, "width": 1, "dash": "dash"}, annotation_position=side,
        annotation={"text": f"<b>{numbers}</b>", "font": {"size": 11}}, **_cell(place),
    )  # fmt: skip
