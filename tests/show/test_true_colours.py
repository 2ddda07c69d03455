"""A committed picture has the colours that were drawn: every fill and every line of every figure of the lab.

Distances of colours are those of CIE 1976 in CIELAB, measured by LittleCMS and not by the code under test.
"""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from PIL import Image, ImageCms

from lab_utils.show.palette import MAKER, encode_png
from lab_utils.show.snapshot import DPI, Snapshot
from lab_utils.show.style import STYLES, new_figure
from tests.show.every_figure import FIGURES, names_of_figures

ROOT = Path(__file__).parents[2]
FAR = 3.0  # a difference that a careful eye begins to see is 2.3
SCREENSHOTS = {"after-the-run.png", "lesion.png", "live-panel.png"}  # of a browser
TO_LAB = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")


def lab(pixels: np.ndarray) -> np.ndarray:
    """CIELAB of an RGB picture, in steps of 0.4 of lightness and of 1 of a and b."""
    coded = np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), TO_LAB))
    # Pillow keeps a and b as signed bytes.
    return np.concatenate([coded[..., :1] / 2.55, coded[..., 1:].view(np.int8)], axis=-1)


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def flat(pixels: np.ndarray) -> np.ndarray:
    """Which pixels lie in a square of 3 x 3 of one colour: the inside of a fill, and of a thick line."""
    same = np.ones(pixels.shape[:2], dtype=bool)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            same &= (np.roll(pixels, (dy, dx), axis=(0, 1)) == pixels).all(axis=-1)
    return same


def colours_of_lines(figure: Figure) -> set[tuple[int, int, int]]:
    """The colours in which lines, grids and markers are drawn on white, and patches without transparency."""
    found = [
        to_rgba(each.get_color(), each.get_alpha()) for each in figure.findobj(Line2D) if each.get_visible()
    ]
    found += [patch.get_facecolor() for patch in figure.findobj(Patch) if patch.get_facecolor()[3] == 1.0]
    return {tuple(round(255 * (alpha * part + 1 - alpha)) for part in rgb) for *rgb, alpha in found}


def assert_true(snapshot: Snapshot, png: bytes) -> None:
    before, after = snapshot.pixels, decoded(png)
    distance = np.linalg.norm(lab(before) - lab(after), axis=-1)
    assert distance[flat(before)].max() <= FAR
    for colour in colours_of_lines(snapshot.figure):
        here = (np.abs(before.astype(int) - colour) <= 1).all(axis=-1)
        # A few pixels may be the edge of something else.
        assert here.sum() < 30 or distance[here].max() <= FAR, colour


def test_every_figure_of_the_lab_is_here():
    assert set(names_of_figures()) == {name for name in FIGURES if ".draw_" in name}


# matplotlib asks tensors for their numbers in a way that numpy 2 will no longer allow.
@pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
@pytest.mark.parametrize("name", FIGURES)
def test_fills_and_lines_keep_their_colours(name):
    snapshot = Snapshot(FIGURES[name](), "x")
    assert_true(snapshot, snapshot.png)
    picture = Image.open(io.BytesIO(snapshot.png))
    assert picture.text["Software"] == MAKER and picture.mode == "P"


def with_few_colours(snapshot: Snapshot) -> bytes:
    """As the lab made its pictures before: with 32 colours, the choice left to Pillow."""
    file = io.BytesIO()
    Image.fromarray(snapshot.pixels).quantize(32, Image.Quantize.MAXCOVERAGE).save(file, format="png")
    return file.getvalue()


@pytest.mark.parametrize("name", ["observatory.draw_pairs", "observatory.draw_lesions", "bench.draw_roles"])
def test_a_palette_of_few_colours_is_not_true(name):
    snapshot = Snapshot(FIGURES[name](), "x")
    with pytest.raises(AssertionError):
        assert_true(snapshot, with_few_colours(snapshot))


@pytest.mark.parametrize("name", ["observatory.draw_pairs", "observatory.draw_lesions", "bench.draw_router"])
def test_cells_of_a_heat_map_stay_on_their_side_of_white(name):
    """Orange cells stay orange, purple ones purple: the corner of each cell, where no number stands."""
    figure = FIGURES[name]()
    blue_and_yellow = lab(decoded(Snapshot(figure, "x").png))[..., 2]
    seen = 0
    for image in figure.findobj(AxesImage):
        if image.axes.get_label() == "<colorbar>":
            continue
        values = np.ma.filled(image.get_array().astype(float), np.nan)
        sides = image.norm(values).filled(np.nan) - 0.5
        for (row, column), side in np.ndenumerate(sides):
            if not abs(side) > 0.1:  # paler than this, both sides look white
                continue
            x, y = image.axes.transData.transform((column - 0.35, row - 0.35)) * DPI / figure.dpi
            assert np.sign(blue_and_yellow[len(blue_and_yellow) - round(y), round(x)]) == np.sign(side)
            seen += 1
    assert seen >= 20


def test_a_thin_line_beside_a_heat_map_keeps_its_colour():
    figure = new_figure()
    lines, shades = figure.subplots(1, 2)
    for i, (colour, dashes, _) in enumerate(STYLES.values()):
        lines.plot([0, 1], [i, i + 0.7], color=colour, linestyle=dashes)
    shades.imshow(np.random.default_rng(0).uniform(0, 2, (20, 30)), cmap="PuOr")
    snapshot = Snapshot(figure, "x")
    assert_true(snapshot, snapshot.png)


def test_a_picture_with_too_many_colours_for_a_palette_keeps_them_all():
    red, green = np.meshgrid(np.arange(0, 256, 8), np.arange(0, 256, 8))
    cells = np.stack([red, green, 255 - red], axis=-1).astype(np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    assert np.array_equal(decoded(encode_png(cells)), cells)


# ---------------------------------------------------------------- what is committed


def committed_pictures() -> Iterator[tuple[str, bytes]]:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
            for output in cell.get("outputs", ()):
                if png := output.get("data", {}).get("image/png"):
                    yield f"{path.name}, cell {number}", base64.b64decode(png)
    for path in sorted((ROOT / "docs").glob("*.png")):
        if path.name not in SCREENSHOTS:
            yield path.name, path.read_bytes()


def test_committed_pictures_are_made_by_this_encoder():
    pictures = dict(committed_pictures())
    assert len(pictures) > 30
    others = [
        name for name, png in pictures.items() if Image.open(io.BytesIO(png)).info.get("Software") != MAKER
    ]
    assert others == []
