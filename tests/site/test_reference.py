"""Every public name stands in the reference with its docstring, and the pages load nothing."""

import html
import inspect
import os
import re

import pytest

import nanokimi
from lab_utils.site.__main__ import build
from lab_utils.site.reference import FIRST, MODULES, write_reference
from tests.site.made_up_site import markdown, write_notebooks


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("reference")
    write_reference(out)
    return {
        path.relative_to(out).as_posix(): path.read_text(encoding="utf-8") for path in out.rglob("*.html")
    }


def words(text: str) -> str:
    """The letters and digits alone: markup and markdown change the rest."""
    return " ".join(re.findall(r"\w+", html.unescape(re.sub(r"<[^>]*>", "", text))))


@pytest.mark.parametrize("name", nanokimi.__all__)
def test_every_public_name_has_its_entry_with_its_docstring(pages, name):
    _, found, entry = pages[FIRST].partition(f'<section id="{name}">')
    assert found
    docstring = inspect.getdoc(getattr(nanokimi, name)).partition("\n>>> ")[0]
    assert words(docstring) in words(entry.partition("</section>")[0])


def test_every_module_has_a_page_that_the_others_lead_to(pages):
    assert {f"{module.replace('.', '/')}.html" for module in MODULES} == pages.keys()
    for address, page in pages.items():
        for link in re.findall(r'href="([^"#:]*\.html)', page):
            there = os.path.normpath(os.path.join(os.path.dirname(address), link))
            assert there in pages, f"{address} leads to {link}"


def test_the_pages_run_no_script_and_load_nothing(pages):
    for address, page in pages.items():
        assert "<script" not in page, address
        loads = re.findall(r'(?:src=|<link[^>]*href=|url\(|@import )\s*"?(?!data:)([^")\s>]+)', page)
        assert [each for each in loads if not each.startswith(("#", "data:"))] == [], address


def test_no_argument_runs_into_the_line_before(pages):
    """`steps:` and `schedule:` begin lines in the docstring of TrainConfig, and on its page."""
    assert re.search(r"(<br\s*/?>|<p>)\s*schedule: ", pages[FIRST])


def test_the_sites_index_leads_to_it(tmp_path):
    notebooks = write_notebooks(tmp_path / "project", n01=[markdown("## Here", "here")])
    build(notebooks, tmp_path / "out", with_reference=True)
    (link,) = re.findall('href="(reference/[^"]*)"', (tmp_path / "out" / "index.html").read_text("utf-8"))
    assert (tmp_path / "out" / link).is_file()
    build(notebooks, tmp_path / "other")
    assert "reference" not in (tmp_path / "other" / "index.html").read_text("utf-8")
