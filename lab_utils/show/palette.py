"""A small PNG with true colours: fills and lines keep their colours, and the soft edges of letters share few shades.

A notebook is committed with its pictures, so their size counts. Most shades of a drawn picture are those of edges, a
few pixels each; they cost most of the bytes and mean nothing. Fills and lines have few colours, which mean something.
"""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo

# CIE76: the distance of two colours in CIELAB. 2.3 is just noticeable, and 3 is what a test allows.
TRUE = 2.0  # at most, between a fill or a line and what stands for it
SOFT = 20.0  # the same for edges
MOST = 256  # colours of a palette
LEAST_BLOCKS = (
    4  # squares of 2 x 2 pixels in one colour, as in one of 3 x 3, from which on it is a fill or a line
)
LEAST_RUN = 24  # pixels of one colour in a row or in a column: a line, and longer than any stroke of a letter
LEAST_PIXELS = 60  # of a line so thin that it has no such square
GREY = 10.0  # the chroma below which a thin line cannot be told from the edge of a letter
MAKER = "nanokimi, true colours"  # in the file, under "Software"


def encode_png(
    pixels: UInt8[np.ndarray, "height width 3"], of_lines: Iterable[tuple[int, int, int]] = ()
) -> bytes:
    """The picture as a PNG: with a palette, or with all its colours where no palette is true to them.

    of_lines: colours that are known to be those of lines, however few pixels have them: red, green, blue, 0 to 255.
    """
    coded = pixels.astype(np.int64) @ (1 << 16, 1 << 8, 1)
    colours, place, pixels_of = np.unique(coded, return_inverse=True, return_counts=True)
    rgb = np.stack([colours >> 16, (colours >> 8) & 255, colours & 255], axis=-1).astype(np.uint8)
    place = place.reshape(coded.shape)
    lab = to_lab(rgb)
    seen_first = np.argsort(-pixels_of, kind="stable")
    known = [(red << 16) | (green << 8) | blue for red, green, blue in of_lines]
    drawn = _is_drawn(place, lab, pixels_of) | np.isin(colours, known)
    kept = _cover(lab, [i for i in seen_first if drawn[i]], TRUE, [])
    if len(kept) > MOST:
        return _write(Image.fromarray(pixels))
    soft = SOFT
    while len(chosen := _cover(lab, seen_first, soft, kept)) > MOST and soft < 100:
        soft *= 1.2
    # The commonest colour first: numbers that are small and often the same pack best.
    chosen = np.array(sorted(chosen[:MOST], key=lambda i: -pixels_of[i]))
    stands_for = np.array([((lab[chosen] - each) ** 2).sum(axis=-1).argmin() for each in lab])
    picture = Image.fromarray(stands_for[place].astype(np.uint8))
    picture.putpalette(rgb[chosen].tobytes())
    return _write(picture)


def to_lab(rgb: UInt8[np.ndarray, "*any 3"]) -> Float[np.ndarray, "*any 3"]:
    """Colours of sRGB in CIELAB, for daylight D65: lightness from 0 to 100, green to red, blue to yellow."""
    signal = rgb / 255.0
    linear = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    against_white = linear @ to_xyz.T / to_xyz.sum(axis=1)
    bent = np.where(
        against_white > (6 / 29) ** 3, np.cbrt(against_white), against_white / (3 * (6 / 29) ** 2) + 4 / 29
    )
    x, y, z = np.moveaxis(bent, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _is_drawn(
    place: Int[np.ndarray, "height width"],
    lab: Float[np.ndarray, "colours 3"],
    pixels_of: Int[np.ndarray, " colours"],
) -> Bool[np.ndarray, " colours"]:
    """Which colours are those of fills and lines, and not of edges."""
    corner, right, below, across = place[:-1, :-1], place[:-1, 1:], place[1:, :-1], place[1:, 1:]
    blocks = corner[(corner == right) & (corner == below) & (corner == across)]
    wide = np.bincount(blocks, minlength=len(lab)) >= LEAST_BLOCKS
    thin = (pixels_of >= LEAST_PIXELS) & (np.hypot(lab[:, 1], lab[:, 2]) >= GREY)
    return wide | thin | _has_run(place.ravel(), len(lab)) | _has_run(place.T.ravel(), len(lab))


def _has_run(places: Int[np.ndarray, " pixels"], n_colours: int) -> Bool[np.ndarray, " n_colours"]:
    """Which colours stand often enough one behind the other."""
    begins = np.flatnonzero(np.diff(places, prepend=-1))
    lengths = np.diff(begins, append=len(places))
    found = np.zeros(n_colours, dtype=bool)
    found[places[begins[lengths >= LEAST_RUN]]] = True
    return found


def _cover(
    lab: Float[np.ndarray, "colours 3"],
    wanted: Int[np.ndarray, " some"] | list[int],
    far: float,
    kept: list[int],
) -> list[int]:
    """`kept`, and in turn each of the `wanted` colours that lies farther than `far` from all that are in it."""
    chosen = list(kept)
    distance = np.full(len(lab), np.inf)
    for each in chosen:
        distance = np.minimum(distance, ((lab - lab[each]) ** 2).sum(axis=-1))
    for each in wanted:
        if distance[each] > far**2:
            chosen.append(int(each))
            distance = np.minimum(distance, ((lab - lab[each]) ** 2).sum(axis=-1))
    return chosen


def _write(picture: Image.Image) -> bytes:
    file, words = io.BytesIO(), PngInfo()
    words.add_text("Software", MAKER)
    picture.save(file, format="png", optimize=True, pnginfo=words)
    return file.getvalue()
