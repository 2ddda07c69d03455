"""Where a text may be cut, so that it is tokenized in parts of bounded size.

Safe places stand between a character and the blank or new line after it: no token contains both, since in `WORDS`
white space begins a token or fills one. A run without a safe place (a genome, base64, a million new lines) is cut
every `RUN` characters. Tokenizers take time with the square of a run's length, and some fail on a long one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

RUN = 1000  # characters: the longest words of real texts are far below

_SAFE = re.compile(r"(?<=\S)(?=[ \n])")
_LAST_SAFE = re.compile(
    rf"(?s:.{{1,{RUN}}})(?<=\S)(?=[ \n])"
)  # the last safe place within the next RUN characters


def cut_runs(text: str) -> Iterator[str]:
    """`text` in parts between the places at which a run is cut. A text without a long run is one part.

    >>> [len(part) for part in cut_runs("a word, then " + "ACGT" * 600)]
    [1012, 1000, 401]
    """
    start = 0
    for place, in_run in _find_places(text, 0):
        if in_run:
            yield text[start:place]
            start = place
    yield text[start:]


def cut_text(text: str, size: int) -> Iterator[str]:
    """`text` in parts of about `size` characters, whose tokens, joined, are the tokens of the whole text.

    They end at a safe place, or where `cut_runs` cuts the whole text.
    """
    start = 0
    while len(text) - start > size:
        safe = _SAFE.search(text, start + size, start + size + RUN)
        if safe is not None:
            cut = safe.start()
        else:
            cut = next((place for place, _ in _find_places(text, start) if place >= start + size), len(text))
        yield text[start:cut]
        start = cut
    if start < len(text):
        yield text[start:]


def _find_places(text: str, start: int) -> Iterator[tuple[int, bool]]:
    """Places to cut at, at most RUN apart, and whether each is inside a run. `start` must be such a place."""
    here = start
    while len(text) - here > RUN:
        safe = _LAST_SAFE.match(text, here)
        here = safe.end() if safe is not None else here + RUN
        yield here, safe is None
