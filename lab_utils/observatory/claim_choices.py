"""Claims for a form: a choice from a list, and the words that the reader types. What is typed is data, never code."""

from __future__ import annotations

from collections.abc import Mapping

from lab_utils.observatory.claims import Claim, ClaimError, class_is, token_is, word_is
from lab_utils.observatory.groupings import Grouping
from nanokimi.system.printable import quote

TOKENS, WORDS = "it is one of these tokens", "it belongs to one of these words"
NAMES = "its word class is: name"


def list_choices(groupings: Mapping[str, Grouping]) -> list[str]:
    """What a token can fit by: the texts that the reader types, or any class of any grouping."""
    return [TOKENS, WORDS, *_list_classes(groupings)]


def read_claim(groupings: Mapping[str, Grouping], fits_if: str, texts: str) -> Claim:
    """The claim of a choice from `list_choices`, with the tokens or words as typed, between blanks or commas."""
    check_choice(groupings, fits_if)
    if fits_if in (TOKENS, WORDS):
        # A comma alone is a token; behind a word it stands between two.
        listed = [text.rstrip(",") or text for text in texts.split()]
        return (token_is if fits_if == TOKENS else word_is)(*listed)
    by, name = _list_classes(groupings)[fits_if]
    return class_is(name, by)


def check_choice(groupings: Mapping[str, Grouping], fits_if: str) -> None:
    """`ClaimError` where `fits_if` is not in `list_choices`."""
    choices = list_choices(groupings)
    if fits_if not in choices:
        raise ClaimError(f"fits_if={quote(fits_if)} is no kind of claim; choose one of: {'; '.join(choices)}")


def _list_classes(groupings: Mapping[str, Grouping]) -> dict[str, tuple[str, str]]:
    """Every class as a choice, with the grouping and the name that it stands for."""
    return {f"its {by} is: {name}": (by, name) for by, (_, names) in groupings.items() for name in names}
