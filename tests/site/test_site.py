"""The site: built from small made-up notebooks and read with html.parser."""

import base64
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from matplotlib.figure import Figure

from lab_utils.show.snapshot import Snapshot
from lab_utils.site import __main__ as site
from lab_utils.site.page import read_opening
from lab_utils.site.render import stamp

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

    def inside(self, **attrs: str) -> bool:
        node = self.parent
        while node is not None:
            if all(word in (node.attrs.get(name.strip("_")) or "").split() for name, word in attrs.items()):
                return True
            node = node.parent
        return False


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


def project(folder: Path, **cells: list) -> Path:
    """A project with a notebook a keyword, `n01=[cells]`, each beginning with an opening; gives its notebooks."""
    notebooks = folder / "notebooks"
    notebooks.mkdir(parents=True)
    for name, content in cells.items():
        opening = markdown(OPENING.format(name[1:], f"Title & {name}"), "title")
        made = nbformat.v4.new_notebook(
            cells=[opening, *content], metadata={"language_info": {"name": "python"}}
        )
        nbformat.write(made, notebooks / f"{name}.ipynb")
    (folder / "core").mkdir()
    (folder / "core" / "router.py").write_text("def route(x):  # <b>\n    return x\n")
    return notebooks


def faults_of(folder: Path, *cells: dict) -> list[str]:
    notebooks = project(folder, n01=list(cells), n02=[markdown("## There", "there")])
    with pytest.raises(site.SiteError) as error:
        site.build(notebooks, folder / "out", folder)
    assert not (folder / "out").exists()
    return str(error.value).splitlines()


RICH = r"""## Formulas and "more"

In a line $q_i \cdot k_j$, in code `$a$`, for \$5 and alone:

$$
\sum_{e=1}^{E} w_e
$$

| letter | means |
|---|---|
| $d_k$ | width |

- a list with $\alpha$

```python
price = "$x$"
```

## Links

[next](n02.ipynb), [its end](n02.ipynb#The-end), [up](#Links), [the core](../core/router.py), [web](https://example.org/a?b)

<details><summary>A fold with <code>code</code></summary>

It holds $y$.

</details>

## Links

![A drawing](drawing.png)
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Element]:
    folder = tmp_path_factory.mktemp("project")
    figure = Figure(figsize=(1, 1))
    data, metadata = Snapshot(figure, alt='A "picture" of < 2', plotly={"data": []})._repr_mimebundle_()
    html = (
        "<script>alert(1)</script><b onclick='x'>bold</b></div></section>"
        "<table><tr><td>cell</td></tr></table><details><summary>s</summary>t</details>"
    )
    notebooks = project(
        folder,
        n01=[
            markdown(RICH, "rich"),
            code("def f(x):\n    raise NotImplementedError", "f-exercise", tags=("exercise",)),
            code("check(f)", "f-check", shown({"text/html": html, "text/plain": "plain"}), tags=("check",)),
            code("figure", "picture", shown(data, metadata=metadata)),
            code("print(1)", "stream", nbformat.v4.new_output("stream", text="a < b\n")),
            code("note", "note", shown({"text/markdown": "*so* $z$"})),
            code("widget", "js", shown({"application/javascript": "alert(2)", "text/plain": "fallback"})),
        ],
        n02=[markdown("## The end", "end")],
        n03=[],
    )
    (notebooks / "drawing.png").write_bytes(b"\x89PNG drawn")
    site.build(notebooks, folder / "out", folder)
    files = (folder / "out").rglob("*.html")
    return {p.relative_to(folder / "out").as_posix(): Tree(p.read_text()).root for p in files}


def test_a_page_for_every_notebook_one_for_the_file_and_an_index(pages):
    assert set(pages) == {"index.html", "n01.html", "n02.html", "n03.html", "files/core/router.py.html"}


@pytest.mark.parametrize("name", ["index.html", "n01.html", "n02.html", "files/core/router.py.html"])
def test_a_page_runs_nothing_and_loads_nothing(pages, name):
    elements = pages[name].all()
    assert {e.tag for e in elements}.isdisjoint({"script", "link", "iframe", "object", "embed", "form"})
    for element in elements:
        assert not [a for a in element.attrs if a.startswith("on")]
        assert all(element.attrs[a].startswith("data:image/") for a in {"src", "srcset"} & set(element.attrs))
        assert "url(" not in element.attrs.get("style", "")
    assert not re.search(r"url\(|@import", pages[name].one("style").text)
    policy = pages[name].one("meta", **{"http-equiv": "Content-Security-Policy"}).attrs["content"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")


def test_formulas_become_mathml_wherever_they_stand_but_in_code(pages):
    rich = pages["n01.html"].one(id="cell-rich")
    found = [m.attrs["alttext"] for m in rich.all("math")]
    assert found == [r"q_i \cdot k_j", r"\sum_{e=1}^{E} w_e", "d_k", r"\alpha", "y"]
    in_line, alone, in_table, in_list, in_fold = rich.all("math")
    assert in_line.attrs["display"] == "inline"
    assert alone.attrs["display"] == "block"
    assert alone.parent.attrs["class"] == "formula"
    assert (in_table.parent.tag, in_list.parent.tag) == ("td", "li")
    assert in_fold.parent.parent.tag == "details"
    assert [c.text for c in rich.all("code")] == ["$a$", "code"]
    assert 'price = "$x$"' in rich.one("pre").text
    assert "for $5 and" in rich.text
    assert pages["n01.html"].one(id="cell-note").one("math").attrs["alttext"] == "z"


def test_links_lead_to_what_is_there(pages):
    """Every relative link of every page, followed."""
    for name, page in pages.items():
        for link in page.all("a"):
            address = link.attrs["href"]
            if address.startswith("https:"):
                continue
            path, _, anchor = address.partition("#")
            target = os.path.normpath(Path(name).parent / unquote(path)) if path else name
            assert target in pages, f"{name}: {address}"
            ids = {e.attrs["id"] for e in pages[target].all() if "id" in e.attrs}
            assert not anchor or unquote(anchor) in ids, f"{name}: {address}"
    rich = pages["n01.html"].one(id="cell-rich")
    written = {a.text: a.attrs["href"] for a in rich.all("a") if a.attrs.get("class") != "anchor"}
    assert written == {
        "next": "n02.html",
        "its end": "n02.html#The-end",
        "up": "#Links",
        "the core": "files/core/router.py.html",
        "web": "https://example.org/a?b",
    }


def test_headings_have_anchors_of_their_own(pages):
    rich = pages["n01.html"].one(id="cell-rich")
    assert [h.attrs["id"] for h in rich.all("h2")] == ['Formulas-and-"more"', "Links", "Links-2"]
    assert [h.one("a").attrs["href"] for h in rich.all("h2")][1:] == ["#Links", "#Links-2"]
    contents = pages["n01.html"].one("details", class_="contents")
    assert [a.text for a in contents.all("a")] == ['Formulas and "more"', "Links", "Links"]


def test_pictures_keep_their_text_and_stand_in_for_plotly(pages):
    picture = pages["n01.html"].one(id="cell-picture").one("img")
    assert picture.attrs["alt"] == 'A "picture" of < 2'
    assert base64.b64decode(picture.attrs["src"].removeprefix("data:image/png;base64,")).startswith(
        b"\x89PNG"
    )
    assert "plotly" not in pages["n01.html"].one("main").text
    drawing = pages["n01.html"].one(id="cell-rich").one("img")
    assert drawing.attrs["alt"] == "A drawing"
    assert base64.b64decode(drawing.attrs["src"].removeprefix("data:image/png;base64,")) == b"\x89PNG drawn"


def test_outputs_are_text_tables_and_folds_and_no_script(pages):
    page = pages["n01.html"]
    check = page.one(id="cell-f-check")
    assert "alert" not in page.one("main").text
    assert "plain" not in check.text
    assert check.one("b").attrs == {}
    assert check.one("table").parent.attrs["class"] == "scroll"
    assert check.one("details").one("summary").text == "s"
    # What the output closed too often did not close the page's own boxes.
    assert page.one(id="cell-picture").parent.tag == "main"
    assert page.one(id="cell-stream").one("div", class_="output_stream").one("pre").text.strip() == "a < b"
    assert page.one(id="cell-js").one("div", class_="output_text").text.strip() == "fallback"


def test_code_is_coloured_without_prompts_and_exercises_are_marked(pages):
    page = pages["n01.html"]
    exercise, check = page.one(id="cell-f-exercise"), page.one(id="cell-f-check")
    assert exercise.one("p", class_="mark").text == "Your turn"
    assert check.one("p", class_="mark").text == "Check"
    assert page.all("p", class_="mark") == [exercise.one("p"), check.one("p", class_="mark")]
    assert exercise.one("span", class_="nf").text == "f"
    assert ".highlight .nf" in page.one("style").text
    assert "In [" not in page.text
    assert "In\xa0[" not in page.text


def test_pages_lead_on_and_back(pages):
    ways = {
        name: [(a.attrs["href"], a.text) for a in pages[name].one("header").all("a")]
        for name in ("n01.html", "n02.html", "n03.html")
    }
    index = ("index.html", "All notebooks")
    assert ways["n01.html"] == [index, ("n02.html", "02 · Title & n02 →")]
    assert ways["n02.html"] == [("n01.html", "← 01 · Title & n01"), index, ("n03.html", "03 · Title & n03 →")]
    assert ways["n03.html"] == [("n02.html", "← 02 · Title & n02"), index]


def test_the_index_names_title_aim_and_time_in_order(pages):
    rows = pages["index.html"].one("ol").all("li")
    assert [row.one("a").text for row in rows] == [f"0{i} · Title & n0{i}" for i in (1, 2, 3)]
    assert rows[0].one("math").attrs["alttext"] == "x^2"
    aim, takes = rows[0].all("p")
    assert aim.text.startswith("At the end you will be able to use")
    assert takes.text == "Takes 5 minutes; running it one."


def test_a_linked_file_is_shown_as_text(pages):
    page = pages["files/core/router.py.html"]
    assert page.one("h1").text == "core/router.py"
    assert page.one("pre").text.strip() == "def route(x):  # <b>\n    return x"
    assert page.one("header").one("a").attrs["href"] == "../../index.html"


# ---------------------------------------------------------------- what keeps it from being built


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (r"So $\foo_1$ is.", r"the formula $\foo_1$ cannot be shown: \foo is not known"),
        ("| a | b |\n|---|---|\n| $p(x|y)\\$ |", "a $ opens no formula in '$p(x'"),
        ("| a |\n|---|\n| $|x|$ |", "the table | a | |---| | |x| | is none"),
        ("It costs 5$.", "a $ opens no formula in 'It costs 5$.'; write \\$"),
        ("[a](n03.ipynb)", "the link n03.ipynb leads to no file"),
        ("[a](../core)", "the link ../core leads to no file"),
        ("[a](n02.ipynb#Here)", "the link n02.ipynb#Here leads to no heading of n02.ipynb"),
        ("[a](#Nowhere)", "the link #Nowhere leads to no heading of n01.ipynb"),
        ("[a](../core/router.py#L3)", "leads to no heading of router.py"),
        ("[a](../../outside.py)", "the link ../../outside.py leads to nothing that the site can show"),
        ("[a](/n02.ipynb)", "the link /n02.ipynb is neither relative nor one to the web"),
        ("<a href='javascript:alert(1)'>a</a>", "the link javascript:alert(1) is neither relative"),
        ("![a](lost.png)", "the picture lost.png is no picture file of this project"),
        ("![a](https://example.org/a.png)", "the picture https://example.org/a.png is no picture file"),
        ("A list<int> of numbers", "the element <int> is none that the site shows"),
    ],
)
def test_a_fault_is_told_in_one_line_with_its_cell(tmp_path, text, fault):
    (tmp_path / "outside.py").write_text("")
    (found,) = faults_of(tmp_path / "project", markdown(text, "here"))
    assert found.startswith("n01.ipynb, cell here: ")
    assert fault in found


def test_all_faults_are_told_at_once(tmp_path):
    plotly = shown({"application/vnd.plotly.v1+json": {}, "text/plain": "Figure"})
    found = faults_of(
        tmp_path, markdown("$x_$", "a"), markdown("[b](c.ipynb)", "b"), code("fig", "c", plotly)
    )
    assert [line.partition(":")[0] for line in found] == [f"n01.ipynb, cell {i}" for i in "cab"]


def test_main_says_what_it_did_and_which_outputs_are_old(tmp_path, capsys):
    notebooks = project(tmp_path, n01=[code("x = 1", "a")], n02=[code("y = 1", "b")])
    second = notebooks / "n02.ipynb"
    nbformat.write(stamp(nbformat.read(second, as_version=4)), second)
    out = tmp_path / "out"
    assert site.main(["--notebooks", str(notebooks), "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert told.err == "site: n01.ipynb: its outputs are older than its code; run make render\n"
    assert told.out == f"site: 2 notebooks; open {out / 'index.html'}\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [("{", "Notebook does not appear to be JSON"), (None, "there are no notebooks in it")],
)
def test_main_fails_in_words(tmp_path, capsys, content, told):
    if content is not None:
        (tmp_path / "n01.ipynb").write_text(content)
    assert site.main(["--notebooks", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_opening_is_read_whatever_its_order_of_lines():
    text = "# 01 · T\nAt the end:\n\n- a\n- b\n\nMore.\n\n**Needs** a\nword. **Takes** 5 minutes."
    found = read_opening(nbformat.v4.new_notebook(cells=[code("x", "x"), markdown(text, "t")]))
    assert found.title == "01 · T"
    assert found.aim == "At the end:\n\n- a\n- b"
    assert found.takes == "5 minutes."
