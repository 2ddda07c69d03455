"""Columns of words stand to the left, in a terminal and in a notebook; numbers stand to the right."""

from lab_utils.show.table import Table

TABLE = Table.of(["a", "b", "n"], [["x", "some words\nand more", "1"], ["yy", "few", "22"]], words=(1,))


def test_words_to_the_left_in_text():
    assert str(TABLE).splitlines() == [
        "a   b            n",
        "──────────────────",
        "x   some words   1",
        "    and more",
        "yy  few         22",
    ]


def test_words_to_the_left_in_html():
    html = TABLE._repr_html_()
    assert '<th style="text-align:left">b</th>' in html
    assert '<td style="text-align:left">few</td><td>22</td>' in html
