"""The curves of the panel's six pictures as plotly's plain data, for the live widget and for the picture at the end."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from lab_utils.live.data import Line, PanelData, collect_panel_data, find_dead_experts
from lab_utils.live.frame import ENTROPY, LOAD, LOGITS, LOSS, MAX_VIO, ROLES
from lab_utils.live.history import RunHistory
from lab_utils.live.layout import HEIGHT, make_layout, name_axis
from lab_utils.live.looks import look_of_arm, look_of_index
from lab_utils.show.style import SERIES

REPLAY_FRAMES = 30
# Purple: too few tokens, white: an even share, orange: too many. Colour-blind readers tell them apart.
LOAD_COLOURS = [[0.0, "#4a2d7f"], [0.25, "#b2abd2"], [0.5, "#f7f7f7"], [0.75, "#fdb863"], [1.0, "#b35806"]]


def make_traces(data: PanelData) -> list[dict[str, Any]]:
    """plotly's traces; the same names in the same order as long as no new line appears."""
    found = []
    for line in data.training:
        thin = look_of_arm(line.arm).line(width=1, dash="solid") | {"opacity": 0.55}
        found.append(_draw_line(line, LOSS, thin, f"{line.name}, training"))
    for line in data.validation:
        look = look_of_arm(line.arm).line_and_markers()
        found.append(_draw_line(line, LOSS, look, f"{line.name}, validation"))
    found += [_draw_line(x, ROLES, look_of_index(x.index).line_and_markers(), x.name) for x in data.roles]
    if data.load is not None:
        found += [_draw_load(data), _cross_dead(data)]
    for place, lines, what in ((MAX_VIO, data.max_vio, "MaxVio"), (ENTROPY, data.entropy, "entropy")):
        found += [_draw_line(x, place, look_of_index(x.index).line(), f"{what}, {x.name}") for x in lines]
    if data.logits:
        found.append(_draw_logits(data))
    return found


def make_closing_figure(histories: list[RunHistory], bits: float) -> dict[str, Any]:
    """The final state as plotly's JSON, with buttons for the x axis and a slider that replays the heat map."""
    by_axis = {axis: collect_panel_data(histories, bits, axis) for axis in ("tokens", "seconds")}
    data = by_axis["tokens"]
    drawn, placed = make_traces(data), make_layout(data)
    layouts = {axis: make_layout(other) for axis, other in by_axis.items()}
    # What is the same over tokens and over seconds is not kept again for each button.
    moves = [key for key in ("shapes", "annotations") if layouts["tokens"][key] != layouts["seconds"][key]]
    menu = []
    for axis, other in by_axis.items():
        there = layouts[axis]
        x_of = [trace.get("x") for trace in make_traces(other)]
        axes = {
            f"{name}.title.text": there[name]["title"]["text"]
            for name in (name_axis("x", place) for place in (LOSS, ROLES, MAX_VIO, ENTROPY))
        }
        change = {key: there[key] for key in moves} | axes
        menu.append({"label": axis, "method": "update", "args": [{"x": x_of}, change]})
    placed["updatemenus"] = [
        {"type": "buttons", "direction": "right", "buttons": menu, "x": 0.46, "xanchor": "right", "y": 1.0,
         "yanchor": "bottom", "pad": {"b": 28}, "font": {"size": 11}}
    ]  # fmt: skip
    placed["margin"]["t"] = 66
    figure = {"data": drawn, "layout": placed}
    router = next((h for h in reversed(histories) if h.last and h.load() is not None), None)
    if router is not None:
        frames = router.frames(REPLAY_FRAMES)
        cells = next(i for i, trace in enumerate(drawn) if trace["type"] == "heatmap")
        figure["frames"] = [
            {
                "name": str(step),
                "traces": [cells, cells + 1],
                "data": [
                    {"type": "heatmap", "z": load},
                    {"type": "scatter"} | _find_crosses(load, data.layers),
                ],
            }
            for step, load in frames
        ]
        placed["sliders"] = [_make_slider([str(step) for step, _ in frames])]
        placed["height"] = HEIGHT + 110
    return _pack(figure)


# ---------------------------------------------------------------- parts


def _draw_line(line: Line, place: int, look: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": name,
        "x": line.x,
        "y": line.y,
        "xaxis": f"x{place}",
        "yaxis": f"y{place}",
        **look,
    }


def _draw_load(data: PanelData) -> dict[str, Any]:
    return {
        "type": "heatmap",
        "name": "share",
        "z": data.load,
        "x": np.arange(data.load.shape[1]),
        "y": np.array(data.layers),
        "xaxis": f"x{LOAD}",
        "yaxis": f"y{LOAD}",
        "zmin": 0.0,
        "zmid": 1.0,
        "zmax": 2.0,
        "colorscale": LOAD_COLOURS,
        "showscale": False,
        "texttemplate": "%{z:.1f}" if data.load.shape[1] <= 16 else "",
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "layer %{y}, expert %{x}: %{z:.2f} of an even share<extra></extra>",
    }


def _cross_dead(data: PanelData) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": "dead",
        "mode": "markers",
        **_find_crosses(data.load, data.layers),
        "xaxis": f"x{LOAD}",
        "yaxis": f"y{LOAD}",
        "marker": {
            "symbol": "x-thin",
            "size": 16,
            "color": "#000000",
            "line": {"width": 3, "color": "#ffffff"},
        },
        "hovertemplate": "layer %{y}, expert %{x} is dead<extra></extra>",
    }


def _find_crosses(load: np.ndarray, layers: list[int]) -> dict[str, np.ndarray]:
    """The coordinates of the dead experts."""
    dead = find_dead_experts(load)
    return {
        "x": np.array([expert for _, expert in dead], dtype=float),
        "y": np.array([layers[row] for row, _ in dead], dtype=float),
    }


def _draw_logits(data: PanelData) -> dict[str, Any]:
    """A point per head in its layer's column, in order from the left."""
    heads = [(layer, head, len(row)) for layer, row in enumerate(data.logits) for head in range(len(row))]
    x = np.array([layer + 0.7 * (head + 0.5) / n - 0.35 for layer, head, n in heads])
    y = np.array([value for row in data.logits for value in row])
    text = [f"layer {layer}, head {head}" for layer, head, _ in heads]
    look = {"mode": "markers", "marker": {"size": 8, "color": SERIES[0]}, "text": text}
    return _draw_line(Line("logits", x, y), LOGITS, look, "largest logit")


def _make_slider(steps: list[str]) -> dict[str, Any]:
    at_once = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    return {
        "active": len(steps) - 1,
        "currentvalue": {"prefix": "Replay the share of tokens: step "},
        "len": 1.0,
        "pad": {"t": 48, "b": 4},
        "steps": [{"label": step, "method": "animate", "args": [[step], at_once]} for step in steps],
    }


def _pack(value: Any) -> Any:
    """The same with arrays packed for JSON, which is saved in a notebook."""
    if isinstance(value, dict):
        return {key: _pack(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(each) for each in value]
    if isinstance(value, np.ndarray):
        # plotly's own form for arrays: a list would take a line per number in the notebook's file.
        packed = base64.b64encode(value.astype("<f4").tobytes()).decode("ascii")
        shape = {"shape": ", ".join(map(str, value.shape))} if value.ndim > 1 else {}
        return {"dtype": "f4", "bdata": packed, **shape}
    return float(value) if isinstance(value, np.floating) else value
