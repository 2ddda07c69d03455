"""The options that several commands have, and how the word behind an option becomes a folder or a number."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from nanokimi.config import ConfigError
from nanokimi.system.printable import quote

T = TypeVar("T")
_WHOLE = re.compile(r"[-+]?[0-9]{1,400}")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


def read_folder(text: str) -> Path:
    """The folder that an option names; `ConfigError` for an empty text, which would be the current folder."""
    if not text.strip():
        raise ConfigError(f"{quote(text)} must name a folder")
    return Path(text)


def read_json_file(text: str) -> Path:
    """The file that an option names, to be written; `ConfigError` where that cannot be, or is no .json file."""
    path = Path(text)
    if path.suffix != ".json":
        raise ConfigError(f"{quote(text)} must name a file that ends in .json")
    if path.is_dir():
        raise ConfigError(f"{quote(text)} is a folder; name a file in it")
    return path


def read_whole(text: str) -> int:
    """The whole number that an option has, written as for `--set`: Python also reads `1_0` and `٣`."""
    if not _WHOLE.fullmatch(text):
        raise ConfigError(f"{quote(text)} must be a whole number")
    return int(text)


def read_number(text: str) -> float:
    """The number that an option has, written as for `--set`."""
    if not _NUMBER.fullmatch(text):
        raise ConfigError(f"{quote(text)} must be a number")
    return float(text)


def folder(name: str, about: str) -> Any:
    """An option that names a folder."""
    return typer.Option(name, help=about, parser=_refuse_plainly(read_folder), metavar="<path>")


def json_file(name: str, about: str) -> Any:
    """An option that names a .json file to write."""
    return typer.Option(name, help=about, parser=_refuse_plainly(read_json_file), metavar="<path>")


def whole(about: str) -> Any:
    """An option that is a whole number."""
    return typer.Option(help=about, parser=_refuse_plainly(read_whole), metavar="<int>")


def number(about: str) -> Any:
    """An option that is a number."""
    return typer.Option(help=about, parser=_refuse_plainly(read_number), metavar="<float>")


@contextlib.contextmanager
def named_as_options() -> Iterator[None]:
    """A block whose refusals begin with an argument, `top_k=0`, and are told as the option, `--top-k=0`."""
    try:
        yield
    except ConfigError as error:
        name, equals, rest = str(error).partition("=")
        raise ConfigError(f"--{name.replace('_', '-')}{equals}{rest}") from None


def _refuse_plainly(read: Callable[[str], T]) -> Callable[[str | T], T]:
    """The reader of a word as typer's parser: what it refuses is told under the option's name."""

    def parse(word: str | T) -> T:
        if not isinstance(word, str):  # the default
            return word
        try:
            return read(word)
        except ConfigError as error:
            raise typer.BadParameter(str(error)) from None

    return parse


Data = Annotated[
    str, typer.Option(help="storyworld, almanac, tinystories, a text file, a folder, or a .yaml file")
]
Overrides = Annotated[
    list[str], typer.Option("--set", help="section.name=value; sections: model, train, data. Repeatable")
]
CheckpointPath = Annotated[
    Path, folder("--checkpoint", "a folder that `nanokimi train` wrote, or a model's name")
]
# How a text is drawn.
MaxNewTokens = Annotated[int, whole("the most tokens to write")]
Temperature = Annotated[float, number("0 always takes the likeliest token")]
TopK = Annotated[int | None, whole("keep the k likeliest tokens")]
TopP = Annotated[float | None, number("keep the likeliest tokens that reach p together")]
Seed = Annotated[int, whole("the same seed writes the same text")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps")]
