"""Text from outside, on its way to a terminal: shown as it is, except for what would act on the terminal.

A terminal obeys some characters instead of showing them: the control characters C0 and C1 (colours, the cursor, the
clipboard) and the marks that turn the direction of writing. They are written as Python writes them, `\\x1b`. Every
letter, joiner and space of any script stays.
"""

import io
import re
import reprlib
import sys

# C0 and C1 without new line and tab, the marks of direction (Unicode's Bidi_Control), and halves of surrogate pairs,
# which no encoding can write.
_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LINE_ENDS = re.compile("[\n\t\u2028\u2029]")


def escape_text(text: str) -> str:
    """The text with harmless escapes for what can act on a terminal; new lines and tabs stay.

    >>> escape_text("blue: \\x1b[34m")
    'blue: \\\\x1b[34m'
    """
    return _ACTING.sub(_escape, text)


def quote(value: object, longest: int = 160) -> str:
    """A value as an error line names it: quoted where it is text, escaped, and at most `longest` letters.

    >>> quote("kimi\\n")
    "'kimi\\\\n'"
    >>> quote(0.1), quote([1] * 100)
    ('0.1', '[1, 1, 1, 1, 1, 1, ...]')
    """
    if isinstance(value, str):
        # A text of a gigabyte is cut before it is looked at, and once more after that, since an escape is longer.
        return f"'{_cut(_escape_line(_cut(value, longest)), longest)}'"
    try:
        return _cut(_escape_line(_SHORT.repr(value)), longest)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number of thousands of digits"


def one_line(message: object, longest: int = 600) -> str:
    """A message as one line for a terminal: white space joined, escaped, at most `longest` letters."""
    return _cut(_escape_line(" ".join(str(message).split())), longest)


class OneLineError(ValueError):
    """An error for a person: its message is one line that a terminal can show, whatever it names."""

    def __init__(self, message: object):
        super().__init__(one_line(message))


def show_every_letter() -> None:
    """Let stdout and stderr write letters that the terminal's encoding lacks as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a notebook's or a test's stream is no file
            stream.reconfigure(errors="backslashreplace")


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 160


def _escape_line(text: str) -> str:
    return _LINE_ENDS.sub(_escape, escape_text(text))


def _escape(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode("ascii")


def _cut(text: str, longest: int) -> str:
    """The text, or its beginning and its end around three dots."""
    if len(text) <= longest:
        return text
    head = (longest - 3) * 2 // 3
    return f"{text[:head]}...{text[len(text) - (longest - 3 - head) :]}"
