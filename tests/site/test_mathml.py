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
        (r"\operatorname{silu}(x)", "mo:silu mo:( mi:x mo:)"),
        (r"\text{top\_k}", "mtext:top_k"),
        (r"\mathbb{R}", "mi:\N{DOUBLE-STRUCK CAPITAL R}"),
    ],
)
def test_formula(tex, expected):
    assert shape(tex) == expected


@pytest.mark.parametrize(
    ("tex", "spaces"),
    [
        (r"\log p", ("0", "0.167em")),
        (r"p \log_2 p", ("0.167em", "0.167em")),
        (r"= \log (p)", ("0", "0")),
        (r"p \log \left( p \right)", ("0.167em", "0")),
    ],
)
def test_a_function_keeps_a_thin_space_from_what_is_no_bracket_and_no_operator(tex, spaces):
    (log,) = tree(tex).findall(".//mo[.='log']")
    assert (log.get("lspace"), log.get("rspace")) == spaces


def test_limits_stand_below_in_a_formula_that_stands_alone():
    assert shape(r"\max_i x", display=True) == "munder(mo:max mi:i) mi:x"
    assert shape(r"\max_i x") == "msub(mo:max mi:i) mi:x"
    assert tree("x", display=True).get("display") == "block"
    assert tree("x").get("display") == "inline"


@pytest.mark.parametrize("name", ["aligned", "align", "align*", "equation"])
def test_aligned_lines_are_a_table_without_numbers(name):
    math = tree(rf"\begin{{{name}}} a &= b \\ c &= d \end{{{name}}}", display=True)
    rows = math.findall(".//mtr")
    assert [len(row) for row in rows] == [2, 2]
    assert [cell.get("columnalign") for cell in rows[0]] == ["right", "left"]
    assert "&" not in "".join(math.itertext())


def test_the_tex_is_kept_for_those_who_copy_or_hear_it():
    assert tree('a <\n "b"').get("alttext") == 'a < "b"'


@pytest.mark.parametrize(
    ("tex", "reason"),
    [
        (r"\foo x", r"\foo is not known"),
        (r"\text{\textbf{a}}", r"\textbf is not known"),
        (r"\begin{tikz}a\end{tikz}", r"\begin{tikz} is not known"),
        (r"\frac{a}", "lacks an argument"),
        ("a_", "MissingSuperScriptOrSubscript"),
        ("x_i_j", "DoubleSubscripts"),
        (r"\left( x", "ExtraLeftOrMissingRight"),
        ("{a", "braces"),
        ("a}", "braces"),
        ("a & b", "an & outside of a table"),
        (r"\text{a <b> c}", "a < in a text"),
        (r"\mathop{\mathrm{a}}", "an argument, or has one that it does not take"),
        ("", "NoAvailableTokens"),
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
