"""The drawings of notebook 01."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from lab_utils.show.style import new_figure, tidy

ROLE_COLOURS = {"grammar": "#999999", "choice": "#E69F00", "fact": "#0072B2", "copy": "#009E73"}
HATCH = {"grammar": "", "choice": "//", "fact": "..", "copy": "xx"}


def draw_roles(shares: Mapping[str, Mapping[str, float]]) -> Figure:
    """A bar per quantity, divided among the four roles."""
    figure = new_figure(9.0, 2.6)
    figure.suptitle("A third of the bytes are choices, and all surprise sits there")
    axes = figure.subplots()
    for row, parts in enumerate(shares.values()):
        left = 0.0
        for role, share in parts.items():
            axes.barh(row, share, left=left, color=ROLE_COLOURS[role], hatch=HATCH[role], edgecolor="w",
                      label=role if row == 0 else None)  # fmt: skip
            if share > 0.04:
                axes.text(left + share / 2, row, f"{share:.0%}", ha="center", va="center", fontsize="small",
                          bbox=dict(boxstyle="round,pad=0.15", facecolor="w", edgecolor="none"))  # fmt: skip
            left += share
    axes.set_yticks(range(len(shares)), list(shares))
    axes.set_xlabel("share")
    axes.set_xlim(0, 1)
    axes.legend(ncols=4, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.28))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_merges(sizes: Sequence[int], bytes_per_token: Sequence[float]) -> Figure:
    """How much text a token holds, over the size of the vocabulary."""
    figure = new_figure(9.0, 2.8)
    figure.suptitle("Past 512 tokens, twice the vocabulary holds about a third more text per token")
    axes = figure.subplots()
    axes.plot(sizes, bytes_per_token, color="#0072B2", marker="o")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.set_xlabel("tokens in the vocabulary (log scale)")
    axes.set_ylabel("bytes of text per token")
    axes.set_ylim(bottom=0)
    tidy(axes)
    return figure
