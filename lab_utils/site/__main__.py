"""The course as an offline web site: every notebook with its committed outputs as a page, and an index.

    python -m lab_utils.site --out out/site

A page is one file that runs no script and loads nothing. Nothing is written while a formula cannot be shown or a
link leads nowhere. The things to move by hand, docs/play beside the notebooks, come along as they are: pages that load
nothing either, and whose script is in them. So does the reference of the core, made from its docstrings.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from lab_utils.machine.headless import read_notebook
from lab_utils.show.code import write_code_css
from lab_utils.show.page import make_page
from lab_utils.show.words import plural
from lab_utils.site.page import Page, check_links, read_page
from lab_utils.site.reference import FIRST, write_reference
from lab_utils.site.render import is_fresh
from nanokimi.system.atomic import write_text
from nanokimi.system.printable import one_line, show_every_letter

ROOT = Path(__file__).parents[2]
TITLE = "nanokimi: the course"
LEAD = "The notebooks with their results. To work on the exercises, open them with <code>make lab</code>."
REFERENCE = (
    f'<h2><a href="reference/{FIRST}">The reference of nanokimi</a></h2>'
    "<p>Every name that <code>import nanokimi</code> offers, with its arguments.</p>"
)


class SiteError(ValueError):
    """Why the site cannot be built, one line per fault."""


def build(notebooks: Path, out: Path, with_reference: bool = False) -> list[Page]:
    """Write the site of all notebooks in a folder into `out`. Raises `SiteError` before anything is written.

    with_reference: the reference of the core too, which takes some seconds.
    """
    pages = [read_page(path) for path in sorted(notebooks.glob("*.ipynb"))]
    if not pages:
        raise SiteError(f"{notebooks}: the folder has no notebooks")
    playthings = sorted((notebooks.parent / "docs" / "play").glob("*.html"))
    check_links(pages, playthings)
    if faults := [fault for page in pages for fault in page.faults]:
        raise SiteError("\n".join(faults))
    css = write_code_css(".highlight") + Path(__file__).with_name("site.css").read_text("utf-8")
    for before, page, after in zip([None, *pages], pages, [*pages[1:], None]):
        nav = _nav(before, after)
        body = f"<header>{nav}</header>\n<main>{_contents(page)}{page.body}</main>\n<footer>{nav}</footer>"
        write_text(out / f"{page.notebook.stem}.html", make_page(page.notebook.stem, body, css))
    rows = (f'<h2><a href="{page.address}">{page.title}</a></h2>{page.opening}' for page in pages)
    for each in playthings:
        write_text(out / "play" / each.name, each.read_text("utf-8"))
    rest = _list_playthings(playthings)
    if with_reference:
        write_reference(out / "reference")
        rest += REFERENCE
    index = f'<main class="index"><h1>{TITLE}</h1><p>{LEAD}</p>\n{"".join(rows)}{rest}</main>'
    write_text(out / "index.html", make_page(TITLE, index, css))
    return pages


def _nav(before: Page | None, after: Page | None) -> str:
    """Links to the notebook before, to the index, and to the notebook after."""
    back = f'<a rel="prev" href="{before.address}">← {before.title}</a>' if before else "<span></span>"
    on = f'<a rel="next" href="{after.address}">{after.title} →</a>' if after else "<span></span>"
    return f'<nav>{back}<a href="index.html">All notebooks</a>{on}</nav>'


def _list_playthings(playthings: Sequence[Path]) -> str:
    titles = {each.name: re.search("<title>(.*?)</title>", each.read_text("utf-8")) for each in playthings}
    rows = [f'<li><a href="play/{name}">{title[1]}</a></li>' for name, title in titles.items() if title]
    return f"<h2>To move by hand</h2><ul>{''.join(rows)}</ul>" if rows else ""


def _contents(page: Page) -> str:
    rows = [
        f'<li><a href="#{anchor}">{html}</a></li>' for level, anchor, html in page.headings if level == "2"
    ]
    return f"<details><summary>On this page</summary><ol>{''.join(rows)}</ol></details>" if rows else ""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 where the site cannot be built."""
    show_every_letter()
    parser = argparse.ArgumentParser(prog="python -m lab_utils.site", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--notebooks",
        type=Path,
        default=ROOT / "notebooks",
        help="another course than ours, which then comes without our reference",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "site", help="the folder to write to")
    options = parser.parse_args(argv)
    try:
        ours = options.notebooks == parser.get_default("notebooks")
        pages = build(options.notebooks, options.out, with_reference=ours)
    except (ValueError, OSError) as error:
        for line in str(error).splitlines():
            _tell(line)
        return 1
    for path in (page.notebook for page in pages):
        if not is_fresh(read_notebook(path)):
            _tell(f"{path.name}: its outputs are older than its code; run make render")
    print(one_line(f"site: {plural(len(pages), 'notebook')}; open {options.out / 'index.html'}"))
    return 0


def _tell(line: str) -> None:
    print(one_line(f"site: {line}"), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
