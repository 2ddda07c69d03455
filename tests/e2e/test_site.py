"""The site of the course's own notebooks in a browser: it fits a narrow screen, asks for nothing, runs no script."""

import pytest

from lab_utils.bench.report import render
from lab_utils.site.__main__ import ROOT, build
from tests.bench.made_up_results import three_seeds
from tests.e2e.contrast import too_faint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    build(ROOT / "notebooks", out)
    return out


# The smallest letters of our pictures have 6.5 points, at 100 dots per inch 9.03 pixels: so none may be made smaller.
UNSHRUNK = "[...document.images].every(image => image.clientWidth >= 0.999 * image.naturalWidth)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_every_page_fits_its_window_and_asks_for_nothing(site, browser, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked, told = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: told.append(message.text))
    paths = sorted(site.glob("*.html"))
    for path in paths:
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
        assert page.evaluate("document.scripts.length") == 0, path.name
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)"), path.name
        assert page.evaluate(UNSHRUNK), path.name
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
        assert too_faint(page, "body") == [], path.name
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri() for path in paths]
    assert told == []
    page.close()


def test_a_formula_is_drawn_as_one(site, browser):
    page = browser.new_page()
    page.goto((site / "04_topk_routing.html").as_uri())
    assert page.locator("math").count() > 10
    assert page.locator("math msub").first.bounding_box()["width"] > 5
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_the_report_fits_and_can_be_read(browser, tmp_path, width, scheme):
    (tmp_path / "report.html").write_text(render(three_seeds(), tmp_path), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto((tmp_path / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.images.length") > 0 and page.evaluate(UNSHRUNK)
    assert too_faint(page, "body") == []
    page.close()
