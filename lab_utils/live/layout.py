"""Where the panel's six pictures lie in one plotly figure: axes with units, titles, legends, marks of interventions."""

from __future__ import annotations

from typing import Any

from lab_utils.live.data import PanelData
from lab_utils.show.style import DASHES, OTHER_STYLE, SERIES, STYLES

HEIGHT = 760
# Columns and rows as shares of the figure, from the top: x from..to, y from..to.
_LEFT, _RIGHT = (0.055, 0.49), (0.565, 0.995)
_ROWS = ((0.725, 0.955), (0.4, 0.605), (0.075, 0.28))
_PLACES = {i + 1: ((_LEFT, _RIGHT)[i % 2], _ROWS[i // 2]) for i in range(6)}
LOSS, ROLES, LOAD, MAX_VIO, LOGITS, ENTROPY = range(1, 7)


def layout(data: PanelData) -> dict[str, Any]:
    """Axes with units, a title a picture that says what to see, and the marks of interventions."""
    x_name = "tokens seen" if data.axis == "tokens" else "seconds of training steps"
    # Where there is nothing to see a title says why, and no more: two titles stand side by side.
    router = lambda see: f": {see} ({data.router_of})" if data.router_of else ": this model has no router"
    logits = f" ({data.logits_of})" if data.logits_of else ": not measured without QK-clip"
    roles = f"what is left to learn? ({data.roles_of})" if data.roles_of else "on storyworld, once evaluated"
    titles = {
        LOSS: "Loss: lower is better, nothing gets below the floor",
        ROLES: f"Loss by role: {roles}",
        LOAD: f"Share of tokens an expert gets{router('1.0 is even, × is dead')}",
        MAX_VIO: f"Imbalance{router('0 is even, 1 is twice a share')}",
        LOGITS: f"Largest attention logit of every head{logits}",
        ENTROPY: f"Router entropy{router('falls when scores collapse')}",
    }
    found: dict[str, Any] = {
        "height": HEIGHT,
        "autosize": True,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "font": {"size": 12, "color": "#1d2433"},
        "hovermode": "closest",
        "showlegend": False,
        "annotations": [_title(titles[i], i) for i in _PLACES] + _names(data),
        "shapes": [],
        "uirevision": data.axis,  # a reader's zoom survives the redrawing, until the axis changes
    }
    labels = {
        LOSS: (x_name, "bits a byte"),
        ROLES: (x_name, "bits a byte"),
        LOAD: ("expert", "layer"),
        MAX_VIO: (x_name, "MaxVio"),
        LOGITS: ("layer", "logit (log scale)"),
        ENTROPY: (x_name, "nats"),
    }
    for i, (columns, rows) in _PLACES.items():
        grid = {
            "gridcolor": "#e6e9ef",
            "zeroline": False,
            "linecolor": "#9aa3b2",
            "ticks": "outside",
            "ticklen": 3,
        }
        x_title, y_title = ({"text": text, "standoff": 4} for text in labels[i])
        found[f"xaxis{axis_number(i)}"] = grid | {
            "domain": list(columns),
            "anchor": f"y{axis_number(i)}",
            "title": x_title,
        }
        found[f"yaxis{axis_number(i)}"] = grid | {
            "domain": list(rows),
            "anchor": f"x{axis_number(i)}",
            "title": y_title,
        }
    for i in (LOSS, ROLES, MAX_VIO):
        found[f"yaxis{axis_number(i)}"]["rangemode"] = "tozero"
    for i in (LOSS, ROLES, MAX_VIO, ENTROPY):
        found[f"xaxis{axis_number(i)}"] |= {"rangemode": "tozero", "tickformat": "~s"}
    found[f"yaxis{LOGITS}"] |= {"type": "log", "dtick": 1}
    found[f"xaxis{LOAD}"] |= {
        "dtick": 1 if data.load is None or data.load.shape[1] <= 16 else 8,
        "showgrid": False,
    }
    found[f"yaxis{LOAD}"] |= {"autorange": "reversed", "dtick": 1, "showgrid": False}
    if data.logits:
        found[f"xaxis{LOGITS}"] |= {
            "tickvals": list(range(len(data.logits))),
            "range": [-0.6, len(data.logits) - 0.4],
        }
    for x, numbers, arm in data.marks:
        _add_mark(found, LOSS, x, numbers, STYLES.get(arm, OTHER_STYLE)[0])
    for x, numbers in data.router_marks:
        for place in (MAX_VIO, ENTROPY):
            _add_mark(found, place, x, numbers, "#444444")
    return found


def axis_number(place: int) -> str:
    """plotly's name for axis 1 has no number."""
    return "" if place == 1 else str(place)


def _title(text: str, place: int) -> dict[str, Any]:
    columns, rows = _PLACES[place]
    return {
        "text": f"<b>{_escaped(text)}</b>",
        "xref": "paper",
        "yref": "paper",
        "x": columns[0] - 0.045,
        "y": rows[1] + 0.008,
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 13},
    }


def _names(data: PanelData) -> list[dict[str, Any]]:
    """A legend inside each picture, one line of coloured words with each line's own sign."""
    arms = [
        (f"{line.name} {_sign(STYLES.get(line.arm, OTHER_STYLE)[1])}", STYLES.get(line.arm, OTHER_STYLE)[0])
        for line in data.training
    ]
    if data.floor is not None:
        arms.append((f"floor {data.floor:.3f} ···", "#444444"))
    by_index = lambda lines: [
        (f"{line.name} {_SIGNS[line.index % len(DASHES)]}", SERIES[line.index % len(SERIES)])
        for line in lines
    ]
    entropy = by_index(data.entropy)
    if data.even_entropy is not None:
        entropy.append((f"even: ln E = {data.even_entropy:.2f} ···", "#444444"))
    logits = [] if data.tau is None else [(f"QK-clip at tau = {data.tau:g} ···", "#444444")]
    words = {
        LOSS: arms,
        ROLES: by_index(data.roles),
        MAX_VIO: by_index(data.max_vio),
        ENTROPY: entropy,
        LOGITS: logits,
    }
    return [_legend(found, place) for place, found in words.items() if found]


_SIGNS = ("—", "– –", "···", "–·–", "— —", "—·—")


def _sign(line: str) -> str:
    return {"-": "—", "--": "– –", ":": "···", "-.": "–·–"}[line]


def _legend(words: list[tuple[str, str]], place: int) -> dict[str, Any]:
    (columns, rows), below = _PLACES[place], place in (LOGITS, ENTROPY)  # where the curves leave room
    text = "&nbsp;&nbsp; ".join(
        f'<span style="color:{colour}">{_escaped(word)}</span>' for word, colour in words
    )
    return {
        "text": text,
        "xref": "paper",
        "yref": "paper",
        "x": columns[1],
        "y": rows[0] if below else rows[1],
        "xanchor": "right",
        "yanchor": "bottom" if below else "top",
        "showarrow": False,
        "bgcolor": "rgba(255,255,255,0.8)",
        "font": {"size": 11},
    }


def _escaped(text: str) -> str:
    """plotly reads a few HTML tags in texts; none of ours comes from outside as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _add_mark(found: dict[str, Any], place: int, x: float, numbers: str, colour: str) -> None:
    where = {"xref": f"x{axis_number(place)}", "yref": f"y{axis_number(place)} domain"}
    found["shapes"].append(
        where
        | {
            "type": "line",
            "x0": x,
            "x1": x,
            "y0": 0,
            "y1": 1,
            "line": {"color": colour, "width": 1, "dash": "dash"},
        }
    )
    found["annotations"].append(
        where
        | {
            "x": x,
            "y": 0,
            "text": f"<b>{numbers}</b>",
            "showarrow": False,
            "yanchor": "bottom",
            "xanchor": "left",
            "font": {"size": 11, "color": colour},
        }
    )
