"""TeX to MathML when the site is built, so that a page shows its formulas without a script and without a network.

latex2mathml converts. Its result is checked for what it did not know, and functions get the spaces that TeX gives.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert

ENVIRONMENTS = set("align* split cases array matrix pmatrix bmatrix vmatrix Vmatrix".split())
N_CHILDREN = {0: "mi mn mo mtext", 2: "mfrac msub msup mover munder mroot", 3: "msubsup munderover"}
# In a formula that stands alone, what "max" runs over is written below it.
LIMITS = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}
WITH_LIMITS = {"max", "min", "sup", "inf", "lim", "argmax", "argmin"}


class FormulaError(ValueError):
    """A formula that cannot be shown, and why."""


def to_mathml(tex: str, *, display: bool) -> str:
    """One `<math>` element; `display` is for a formula that stands alone. Raises `FormulaError`."""
    # Lines have no numbers here, and this is the only name by which latex2mathml knows such lines.
    source = re.sub(r"\{(align(ed)?|equation\*?)\}", "{align*}", " ".join(tex.split()))
    if unknown := set(re.findall(r"\\begin\{(.*?)\}", source)) - ENVIRONMENTS:
        raise FormulaError(f"\\begin{{{unknown.pop()}}} is not known")
    plain = re.sub(r"\\.", "", source)
    if plain.count("{") != plain.count("}"):
        raise FormulaError("its braces do not match")
    try:
        made = convert(source, display="block" if display else "inline")
        math = ElementTree.fromstring(re.sub(r' xmlns="[^"]*"', "", made))
    except ElementTree.ParseError:
        raise FormulaError("an & outside of a table, or a < in a text") from None
    except Exception as error:  # latex2mathml's exceptions have no common base, but telling names
        raise FormulaError(f"latex2mathml raises {type(error).__name__}") from None
    for element in math.iter():
        if element.tag == "mtext":
            element.text = re.sub(r"\\([_%&#$ {}])", r"\1", element.text or "")
        if command := re.search(r"\\[A-Za-z]+|\\.", element.text or ""):
            raise FormulaError(f"{command[0]} is not known")
        if any(element.tag in tags.split() and len(element) != n for n, tags in N_CHILDREN.items()):
            raise FormulaError("a command lacks an argument, or has one that it does not take")
        if display and element.tag in LIMITS and element[0].text in WITH_LIMITS:
            element.tag = LIMITS[element.tag]
    for row in (math, *math.iter("mrow"), *math.iter("mtd")):
        _space_functions(row)
    math.set("alttext", " ".join(tex.split()))
    return ElementTree.tostring(math, encoding="unicode", short_empty_elements=False)


def _space_functions(row: Element) -> None:
    """A thin space before and after the name of a function, but not beside an operator or a bracket."""
    for before, child, after in zip([None, *row], row, [*row[1:], None]):
        name = child[0] if child.tag in LIMITS or child.tag in LIMITS.values() else child
        if name.tag in ("mi", "mo") and re.fullmatch("[A-Za-z]{2,}", name.text or ""):
            name.tag = "mo"
            for side, neighbour in (("lspace", before), ("rspace", after)):
                if neighbour is not None and neighbour.tag == "mrow" and len(neighbour):
                    neighbour = neighbour[0]  # \left( ... \right)
                name.set(side, "0" if neighbour is None or neighbour.tag == "mo" else "0.167em")
