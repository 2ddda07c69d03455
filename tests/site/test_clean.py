"""Markup from outside: what shows stays, what runs or loads goes, and nothing gets out of its box."""

import pytest

from lab_utils.site.clean import clean


def cleaned(html: str, faults: list | None = None) -> str:
    kept: list[str] = [] if faults is None else faults
    result = clean(html, link=lambda href: f"to:{href}", picture=lambda src: f"pic:{src}", fault=kept.append)
    assert faults is not None or kept == []
    return result


@pytest.mark.parametrize(
    "html",
    [
        "<p>1 &lt; 2 &amp; <b>bold</b></p>",
        '<details open=""><summary>More</summary><pre>x  y</pre></details>',
        '<div style="color:#fff;display:flex" role="status">a</div>',
        '<svg viewbox="0 0 1 1"><path d="M0 0"></path></svg>',
        '<svg aria-label="url(x) is\\text"><rect fill="url(#hatch)"></rect></svg>',
        '<math display="block"><mfrac><mi>a</mi><mi>b</mi></mfrac></math>',
    ],
)
def test_what_shows_stays_as_it_is(html):
    assert cleaned(html) == html


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("a<script>alert(1)</script>b", "ab"),
        ("a<SCRIPT src=x></SCRIPT >b", "ab"),
        ("a<style>* { display: none }</style>b", "ab"),
        ("a<iframe src='x'><p>inner</p></iframe>b", "ab"),
        ("a<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>b", "ab"),
        ("<link rel=stylesheet href=x><meta http-equiv=refresh>b", "b"),
        ("<b onclick='x' ONMOUSEOVER=y class=z>b</b>", '<b class="z">b</b>'),
        ("<b style='background:url(x)'>b</b>", "<b>b</b>"),
        ("<b style='back\\67round:u\\72l(x)'>b</b>", "<b>b</b>"),
        ("<svg><path href='x' d='M0 0'/></svg>", '<svg><path d="M0 0"></path></svg>'),
        ("<svg><rect fill='url(//x/a)' width='1'/></svg>", '<svg><rect width="1"></rect></svg>'),
        ("<svg><rect fill='u\\72l(x)' width='1'/></svg>", '<svg><rect width="1"></rect></svg>'),
        ("<mrow href='javascript:x'></mrow>", "<mrow></mrow>"),
        (
            "<table background=x><tr><td>1</table>",
            '<div class="scroll"><table><tr><td>1</td></tr></table></div>',
        ),
        ("a<!-- b --><?php c ?>", "a"),
    ],
)
def test_what_runs_or_loads_goes(html, expected):
    assert cleaned(html) == expected


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("</div></section>a", "a"),
        ("<div><b>a</div>c", "<div><b>a</b></div>c"),
        ("<ul><li>a", "<ul><li>a</li></ul>"),
        ("<br/>a<hr>", "<br>a<hr>"),
        ('<b title="&quot;><i>">a</b>', '<b title="&quot;&gt;&lt;i&gt;">a</b>'),
    ],
)
def test_a_fragment_stays_in_its_box(html, expected):
    assert cleaned(html) == expected


def test_links_and_pictures_are_asked_for():
    assert (
        cleaned('<a href="x">l</a><img alt="p" src="y">') == '<a href="to:x">l</a><img alt="p" src="pic:y">'
    )


def test_an_unknown_element_is_told_and_not_swallowed():
    faults: list[str] = []
    assert cleaned("a list<int> of <b>numbers</b>", faults) == "a list of <b>numbers</b>"
    assert len(faults) == 1
    assert "<int>" in faults[0]


def test_what_is_lost_behind_a_script_that_never_ends_is_told():
    faults: list[str] = []
    assert cleaned("<p>a<script>never closed <b>b</b>", faults) == "<p>a</p>"
    assert faults == ["the element <script> is never closed, so all that follows it is lost"]
