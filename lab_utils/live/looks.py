"""How a line of the panel looks in plotly, and the sign that stands for it in a picture's legend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab_utils.show.style import OTHER_STYLE, SERIES, STYLES

# Like the dashes of `SERIES` and `STYLES`, and drawn with the letters that a line of text has.
SIGNS = {
    "solid": "—",
    "dash": "– –",
    "dot": "···",
    "dashdot": "–·–",
    "longdash": "— —",
    "longdashdot": "—·—",
}
LEVEL_COLOUR, LEVEL_SIGN = "#444444", SIGNS["dot"]  # the floor, an even router, QK-clip's threshold
_DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
_SYMBOLS = {
    "s": "square", "D": "diamond", "^": "triangle-up", "v": "triangle-down", "P": "cross", "X": "x", "o": "circle",
    "*": "star",
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """A colour, a dash and a symbol of plotly."""

    colour: str
    dash: str
    symbol: str

    @property
    def sign(self) -> str:
        return SIGNS[self.dash]

    def line(self, **more: Any) -> dict[str, Any]:
        """Properties of a trace that is drawn as a line."""
        return {"mode": "lines", "line": {"color": self.colour, "dash": self.dash, "width": 2} | more}

    def line_and_markers(self) -> dict[str, Any]:
        marker = {"symbol": self.symbol, "size": 7, "color": self.colour}
        return self.line() | {"mode": "lines+markers", "marker": marker}


def look_of_arm(arm: str) -> Look:
    """The same as in the report's pictures."""
    colour, line, marker = STYLES.get(arm, OTHER_STYLE)
    return Look(colour, _DASHES[line], _SYMBOLS[marker])


def look_of_index(index: int) -> Look:
    """Of a layer or a role."""
    dashes, symbols = tuple(SIGNS), ("circle", "square", "diamond", "triangle-up", "x", "cross")
    return Look(SERIES[index % len(SERIES)], dashes[index % len(dashes)], symbols[index % len(symbols)])
