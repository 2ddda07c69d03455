"""What a reader can say about an expert: which tokens it is for, in a small vocabulary that can be put together.

    token_is("␣the", "␣a")                       # exactly these tokens, as `words_of` shows them
    word_is("pancakes", "waffles")               # every token of these words
    class_is("name")                             # a class of `Observatory.groupings`
    class_is("copy", by="role of the token predicted")
    class_is("name") & ~token_is("s")            # and, not; | is or

A function of the token and of the text before it that says True or False is a claim too:

    lambda token, before: before.endswith("said")

A claim knows no text and no expert; `fits` says of every token of a passage whether the claim fits it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from lab_utils.observatory.groupings import find_grouping
from lab_utils.observatory.passage import Passage
from lab_utils.observatory.token_strip import make_visible
from lab_utils.show.words import kind_of, value_or_kind
from nanokimi.system.printable import OneLineError, one_line, quote


class ClaimError(OneLineError):
    """A claim that cannot be tested: one line that says what is wrong and what is allowed."""


@dataclass(frozen=True, eq=False)
class Claim:
    """The claim in words, and the function that says which tokens it fits; `&`, `|` and `~` make new ones."""

    says: str
    fits: Callable[[Passage], Bool[np.ndarray, " tokens"]]

    def __and__(self, other: Any) -> Claim:
        right = as_claim(other)
        return Claim(f"({self.says}) and ({right.says})", lambda text: self.fits(text) & right.fits(text))

    def __or__(self, other: Any) -> Claim:
        right = as_claim(other)
        return Claim(f"({self.says}) or ({right.says})", lambda text: self.fits(text) | right.fits(text))

    def __invert__(self) -> Claim:
        return Claim(f"not ({self.says})", lambda text: ~self.fits(text))

    def __bool__(self) -> bool:
        # Python's own words would silently drop one of the two claims.
        raise ClaimError("claims are put together with & (and), | (or) and ~ (not), not with Python's words")


def as_claim(claim: Any) -> Claim:
    """A claim as it is, and a function of token and text before as a claim; `ClaimError` for anything else."""
    if isinstance(claim, Claim):
        return claim
    if not callable(claim):
        raise ClaimError(
            f"claim={value_or_kind(claim)} must be token_is(...), word_is(...), class_is(...), "
            "or a function of a token and the text before it"
        )
    name = getattr(claim, "__name__", "<lambda>")
    name = "the reader's function" if name == "<lambda>" else name
    says = one_line((claim.__doc__ or "").strip().split("\n")[0] or name, 160)
    return Claim(says, lambda text: _ask(claim, says, text))


def token_is(*tokens: str) -> Claim:
    """The token is one of these, to the letter; a blank can be written as ␣, as the observatory shows it."""
    _check_texts("token_is", tokens)
    listed = [make_visible(token) for token in tokens]
    return Claim(
        f"the token is {_list(listed)}", lambda text: _find(listed, map(make_visible, text.texts), "token")
    )


def word_is(*words: str) -> Claim:
    """The token is one of these words or a piece of one; capitals do not matter."""
    _check_texts("word_is", words)
    listed = [word.strip().lower() for word in words]
    return Claim(
        f"the token belongs to the word {_list([make_visible(word) for word in listed])}",
        lambda text: _find(listed, map(str.lower, text.words), "word"),
    )


def class_is(name: str, by: str = "word class") -> Claim:
    """The token's class is `name`, in the grouping `by` of `Observatory.groupings`."""
    _check_texts("class_is", (name, by))

    def fits(text: Passage) -> Bool[np.ndarray, " tokens"]:
        class_of, classes = find_grouping(text.groupings, by)
        if name not in classes:
            raise ClaimError(f"class {quote(name)} does not exist; choose one of: {', '.join(classes)}")
        return class_of == classes.index(name)

    return Claim(f"the {by} is {name}", fits)


def _check_texts(maker: str, texts: tuple[Any, ...]) -> None:
    if not texts:
        raise ClaimError(f"{maker} needs at least one text, such as {maker}('the')")
    for text in texts:
        if not isinstance(text, str) or not text:
            raise ClaimError(
                f"{maker}: {value_or_kind(text)} must be a text with at least one letter, in quotes"
            )


def _list(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"one of {' '.join(texts)}"


def _find(listed: list[str], found: Iterable[str], what: str) -> Bool[np.ndarray, " tokens"]:
    every = list(found)
    for text in listed:
        if text not in every:
            other = (
                "word_is finds the pieces of a word" if what == "token" else "token_is finds a piece of one"
            )
            raise ClaimError(f"no {what} of this text is {quote(text)}; {other}")
    return np.array([text in listed for text in every])


def _ask(function: Callable[..., Any], says: str, text: Passage) -> Bool[np.ndarray, " tokens"]:
    answers = np.zeros(len(text.texts), dtype=bool)
    for i, (token, before) in enumerate(zip(text.texts, text.texts_before())):
        try:
            answer = function(token, before)
        except Exception as error:  # a reader's function may fail in any way
            raise ClaimError(
                f"the claim {quote(says)} failed at token {quote(token)}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(answer, bool | np.bool_):
            raise ClaimError(
                f"the claim {quote(says)} must say True or False, and said {value_or_kind(answer)} "
                f"({kind_of(answer)}) at token {quote(token)}"
            )
        answers[i] = answer
    return answers
