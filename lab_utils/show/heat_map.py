"""Heat maps: cells with words that can be read on dark and on light colours, and shares of experts over the steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.image import AxesImage

DIVERGING = "PuOr_r"  # purple, white, orange: colour-blind readers tell the ends apart
MOST_TICKS = 16  # with more rows or columns, matplotlib chooses which of them get a number


def share_scale(largest: float) -> TwoSlopeNorm:
    """The colours of a share: dark purple at 0, white at an even share of 1.0, dark orange at `largest`."""
    return TwoSlopeNorm(vmin=0.0, vcenter=1.0, vmax=largest)


def draw_heat_map(
    axes: Axes,
    values: Float[np.ndarray, "rows columns"],
    scale: Normalize,
    *,
    words: Sequence[Sequence[str]],
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    colours: str = DIVERGING,
    size: float = 7.5,
) -> AxesImage:
    """The image, for a colour bar. `words` stand in the cells, black or white; a cell that is nan has no colour.

    Rows and columns without names are numbered from 0. `size` is that of the words, in points.
    """
    image = axes.imshow(np.ma.masked_invalid(values), cmap=colours, norm=scale, aspect="auto")
    for axis, names, n in zip((axes.yaxis, axes.xaxis), (rows, columns), values.shape, strict=True):
        if names is not None:
            axis.set_ticks(range(n), names)
        elif n <= MOST_TICKS:
            axis.set_ticks(range(n))
    inks = choose_inks(image.to_rgba(image.get_array()))
    for (row, column), ink in np.ndenumerate(inks):
        if words[row][column]:
            style = dict(ha="center", va="center", fontsize=size, color=ink)
            axes.text(column, row, words[row][column], **style)
    return image


def choose_inks(rgba: Float[np.ndarray, "rows columns 4"]) -> np.ndarray:
    """Black ("k") or white ("w") for every cell, whichever has more contrast with the cell's colour.

    Contrast is that of WCAG 2: the better of the two is 4.58 or more on any colour, and 4.5 is asked for.
    """
    on_white = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
    linear = np.where(on_white <= 0.04045, on_white / 12.92, ((on_white + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    # Where (L + 0.05) / 0.05, the contrast with black, is that with white, 1.05 / (L + 0.05).
    return np.where(luminance < 0.05 * 21**0.5 - 0.05, "w", "k")


def draw_shares_over_steps(
    axes: Axes, shares: Float[np.ndarray, "n_experts times"], last_step: int, largest: float
) -> AxesImage:
    """The image, for a colour bar: a row per expert, the steps from 0 to `last_step` from left to right."""
    n_experts = len(shares)
    return axes.imshow(
        shares,
        cmap=DIVERGING,
        norm=share_scale(largest),
        aspect="auto",
        interpolation="nearest",
        extent=(0, last_step, n_experts - 0.5, -0.5),
    )
