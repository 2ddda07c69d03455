"""HTML from notebooks made safe for a page, by bleach: what shows something stays, everything else becomes text."""

from __future__ import annotations

import re

from bleach.css_sanitizer import ALLOWED_CSS_PROPERTIES, CSSSanitizer
from bleach.sanitizer import Cleaner

HTML = """a abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5
    h6 hr i img kbd li mark ol p pre s samp section small span strong sub summary sup table tbody td tfoot th thead tr
    u ul var"""
MATHML = """math mfrac mi mn mo mover mroot mrow mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder
    munderover"""
# Attributes that give an element a look or a meaning, and no behaviour.
ATTRIBUTES = """alt class colspan dir height id lang open role rowspan scope span start style tabindex title width
    accent alttext columnalign columnspacing display displaystyle fence form linethickness lspace mathvariant maxsize
    minsize movablelimits rowspacing rspace stretchy""".split()
STYLES = """background border border-bottom border-left border-radius flex flex-wrap gap margin margin-top max-width
    overflow-wrap overflow-x padding word-break"""
# The two functions of show/colours.py: a variable of the theme with a fall-back, and a colour mixed of two.
_COLOUR = r"(#\w+|var\(--jp-[\w-]+,#\w+\))"
THEMED = rf"color-mix\(in srgb,{_COLOUR} \d+%,{_COLOUR}\)|{_COLOUR}"


def _is_allowed(tag: str, name: str, value: str) -> bool:
    if (tag, name) == ("a", "href"):
        return re.match(r"https?:|mailto:|#|(play/)?[\w%.-]+\.html(#|$)", value) is not None
    if (tag, name) == ("img", "src"):
        return re.match(r"data:image/(png|jpeg|gif|webp|svg\+xml)[;,]", value) is not None
    if name == "style" and re.search(r"[(\\]", re.sub(THEMED, "", value)):
        return False  # url() loads something, and a backslash can hide it
    return name in ATTRIBUTES or name.startswith("aria-")


# Gives an HTML fragment back with balanced elements and without anything that runs or loads.
clean = Cleaner(
    tags={*HTML.split(), *MATHML.split()},
    attributes=_is_allowed,
    protocols={"http", "https", "mailto", "data"},
    css_sanitizer=CSSSanitizer(allowed_css_properties=ALLOWED_CSS_PROPERTIES | set(STYLES.split())),
).clean
