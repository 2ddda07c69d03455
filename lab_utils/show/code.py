"""Python source with colours."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import groupby

from pygments.lexers import PythonLexer
from pygments.token import STANDARD_TYPES, Comment, Keyword, Name, Number, Operator, String, _TokenType

from lab_utils.show.colours import LINE, ON_PAPER, QUIET, in_editor

# Kinds of words, each with the look that JupyterLab's editor gives to it. Its comments would be too faint to read.
LOOKS = (
    (Comment, f"color:{QUIET};font-style:italic"),
    (Keyword, f"color:{in_editor('keyword', '#006b3c')};font-weight:bold"),
    (Operator.Word, f"color:{in_editor('keyword', '#006b3c')};font-weight:bold"),
    (String, f"color:{in_editor('string', '#a31515')}"),
    (Number, f"color:{in_editor('number', '#006b00')}"),
    (Name.Function, f"color:{in_editor('def', '#0033b3')}"),
    (Name.Class, f"color:{in_editor('def', '#0033b3')}"),
)
# JupyterLab gives every <pre> the text colour of its theme, and on a narrow screen it breaks lines within words. So the
# box's colour is asked for again, and long lines are scrolled to.
PRE = (
    "margin:0;padding:0;background:none;color:inherit;white-space:pre;font-family:monospace;font-size:.9em;"
    "line-height:1.4"
)


@dataclass(frozen=True)
class Code:
    """Python source in colours; with a title, folded under it."""

    source: str
    title: str = ""

    def __repr__(self) -> str:
        return self.source

    def _repr_html_(self) -> str:
        box = f"padding:.6em .9em;overflow-x:auto;border:1px solid {LINE};border-radius:4px;{ON_PAPER}"
        # A box that scrolls must be reachable by keys.
        code = (
            f'<div style="{box}" role="region" aria-label="code" tabindex="0">'
            f'<pre style="{PRE}">{_colour(self.source)}</pre></div>'
        )
        if not self.title:
            return code
        return f'<details><summary style="overflow-wrap:anywhere">{self.title}</summary>{code}</details>'


def write_code_css(within: str) -> str:
    """The same looks as rules of CSS, for HTML whose words have pygments' classes, inside a selector."""
    rules = []
    for whole, look in LOOKS:
        names = [name for kind, name in STANDARD_TYPES.items() if kind in whole and name]
        rules.append(f"{','.join(f'{within} .{name}' for name in names)} {{ {look} }}\n")
    return "".join(rules)


def _colour(source: str) -> str:
    """The source as HTML, each of its words in its look."""

    def look_of(word: tuple[_TokenType, str]) -> str:
        return next((look for whole, look in LOOKS if word[0] in whole), "")

    parts = []
    for look, words in groupby(PythonLexer().get_tokens(source), look_of):
        text = escape("".join(word for _, word in words))
        parts.append(f'<span style="{look}">{text}</span>' if look else text)
    return "".join(parts)
