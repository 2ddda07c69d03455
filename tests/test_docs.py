"""The documents lead somewhere: links, paths, commands and citations, and a map that is what the code says."""

import json
import re
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from docs import make_map

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)

FOLDERS = "benchmarks|docs|lab_utils|nanokimi|notebooks|tests"
PATH = re.compile(rf"(?<![\w/.])(?:{FOLDERS})/[\w/]*(?:\w\.[a-z]+|/)")
PLACEHOLDER = re.compile(r"NN|\*|<|\{")
COMMAND = re.compile(r"python -m ((?:nanokimi|lab_utils|benchmarks)[\w.]*)")
CITED = {
    "specification.md": (
        re.compile(r"docs/specification\.md, section (\d+)"),
        re.compile(r"^## (\d+)\. ", re.M),
    ),
    "mistakes.md": (
        re.compile(r"docs/mistakes\.md,\s+numbers? (\d+(?:(?:, | and )\d+)*)"),
        re.compile(r"^\| (\d+) \|", re.M),
    ),
}


def without_code(markdown: str) -> str:
    return re.sub(r"^```.*?^```", "", markdown, flags=re.M | re.S)


def anchors(markdown: str) -> set[str]:
    """The anchors that GitHub makes from headings."""
    headings = re.findall(r"^#+ (.*)$", without_code(markdown), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(document: Path, text: str) -> Iterator[str]:
    """The targets of relative links that do not exist."""
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            yield target


def tracked_texts() -> dict[str, str]:
    """The code, documents and notebooks that git tracks, or would."""
    command = [
        "git",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "*.py",
        "*.md",
        "*.ipynb",
        "*.yaml",
    ]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    found = {}
    for name in filter(lambda name: (ROOT / name).is_file(), listing.stdout.split("\n")):
        text = (ROOT / name).read_text(encoding="utf-8")
        if name.endswith(".ipynb"):
            text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
        found[name] = text
    del found[Path(__file__).relative_to(ROOT).as_posix()]  # it has citations that lead nowhere
    return found


# ---------------------------------------------------------------- links, paths and commands


@each_document
def test_every_link_leads_somewhere(document):
    assert list(dead_links(document, document.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "link", ["[a](gone.md)", "[a](#no-such-heading)", "[a](docs/results.md#gone)", "![a](docs/gone.png)"]
)
def test_a_dead_link_is_found(link):
    assert len(list(dead_links(ROOT / "README.md", f"# A heading\n\n{link}"))) == 1


@each_document
def test_every_path_and_command_exists(document):
    text = document.read_text(encoding="utf-8")
    paths = [
        path for line in text.splitlines() for path in PATH.findall(line) if not PLACEHOLDER.search(line)
    ]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [module for module in COMMAND.findall(text) if find_spec(module.rstrip(".")) is None] == []


# ---------------------------------------------------------------- citations


def cited_numbers(name: str, text: str) -> list[str]:
    return [number for match in CITED[name][0].findall(text) for number in re.findall(r"\d+", match)]


@pytest.mark.parametrize("name", CITED)
def test_every_citation_names_a_heading_or_a_row(name):
    there = set(CITED[name][1].findall((ROOT / "docs" / name).read_text(encoding="utf-8")))
    cited = {file: cited_numbers(name, text) for file, text in tracked_texts().items()}
    assert sum(map(len, cited.values())) > 3
    assert {file: numbers for file, numbers in cited.items() if not set(numbers) <= there} == {}


def test_citations_are_read():
    assert cited_numbers("mistakes.md", "see docs/mistakes.md, numbers 1, 3 and 15.") == ["1", "3", "15"]
    assert cited_numbers("specification.md", "docs/specification.md, section 9: no") == ["9"]


def test_nothing_is_cited_by_a_name_that_is_no_file():
    """SPEC and MISTAKES were documents outside of this repository."""
    old = re.compile(r"\bSPEC\b|\bMISTAKES(?:\.md| \d)")
    assert {file for file, text in tracked_texts().items() if old.search(text)} == set()


# ---------------------------------------------------------------- the map


def test_the_map_is_fresh():
    """`make map` writes it anew."""
    assert make_map.MAP.read_text(encoding="utf-8") == make_map.make_map()


@pytest.mark.parametrize(
    ("docstring", "summary"),
    [
        ("One line.", "One line"),
        ("First. Second.", "First"),
        ("By DeepSeek-V2, sec. 2.1, in\nnanokimi.mla. More.", "By DeepSeek-V2, sec. 2.1, in nanokimi.mla"),
        ("A heading\n\nA paragraph.", "A heading"),
    ],
)
def test_the_first_sentence_stands_in_the_map(tmp_path, docstring, summary):
    module = tmp_path / "module.py"
    module.write_text(f'"""{docstring}"""\n', encoding="utf-8")
    assert make_map.read_summary(module) == summary


def test_a_module_without_a_docstring_is_refused(tmp_path):
    module = tmp_path / "module.py"
    module.write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"module\.py has no docstring"):
        make_map.read_summary(module)
