"""YAML as people expect it: plain values under names, read within bounds, and written so that it is read as it was.

Words and numbers are those of YAML 1.2's core: `010` is 10, `1e-3` is a number, `1:30`, `yes` and `2024-01-01` are
texts. What settings do not need is refused: aliases (a few lines of them can stand for gigabytes), tags, a name that
stands twice, depth without end.
"""

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml
from yaml.reader import ReaderError

from nanokimi.system.printable import quote
from nanokimi.system.reading import UnreadableFile, read_small_text
from nanokimi.system.refusals import ConfigError

MOST_BYTES = 64_000  # a hundred times the longest preset
_DEEPEST = 20

# What the parser says, and what a reader can do about it.
_PLAIN = {
    r"mapping values are not allowed here": "a colon too many, or a line that is indented too far",
    r"could not find expected ':'": "a name without a colon",
    r"expected <block end>, but found .*": "a line that is no `name: value`, or is indented unlike those above it",
    r"expected ',' or '\]', but got .*": "a [ without its ]",
    r"expected ',' or '\}', but got .*": "a { without its }",
    r"found unexpected end of stream": "a quotation mark without its second",
    r"found character '\\t' that cannot start any token": "a tab: indent with spaces",
    r"found character ('.') that cannot start any token": r"\1 cannot begin a value: put the value in quotation marks",
    r"expected the node content, but found (.*)": r"a value is missing before \1",
    r"but found another document|expected '<document start>', but found .*": (
        "this does not belong to the settings: leave it out"
    ),
    r"expected alphabetic or numeric character, but found .*": "* and & need a name, and settings need neither",
}


def read_plain_yaml(path: Path) -> Any:
    """What a YAML file holds; `ConfigError` where it cannot be read."""
    try:
        text = read_small_text(path, MOST_BYTES)
    except UnreadableFile as error:
        raise ConfigError(error) from None
    return parse(text, f"file {path}", numbered=True)


def parse(text: str, where: str, numbered: bool = False) -> Any:
    """The value that a YAML text stands for; `ConfigError`, which begins with `where`, for what is not allowed.

    numbered: the error names the line, as for a file.
    """
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{where} has more than {MOST_BYTES:,} letters: these are no settings")
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        problem = _explain(error)
        # What was opened and not closed is mended where it was opened.
        mark = error.context_mark if " without its " in problem else error.problem_mark
        line = mark.line if mark else 0
    except ReaderError as error:
        problem = f"{quote(chr(error.character))} is not allowed in it"
        line = text.count("\n", 0, error.position)
    at = f"line {line + 1}: " if numbered else ""
    raise ConfigError(f"{where} cannot be read as YAML: {at}{problem}")


def dump(data: Any) -> str:
    """Plain data as YAML that `parse` reads as equal data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or ""
    for said, plain in _PLAIN.items():
        if found := re.fullmatch(said, problem):
            return found.expand(plain)
    return problem


def _refuse(node: Any, problem: str) -> None:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    """Reads plain values only."""

    yaml_implicit_resolvers: ClassVar = {}
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            _refuse(event, f"*{quote(event.anchor)[1:-1]} repeats another value: write it out")
        if (tag := getattr(event, "tag", None)) is not None:
            _refuse(event, f"the tag {quote(tag)} is not allowed: leave it out")
        if self.depth > _DEEPEST:
            _refuse(event, f"sections lie more than {_DEEPEST} deep in each other")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                _refuse(key_node, f"{quote(key)} is not a setting: names are words")
            if key in found:
                _refuse(key_node, f"{quote(key)} stands here twice: keep one of the two")
            found[key] = self.construct_object(value_node, deep=True)
        return found

    def construct_whole(self, node: Any) -> int:
        digits = node.value.lower()
        if len(digits) > 4000:  # Python reads no more, and no setting has them
            _refuse(node, f"a number of {len(digits):,} digits is not allowed")
        sign, digits = (-1 if digits[0] == "-" else 1), digits.lstrip("+-")
        return sign * int(digits, {"0o": 8, "0x": 16}.get(digits[:2], 10))

    def construct_number(self, node: Any) -> float:
        return float(re.sub(r"\.(?=[a-zA-Z])", "", node.value))


class _Dumper(yaml.SafeDumper):
    """Quotes every text that `_Loader` would read as something else."""

    yaml_implicit_resolvers: ClassVar = {}

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        # Single quotes would keep U+0085 as it is, and to YAML it is the end of a line; double quotes escape it.
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if "\x85" in data else None)


_Dumper.add_representer(str, _Dumper.represent_text)
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)
for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_pattern})\Z"), _first)
