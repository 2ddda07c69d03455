"""Formulas as MathML: right for what the course writes, and an error for what cannot be shown."""

from xml.etree import ElementTree

import pytest

from lab_utils.site.mathml import FormulaError, to_mathml


def tree(tex: str, *, display: bool = False) -> ElementTree.Element:
    return ElementTree.fromstring(to_mathml(tex, display=display))


def shape(tex: str, *, display: bool = False) -> str:
    """The elements and their texts, without attributes and the outermost ones: msub(mi:x mi:i)."""

    def written(element: ElementTree.Element) -> str:
        inside = " ".join(map(written, element))
        return f"{element.tag}({inside})" if len(element) else f"{element.tag}:{element.text or ''}"

    (row,) = tree(tex, display=display)
    return " ".join(map(written, row))


@pytest.mark.parametrize(
    ("tex", "expected"),
    [
        (r"x_i^2", "msubsup(mi:x mi:i mn:2)"),
        (r"\frac{a}{b}", "mfrac(mrow(mi:a) mrow(mi:b))"),
        # Names of functions are upright words, with a thin space beside what is no bracket.
        (r"\log p", "mi:log mspace: mi:p"),
        (r"p \log_2 p", "mi:p mspace: msub(mi:log mn:2) mspace: mi:p"),
        (r"\operatorname{silu}(x)", "mi:silu mo:( mi:x mo:)"),
        (r"\mathrm{RMS}(x)", "mi:RMS mo:( mi:x mo:)"),
        # What stands between or around things is an operator.
        (r"a \sim b", "mi:a mo:\N{TILDE OPERATOR} mi:b"),
        (r"\lfloor x \rfloor", "mo:⌊ mi:x mo:⌋"),
        (r"||p||", "mo:‖ mi:p mo:‖"),
        (r"\text{top\_k}", "mtext:top_k"),
        (r"\mathbb{R}", "mi:\N{DOUBLE-STRUCK CAPITAL R}"),
    ],
)
def test_formula(tex, expected):
    assert shape(tex) == expected


def test_limits_stand_below_in_a_formula_that_stands_alone():
    assert shape(r"\max_i x", display=True) == "munder(mi:max mi:i) mspace: mi:x"
    assert shape(r"\max_i x") == "msub(mi:max mi:i) mspace: mi:x"
    assert tree("x", display=True).get("display") == "block"
    assert tree("x").get("display") == "inline"


@pytest.mark.parametrize("name", ["aligned", "align", "align*"])
def test_aligned_lines_are_a_table_without_numbers(name):
    math = tree(rf"\begin{{{name}}} a &= b \\ c &= d \end{{{name}}}", display=True)
    rows = math.findall(".//mtr")
    assert [len(row) for row in rows] == [2, 2]
    assert [cell.get("columnalign") for cell in rows[0]] == ["right", "left"]
    assert "&" not in "".join(math.itertext())


def test_a_comma_in_braces_keeps_no_distance():
    (comma,) = tree("1{,}000").findall(".//mo")
    assert (comma.text, comma.get("lspace"), comma.get("rspace")) == (",", "0", "0")
    (comma,) = tree("f(a, b)").findall(".//mo[.=',']")
    assert comma.get("rspace") is None


def test_an_accent_lies_close_to_its_letter():
    assert tree(r"\tilde q").find(".//mover").get("accent") == "true"


def test_the_tex_is_kept_for_those_who_copy_or_hear_it():
    assert tree('a <\n "b"').get("alttext") == 'a < "b"'


@pytest.mark.parametrize(
    ("tex", "reason"),
    [
        (r"\foo x", r"\foo is not known"),
        (r"\text{\textbf{a}}", r"\textbf is not known"),
        (r"\begin{tikz}a\end{tikz}", r"\begin{tikz} is not known"),
        (r"\frac{a}", "lacks an argument"),
        ("a_", "missing super script or subscript"),
        ("x_i_j", "double subscripts"),
        (r"\left( x", "extra left or missing right"),
        ("{a", "braces"),
        ("a}", "braces"),
        ("a & b", "an & outside of a table"),
        (r"\text{a <b> c}", "a < in a text"),
        (r"\mathop{\mathrm{a}}", r"\operatorname"),
        ("", "no available tokens"),
    ],
)
def test_what_cannot_be_shown_is_an_error_in_one_line(tex, reason):
    with pytest.raises(FormulaError) as error:
        to_mathml(tex, display=False)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "tex", [r"\{a\}", r"a \\ b", r"\left\{ x \right.", r"\begin{cases} 1 & x \\ 0 & y \end{cases}"]
)
def test_braces_that_are_meant_are_no_error(tex):
    tree(tex)
