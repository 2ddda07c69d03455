"""The panel's six pictures as plotly's plain data: the same for the live widget and for what stays behind."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from lab_utils.live.data import Line, PanelData, dead_experts, panel_data
from lab_utils.live.history import RunHistory
from lab_utils.live.layout import ENTROPY, HEIGHT, LOAD, LOGITS, LOSS, MAX_VIO, ROLES, axis_number, layout
from lab_utils.show.style import DASHES, OTHER_STYLE, SERIES, STYLES

REPLAY_FRAMES = 30
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross")
_DASH = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
_SYMBOL = {
    "s": "square",
    "D": "diamond",
    "^": "triangle-up",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "o": "circle",
    "*": "star",
}
# Purple: too few tokens, white: an even share, orange: too many. Told apart by colour-blind readers.
LOAD_COLOURS = [[0.0, "#4a2d7f"], [0.25, "#b2abd2"], [0.5, "#f7f7f7"], [0.75, "#fdb863"], [1.0, "#b35806"]]


def traces(data: PanelData) -> list[dict[str, Any]]:
    """What is drawn; the same names in the same order as long as nothing new appears."""
    found = [
        _curve(line, LOSS, _arm_look(line.arm, width=1, faint=True), f"{line.name}, training")
        for line in data.training
    ]
    for line in data.validation:
        found.append(_curve(line, LOSS, _arm_look(line.arm, markers=True), f"{line.name}, validation"))
    if data.floor is not None:
        found.append(_level(data.floor, LOSS, data.training, f"floor {data.floor:.3f}"))
    found += [_curve(line, ROLES, _look(line.index, markers=True), line.name) for line in data.roles]
    if data.load is not None:
        found += [_heat_map(data), _dead(data)]
    found += [_curve(line, MAX_VIO, _look(line.index), f"MaxVio, {line.name}") for line in data.max_vio]
    found += [_curve(line, ENTROPY, _look(line.index), f"entropy, {line.name}") for line in data.entropy]
    if data.even_entropy is not None:
        found.append(_level(data.even_entropy, ENTROPY, data.entropy, "even: ln E"))
    found += _logits(data)
    return found


def closing_figure(histories: list[RunHistory], bits: float) -> dict[str, Any]:
    """The final state as JSON, with buttons for the axis and a slider that replays the heat map."""
    by_axis = {axis: panel_data(histories, bits, axis) for axis in ("tokens", "seconds")}
    data = by_axis["tokens"]
    drawn, placed = traces(data), layout(data)
    menu = []
    for axis, other in by_axis.items():
        shown = traces(other)
        x_of = [trace.get("x") for trace in shown]
        axes = {
            f"xaxis{axis_number(i)}.title.text": layout(other)[f"xaxis{axis_number(i)}"]["title"]["text"]
            for i in (LOSS, ROLES, MAX_VIO, ENTROPY)
        }
        change = {"shapes": layout(other)["shapes"], "annotations": layout(other)["annotations"], **axes}
        menu.append({"label": axis, "method": "update", "args": [{"x": x_of}, change]})
    placed["updatemenus"] = [
        {"type": "buttons", "direction": "right", "buttons": menu, "x": 0.49, "xanchor": "right", "y": 1.0,
         "yanchor": "bottom", "pad": {"b": 2}, "font": {"size": 11}}
    ]  # fmt: skip
    placed["margin"] = {"l": 8, "r": 8, "t": 40, "b": 8}
    figure = {"data": drawn, "layout": placed}
    router = next((h for h in reversed(histories) if h.last and h.load() is not None), None)
    if router is not None:
        frames = router.frames(REPLAY_FRAMES)
        cells = next(i for i, trace in enumerate(drawn) if trace["type"] == "heatmap")
        figure["frames"] = [
            {
                "name": str(step),
                "traces": [cells, cells + 1],
                "data": [{"type": "heatmap", "z": load}, {"type": "scatter"} | _crosses(load, data.layers)],
            }
            for step, load in frames
        ]
        placed["sliders"] = [_replay_slider([str(step) for step, _ in frames])]
        placed["height"] = HEIGHT + 60
    return _plain(figure)


# ---------------------------------------------------------------- parts


def _arm_look(arm: str, width: float = 2, markers: bool = False, faint: bool = False) -> dict[str, Any]:
    colour, line, symbol = STYLES.get(arm, OTHER_STYLE)
    found: dict[str, Any] = {"mode": "lines", "line": {"color": colour, "dash": _DASH[line], "width": width}}
    if faint:
        found |= {"opacity": 0.55}
        found["line"]["dash"] = "solid"
    if markers:
        found |= {"mode": "lines+markers", "marker": {"symbol": _SYMBOL[symbol], "size": 7, "color": colour}}
    return found


def _look(index: int, markers: bool = False) -> dict[str, Any]:
    colour = SERIES[index % len(SERIES)]
    found: dict[str, Any] = {
        "mode": "lines",
        "line": {"color": colour, "dash": DASHES[index % len(DASHES)], "width": 2},
    }
    if markers:
        found |= {"mode": "lines+markers", "marker": {"symbol": SYMBOLS[index % len(SYMBOLS)], "size": 7}}
    return found


def _curve(line: Line, place: int, look: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": name,
        "x": line.x,
        "y": line.y,
        "xaxis": f"x{axis_number(place)}",
        "yaxis": f"y{axis_number(place)}",
        **look,
    }


def _level(y: float, place: int, beside: list[Line], name: str) -> dict[str, Any]:
    """A horizontal line as far as the curves go."""
    end = max((float(line.x[-1]) for line in beside if len(line.x)), default=1.0)
    look = {"mode": "lines", "line": {"color": "#444444", "dash": "dot", "width": 1.5}}
    return _curve(Line(name, np.array([0.0, end]), np.array([y, y])), place, look, name)


def _heat_map(data: PanelData) -> dict[str, Any]:
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


def _dead(data: PanelData) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": "dead",
        "mode": "markers",
        **_crosses(data.load, data.layers),
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


def _crosses(load: np.ndarray, layers: list[int]) -> dict[str, np.ndarray]:
    """Where the dead experts are."""
    dead = dead_experts(load)
    return {
        "x": np.array([expert for _, expert in dead], dtype=float),
        "y": np.array([layers[row] for row, _ in dead], dtype=float),
    }


def _logits(data: PanelData) -> list[dict[str, Any]]:
    """Every head a point in its layer's column, in order from the left, and QK-clip's threshold."""
    if not data.logits:
        return []
    x, y, text = [], [], []
    for layer, heads in enumerate(data.logits):
        for head, value in enumerate(heads):
            x.append(layer + (0.7 * (head + 0.5) / len(heads) - 0.35))
            y.append(value)
            text.append(f"layer {layer}, head {head}")
    look = {"mode": "markers", "marker": {"size": 8, "color": SERIES[0]}, "text": text}
    points = _curve(Line("logits", np.array(x), np.array(y)), LOGITS, look, "largest logit")
    if data.tau is None:
        return [points]
    ends = Line("tau", np.array([-0.6, len(data.logits) - 0.4]), np.array([data.tau, data.tau]))
    look = {"mode": "lines", "line": {"color": "#444444", "dash": "dot", "width": 1.5}}
    return [points, _curve(ends, LOGITS, look, f"QK-clip at tau = {data.tau:g}")]


def _replay_slider(steps: list[str]) -> dict[str, Any]:
    at_once = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    return {
        "active": len(steps) - 1,
        "currentvalue": {"prefix": "Replay the share of tokens: step "},
        "len": 1.0,
        "pad": {"t": 4, "b": 4},
        "steps": [{"label": step, "method": "animate", "args": [[step], at_once]} for step in steps],
    }


def _plain(value: Any) -> Any:
    """What JSON can hold, and small: it is saved in a notebook."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray):
        # plotly's own form for arrays: a notebook's JSON would give every number a line of its own.
        packed = base64.b64encode(value.astype("<f4").tobytes()).decode("ascii")
        shape = {"shape": ", ".join(map(str, value.shape))} if value.ndim > 1 else {}
        return {"dtype": "f4", "bdata": packed, **shape}
    return float(value) if isinstance(value, np.floating) else value
