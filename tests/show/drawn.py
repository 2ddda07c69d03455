"""What stands in a drawing, read back from its SVG: texts with their places, boxes, colours."""

import re
import xml.etree.ElementTree as ElementTree
from typing import NamedTuple

from lab_utils.show.drawing import SIZES, Drawing, text_width

SVG = "{http://www.w3.org/2000/svg}"


class Text(NamedTuple):
    """A line of text, its look, the space that it takes, and how large its letters are."""

    text: str
    look: str
    left: float
    right: float
    top: float
    bottom: float
    size: float


def parse(drawing: Drawing) -> ElementTree.Element:
    return ElementTree.fromstring(drawing.svg)


def texts(drawing: Drawing) -> list[Text]:
    found = []
    for node in parse(drawing).iter(f"{SVG}text"):
        look, text = node.get("class").removeprefix("t-"), node.text
        size = float((re.findall(r"font-size:([\d.]+)", node.get("style", "")) or [SIZES[look]])[0])
        width = text_width(text, look) * size / SIZES[look]
        x, y = float(node.get("x")), float(node.get("y"))
        left = x - width * {None: 0, "middle": 0.5, "end": 1}[node.get("text-anchor")]
        found.append(Text(text, look, left, left + width, y - 0.8 * size, y + 0.25 * size, size))
    return found


def boxes(drawing: Drawing, look: str = "edge") -> list[tuple[float, float, float, float]]:
    """Left, top, right, bottom of the boxes whose class ends in `look`; frames are "dashed", marks are "marked"."""
    found = []
    for node in parse(drawing).iter(f"{SVG}rect"):
        if node.get("class", "").endswith(look):
            x, y, width, height = (float(node.get(key)) for key in ("x", "y", "width", "height"))
            found.append((x, y, x + width, y + height))
    return found


def assert_readable(drawing: Drawing, smallest: float = 8.0) -> None:
    """Each text stands within its box and the sheet, on no edge and no other text, and is large enough."""
    written = texts(drawing)
    shapes = [*boxes(drawing), *boxes(drawing, "dashed"), *boxes(drawing, "marked")]
    assert written
    for one in written:
        assert one.size >= smallest, one
        assert one.left >= 0 and one.right <= drawing.width, one
        assert one.top >= 0 and one.bottom <= drawing.height, one
        for left, top, right, bottom in shapes:
            if one.left < right and left < one.right and one.top < bottom and top < one.bottom:
                assert left <= one.left and one.right <= right, one
                assert top - 0.5 <= one.top and one.bottom <= bottom + 0.5, one
    for i, one in enumerate(written):
        for other in written[:i]:
            apart = one.right <= other.left or other.right <= one.left
            assert apart or one.bottom <= other.top or other.bottom <= one.top, (one, other)
