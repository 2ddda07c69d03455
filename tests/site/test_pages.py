"""The pages of a site that is built from made-up notebooks: what stands in them, and where their links lead."""

import base64
import re
from urllib.parse import unquote

import nbformat
import pytest
from matplotlib.figure import Figure

from lab_utils.show.snapshot import Snapshot
from lab_utils.site.__main__ import build
from tests.site.made_up_site import Element, code, markdown, read_site, shown, write_notebooks

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

[next](n02.ipynb), [its end](n02.ipynb#The-end), [up](#Links), [web](https://example.org/a?b)

<details><summary>A fold with <code>code</code></summary>

It holds $y$.

</details>

![A drawing](drawing.png)
"""
HOSTILE = (
    "<script>alert(1)</script><b onclick='x'>bold</b></div></section>"
    "<table><tr><td>cell</td></tr></table><details><summary>s</summary>t</details>"
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Element]:
    folder = tmp_path_factory.mktemp("project")
    figure = Figure(figsize=(1, 1))
    data, metadata = Snapshot(figure, alt='A "picture" of < 2', plotly={"data": []})._repr_mimebundle_()
    notebooks = write_notebooks(
        folder,
        n01=[
            markdown(RICH, "rich"),
            code("def f(x):\n    raise NotImplementedError", "f-exercise", tags=("exercise",)),
            code(
                "check(f)", "f-check", shown({"text/html": HOSTILE, "text/plain": "plain"}), tags=("check",)
            ),
            code("figure", "picture", shown(data, metadata=metadata)),
            code("print(1)", "stream", nbformat.v4.new_output("stream", text="a < b\n")),
            code("note", "note", shown({"text/markdown": "*so* $z$"})),
            code("widget", "js", shown({"application/javascript": "alert(2)", "text/plain": "fallback"})),
        ],
        n02=[markdown("## The end", "end")],
        n03=[],
    )
    (notebooks / "drawing.png").write_bytes(b"\x89PNG drawn")
    build(notebooks, folder / "out")
    return read_site(folder / "out")


def cell(pages: dict[str, Element], identity: str) -> Element:
    return pages["n01.html"].one(id=f"cell-id={identity}")


def test_there_is_a_page_per_notebook_and_an_index(pages):
    assert set(pages) == {"index.html", "n01.html", "n02.html", "n03.html"}


@pytest.mark.parametrize("name", ["index.html", "n01.html", "n02.html"])
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
    rich = cell(pages, "rich")
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
    assert cell(pages, "note").one("math").attrs["alttext"] == "z"


def test_links_lead_to_what_is_there(pages):
    """Every relative link of every page, followed."""
    for name, page in pages.items():
        for link in page.all("a"):
            address = link.attrs["href"]
            if address.startswith("https:"):
                continue
            path, _, anchor = address.partition("#")
            target = unquote(path) or name
            assert target in pages, f"{name}: {address}"
            ids = {unquote(e.attrs["id"]) for e in pages[target].all() if "id" in e.attrs}
            assert not anchor or unquote(anchor) in ids, f"{name}: {address}"
    written = {
        a.text: a.attrs["href"] for a in cell(pages, "rich").all("a") if a.attrs.get("class") != "anchor-link"
    }
    assert written == {
        "next": "n02.html",
        "its end": "n02.html#The-end",
        "up": "#Links",
        "web": "https://example.org/a?b",
    }


def test_headings_have_anchors_and_the_list_of_contents_leads_to_them(pages):
    headings = cell(pages, "rich").all("h2")
    assert [unquote(h.attrs["id"]) for h in headings] == ['Formulas-and-"more"', "Links"]
    assert [h.one("a").attrs["href"] for h in headings] == [f"#{h.attrs['id']}" for h in headings]
    contents = pages["n01.html"].one("main").content[0]
    assert (contents.tag, contents.one("summary").text) == ("details", "On this page")
    assert [(a.text, a.attrs["href"]) for a in contents.all("a")] == [
        ('Formulas and "more"', f"#{headings[0].attrs['id']}"),
        ("Links", "#Links"),
    ]
    assert not pages["n03.html"].all("details")


def test_pictures_keep_their_text_and_stand_in_for_plotly(pages):
    picture = cell(pages, "picture").one("img")
    assert picture.attrs["alt"] == 'A "picture" of < 2'
    assert base64.b64decode(picture.attrs["src"].removeprefix("data:image/png;base64,")).startswith(
        b"\x89PNG"
    )
    assert "plotly" not in pages["n01.html"].one("main").text
    drawing = cell(pages, "rich").one("img")
    assert drawing.attrs["alt"] == "A drawing"
    assert base64.b64decode(drawing.attrs["src"].removeprefix("data:image/png;base64,")) == b"\x89PNG drawn"


def test_what_is_hostile_in_an_output_becomes_text(pages):
    check = cell(pages, "f-check")
    assert "<script>alert(1)</script>" in check.text
    assert "plain" not in check.text
    assert check.one("b").attrs == {}
    assert check.one("td").text == "cell"
    assert check.one("details").one("summary").text == "s"
    # What the output closed too often did not close the page's own boxes.
    assert cell(pages, "picture").parent.tag == "main"


def test_outputs_are_text_where_there_is_nothing_better(pages):
    assert cell(pages, "stream").one("div", class_="output_stream").one("pre").text.strip() == "a < b"
    assert cell(pages, "js").one("div", class_="output_text").text.strip() == "fallback"
    assert "alert(2)" not in pages["n01.html"].text


def test_code_is_coloured_without_prompts_and_exercises_are_marked(pages):
    page = pages["n01.html"]
    assert page.all(class_="celltag_exercise") == [cell(pages, "f-exercise")]
    assert page.all(class_="celltag_check") == [cell(pages, "f-check")]
    style = page.one("style").text
    assert re.search(r'\.celltag_exercise \.input::before.*content: "Your turn"', style)
    assert re.search(r'\.celltag_check \.input::before \{ content: "Check"', style)
    assert cell(pages, "f-exercise").one("span", class_="nf").text == "f"
    assert ".highlight .nf" in style
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
    main = pages["index.html"].one("main")
    assert [heading.text for heading in main.all("h2")] == [f"0{i} · Title & n0{i}" for i in (1, 2, 3)]
    assert main.all("math")[0].attrs["alttext"] == "x^2"
    lead, aim, takes, *_ = main.all("p")
    assert "make lab" in lead.text
    assert aim.text.startswith("At the end you will be able to use")
    assert takes.text == "Takes 5 minutes; running it one.\nNeeds a < b."
