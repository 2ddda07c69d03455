"""HTML that came from somewhere, made safe for a page: elements that show something stay, what runs or loads goes.

Text from outside is data. A fragment is read with the standard library's parser and written anew, so that what
comes out is balanced and holds only what is named here, whatever went in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser

HTML = set(
    "a abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 "
    "hr i img input kbd li mark ol p pre q s samp section small span strong sub summary sup table tbody td tfoot th "
    "thead time tr u ul var".split()
)
MATHML = set(
    "math merror mfrac mi mmultiscripts mn mo mover mpadded mphantom mroot mrow mspace msqrt mstyle msub msubsup msup "
    "mtable mtd mtext mtr munder munderover".split()
)
SVG = set("svg g path line polyline polygon rect circle ellipse text tspan title desc defs marker".split())
VOID = set("br col hr img input".split())
# What needs a script, loads something, or styles the whole page. It goes with all that it holds.
DROPPED = set(
    "script style iframe object noscript template audio video canvas button select textarea form".split()
)
DROPPED_ALONE = set("embed link meta base source track".split())
# Attributes whose value is an address; href and src are looked at one by one.
ADDRESSES = set("srcset background cite longdesc ping usemap action formaction xlink:href".split())


def clean(
    html: str, *, link: Callable[[str], str], picture: Callable[[str], str], fault: Callable[[str], None]
) -> str:
    """The fragment without what runs or loads. Tables stand in a box of their own, in which they can scroll.

    `link` and `picture` give the address to write for an address found; `fault` hears of what cannot be shown.
    """
    cleaner = _Cleaner(link, picture, fault)
    cleaner.feed(html)
    cleaner.close()
    return cleaner.result()


class _Cleaner(HTMLParser):
    def __init__(
        self, link: Callable[[str], str], picture: Callable[[str], str], fault: Callable[[str], None]
    ):
        super().__init__(convert_charrefs=True)
        self._link, self._picture, self._fault = link, picture, fault
        self._out: list[str] = []
        self._open: list[str] = []
        self._dropped: list[str] = []  # elements that go, from the outermost in

    def result(self) -> str:
        if self._dropped:
            self._fault(f"the element <{self._dropped[0]}> is never closed, so all that follows it is lost")
        return "".join(self._out) + "".join(_closing(tag) for tag in reversed(self._open))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in DROPPED:
            self._dropped.append(tag)
        elif self._dropped or tag in DROPPED_ALONE:
            return
        elif tag not in HTML | MATHML | SVG:
            self._fault(
                f"the element <{tag}> is none that the site shows; write &lt;{tag}&gt; if it is a word"
            )
        else:
            box = '<div class="scroll">' if tag == "table" else ""
            self._out.append(f"{box}<{tag}{self._attributes(tag, attrs)}>")
            if tag not in VOID:
                self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        # In SVG and MathML <path/> is closed; in HTML a browser reads <p/> as <p>.
        if tag in SVG | MATHML | DROPPED:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._dropped:
            if tag == self._dropped[-1]:
                self._dropped.pop()
        elif tag in self._open:
            while (last := self._open.pop()) != tag:
                self._out.append(_closing(last))
            self._out.append(_closing(tag))

    def handle_data(self, data: str) -> None:
        if not self._dropped:
            self._out.append(escape(data, quote=False))

    def _attributes(self, tag: str, attrs: list[tuple[str, str | None]]) -> str:
        written = ""
        for name, value in attrs:
            value = value or ""
            if name.startswith("on") or name in ADDRESSES or not re.fullmatch(r"[a-z][\w:.-]*", name):
                continue
            if name == "style" and re.search(r"url\s*\(|image-set|@import|expression|\\", value, re.I):
                continue
            if tag in SVG and not name.startswith("aria-") and re.search(r"url\s*\((?!#)|\\", value, re.I):
                continue  # fill="url(#id)" is of this picture, any other url() loads something
            if name == "href":
                if tag != "a":
                    continue
                value = self._link(value)
            if name == "src":
                if tag != "img":
                    continue
                value = self._picture(value)
            written += f' {name}="{escape(value)}"'
        return written


def _closing(tag: str) -> str:
    return f"</{tag}></div>" if tag == "table" else f"</{tag}>"
