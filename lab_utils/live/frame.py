"""What stands around the panel's curves, in words and numbers: titles, names of lines, levels, marks.

It changes a few times in a training, while the curves change with every step; so its layout is made rarely.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab_utils.live.data import PanelData
from lab_utils.live.history import XAxis
from lab_utils.live.looks import LEVEL_COLOUR, LEVEL_SIGN, look_of_arm, look_of_index

# The six pictures, numbered row by row, as plotly numbers the axes of subplots.
LOSS, ROLES, LOAD, MAX_VIO, LOGITS, ENTROPY = PLACES = range(1, 7)


@dataclass(frozen=True)
class Frame:
    """All that the layout depends on; a picture is named by its number."""

    axis: XAxis
    titles: tuple[str, ...]
    names: tuple[tuple[int, tuple[tuple[str, str, str], ...]], ...]  # picture, and words with sign and colour
    levels: tuple[tuple[int, float], ...]  # picture, and the height of a horizontal line
    marks: tuple[tuple[int, float, str, str], ...]  # picture, place on the x axis, numbers, colour
    n_experts: int
    n_layers: int  # all layers, those without a router too


def describe_frame(data: PanelData) -> Frame:
    """The frame of these curves."""
    marks = [(LOSS, x, numbers, look_of_arm(arm).colour) for x, numbers, arm in data.marks]
    marks += [
        (place, x, numbers, LEVEL_COLOUR) for x, numbers in data.router_marks for place in (MAX_VIO, ENTROPY)
    ]
    levels = ((LOSS, data.floor), (LOGITS, data.tau), (ENTROPY, data.even_entropy))
    return Frame(
        axis=data.axis,
        titles=tuple(write_titles(data)),
        names=tuple((place, tuple(names)) for place, names in name_lines(data).items() if names),
        levels=tuple((place, level) for place, level in levels if level is not None),
        marks=tuple(marks),
        n_experts=0 if data.load is None else data.load.shape[1],
        n_layers=len(data.logits),
    )


def write_titles(data: PanelData) -> list[str]:
    """What there is to see in each picture. Where nothing is, the title says why, and no more."""
    router = lambda see: f": {see} ({data.router_of})" if data.router_of else ": this model has no router"
    logits = f" ({data.logits_of})" if data.logits_of else ": not measured without QK-clip"
    # Without an evaluation nobody can say yet whether the text has roles.
    lack = "known on storyworld only" if data.validation else "after the first evaluation"
    roles = f"what is left to learn? ({data.roles_of})" if data.roles_of else lack
    return [
        "Loss: lower is better, never below the floor",
        f"Loss by role: {roles}",
        f"Tokens per expert{router('1.0 is even, × is dead')}",
        f"Imbalance{router('0 is even, 1 is twice a share')}",
        f"Largest attention logit of every head{logits}",
        f"Router entropy{router('falls when scores collapse')}",
    ]


def name_lines(data: PanelData) -> dict[int, list[tuple[str, str, str]]]:
    """Every line and level by picture: its name, its sign and the sign's colour."""
    level = lambda words: (words, LEVEL_SIGN, LEVEL_COLOUR)
    arms = [(line.name, look_of_arm(line.arm)) for line in data.training]
    found = {LOSS: [(name, look.sign, look.colour) for name, look in arms], LOGITS: []}
    for place, lines in ((ROLES, data.roles), (MAX_VIO, data.max_vio), (ENTROPY, data.entropy)):
        looks = [(line.name, look_of_index(line.index)) for line in lines]
        found[place] = [(name, look.sign, look.colour) for name, look in looks]
    if data.floor is not None:
        found[LOSS].append(level(f"floor {data.floor:.3f}"))
    if data.tau is not None:
        found[LOGITS].append(level(f"QK-clip at tau = {data.tau:g}"))
    if data.even_entropy is not None:
        found[ENTROPY].append(level(f"even: ln E = {data.even_entropy:.2f}"))
    return found
