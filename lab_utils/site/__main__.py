"""The course as an offline web site: every notebook with its committed outputs as a page, and an index.

    python -m lab_utils.site --out out/site

A page is one file that runs no script and loads nothing; its Content-Security-Policy lets the browser hold it to
that. Nothing is written while a formula cannot be shown or a link is broken.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import nbformat
from nbconvert.filters.highlight import Highlight2HTML

from lab_utils.site.page import Link, Page, read_page
from lab_utils.site.render import is_fresh

ROOT = Path(__file__).parents[2]
TITLE = "nanokimi: the course"
LEAD = (
    "Build Kimi K2's architecture from nothing, notebook by notebook, and train it against a GPT. These pages show "
    "the notebooks as they ran. To write the exercises and have them checked, open them with <code>make lab</code>."
)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
LANGUAGES = {
    ".py": "python",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".json": "json",
    ".md": "markdown",
}


class SiteError(ValueError):
    """What keeps the site from being built, a line each."""


def build(notebooks: Path, out: Path, root: Path = ROOT) -> list[Page]:
    """Write the site of all notebooks in a folder into `out`. Raises `SiteError` before anything is written."""
    paths = sorted(notebooks.glob("*.ipynb"))
    if not paths:
        raise SiteError(f"{notebooks}: there are no notebooks in it")
    pages = [read_page(path, root) for path in paths]
    if faults := [fault for page in pages for fault in page.faults] + _lost_anchors(pages):
        raise SiteError("\n".join(faults))
    files = {"index.html": _index(pages)}
    for i, page in enumerate(pages):
        before, after = (pages[j] if 0 <= j < len(pages) else None for j in (i - 1, i + 1))
        files[f"{page.notebook.stem}.html"] = _page(page, before, after)
    for target in sorted({link.target for page in pages for link in page.links}):
        if target.suffix != ".ipynb":
            name = target.relative_to(root.resolve())
            files[f"files/{name.as_posix()}.html"] = _file(name, target)
    for name, html in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(html, encoding="utf-8")
    return pages


def _lost_anchors(pages: Sequence[Page]) -> list[str]:
    """Links to a heading that is not there."""
    anchors = {page.notebook: page.anchors for page in pages}

    def is_lost(link: Link) -> bool:
        return bool(link.fragment) and link.fragment not in anchors.get(link.target, set())

    return [
        f"{page.notebook.name}, cell {link.cell}: the link {link.href} leads to no heading of {link.target.name}"
        for page in pages
        for link in page.links
        if is_lost(link)
    ]


def _shell(title: str, body: str) -> str:
    style = Path(__file__).with_name("site.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _page(page: Page, before: Page | None, after: Page | None) -> str:
    body = (
        f'<header class="top">{_ways(before, after)}</header>\n<main>\n{_contents(page)}{page.body}\n</main>\n'
        f"<footer>{_ways(before, after)}</footer>"
    )
    return _shell(page.opening.title, body)


def _ways(before: Page | None, after: Page | None) -> str:
    """To the notebook before, to all of them, to the one after."""

    def name(page: Page) -> str:
        number, dot, title = page.opening.title.partition(" · ")
        return f'{escape(number)}<span class="title">{escape(dot + title)}</span>'

    back = f'<a rel="prev" href="{_address(before)}">← {name(before)}</a>' if before else ""
    on = f'<a rel="next" href="{_address(after)}">{name(after)} →</a>' if after else ""
    middle = '<a href="index.html">All notebooks</a>'
    return (
        f'<nav class="course" aria-label="Notebooks"><span>{back}</span><span>{middle}</span>'
        f"<span>{on}</span></nav>"
    )


def _address(page: Page) -> str:
    return quote(f"{page.notebook.stem}.html")


def _contents(page: Page) -> str:
    rows = "".join(
        f'<li><a href="#{quote(heading.anchor)}">{heading.html}</a></li>'
        for heading in page.headings
        if heading.level == 2
    )
    return (
        f'<details class="contents"><summary>On this page</summary><ol>{rows}</ol></details>\n'
        if rows
        else ""
    )


def _index(pages: Sequence[Page]) -> str:
    rows = ""
    for page in pages:
        takes = page.takes.removeprefix("<p>").removesuffix("\n").removesuffix("</p>")
        rows += (
            f'<li><h2><a href="{_address(page)}">{escape(page.opening.title)}</a></h2>{page.aim}'
            + (f'<p class="quiet"><b>Takes</b> {takes}</p>' if takes else "")
            + "</li>\n"
        )
    return _shell(TITLE, f'<main><h1>{TITLE}</h1><p>{LEAD}</p><ol class="notebooks">\n{rows}</ol></main>')


def _file(name: Path, target: Path) -> str:
    """A text file that a notebook links to, for reading."""
    highlight = Highlight2HTML(pygments_lexer=LANGUAGES.get(name.suffix, "text"))
    back = "../" * len(name.parts)
    return _shell(
        name.as_posix(),
        f'<header><nav class="course"><span><a href="{back}index.html">All notebooks</a></span></nav></header>'
        f'<main class="file"><h1>{escape(name.as_posix())}</h1>'
        f"{highlight(target.read_text(encoding='utf-8'))}</main>",
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab_utils.site")
    parser.add_argument(
        "--notebooks", type=Path, default=ROOT / "notebooks", help="the folder with the notebooks"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "site", help="the folder to write to")
    options = parser.parse_args(argv)
    try:
        pages = build(options.notebooks, options.out)
    except (SiteError, OSError, nbformat.reader.NotJSONError) as error:
        for line in str(error).splitlines():
            print(f"site: {line}", file=sys.stderr)
        return 1
    for page in pages:
        if not is_fresh(nbformat.read(page.notebook, as_version=4)):
            print(
                f"site: {page.notebook.name}: its outputs are older than its code; run make render",
                file=sys.stderr,
            )
    print(f"site: {len(pages)} notebooks; open {options.out / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
