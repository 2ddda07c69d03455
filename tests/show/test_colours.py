"""The shared colours can be read on their papers, in JupyterLab's themes and where there is no theme."""

import re

import pytest

from lab_utils.show.colours import BLUE, GREEN, GREY, INK, PAPER, QUIET, SOFT, VERMILION, as_ink

# As JupyterLab 4.6 sets them: red, green and blue of 0 to 1, and how much covers what is below.
THEMES = {
    "none": {},
    "light": {"--jp-content-font-color1": (0, 0, 0, 0.87), "--jp-layout-color0": (1, 1, 1, 1)},
    "dark": {
        "--jp-content-font-color1": (1, 1, 1, 1),
        "--jp-layout-color0": (17 / 255, 17 / 255, 17 / 255, 1),
    },
}


def resolve(colour: str, theme: dict) -> tuple:
    """Red, green, blue and cover of a colour, as CSS mixes them: each weighed by its cover."""
    if mixed := re.fullmatch(r"color-mix\(in srgb,(.*) (\d+)%,(.*)\)", colour):
        share = int(mixed[2]) / 100
        a, b = resolve(mixed[1], theme), resolve(mixed[3], theme)
        cover = share * a[3] + (1 - share) * b[3]
        return *((share * a[i] * a[3] + (1 - share) * b[i] * b[3]) / cover for i in range(3)), cover
    if variable := re.fullmatch(r"var\((--[\w-]+),(.*)\)", colour):
        return theme.get(variable[1]) or resolve(variable[2], theme)
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    return *(int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)), 1


def luminance(rgb) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb]
    return sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(ink: str, paper: str, theme: dict) -> float:
    top, below = resolve(ink, theme), resolve(paper, theme)
    seen = [top[i] * top[3] + below[i] * (1 - top[3]) for i in range(3)]
    dark, light = sorted((luminance(seen), luminance(below[:3])))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_wcag_s():
    assert contrast("#fff", "#000000", {}) == pytest.approx(21)
    assert contrast("#767676", "#fff", {}) == pytest.approx(
        4.54, abs=0.005
    )  # the lightest grey that may be read


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_every_ink_is_read_on_every_paper(theme):
    for paper in (PAPER, SOFT):
        for ink in (INK, QUIET, *map(as_ink, (BLUE, GREEN, VERMILION, GREY))):
            assert contrast(ink, paper, theme) >= 4.5, (ink, paper)
    for bar in (BLUE, GREEN, VERMILION, GREY):
        assert contrast(bar, PAPER, theme) >= 3, bar  # what is seen and not read
