"""Plain words, as CONTRIBUTING asks: "per token", one unit for sizes, none of the phrases that were riddles."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXTS = {".py", ".md", ".ipynb", ".yaml", ".toml", ".css", ".cff"}
# Notes of what was: the changelog names old words, and this file the forbidden ones.
EXEMPT = {"CHANGELOG.md", "tests/test_words.py"}

OF_WHAT = "|".join(
    "bits nats bytes numbers operations FLOPs experts tokens parameters elements entries seconds choices "
    "line row entry value one panel column number picture module file test call pass".split()
)
PER_WHAT = "|".join(
    "byte token character word sequence document story text expert head layer role arm step round record run "
    "seed batch window exercise notebook model setting second case".split()
)
FORBIDDEN = {
    "say `per`": re.compile(rf"\b({OF_WHAT}) an? ({PER_WHAT})\b(?!-)", re.IGNORECASE),
    "say kB, MB or GB, powers of ten": re.compile(r"\b(KiB|MiB|GiB|mebibyte|gibibyte|kibibyte)s?\b"),
    "say it plainly": re.compile(
        r"\b(step(s|ped)? aside|dearer|spoken otherwise|who only wants|that he stands in|is wanted)\b",
        re.IGNORECASE,
    ),
}


def texts() -> dict[str, str]:
    """Every text that git tracks; of a notebook the sources, since its outputs follow from code."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    found = {}
    for name in listing.stdout.rstrip("\0").split("\0"):
        path = ROOT / name
        if path.suffix in TEXTS and name not in EXEMPT and path.is_file():
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".ipynb":
                text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
            found[name] = text
    return found


def riddles(text: str) -> list[str]:
    """What should be said otherwise, with the line that it stands in."""
    lines = text.splitlines()
    return [
        f"line {number}: {match.group()!r}: {why}"
        for number, line in enumerate(lines, 1)
        for why, pattern in FORBIDDEN.items()
        for match in pattern.finditer(line)
    ]


def test_the_words_are_plain():
    found = {name: riddles(text) for name, text in texts().items()}
    assert {name: hits for name, hits in found.items() if hits} == {}


@pytest.mark.parametrize(
    "text", ["2 bits a byte", "a line an arm", "8.6 GiB", "The old one stepped aside.", "experts a token"]
)
def test_a_riddle_is_found(text):
    assert len(riddles(text)) == 1


@pytest.mark.parametrize("text", ["bits per byte", "a byte", "run a model", "one token", "9.2 GB"])
def test_plain_words_pass(text):
    assert riddles(text) == []
