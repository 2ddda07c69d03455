"""A picture as a notebook keeps it: a PNG, a description in words, perhaps plotly's JSON. No scripts."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from lab_utils.show.palette import encode_png

DPI = 100


@dataclass(frozen=True, repr=False)
class Snapshot:
    """A figure that shows in JupyterLab, on GitHub and offline, with words for those who cannot see it.

    `plotly` is the JSON of an interactive version for JupyterLab; elsewhere the PNG is shown. JupyterLab shows the PNG,
    where there is one, until the mouse is over it. `at_once` leaves it out: somebody is there to see the chart, and
    JupyterLab puts a PNG of it into the notebook.
    """

    figure: Figure
    alt: str
    plotly: dict[str, Any] | None = None
    at_once: bool = False

    @cached_property
    def pixels(self) -> UInt8[np.ndarray, "height width 3"]:
        """The picture as it was drawn. Drawing it again may move it by a pixel, as its layout then starts elsewhere."""
        drawn = io.BytesIO()
        self.figure.savefig(drawn, format="png", dpi=DPI)
        return np.asarray(Image.open(drawn).convert("RGB"))

    @cached_property
    def png(self) -> bytes:
        pixels = self.pixels
        lines = [line for line in self.figure.findobj(Line2D) if line.get_visible()]
        colours = {tuple(round(255 * part) for part in to_rgb(line.get_color())) for line in lines}
        return encode_png(pixels, sorted(colours))

    # A terminal shows the words alone: the JSON of a chart has some hundred thousand characters.
    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        data: dict[str, Any] = {"text/plain": self.alt}
        if self.plotly is None or not self.at_once:
            data["image/png"] = base64.b64encode(self.png).decode("ascii")
        if self.plotly is not None:
            data["application/vnd.plotly.v1+json"] = self.plotly
        return data, {"image/png": {"alt": self.alt}}

    def html(self) -> str:
        """An <img> that carries its picture within itself."""
        picture = base64.b64encode(self.png).decode("ascii")
        return f'<img alt="{escape(self.alt)}" src="data:image/png;base64,{picture}">'
