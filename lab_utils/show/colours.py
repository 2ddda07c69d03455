"""The colours of all that is shown as HTML: those of the reader's theme, and hues that are mixed with its ink.

JupyterLab's themes set these variables; show/page.css sets the same ones for the site and the report, in light and in
dark. Elsewhere the fall-backs hold, which are dark on white: so whoever sets an ink sets its paper too. Pictures have a
white paper of their own, and their colours are in show/style.py.
"""

from __future__ import annotations

INK = "var(--jp-content-font-color1,#1d2433)"
PAPER = "var(--jp-layout-color0,#fff)"
QUIET = f"color-mix(in srgb,{INK} 78%,{PAPER})"  # for what stands beside
LINE = f"color-mix(in srgb,{INK} 22%,{PAPER})"
SOFT = f"color-mix(in srgb,{INK} 5%,{PAPER})"  # the paper of a box within a box
ON_PAPER = f"color:{INK};background:{PAPER}"
ON_SOFT = f"color:{INK};background:{SOFT}"

# Hues of bars and lines that colour-blind readers tell apart. As an ink they are too light for white paper or too dark
# for black: `as_ink` makes a word of them.
BLUE, GREEN, VERMILION, GREY = "#0072B2", "#009E73", "#D55E00", "#8a93a3"


def as_ink(hue: str) -> str:
    """A hue for letters: nearer to the theme's ink, dark on light paper and light on dark."""
    return f"color-mix(in srgb,{hue} 60%,{INK})"


def in_editor(what: str, otherwise: str) -> str:
    """The colour that JupyterLab's editor gives to a kind of word, "keyword"; `otherwise` is for white paper."""
    return f"var(--jp-mirror-editor-{what}-color,{otherwise})"
