"""What kind of word a token belongs to, and where in its word it stands.

Names, verbs and places come from the storyworld's own word lists. For any other text the lists are empty; there a
capitalised word inside a sentence counts as a name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tiktoken
from jaxtyping import Int

from nanokimi.config import DataConfig
from nanokimi.text.storyworld import World, fact_values, words

WORD_CLASSES = (
    "name",
    "verb",
    "place",
    "other word",
    "number",
    "quote",
    "punctuation",
    "white space",
    "end of text",
)
POSITIONS = ("begins a sentence", "begins a word", "goes on in a word", "sign or space")

# A word may hold an apostrophe or a hyphen; bytes above 127 are parts of letters that are not ASCII.
_PIECE = re.compile(rb"[A-Za-z\x80-\xff]+(?:['-][A-Za-z\x80-\xff]+)*|[0-9]+|\s+|.", re.S)
_QUOTES = {b'"', b"'", b"`"}
_ENDS_SENTENCE = {b".", b"!", b"?"}


@dataclass(frozen=True)
class Lexicon:
    """Words in lower case, one set per class."""

    names: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()


def read_storyworld_lexicon(cfg: DataConfig) -> Lexicon:
    """The words of the storyworld: who lives in it, what they do and say, where they go."""
    if cfg.source != "storyworld":
        return Lexicon()
    facts = fact_values()
    people = [c.name for c in World(cfg.seed, cfg.n_characters).characters]
    verbs = [*facts["went"], *facts["cried"]]
    for name in ("dids", "saids", "moans"):
        verbs += words.entries(words.LISTS[name])
    places = [*words.entries(words.LISTS["places"]), *facts["village"], *facts["house"]]
    return Lexicon(
        names=_split_words([*people, *facts["elder"], *facts["teacher"]]),
        verbs=_split_words(verbs),
        # Of "bus stop" only "stop" is a place; of a village's name, both words are.
        places=_split_words([place if place in facts["village"] else place.split()[-1] for place in places]),
    )


def _split_words(entries: Sequence[str]) -> frozenset[str]:
    return frozenset(word.lower() for entry in entries for word in entry.split())


@dataclass(frozen=True, eq=False)
class TokenClasses:
    """For every token an index into `WORD_CLASSES` and one into `POSITIONS`."""

    word_class: Int[np.ndarray, " tokens"]
    position: Int[np.ndarray, " tokens"]


def classify(encoding: tiktoken.Encoding, ids: Sequence[int], lexicon: Lexicon) -> TokenClasses:
    """The classes of `ids`, read as one text. A token belongs to the word of its first letter."""
    text, places = _join(encoding, ids)
    class_at, begins_at = _classify_bytes(text, lexicon)
    word_class, position = [], []
    for token, here in zip(ids, places):
        found = WORD_CLASSES.index("end of text") if token == encoding.eot_token else class_at[here]
        word_class.append(found)
        if WORD_CLASSES[found] not in ("name", "verb", "place", "other word", "number"):
            position.append(POSITIONS.index("sign or space"))
        else:
            position.append(begins_at.get(here, POSITIONS.index("goes on in a word")))
    return TokenClasses(np.array(word_class, dtype=np.int64), np.array(position, dtype=np.int64))


def find_words(encoding: tiktoken.Encoding, ids: Sequence[int]) -> list[str]:
    """For every token of `ids`, read as one text, the word, number or sign of its first letter, without an `'s`."""
    text, places = _join(encoding, ids)
    pieces = list(_PIECE.finditer(text))
    of_token = np.searchsorted([piece.start() for piece in pieces], places, side="right") - 1
    return [pieces[i][0].decode("utf-8", "replace").removesuffix("'s") for i in of_token]


def _join(encoding: tiktoken.Encoding, ids: Sequence[int]) -> tuple[bytes, list[int]]:
    """The tokens as one text, and for each the place of its first letter in it."""
    text, places = bytearray(), []
    for token in ids:
        # A document ends like a paragraph, so that its last word is not joined to the next one.
        piece = b"\n" if token == encoding.eot_token else encoding.decode_single_token_bytes(token)
        # The blank before a word is part of its token; a token of nothing but blanks is white space.
        lead = len(piece) - len(piece.lstrip()) if piece.strip() else 0
        places.append(len(text) + lead)
        text += piece
    return bytes(text), places


def _classify_bytes(text: bytes, lexicon: Lexicon) -> tuple[Int[np.ndarray, " bytes"], dict[int, int]]:
    """The class of every byte, and the bytes at which a word begins with the position class that they have."""
    class_at, begins_at, starts_sentence = np.zeros(len(text), dtype=np.int64), {}, True
    for match in _PIECE.finditer(text):
        piece = match[0]
        name = _classify_word(piece, starts_sentence, lexicon)
        class_at[match.start() : match.end()] = WORD_CLASSES.index(name)
        if name in ("name", "verb", "place", "other word", "number"):
            begins = "begins a sentence" if starts_sentence else "begins a word"
            begins_at[match.start()] = POSITIONS.index(begins)
            starts_sentence = False
        elif piece in _ENDS_SENTENCE or b"\n" in piece:
            starts_sentence = True
    return class_at, begins_at


def _classify_word(piece: bytes, starts_sentence: bool, lexicon: Lexicon) -> str:
    if piece.isspace():
        return "white space"
    if piece.isdigit():
        return "number"
    if piece in _QUOTES:
        return "quote"
    if not re.match(rb"[A-Za-z\x80-\xff]", piece):
        return "punctuation"
    word = piece.decode("utf-8", "replace")
    low = word.lower().removesuffix("'s")
    if word[0].isupper() and low in lexicon.names:
        return "name"
    if low in lexicon.places:
        return "place"
    if low in lexicon.verbs:
        return "verb"
    capitalised = word[0].isupper() and not starts_sentence and word != "I" and not word.startswith("I'")
    return "name" if capitalised else "other word"
