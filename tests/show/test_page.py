"""An HTML document that needs no network."""

from lab_utils.show.page import make_page


def test_a_page_forbids_the_browser_to_load_anything_and_escapes_its_title():
    html = make_page("a < b", "<main>x</main>", "p { color: red }")
    assert "<title>a &lt; b</title>" in html
    assert "<main>x</main>" in html and "p { color: red }" in html
    assert "default-src 'none'" in html and "img-src data:" in html
    assert "url(" not in html and "@import" not in html and "<script" not in html
