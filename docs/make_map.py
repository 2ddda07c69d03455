"""Write docs/map.md, the map of the code, from the docstrings of its modules: `make map`, or python docs/make_map.py.

A test compares the file with what this command would write.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAP = ROOT / "docs" / "map.md"
OPENED = ("nanokimi", "lab_utils", "benchmarks")  # every module gets a line
CLOSED = ("tests",)  # one line: the folder mirrors the others
DEEPEST = 4  # names in a path; a folder further down, such as the mistakes of a chapter, gets one line

OPENING = """\
# Map of the code

One line per file: the first sentence of its docstring. `make map` writes this file. To change a line, change
the docstring.

Arrows go one way: notebooks → lab_utils → nanokimi. Beside the modules stand `nanokimi/presets/` (settings of models,
trainings and benchmarks, as YAML), `notebooks/` (the course) and `benchmarks/results/` (what was measured, as JSON).
"""


def read_summary(module: Path) -> str:
    """The first sentence of a module's docstring. `ValueError` for a module without one."""
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    if not docstring:
        raise ValueError(f"{module} has no docstring: write one line that says what the file holds")
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    # A full stop ends a sentence if a capital letter follows: "sec. 2.1" and "nanokimi.train" do not end one.
    return re.split(r"(?<=\.)\s+(?=[A-Z])", paragraph, maxsplit=1)[0].removesuffix(".")


def list_modules(folder: Path, depth: int) -> Iterator[tuple[int, Path]]:
    """(depth, path) of a folder's modules, then of its packages with all that they hold."""
    for module in sorted(folder.glob("*.py")):
        if module.name != "__init__.py":
            yield depth, module
    for package in sorted(path.parent for path in folder.glob("*/__init__.py")):
        yield depth, package
        if len(package.relative_to(ROOT).parts) <= DEEPEST:
            yield from list_modules(package, depth + 1)


def make_line(depth: int, path: Path) -> str:
    """One line of the list, with a link: "- [router.py](../nanokimi/router.py): what it holds"."""
    inside = path.relative_to(ROOT).as_posix()
    name = f"{path.name}/" if path.is_dir() else path.name
    summary = read_summary(path / "__init__.py" if path.is_dir() else path)
    return f"{'  ' * depth}- [{name}](../{inside}): {summary}"


def make_map() -> str:
    """The whole text of docs/map.md."""
    sections = [OPENING]
    for name in (*OPENED, *CLOSED):
        inside = list_modules(ROOT / name, 1) if name in OPENED else ()
        sections.append("\n".join(make_line(depth, path) for depth, path in [(0, ROOT / name), *inside]))
    return "\n".join(sections) + "\n"


if __name__ == "__main__":
    MAP.write_text(make_map(), encoding="utf-8")
    print(MAP.relative_to(ROOT))
