"""One notebook with its committed outputs as the HTML of a page, and everything about it that the site must know."""

from __future__ import annotations

import base64
import mimetypes
import re
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import nbformat
from nbconvert.exporters.html import HTMLExporter, contextfilter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

from lab_utils.site.clean import clean
from lab_utils.site.mathml import FormulaError, to_mathml

# nbconvert's own blocks for outputs; ours for what stands around them. `clean_html` is `PageExporter.clean_html`.
TEMPLATE = """
{%- extends 'classic/base.html.j2' -%}
{%- block codecell -%}
<section id="{{ cell.id | cell_anchor }}" class="cell code{{ cell | marks_of }}">
{%- if 'exercise' in cell.metadata.get('tags', []) %}<p class="mark">Your turn</p>{% endif -%}
{%- if 'check' in cell.metadata.get('tags', []) %}<p class="mark">Check</p>{% endif -%}
{{ super() }}</section>
{%- endblock codecell -%}
{%- block markdowncell -%}
<section id="{{ cell.id | cell_anchor }}" class="cell text">
{{ cell.source | markdown2html | clean_html }}
</section>
{%- endblock markdowncell -%}
"""
SHOWN = ("text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain")
PLOTLY = "application/vnd.plotly.v1+json"
TEXT_FILES = {".py", ".yaml", ".yml", ".toml", ".json", ".md", ".txt"}
MARKED = ("exercise", "check")
MAX_INLINE = 42  # letters of TeX; a longer formula in a line may scroll by itself on a narrow screen


class Heading(NamedTuple):
    level: int
    anchor: str
    html: str


class Link(NamedTuple):
    """A relative link that was found in `cell`: to which file, and to which place in it."""

    cell: str
    href: str
    target: Path
    fragment: str


class Opening(NamedTuple):
    """What a notebook says of itself in its first cell, as markdown."""

    title: str
    aim: str  # what one will be able to do
    takes: str
    needs: str


NOTHING = Opening("", "", "", "")


def read_opening(notebook: NotebookNode) -> Opening:
    """Title, first paragraph, what stands after **Takes** and after **Needs**; empty where it is missing."""
    cell = next((cell for cell in notebook.cells if cell.cell_type == "markdown"), None)
    blocks = re.split(r"\n\s*\n", cell.source.strip()) if cell else [""]
    title, _, rest = blocks[0].partition("\n")
    blocks = [block for block in (rest, *blocks[1:]) if block.strip()]
    cost = " ".join(" ".join(block.split()) for block in blocks if re.search(r"\*\*(Takes|Needs)\*\*", block))
    found = {
        key: text.strip()
        for key, text in re.findall(r"\*\*(Takes|Needs)\*\*(.*?)(?=\*\*(?:Takes|Needs)\*\*|$)", cost)
    }
    aims = [block for block in blocks if not re.search(r"\*\*(Takes|Needs)\*\*", block)]
    aim = "\n\n".join(aims[: 2 if aims and aims[0].rstrip().endswith(":") else 1])
    heading = re.fullmatch(r"#\s+(.+?)\s*", title)
    return Opening(heading[1] if heading else "", aim, found.get("Takes", ""), found.get("Needs", ""))


@dataclass
class Page:
    """A notebook as a page; filled while it is read. `faults` are sentences that name the cell."""

    notebook: Path
    root: Path  # links may lead to files below it
    opening: Opening = NOTHING
    body: str = ""
    aim: str = ""
    takes: str = ""
    headings: list[Heading] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    links: list[Link] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def fault(self, cell: str, says: str) -> None:
        where = f"{self.notebook.name}, cell {cell}" if cell else self.notebook.name
        self.faults.append(f"{where}: {says}")

    def new_anchor(self, text: str) -> str:
        """An anchor as JupyterLab makes it from a heading's text; a second one of its kind is numbered."""
        anchor = base = re.sub(r"\s+", "-", text.strip())
        number = 1
        while anchor in self.anchors:
            number += 1
            anchor = f"{base}-{number}"
        self.anchors.add(anchor)
        return anchor

    def link(self, cell: str, href: str) -> str:
        """The address on the site for a link in the notebook; relative ones are kept to be checked."""
        parts = urlsplit(href)
        if parts.scheme in ("http", "https", "mailto"):
            return href
        if parts.scheme or parts.netloc or parts.path.startswith("/") or parts.query:
            self.fault(cell, f"the link {href} is neither relative nor one to the web")
            return "#"
        target = (self.notebook.parent / unquote(parts.path)).resolve() if parts.path else self.notebook
        if not target.is_file():
            self.fault(cell, f"the link {href} leads to no file")
        elif not is_page(target, self) and (
            self.root not in target.parents or target.suffix not in TEXT_FILES
        ):
            self.fault(cell, f"the link {href} leads to nothing that the site can show")
        else:
            self.links.append(Link(cell, href, target, unquote(parts.fragment)))
            address = address_of(target, self.notebook.parent, self.root) if parts.path else ""
            return address + (f"#{quote(unquote(parts.fragment))}" if parts.fragment else "")
        return "#"

    def picture(self, cell: str, src: str) -> str:
        """A picture's data as an address: a page loads nothing, not even from beside itself."""
        if re.match(r"data:image/(png|jpeg|gif|webp|svg\+xml)[;,]", src):
            return src
        path = (self.notebook.parent / unquote(src)).resolve()
        kind, _ = mimetypes.guess_type(path.name)
        if urlsplit(src).scheme or self.root not in path.parents or not path.is_file() or kind is None:
            self.fault(cell, f"the picture {src[:80]} is no picture file of this project")
            return ""
        return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def is_page(target: Path, page: Page) -> bool:
    return target.suffix == ".ipynb" and target.parent == page.notebook.parent


def address_of(target: Path, notebooks: Path, root: Path) -> str:
    """Where a file stands on the site, seen from the folder of the pages."""
    if target.suffix == ".ipynb" and target.parent == notebooks:
        return quote(f"{target.stem}.html")
    return quote(f"files/{target.relative_to(root).as_posix()}.html")


def read_page(notebook: Path, root: Path) -> Page:
    """The page of a notebook. What cannot be shown stands in its `faults`."""
    page = Page(notebook.resolve(), root.resolve())
    content = nbformat.read(notebook, as_version=4)
    page.opening = read_opening(content)
    if not page.opening.title:
        page.fault("", "its first cell must begin with a heading: # NN · Title")
    for cell in content.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {"text/plain": ""})
            if not set(data) & set(SHOWN) or (PLOTLY in data and "image/png" not in data):
                page.fault(cell.id, f"its output has no picture and no text to show ({', '.join(data)})")
                output["data"] = {"text/plain": ""}
    exporter = PageExporter(page)
    page.body, _ = exporter.from_notebook_node(content)
    page.aim, page.takes = exporter.fragment(page.opening.aim), exporter.fragment(page.opening.takes)
    return page


class PageExporter(HTMLExporter):
    """nbconvert's exporter with our template, MathML for formulas, and `clean` wherever text becomes markup."""

    def __init__(self, page: Page):
        self._page = page
        super().__init__(
            raw_template=TEMPLATE, exclude_input_prompt=True, exclude_output_prompt=True, sanitize_html=True
        )

    @property
    def default_config(self):
        config = super().default_config
        config.NbConvertBase.display_data_priority = list(SHOWN)
        return config

    def default_filters(self):
        yield from super().default_filters()
        yield "clean_html", self.clean_html
        yield "cell_anchor", self.cell_anchor
        yield "marks_of", marks_of

    def cell_anchor(self, identity: str) -> str:
        self._page.anchors.add(f"cell-{identity}")
        return f"cell-{identity}"

    @contextfilter
    def markdown2html(self, context: Any, source: str) -> str:
        cell = context.get("cell") or {}
        return self._markdown(cell.get("id", ""), source, cell.get("attachments", {}))

    @contextfilter
    def clean_html(self, context: Any, html: str) -> str:
        return self._clean((context.get("cell") or {}).get("id", ""), html)

    def fragment(self, source: str) -> str:
        """Markdown for another page than this one; its links have been looked at already, where they stand."""
        known = len(self._page.links), len(self._page.faults)
        html = self._clean("", self._markdown("", source, {}))
        del self._page.links[known[0] :], self._page.faults[known[1] :]
        return html

    def _markdown(self, cell: str, source: str, attachments: dict) -> str:
        renderer = _Renderer(self._page, cell, attachments)
        return MarkdownWithMath(renderer=renderer).render(source)

    def _clean(self, cell: str, html: str) -> str:
        page = self._page
        return clean(
            html,
            link=lambda href: page.link(cell, href),
            picture=lambda src: page.picture(cell, src),
            fault=lambda says: page.fault(cell, says),
        )


def marks_of(cell: NotebookNode) -> str:
    return "".join(f" {tag}" for tag in cell.metadata.get("tags", []) if tag in MARKED)


class _Renderer(IPythonRenderer):
    """Markdown to HTML: formulas as MathML, headings with anchors."""

    def __init__(self, page: Page, cell: str, attachments: dict):
        super().__init__(escape=False, attachments=attachments)
        self._page, self._cell = page, cell

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        anchor = self._page.new_anchor(unescape(re.sub(r"<[^>]*>", "", text)))
        self._page.headings.append(Heading(level, anchor, text))
        link = f'<a class="anchor" href="#{quote(anchor)}" aria-label="Link to this heading">¶</a>'
        return (
            f'<h{level} id="{self.escape_html(anchor).replace(chr(34), "&quot;")}">{text}{link}</h{level}>\n'
        )

    def paragraph(self, text: str) -> str:
        if re.match(r"\s*\|.*\|\s*$", text, re.S):
            row = " ".join(re.sub(r"<[^>]*>", "", text).split())[:60]
            says = "a row has more or fewer cells than its head; in a formula write \\vert"
            self._page.fault(self._cell, f"the table {row} is none: {says}")
        return super().paragraph(text)

    def block_math(self, body: str) -> str:
        return f'<span class="formula">{self._formula(body, display=True)}</span>'

    def inline_math(self, body: str) -> str:
        formula = self._formula(body, display=False)
        return f'<span class="long">{formula}</span>' if len(body) > MAX_INLINE else formula

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(
            body if name.startswith("equation") else f"\\begin{{{name}}}{body}\\end{{{name}}}"
        )

    def text(self, text: str) -> str:
        # An escaped \$ comes as a text of its own.
        if "$" in text and text != "$":
            self._page.fault(
                self._cell, f"a $ opens no formula in {' '.join(text.split())[:60]!r}; write \\$"
            )
        return super().text(text)

    def _formula(self, tex: str, *, display: bool) -> str:
        try:
            return to_mathml(tex, display=display)
        except FormulaError as error:
            self._page.fault(self._cell, f"the formula ${' '.join(tex.split())}$ cannot be shown: {error}")
            return ""
