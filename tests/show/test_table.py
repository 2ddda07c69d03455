"""A table as text and as HTML."""

from lab_utils.show.table import Table, as_html, as_text


def test_text_table_is_aligned_and_fills_short_cells():
    table = Table((("a",), ("long", "head")), ((("x",), ("1", "22")), (("yy",), ("333",))))
    assert as_text(table) == "a   long\n    head\n────────\nx      1\n      22\nyy   333"


def test_html_table_escapes():
    html = as_html(Table((("<a>",),), ((("<b>", "<c>"),),)))
    assert "&lt;a&gt;" in html and "&lt;b&gt;<br><small>&lt;c&gt;</small>" in html
