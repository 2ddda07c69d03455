"""Words that depend on what they go with: "1 token" and "2 tokens", "a list" and "an int"."""

from __future__ import annotations

from nanokimi.system.printable import quote


def plural(n: int, what: str, many: str = "") -> str:
    """A number and its noun: 1 token, 2 tokens. `many` is the noun for more than one where it is not `what` + s."""
    return f"{n:,} {what if n == 1 else many or what + 's'}"


def kind_of(value: object) -> str:
    """What a value is, as a sentence names it: "an int", "a list", "None"."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeio' or name == 'ndarray' else 'a'} {name}"


def value_or_kind(value: object) -> str:
    """A number or a text as it is written; what anything else is."""
    return quote(value) if isinstance(value, str | int | float) else kind_of(value)
