"""The drawings of notebook 10."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from lab_utils.show.style import STYLES, new_figure, tidy

KEPT, CUT = "#0072B2", "#D0D5DD"


def draw_distributions(
    tokens: Sequence[str], before: Tensor, settings: Mapping[str, Tensor], title: str
) -> Figure:
    """One panel per setting: the probabilities of the same few tokens, against the distribution as it was (outline)."""
    figure = new_figure(9.0, 0.9 + 1.75 * ((len(settings) + 1) // 2))
    figure.suptitle(title)
    panels = figure.subplots((len(settings) + 1) // 2, 2, sharex=True, sharey=True, squeeze=False).flat
    places = range(len(tokens))
    for axes, (name, probs) in zip(panels, settings.items()):
        axes.bar(places, probs, color=[KEPT if p > 0 else CUT for p in probs])
        axes.bar(places, before, fill=False, edgecolor="#444444", linewidth=0.8, linestyle=":")
        axes.set_title(
            f"{name}: {int((probs > 0).sum())} of these can be drawn", fontsize="medium", loc="left"
        )
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(panels):  # an odd number of settings leaves one panel empty
        axes.set_visible(False)
    for row in range((len(settings) + 1) // 2):
        figure.axes[2 * row].set_ylabel("probability")
    for axes in figure.axes:
        axes.set_xticks(list(places), tokens, rotation=60, ha="right", fontsize="x-small", parse_math=False)
    return figure


def draw_work(n_tokens: Sequence[int], ratios: Sequence[float]) -> Figure:
    """Left: tokens that run through the model without a cache and with one. Right: the times measured here."""
    figure = new_figure(9.0, 3.2)
    figure.suptitle("Without a cache the work for a text grows with the square of its length")
    work, time = figure.subplots(1, 2)
    n = range(1, max(n_tokens) + 1)
    work.plot(n, [i * (i + 1) / 2 for i in n], color="#D55E00", linestyle="--", label="without a cache")
    work.plot(n, list(n), color="#0072B2", label="with a cache")
    work.set_ylabel("tokens run through the model, in all")
    work.legend(frameon=False)
    time.plot(n_tokens, ratios, color=STYLES["kimi"][0], marker="o")
    time.axhline(1, color="#444444", linewidth=0.8)
    time.set_ylabel("time without / time with")
    time.set_ylim(bottom=0)
    for axes in (work, time):
        axes.set_xlabel("tokens written")
        tidy(axes)
    return figure
