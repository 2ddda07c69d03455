"""Small made-up notebooks for the tests of the site, and pages read back with html.parser."""

from html.parser import HTMLParser
from pathlib import Path

import nbformat

VOID = {"br", "hr", "img", "input", "meta", "col"}


class Element:
    def __init__(self, tag: str, attrs: dict, parent: "Element | None"):
        self.tag, self.attrs, self.parent, self.content = tag, attrs, parent, []

    def all(self, tag: str = "", **attrs: str) -> "list[Element]":
        """Elements below this one with this tag, and these words among those of the attribute."""
        below = [child for child in self.content if isinstance(child, Element)]
        hits = [
            child
            for child in below
            if tag in ("", child.tag)
            and all(word in (child.attrs.get(name.strip("_")) or "").split() for name, word in attrs.items())
        ]
        return hits + [hit for child in below for hit in child.all(tag, **attrs)]

    def one(self, tag: str = "", **attrs: str) -> "Element":
        (found,) = self.all(tag, **attrs)
        return found

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.content)


class Tree(HTMLParser):
    """Reads a page into elements, and insists that every element is closed where it must be."""

    def __init__(self, html: str):
        super().__init__()
        self.root = self.at = Element("", {}, None)
        self.feed(html)
        self.close()
        assert self.at is self.root, f"<{self.at.tag}> is never closed"

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs)
        element = Element(tag, dict(attrs), self.at)
        self.at.content.append(element)
        if tag not in VOID:
            self.at = element

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID, f"a browser does not take <{tag}/> for closed"
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert tag == self.at.tag, f"</{tag}> closes <{self.at.tag}>"
        self.at = self.at.parent

    def handle_data(self, data):
        self.at.content.append(data)


def read_site(folder: Path) -> dict[str, Element]:
    """Every page of a site by its file name."""
    return {path.name: Tree(path.read_text(encoding="utf-8")).root for path in folder.glob("*.html")}


def markdown(text: str, identity: str) -> dict:
    return nbformat.v4.new_markdown_cell(text, id=identity)


def code(text: str, identity: str, *outputs: dict, tags: tuple[str, ...] = ()) -> dict:
    metadata = {"tags": list(tags)} if tags else {}
    return nbformat.v4.new_code_cell(
        text, id=identity, outputs=list(outputs), metadata=metadata, execution_count=1
    )


def shown(data: dict, **metadata: dict) -> dict:
    return nbformat.v4.new_output("display_data", data, metadata=metadata.get("metadata", {}))


OPENING = """# {} · {}

At the end you will *be able* to use $x^2$.

**Takes** 5 minutes; running `it` one.
**Needs** a < b."""


def write_notebooks(folder: Path, **cells: list) -> Path:
    """A folder with one notebook per keyword, `n01=[cells]`. Each begins with an opening."""
    notebooks = folder / "notebooks"
    notebooks.mkdir(parents=True)
    for name, content in cells.items():
        opening = markdown(OPENING.format(name[1:], f"Title & {name}"), "title")
        made = nbformat.v4.new_notebook(
            cells=[opening, *content], metadata={"language_info": {"name": "python"}}
        )
        nbformat.write(made, notebooks / f"{name}.ipynb")
    return notebooks
