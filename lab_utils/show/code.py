"""Python source with colours."""

from __future__ import annotations

from dataclasses import dataclass

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer


@dataclass(frozen=True)
class Code:
    """Python source in colours; with a title, folded under it."""

    source: str
    title: str = ""

    def __repr__(self) -> str:
        return self.source

    def _repr_html_(self) -> str:
        # With a colour of its own: in a dark theme names would be as light as the box.
        box = (
            "padding:.6em .9em;overflow-x:auto;border:1px solid #dfe3ea;border-radius:4px;background:#f8f8f8;"
            "color:#1d2433"
        )
        formatter = HtmlFormatter(
            noclasses=True,
            style="friendly",
            cssstyles=box,
            # JupyterLab gives every <pre> the text colour of its theme, and on a narrow screen it breaks lines within
            # words. So the box's colour is asked for again, and long lines are scrolled to.
            prestyles="margin:0;padding:0;background:none;color:inherit;white-space:pre;font-family:monospace;"
            "font-size:.9em;line-height:1.4",
        )
        code = highlight(self.source, PythonLexer(), formatter)
        if not self.title:
            return code
        return f'<details><summary style="overflow-wrap:anywhere">{self.title}</summary>{code}</details>'
