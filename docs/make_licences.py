"""Makes docs/licences.md: the licence of every package that the lab installs, as the package itself states it.

    python docs/make_licences.py

Run it in the environment that `make` sets up, after a change of constraints.txt.
"""

import importlib.metadata
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LICENCES = ROOT / "docs" / "licences.md"
HEAD = """# Licences of what is installed

The lab itself is under the [MIT licence](../LICENSE). This is what the packages beside it say of theirs, made by
`python docs/make_licences.py`; torch's CUDA build brings packages of NVIDIA besides, under NVIDIA's own terms. The core
needs the first table alone.
"""
PARTS = {
    "The core": ("",),
    "The lab: what notebooks need": ("lab",),
    "The tests": ("test", "e2e"),
}


def closure(requirements: Sequence[Requirement]) -> set[str]:
    """The canonical names of the packages that are asked for here, and of what they ask for in turn."""
    wanted, seen = list(requirements), set()
    while wanted:
        needed = wanted.pop()
        key = canonicalize_name(needed.name)
        for extra in {"", *needed.extras}:
            if (key, extra) in seen or (needed.marker and not needed.marker.evaluate({"extra": ""})):
                continue
            seen.add((key, extra))
            for line in importlib.metadata.distribution(key).requires or ():
                each = Requirement(line)
                if each.marker is None or each.marker.evaluate({"extra": extra}):
                    each.marker = None
                    wanted.append(each)
    return {key for key, _ in seen}


def licence(name: str) -> str:
    """What the package says of its licence: the expression, else the classifiers, else the first line of the text.

    Where its metadata say nothing, the first line of the licence's file counts.
    """
    about = importlib.metadata.metadata(name)
    kinds = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or () if c.startswith("License ::")]
    named = [kind for kind in kinds if kind != "OSI Approved"]
    said = (
        about["License-Expression"] or ", ".join(named) or (about["License"] or "").strip().partition("\n")[0]
    )
    return said or _first_line(name) or "not stated"


def _first_line(name: str) -> str:
    for file in importlib.metadata.files(name) or ():
        if file.stem.upper() in ("LICENSE", "LICENCE", "COPYING"):
            return file.read_text(encoding="utf-8").strip().partition("\n")[0].strip()
    return ""


def asked_for(extras: Sequence[str]) -> list[Requirement]:
    """What pyproject.toml names for the core ("") or for extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = project["optional-dependencies"] | {"": project["dependencies"]}
    return [Requirement(line) for extra in extras for line in lists[extra]]


def rows() -> Iterator[str]:
    """The lines of the page behind its head."""
    told: set[str] = set()
    direct = {canonicalize_name(each.name) for extras in PARTS.values() for each in asked_for(extras)}
    for title, extras in PARTS.items():
        yield from ("", f"## {title}", "", "| package | licence | |", "|---|---|---|")
        for name in sorted(closure(asked_for(extras)) - told):
            told.add(name)
            text = licence(name).replace("|", "\\|")
            yield f"| {name} | {text} | {'asked for' if name in direct else 'needed by another'} |"


def make_licences() -> str:
    """The page."""
    return HEAD + "\n".join(rows()) + "\n"


if __name__ == "__main__":
    LICENCES.write_text(make_licences(), encoding="utf-8")
    print(LICENCES.relative_to(ROOT))
