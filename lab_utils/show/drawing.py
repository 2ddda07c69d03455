"""Drawings of boxes and arrows as SVG, readable in light and dark, with words for those who cannot see them.

Paper and ink change together: where a browser prefers dark, both do, so a drawing is readable on any page. It is shown
as a picture inside HTML, which JupyterLab, GitHub and the site all allow. On a narrow screen it scrolls by itself.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from matplotlib.font_manager import FontProperties, findfont
from PIL import ImageFont

# The same names in both: a colour is chosen for what it means, and each ink is readable on each filling.
LIGHT = {
    "paper": "#ffffff", "ink": "#1d2433", "quiet": "#4d5565", "second": "#00558a", "line": "#6b7484",
    "plain": "#f2f4f7", "attention": "#dcedf9", "router": "#d9f2e8", "experts": "#fdeccb", "here": "#c24a00",
    "run0": "#0072b2", "run1": "#b34700", "run2": "#007a5a", "run3": "#a8518a",
}  # fmt: skip
DARK = {
    "paper": "#14181f", "ink": "#eef1f6", "quiet": "#b6bfcd", "second": "#8cc8f2", "line": "#8f99aa",
    "plain": "#242a35", "attention": "#17374c", "router": "#153c31", "experts": "#443313", "here": "#ff9a52",
    "run0": "#62b6ec", "run1": "#ff9a52", "run2": "#3fc79d", "run3": "#e39cc9",
}  # fmt: skip
FONT = '"DejaVu Sans",Verdana,sans-serif'  # as wide as each other; what a browser has instead is narrower
SIZES = {
    "title": 12,
    "small": 10.5,
    "quiet": 10,
    "second": 10.5,
    "here": 10.5,
    "small-title": 12,
    "second-title": 12,
}
BOLD = {"title", "here", "small-title", "second-title"}
LINE_HEIGHT = 1.3
MARGIN = 5  # from the text of a box to its sides


@dataclass(frozen=True)
class Box:
    """Where a box stands, for arrows that begin or end at it."""

    x: float
    y: float
    width: float
    height: float

    @property
    def top(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y

    @property
    def bottom(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height

    @property
    def left(self) -> tuple[float, float]:
        return self.x, self.y + self.height / 2

    @property
    def right(self) -> tuple[float, float]:
        return self.x + self.width, self.y + self.height / 2


class Drawing:
    """A sheet of `width` x `height` that boxes, arrows and notes are put on; `alt` says in words what it shows."""

    def __init__(self, width: float, height: float, alt: str):
        self.width, self.height, self.alt = width, height, alt
        self._parts: list[str] = []

    def box(
        self, x: float, y: float, width: float, height: float, lines: Sequence[tuple[str, str]], *, fill: str
    ) -> Box:
        """A box with lines of text in its middle, each a pair (look, text); a look is a name in `SIZES`.

        A line that is too long for the box is set smaller.
        """
        self._rectangle(x, y, width, height, f'class="f-{fill} edge"')
        total = sum(LINE_HEIGHT * SIZES[look] for look, _ in lines)
        baseline = y + (height - total) / 2
        for look, text in lines:
            baseline += LINE_HEIGHT * SIZES[look]
            self._text(x + width / 2, baseline - 0.35 * SIZES[look], text, look, "middle", width - 2 * MARGIN)
        return Box(x, y, width, height)

    def frame(self, x: float, y: float, width: float, height: float, *, fill: str = "paper") -> Box:
        """A dashed frame around things that belong together; draw it before them."""
        self._rectangle(x, y, width, height, f'class="f-{fill} edge dashed"')
        return Box(x, y, width, height)

    def mark(self, box: Box, text: str) -> None:
        """A thick edge around a box, and `text`, where there is one, above it."""
        self._rectangle(box.x - 3, box.y - 3, box.width + 6, box.height + 6, 'class="marked" fill="none"')
        if not text:
            return
        half = text_width(text, "here") / 2
        middle = min(max(box.top[0], half + 4), self.width - half - 4)
        self._text(middle, box.y - 8, text, "here", "middle", self.width)

    def note(
        self, x: float, y: float, text: str, look: str = "small", anchor: str = "start", room: float = 1e9
    ) -> None:
        """A line of text of at most `room`; y is its base line, `anchor` start, middle or end."""
        self._text(x, y, text, look, anchor, room)

    def arrow(
        self, *points: tuple[float, float], ink: str = "line", head: bool = True, dashes: str = ""
    ) -> None:
        """A line through the points, with a head at its end."""
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
        end = f' marker-end="url(#{ink})"' if head else ""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._parts.append(f'<path d="{path}" class="s-{ink}"{end}{dashed}/>')

    def curve(self, start: tuple[float, float], end: tuple[float, float], ink: str, dashes: str = "") -> None:
        """A smooth line from left to right, without a head."""
        (x, y), (u, v) = start, end
        middle = (x + u) / 2
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._parts.append(
            f'<path d="M{x:g} {y:g}C{middle:g} {y:g} {middle:g} {v:g} {u:g} {v:g}" class="s-{ink}"{dashed}/>'
        )

    def plus(self, x: float, y: float) -> Box:
        """A small circle in which two streams are added."""
        self._parts.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="8" class="f-paper edge"/>'
            f'<path d="M{x - 4:g} {y:g}h8M{x:g} {y - 4:g}v8" class="s-ink"/>'
        )
        return Box(x - 8, y - 8, 16, 16)

    @property
    def svg(self) -> str:
        """The drawing as a file of its own."""
        heads = "".join(
            f'<marker id="{ink}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M0 0.5L8 4L0 7.5Z" class="f-{ink}"/></marker>'
            for ink in ("line", "ink", "second")
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:g}" height="{self.height:g}" '
            f'viewBox="0 0 {self.width:g} {self.height:g}" role="img"><title>{escape(self.alt)}</title>'
            f"<style>{_style()}</style><defs>{heads}</defs>"
            f'<rect width="{self.width:g}" height="{self.height:g}" rx="6" class="f-paper"/>'
            f"{''.join(self._parts)}</svg>"
        )

    def html(self) -> str:
        """An <img> that carries the drawing within itself, in a frame that scrolls where it is too narrow."""
        data = base64.b64encode(self.svg.encode()).decode("ascii")
        return (
            f'<div style="overflow-x:auto"><img alt="{escape(self.alt)}" width="{self.width:g}" '
            f'style="max-width:none" src="data:image/svg+xml;base64,{data}"></div>'
        )

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": self.alt}

    def _rectangle(self, x: float, y: float, width: float, height: float, look: str) -> None:
        self._parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" {look}/>')

    def _text(self, x: float, y: float, text: str, look: str, anchor: str, room: float) -> None:
        width = text_width(text, look)
        smaller = f' style="font-size:{SIZES[look] * room / width:.2f}px"' if width > room else ""
        at = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._parts.append(f'<text x="{x:g}" y="{y:g}" class="t-{look}"{at}{smaller}>{escape(text)}</text>')


def text_width(text: str, look: str) -> float:
    """How wide a line is in this look, in the widest of the fonts that a browser may take."""
    return _font("bold" if look in BOLD else "normal").getlength(text) * SIZES[look] / 100


def ink_of(look: str) -> str:
    """The name of the colour that a line of this look is written in."""
    name = look.removesuffix("-title")
    return name if name in LIGHT else "ink"


@functools.cache
def _font(weight: str) -> ImageFont.FreeTypeFont:
    path = findfont(FontProperties(family="DejaVu Sans", weight=weight))
    return ImageFont.truetype(path, 100, layout_engine=ImageFont.Layout.BASIC)


@functools.cache
def _style() -> str:
    def colours(of: dict[str, str]) -> str:
        return "svg{" + "".join(f"--{name}:{colour};" for name, colour in of.items()) + "}"

    looks = "".join(f".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}" for name in LIGHT)
    texts = "".join(
        f".t-{look}{{font-size:{size:g}px;fill:var(--{ink_of(look)})"
        f"{';font-weight:bold' if look in BOLD else ''}}}"
        for look, size in SIZES.items()
    )
    return (
        f"{colours(LIGHT)}@media(prefers-color-scheme:dark){{{colours(DARK)}}}"
        f"text{{font-family:{FONT}}}path{{fill:none;stroke-width:1.3}}marker path{{stroke:none}}"
        f"{looks}{texts}"
        ".edge{stroke:var(--line)}.dashed{stroke-dasharray:5 4}.marked{stroke:var(--here);stroke-width:3}"
    )
