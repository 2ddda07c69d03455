"""A page that a browser shows without a network, with the look of the lab: for the benchmark's report and the site."""

from __future__ import annotations

from html import escape
from pathlib import Path

# What the browser may load: nothing but the styles and pictures inside the page. Scripts do not run.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def make_page(title: str, body: str, css: str = "") -> str:
    """A whole HTML document. `body` is HTML and goes in as it is; `css` is added to the lab's own styles."""
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8") + css
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style></head>\n<body>\n{body}\n</body></html>\n"
    )
