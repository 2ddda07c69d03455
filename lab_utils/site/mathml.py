"""TeX to MathML at build time, so that a page shows its formulas without a script and without a network.

latex2mathml converts, and lets much pass that it does not know; what it leaves is looked through here: an unknown
command is an error, and a few things are put as browsers draw them best.
"""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert

N_CHILDREN = dict.fromkeys("mfrac msub msup mover munder mroot".split(), 2) | {"msubsup": 3, "munderover": 3}
TOKENS = {"mi", "mn", "mo", "mtext"}
# In a formula that stands alone, what "max" runs over stands below it.
LIMITS = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}
WITH_LIMITS = {"max", "min", "sup", "inf", "lim", "argmax", "argmin", "arg\u2009max", "arg\u2009min"}
ACCENTS = set("~^\u00af\u02c7\u02d9\u2192\u2015")
# What latex2mathml calls an identifier although it stands between or around things: \sim, \setminus, \mid and others.
BRACKETS = set("⌊⌋⌈⌉⟨⟩‖|")
OPERATORS = {"~": "\u223c"} | {c: c for c in ("\u29f5", "\u2223", *"±∓⟹⟺⟸", *BRACKETS)}
ENVIRONMENTS = set("align* split cases array matrix pmatrix bmatrix vmatrix Vmatrix".split())
THIN = "0.167em"


class FormulaError(ValueError):
    """A formula that cannot be shown, and why."""


def to_mathml(tex: str, *, display: bool) -> str:
    """One `<math>` element; `display` is for a formula that stands alone. Raises `FormulaError`."""
    words = " ".join(tex.split())
    source = re.sub(
        r"\{align(ed)?\}", "{align*}", words
    )  # without numbers, by the name that latex2mathml knows
    if strange := set(re.findall(r"\\begin\{(.*?)\}", source)) - ENVIRONMENTS:
        raise FormulaError(f"\\begin{{{strange.pop()}}} is not known")
    try:
        made = convert(source, display="block" if display else "inline")
        math = ElementTree.fromstring(re.sub(r' xmlns="[^"]*"', "", made))
    except ElementTree.ParseError:
        raise FormulaError("an & outside of a table, or a < in a text") from None
    except Exception as error:  # latex2mathml's exceptions have no base of their own
        # ... and most have no message either, but a telling name: DoubleSubscriptsError.
        name = re.sub(r"(?<!^)(?=[A-Z])", " ", type(error).__name__.removesuffix("Error")).lower()
        raise FormulaError(name) from None
    _refuse_what_is_left(math)
    plain = re.sub(r"\\.", "", words)
    if plain.count("{") != plain.count("}"):
        raise FormulaError("its braces do not match")
    _mend(math, display=display)
    math.set("alttext", words)
    return ElementTree.tostring(math, encoding="unicode", short_empty_elements=False)


def _refuse_what_is_left(math: Element) -> None:
    """`FormulaError` for TeX that came through unconverted, and for a command that lacks an argument."""
    for element in math.iter():
        text = element.text or ""
        if element.tag == "mtext":
            element.text = text = re.sub(r"\\([_%&#$ {}])", r"\1", text)
        if command := re.search(r"\\[A-Za-z]+|\\.", text):
            raise FormulaError(f"{command[0]} is not known")
        if element.tag in TOKENS and len(element) > 0:
            raise FormulaError("\\mathop takes a word only, as in \\operatorname{softmax}")
        if len(element) != N_CHILDREN.get(element.tag, len(element)):
            raise FormulaError("a command lacks an argument")


def _mend(math: Element, *, display: bool) -> None:
    for element in list(math.iter()):
        if element.tag == "mrow" and len(element) > 1 and all(_is_upright_letter(child) for child in element):
            word = "".join(child.text for child in element)  # \mathrm{softmax} comes letter by letter
            element[:], element.tag, element.text = [], "mi", word
    for element in list(math.iter()):
        text = element.text or ""
        if element.tag in LIMITS and display and element[0].text in WITH_LIMITS:
            element.tag = LIMITS[element.tag]
        if element.tag == "mi" and text in OPERATORS:
            element.tag, element.text = "mo", OPERATORS[text]
            if text in BRACKETS:
                element.set("stretchy", "false")
        if element.tag == "mo" and _is_word(element):
            element.tag = "mi"  # as an operator it would keep away even from its bracket
        if element.tag == "mover" and element[1].text in ACCENTS:
            element.set("accent", "true")
        if element.tag == "mspace" and element.get("width") == "negativethinmathspace":
            element.set("width", f"-{THIN}")
        if element.tag == "mrow" and len(element) == 1 and element[0].text == ",":
            element[0].set("lspace", "0")  # {,} as in 1{,}000 separates nothing
            element[0].set("rspace", "0")
    for row in list(math.iter()):
        _join_bars(row)
        if row.tag in ("math", "mrow", "mtd", "mstyle", "msqrt"):
            _space_words(row)


def _join_bars(row: Element) -> None:
    """|| is one sign, and no bar keeps a distance as if it stood between two things."""
    for left, right in itertools.pairwise(list(row)):
        if left.tag == right.tag == "mo" and left.text == right.text == "|":
            row.remove(left)
            right.text = "‖"
    for child in row:
        if child.text in ("|", "‖") and child.get("stretchy") == "false":
            child.set("lspace", "0")
            child.set("rspace", "0")


def _is_upright_letter(element: Element) -> bool:
    return element.tag == "mi" and element.get("mathvariant") == "normal" and len(element.text or "") == 1


def _is_word(element: Element) -> bool:
    """Whether it is the name of a function: log, or log with a base."""
    if element.tag in (*LIMITS, *LIMITS.values()):
        return _is_word(element[0])
    return element.tag in ("mi", "mo") and re.fullmatch(r"[A-Za-z\u2009]{2,}", element.text or "") is not None


def _space_words(row: Element) -> None:
    """A thin space between a function's name and what stands beside it, if that is no operator or bracket."""
    children = list(row)
    for left, right in reversed(list(itertools.pairwise(children))):
        apart = "mo" not in (left.tag, right.tag) and "mspace" not in (left.tag, right.tag)
        starts_with_bracket = right.tag == "mrow" and len(right) > 0 and right[0].tag == "mo"
        if apart and not starts_with_bracket and (_is_word(left) or _is_word(right)):
            row.insert(list(row).index(right), Element("mspace", {"width": THIN}))
