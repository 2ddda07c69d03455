"""The tokens that most often go to an expert, to make a hypothesis from; only of the half that is shown."""

from __future__ import annotations

from collections import Counter

from lab_utils.observatory.look import LayerRouting
from lab_utils.observatory.passage import Passage
from lab_utils.observatory.token_strip import make_visible
from lab_utils.show.table import Table

SHOWN = 12


def list_favourites(routing: LayerRouting, expert: int, passage: Passage) -> Table:
    """A row per kind of token, the most frequent at this expert first: how often it goes there, of how many, and lift.

    Lift is the share of the kind that goes there, divided by the share of all tokens that does. `ValueError` for an
    expert that does not exist, or has no token in the shown half.
    """
    chosen, shown = routing.goes_to(expert), ~passage.tested
    every = Counter(text for text, here in zip(passage.texts, shown) if here)
    found = Counter(text for text, here in zip(passage.texts, shown & chosen) if here)
    n_chosen, n_shown = found.total(), every.total()
    if not found:
        raise ValueError(
            f"no token of the shown half goes to expert {expert} of layer {routing.layer}: choose another"
        )
    rows = [
        [make_visible(text), f"{n:,}", f"{every[text]:,}", f"{n / every[text] * n_shown / n_chosen:.2f}"]
        for text, n in sorted(found.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    ]
    return Table.of(
        ["token", "goes there", "of", "lift"],
        rows,
        f"layer {routing.layer}, expert {expert}: {min(SHOWN, len(found))} of its {len(found)} kinds of token, "
        "in the half of the text that no hypothesis is tested on",
    )
