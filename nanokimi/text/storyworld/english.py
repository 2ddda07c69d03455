"""The English that templates cannot spell: articles, capital letters and pronouns."""

from __future__ import annotations

from functools import cache

PRONOUNS = {"he": "she", "him": "her", "his": "her", "himself": "herself"}


def article(noun: str) -> str:
    """`a` or `an`, by the sound of the first word: an apple, a unicorn, an hour."""
    if noun.lower().startswith(("uni", "use", "eu", "one")):
        return "a"
    return "an" if noun[0] in "aeiou" or noun.startswith(("hour", "honest")) else "a"


@cache
def inflect(text: str, form: str) -> str:
    """The text in one of four forms: "" (as it is), "a" (with its article), "^" (with a capital), "^a" (both)."""
    if "a" in form:
        text = f"{article(text)} {text}"
    return text[0].upper() + text[1:] if "^" in form else text
