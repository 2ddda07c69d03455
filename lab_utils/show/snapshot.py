"""A picture as a notebook keeps it: a PNG, a description in words, perhaps plotly's JSON. No scripts."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

DPI = 100
COLOURS = 128


@dataclass(frozen=True, repr=False)
class Snapshot:
    """A figure that shows in JupyterLab, on GitHub and offline, with words for those who cannot see it.

    `plotly` is the JSON of an interactive version for JupyterLab; elsewhere the PNG is shown. Fewer `colours` make a
    smaller file, for a notebook with many pictures.
    """

    figure: Figure
    alt: str
    plotly: dict[str, Any] | None = None
    colours: int = COLOURS

    @cached_property
    def png(self) -> bytes:
        drawn, small = io.BytesIO(), io.BytesIO()
        self.figure.savefig(drawn, format="png", dpi=DPI)
        # A palette makes the file a third as large, and a notebook is committed with its pictures. "Maximum coverage"
        # keeps the colours of thin lines; Pillow's default would give their places to the shades of large areas.
        palette = Image.open(drawn).convert("RGB").quantize(self.colours, Image.Quantize.MAXCOVERAGE)
        palette.save(small, format="png", optimize=True)
        return small.getvalue()

    # A terminal shows the words alone: the JSON of a chart has some hundred thousand characters.
    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        data: dict[str, Any] = {
            "image/png": base64.b64encode(self.png).decode("ascii"),
            "text/plain": self.alt,
        }
        if self.plotly is not None:
            data["application/vnd.plotly.v1+json"] = self.plotly
        return data, {"image/png": {"alt": self.alt}}

    def html(self) -> str:
        """An <img> that carries its picture within itself."""
        picture = base64.b64encode(self.png).decode("ascii")
        return f'<img alt="{escape(self.alt)}" src="data:image/png;base64,{picture}">'
