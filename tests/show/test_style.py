"""One look for all pictures."""

import ast
from pathlib import Path

import lab_utils
from lab_utils.show import style


def test_arms_differ_in_colour_and_in_line_or_marker():
    styles = list(style.STYLES.values())
    assert len({colour for colour, _, _ in styles}) == len(styles)
    assert len({(line, marker) for _, line, marker in styles}) == len(styles)


def test_pyplot_is_nowhere_used():
    """It remembers every figure, and picks a backend."""
    for path in Path(lab_utils.__file__).parent.rglob("*.py"):
        names = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not {"pyplot", "matplotlib.pyplot"} & names
