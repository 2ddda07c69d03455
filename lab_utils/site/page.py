"""One notebook with its committed outputs as the HTML of a page; what cannot be shown is told as a fault."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import nbformat
from nbconvert.exporters.html import HTMLExporter, contextfilter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from lab_utils.machine.headless import read_notebook
from lab_utils.site.clean import clean
from lab_utils.site.mathml import FormulaError, to_mathml


@dataclass
class Page:
    """A notebook as HTML, with the relative links in it; `faults` are lines that name the cell."""

    notebook: Path
    body: str = ""
    links: list[tuple[str, str]] = field(default_factory=list)  # the cell's id, the address
    faults: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return quote(f"{self.notebook.stem}.html")

    @property
    def headings(self) -> list[tuple[str, str, str]]:
        """Level, anchor and HTML of every heading."""
        return re.findall(r'<h(\d) id="(.*?)">(.*?)<a class="anchor-link"', self.body)

    @property
    def title(self) -> str:
        return self.headings[0][2] if self.headings else self.notebook.stem

    @property
    def opening(self) -> str:
        """The first two paragraphs: what a reader will be able to do, and what it takes."""
        return "".join(re.findall(r"<p>.*?</p>", self.body, re.S)[:2])

    def add_fault(self, cell: str, says: str) -> None:
        self.faults.append(f"{self.notebook.name}, cell {cell}: {says}")


def read_page(notebook: Path) -> Page:
    """The page of a notebook. What is wrong with it is in its `faults`; its links are checked by `check_links`."""
    page = Page(notebook)
    page.body, _ = _Exporter(page).from_notebook_node(read_notebook(notebook))
    return page


def check_links(pages: list[Page], playthings: list[Path]) -> None:
    """Add a fault for every link that leads to no notebook of the site, to no heading in it, and to no plaything."""
    anchors = {each.notebook.name: {"", *(unquote(a) for _, a, _ in each.headings)} for each in pages}
    anchors |= {f"../docs/play/{each.name}": {""} for each in playthings}
    for page in pages:
        for cell, url in page.links:
            path, _, anchor = unquote(url).partition("#")
            if anchor not in anchors.get(path or page.notebook.name, ()):
                page.add_fault(cell, f"the link {url} leads to no heading or notebook of the site")


class _Exporter(HTMLExporter):
    """nbconvert's exporter, with MathML for formulas and `clean` wherever text becomes markup."""

    def __init__(self, page: Page):
        self._page = page
        super().__init__(
            raw_template="{%- extends 'classic/base.html.j2' -%}",
            filters={"clean_html": clean},
            sanitize_html=True,  # the template then calls clean_html
            exclude_input_prompt=True,
            exclude_output_prompt=True,
        )

    @property
    def default_config(self):
        config = super().default_config
        shown = "text/html text/markdown image/svg+xml image/png image/jpeg text/plain".split()
        config.NbConvertBase.display_data_priority = shown
        return config

    @contextfilter
    def markdown2html(self, context, source: str) -> str:
        return MarkdownWithMath(_Renderer(self._page, context["cell"])).render(source)


class _Renderer(IPythonRenderer):
    """nbconvert's renderer of markdown, with MathML for formulas, links between the pages, and pictures inside."""

    def __init__(self, page: Page, cell: nbformat.NotebookNode):
        folder, attachments = str(page.notebook.parent), cell.get("attachments", {})
        super().__init__(escape=False, embed_images=True, path=folder, attachments=attachments)
        self._page, self._cell = page, cell.id

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if urlsplit(url).scheme not in ("http", "https", "mailto"):
            self._page.links.append((self._cell, url))
            url = re.sub(r"\.ipynb(?=#|$)", ".html", url).removeprefix("../docs/")
        return super().link(text, url, title)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        html = super().image(text, url, title)
        if 'src="data:image/' not in html:
            self._page.add_fault(self._cell, f"the picture {url} is no picture file beside the notebook")
        return html

    def _html_embed_images(self, html: str) -> str:
        return html  # nbconvert's own closes the elements that a block of HTML leaves open, like <details>

    def text(self, text: str) -> str:
        if "$" in text and text != "$":  # an escaped \$ comes as a text of its own
            self._page.add_fault(self._cell, f"a $ opens no formula in {text[:60]!r}; write \\$")
        return super().text(text)

    def inline_math(self, body: str, display: bool = False) -> str:
        try:
            return to_mathml(body, display=display)
        except FormulaError as error:
            self._page.add_fault(
                self._cell, f"the formula ${' '.join(body.split())}$ cannot be shown: {error}"
            )
            return ""

    def block_math(self, body: str) -> str:
        return f'<span class="formula">{self.inline_math(body, display=True)}</span>'

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")
