"""The site of the course's own notebooks in a browser: it fits a narrow screen, asks for nothing, runs no script."""

import pytest

from lab_utils.site.__main__ import ROOT, build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    build(ROOT / "notebooks", out)
    return out


@pytest.mark.parametrize("width", [1200, 400])
def test_every_page_fits_its_window_and_asks_for_nothing(site, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked, told = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: told.append(message.text))
    paths = sorted(site.glob("*.html"))
    for path in paths:
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
        assert page.evaluate("document.scripts.length") == 0, path.name
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)"), path.name
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri() for path in paths]
    assert told == []
    page.close()


def test_a_formula_is_drawn_as_one(site, browser):
    page = browser.new_page()
    page.goto((site / "04_topk_routing.html").as_uri())
    assert page.locator("math").count() > 10
    assert page.locator("math msub").first.bounding_box()["width"] > 5
    page.close()
