"""What is wrong with a value, in one line: the field, the value, what is allowed."""

import difflib
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import ValidationError

from nanokimi.system.printable import OneLineError, quote

# What pydantic calls a mistake, and what is allowed; the braces are filled with what pydantic knows of it.
_ALLOWED = {
    "greater_than": "above {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "below {lt}",
    "less_than_equal": "{le} or less",
    "multiple_of": "a multiple of {multiple_of}",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_sub_type": "text",
    "path_type": "a path",
    "literal_error": "{expected}",
    "none_required": "empty",
    "dict_type": "`name: value` lines",
    "mapping_type": "`name: value` lines",
    "tuple_type": "a list",
    "list_type": "a list",
    "sequence_str": "a list, not one text",
    "callable_type": "a function",
    "dataclass_type": "a section of `name: value` lines",
    "dataclass_exact_type": "{class_name}",
    "is_instance_of": "{class}",
}


class ConfigError(OneLineError):
    """A setting that cannot be used: one line that names the field, its value and what is allowed."""


def require(ok: bool, message: str) -> None:
    """`ConfigError` with the message, unless all is well."""
    if not ok:
        raise ConfigError(message)


def require_within(cfg: Any, name: str, low: int, limit: str) -> None:
    """`ConfigError` unless the field `name` lies between `low` and the field `limit`."""
    value, high = getattr(cfg, name), getattr(cfg, limit)
    require(low <= value <= high, f"{name}={value} must lie in {low}..{limit}={high}")


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of an error message: the known name that is nearest, or all that are known."""
    close = difflib.get_close_matches(name[:80], known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"


def explain(error: ValidationError, cls: type) -> str:
    """The first mistake in what `cls` was built from: the field's path, the value, what is allowed."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    field = ".".join(part if len(part) <= 40 else quote(part, 40) for part in path)
    kind = first["type"]
    if kind == "unexpected_positional_argument":
        return f"{cls.__name__} takes its settings by name: {cls.__name__}({fields(cls)[0].name}=...)"
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        for section in path[:-1]:
            cls = sections(cls).get(section, cls)
        return f"{field} is not a setting; {nearest(path[-1], [f.name for f in fields(cls)])}"
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{field} is missing"
    if kind == "value_error" and not _told(first).startswith(
        "must "
    ):  # what a check of ours said of several fields
        return f"{field + ': ' if field else ''}{_told(first)}"
    return f"{field}={quote(first['input'])} {_allowed([first])}"


def explain_argument(error: ValidationError, given: Mapping[str, Any]) -> str:
    """The first mistake among arguments: `seeds=0 must be 1 or more`; inside a list, `prompt.2='a' must be ...`."""
    mistakes = error.errors(include_url=False)
    name = mistakes[0]["loc"][0]
    inside = [str(part) for part in mistakes[0]["loc"][1:] if isinstance(part, int)]
    wrong = mistakes[0]["input"] if inside else given[str(name)]
    field = ".".join([str(name), *inside])
    return f"{field}={quote(wrong)} {_allowed(each for each in mistakes if each['loc'][0] == name)}"


def _allowed(mistakes: Iterable[Any]) -> str:
    """What would be allowed in place of a value: `must be a whole number`, `must be GPTConfig or KimiConfig`."""
    mistakes = list(mistakes)
    plain = {"Sequence": "a list", "Mapping": "`name: value` lines", "Path": "a path"}
    words = dict.fromkeys(
        _ALLOWED[each["type"]].format(**{k: _show(v) for k, v in each.get("ctx", {}).items()})
        for each in mistakes
        if each["type"] in _ALLOWED
    )
    return f"must be {' or '.join(plain.get(word, word) for word in words)}" if words else _told(mistakes[0])


def _told(mistake: Any) -> str:
    """What pydantic says, without the words that it puts in front of what a check of ours has said."""
    return mistake["msg"].removeprefix("Value error, ")


def _show(bound: Any) -> str:
    """A bound of a range, as a person reads it: 1,000,000, 10^18, 2^64, 0.5 or 1e35."""
    if not isinstance(bound, int | float):
        return str(bound)
    if bound != int(bound) or abs(bound) > 1e30:
        return f"{bound:g}".replace("e+", "e")
    powers = (f"{base}^{n}" for base in (2, 10) for n in range(15, 65) if base**n == abs(bound) > 10**12)
    return ("-" if bound < 0 else "") + next(powers, f"{abs(int(bound)):,}")


def sections(cls: type) -> dict[str, type]:
    """The fields of a dataclass that are dataclasses themselves."""
    found = {}
    for name, hint in typing.get_type_hints(cls).items():
        found.update((name, option) for option in (hint, *typing.get_args(hint)) if is_dataclass(option))
    return found
