"""The drawing of notebook 00."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from lab_utils.show.style import FLOOR, STYLES, new_figure, tidy


def draw_first_minute(
    steps: Sequence[int], losses: Sequence[float], n_vocab: int, floor_nats: float | None
) -> Figure:
    """The training loss between the two lines that say what it means: knowing nothing, and the text's floor."""
    figure = new_figure(9.0, 3.4)
    axes = figure.subplots()
    figure.suptitle("The loss falls from knowing nothing towards the floor of the text")
    colour, line, _ = STYLES["kimi"]
    axes.plot(steps, losses, color=colour, linestyle=line, label="Kimi, loss of each step's batch")
    axes.axhline(math.log(n_vocab), color="#D55E00", linestyle="--", label=f"knowing nothing: ln {n_vocab:,}")
    if floor_nats is not None:
        axes.axhline(floor_nats, label=f"the text's floor, {floor_nats:.2f}", **FLOOR)
    axes.set_xlabel("step")
    axes.set_ylabel("nats per token")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    tidy(axes)
    return figure
