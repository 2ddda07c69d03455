"""The things to move by hand: pages that need nothing but themselves, alike, and part of the site."""

import re
from pathlib import Path

import pytest

from lab_utils.site.__main__ import build
from tests.site.made_up_site import markdown, read_site, write_notebooks

PLAY = Path(__file__).parents[2] / "docs" / "play"
PAGES = sorted(PLAY.glob("*.html"))
LINKED = {"rope.html": "02_attention", "router.html": "04_topk_routing", "muon.html": "07_muon_and_muonclip"}
each_page = pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)


def shared(path: Path) -> tuple[str, str]:
    """What is the same in all pages: the styles, and the first script."""
    text = path.read_text(encoding="utf-8")
    return re.search("<style>.*?</style>", text, re.S)[0], re.search("<script>.*?</script>", text, re.S)[0]


def test_there_are_three():
    assert {path.name for path in PAGES} == set(LINKED)


@each_page
def test_a_page_is_alone_and_small(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) <= 200_000
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';" in text
    assert set(re.findall(r"\w+://[\w./]+", text)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert not re.search(r"\bsrc(?:set)?=|@import|url\(|\bfetch\(|XMLHttp", text)


@each_page
def test_what_the_pages_share_is_the_same(path):
    assert shared(path) == shared(PAGES[0])


@each_page
def test_a_notebook_links_to_it(path):
    notebook = PLAY.parents[1] / "notebooks" / f"{LINKED[path.name]}.ipynb"
    assert f"(../docs/play/{path.name})" in notebook.read_text(encoding="utf-8")


def test_the_site_has_them_and_the_links_lead_there(tmp_path):
    text = "[dial](../docs/play/rope.html)"
    notebooks = write_notebooks(tmp_path, n01=[markdown(text, "here")])
    folder = tmp_path / "docs" / "play"
    folder.mkdir(parents=True)
    page = (PLAY / "rope.html").read_text(encoding="utf-8")
    (folder / "rope.html").write_text(page, encoding="utf-8")
    build(notebooks, tmp_path / "out")
    assert (tmp_path / "out" / "play" / "rope.html").read_text(encoding="utf-8") == page
    site = read_site(tmp_path / "out")
    for name in ("n01.html", "index.html"):
        assert "play/rope.html" in [a.attrs.get("href") for a in site[name].all("a")]


def test_a_link_to_no_plaything_is_a_fault(tmp_path):
    notebooks = write_notebooks(tmp_path, n01=[markdown("[dial](../docs/play/rope.html)", "here")])
    with pytest.raises(
        ValueError, match=r"n01\.ipynb, cell here: the link \.\./docs/play/rope\.html leads to no"
    ):
        build(notebooks, tmp_path / "out")
