"""Source in colours: the reader's theme gives them, nothing in it is markup, and long lines are scrolled to."""

import re

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from lab_utils.show.code import LOOKS, Code, write_code_css
from lab_utils.show.colours import INK, PAPER

SOURCE = 'class A:\n    @property\n    def f(self, x):  # c\n        return x is not None and "s", 1.5\n'


def test_every_colour_asks_the_theme_first_and_the_box_has_ink_and_paper():
    """In a dark theme a colour of our own would stand on the theme's paper, or the theme's ink on ours."""
    html = Code(SOURCE)._repr_html_()
    assert f"color:{INK};background:{PAPER}" in html.partition("<pre")[0]
    # JupyterLab gives every <pre> the colour of its theme.
    assert "background:none;color:inherit" in html
    colours = re.findall(r"(?<=[;\"])(?:color|background):([^;\"]*)", html)
    assert len(colours) > 8
    assert all(re.fullmatch(r"(var|color-mix)\(.*\)|none|inherit", each) for each in colours)
    assert "#" not in re.sub(r"var\(--jp-[\w-]+,#\w+\)|# c", "", html)


def test_the_words_have_the_looks_of_their_kinds():
    html = Code(SOURCE)._repr_html_()
    word = dict((text, look) for look, text in re.findall(r'<span style="([^"]*)">(.*?)</span>', html))
    looks = [look for _, look in LOOKS]
    assert word["# c"] == looks[0] and word["def"] == word["is"] == looks[1]
    assert word["f"] == word["A"] == looks[5] and word["1.5"] == looks[4]
    assert word["&quot;s&quot;"] == looks[3]


def test_a_page_s_rules_give_the_same_looks_to_pygments_classes():
    rules = dict(re.findall(r"^(.*) \{ (.*) \}$", write_code_css(".c"), re.M))
    looks = {name: look for names, look in rules.items() for name in names.split(",")}
    theirs = highlight(SOURCE, PythonLexer(), HtmlFormatter())
    for name, text in re.findall(r'<span class="(\w+)">(def|# c|1\.5|f|A|is)</span>', theirs):
        ours = re.search(rf'style="([^"]*)">{re.escape(text)}</span>', Code(SOURCE)._repr_html_())
        assert looks[f".c .{name}"] == ours[1], text


def test_lines_of_code_are_scrolled_to_and_not_broken_within_words():
    html = Code("x = y")._repr_html_()
    assert "white-space:pre;" in html and 'tabindex="0"' in html


def test_code_is_escaped_and_nothing_of_it_is_lost():
    html = Code('x = "<b>&"\n')._repr_html_()
    assert "<b>" not in html
    assert re.sub("<[^>]*>", "", html) == "x = &quot;&lt;b&gt;&amp;&quot;\n"


def test_a_title_folds_it():
    assert Code("x = 1", "t")._repr_html_().startswith('<details><summary style="overflow-wrap:anywhere">t<')
