"""Interactive versions of three pictures, as plotly's JSON: point at a token, follow a path, move through a run.

Plain data, so that no widget is needed. Plotly reads tags in its texts, so every text from outside is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Int

from lab_utils.observatory.clinic import ClinicTrace
from lab_utils.observatory.plots import THIN
from lab_utils.observatory.token_strip import TokenFacts, make_visible
from lab_utils.show.style import mark_of

PER_ROW = 14


def strip_plotly(facts: Sequence[TokenFacts], layer: int) -> dict[str, Any]:
    """A marker per token, coloured and numbered by its first expert; pointing at it shows the rest."""
    at = range(len(facts))
    n_rows = -(-len(facts) // PER_ROW)
    marks = [mark_of(f.experts[0]) for f in facts]
    trace = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [i % PER_ROW for i in at],
        "y": [i // PER_ROW for i in at],
        "text": [f"{escape(make_visible(f.text))}<br>{f.experts[0]}" for f in facts],
        "hovertext": [escape(f.sentence()) for f in facts],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "textfont": {"family": "monospace", "size": 11, "color": "#000000"},
        "marker": {
            "symbol": "square",
            "size": 38,
            "color": [mark.fill for mark in marks],
            "line": {"color": "#000000", "width": _pack([mark.width for mark in marks])},
        },
    }
    layout = {
        "title": {
            "text": f"Layer {layer}: colour, frame and number are the first expert; point at a token for the rest"
        },
        "height": 120 + 62 * n_rows,
        "xaxis": {"visible": False, "range": [-0.6, PER_ROW - 0.4]},
        "yaxis": {"visible": False, "range": [n_rows - 0.4, -0.6]},
        "margin": {"l": 10, "r": 10, "t": 60, "b": 10},
        "plot_bgcolor": "#ffffff",
    }
    return {"data": [trace], "layout": layout}


def paths_plotly(
    counts: Sequence[Int[np.ndarray, "n_experts n_experts"]], layers: Sequence[int]
) -> dict[str, Any]:
    """A Sankey diagram: a node per layer and expert, a link as thick as its number of tokens."""
    n_experts = len(counts[0])
    total = counts[0].sum()
    links = [
        (column * n_experts + i, (column + 1) * n_experts + j, int(flow[i, j]))
        for column, flow in enumerate(counts)
        for i, j in np.ndindex(flow.shape)
        if flow[i, j] >= THIN * total
    ]
    marks = [mark_of(e) for _ in layers for e in range(n_experts)]
    trace = {
        "type": "sankey",
        "arrangement": "snap",
        "node": {
            "label": [f"layer {layer}, expert {e}" for layer in layers for e in range(n_experts)],
            "color": [mark.fill for mark in marks],
            "line": {"color": "#000000", "width": _pack([mark.width for mark in marks])},
            "pad": 6,
        },
        "link": {
            "source": _pack([link[0] for link in links]),
            "target": _pack([link[1] for link in links]),
            "value": _pack([link[2] for link in links]),
            "color": "rgba(80, 80, 80, 0.35)",
        },
    }
    title = "Where tokens go next, from first expert to first expert; point at a band for its tokens"
    layout = {
        "title": {"text": title},
        "height": max(420, 34 * n_experts),
        "margin": {"l": 10, "r": 10, "b": 10},
    }
    return {"data": [trace], "layout": layout}


def clinic_plotly(trace: ClinicTrace) -> dict[str, Any]:
    """Models x experts with a slider over the steps."""
    names = [course.name for course in trace.courses]
    top = len(trace.courses[0].frames[0].load) / len(trace.courses[0].frames[0].probe[0])

    def cells(at: int) -> dict[str, str]:
        return _pack([course.frames[at].load for course in trace.courses], "f4")

    def name(at: int) -> str:
        return str(trace.steps[at])

    heat = {
        "type": "heatmap",
        "z": cells(-1),
        "y": names,
        "zmin": 0,
        "zmax": top,
        # Purple below an even share, white at it, orange above.
        "colorscale": [[0, "#542788"], [1 / top, "#f7f7f7"], [1, "#b35806"]],
        "texttemplate": "%{z:.2f}",
        "hovertemplate": "%{y}, expert %{x}: %{z:.2f}<extra></extra>",
        "colorbar": {"title": {"text": "load (1.0 = even)"}},
    }
    # Every second frame is enough for a slider; the last one is always among them.
    shown = range(len(trace.steps) - 1, -1, -2)[::-1]
    steps = [
        {"label": name(at), "method": "animate", "args": [[name(at)], {"mode": "immediate"}]} for at in shown
    ]
    slider = {"active": len(steps) - 1, "currentvalue": {"prefix": "step "}, "steps": steps}
    layout = {
        "title": {
            "text": "Share of the choices per expert, 1.0 = even: move the slider through the training"
        },
        "height": 460,
        "xaxis": {"title": {"text": "expert"}, "dtick": 1},
        "yaxis": {"autorange": "reversed", "automargin": True},
        "sliders": [slider],
    }
    frames = [{"name": name(at), "data": [{"z": cells(at)}]} for at in shown]
    return {"data": [heat], "layout": layout, "frames": frames}


def _pack(values: Any, kind: str = "i4") -> dict[str, str]:
    """Plotly's own form for arrays: a fifth of the size of a list; a notebook holds many of them."""
    array = np.asarray(values, dtype=f"<{kind}")
    data = {"dtype": kind, "bdata": base64.b64encode(array.tobytes()).decode("ascii")}
    return data | ({"shape": ", ".join(map(str, array.shape))} if array.ndim > 1 else {})
