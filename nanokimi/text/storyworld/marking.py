"""What a text says that can be true or false, word by word: names, facts and copies, right or wrong in this world.

`reader.read` stops at the first word that no story has there. This one goes on where a word is of the right kind and
wrong: another friend, another food, another toy than the one that the story began with. So a model's story can be read
to its end, and its mistakes counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from nanokimi.text.storyworld.english import PRONOUNS, inflect
from nanokimi.text.storyworld.grammar import TOKEN, Grammar
from nanokimi.text.storyworld.nodes import Choice, Draw, Fact, Mark, Recall, Text
from nanokimi.text.storyworld.world import World

Kind = Literal["text", "name", "fact", "copy", "beyond"]


@dataclass(frozen=True)
class Piece:
    """Some words of a text.

    kind: text: words of the grammar, or chosen freely. name: somebody enters the story. fact: what the world says of
        somebody, told for the first time. copy: what the story has told already. beyond: no story goes on like this.
    right: whether the world, or for a copy the story, says the same. Always true of text and names.
    """

    words: str
    kind: Kind
    right: bool = True


@dataclass(frozen=True)
class _State:
    """What has been read so far: see `reader`. told: what the text has said of whom, by part and attribute."""

    at: int
    cast: dict[str, int]
    memory: dict[str, str]
    told: dict[tuple[str, str], str]
    pieces: tuple | None  # a linked list, the latest first
    wrong: int


def mark(grammar: Grammar, world: World, text: str) -> tuple[Piece, ...]:
    """The pieces of `text`, which join to it. Of two readings the longer one counts, then that with fewer mistakes.

    A text that ends in the middle of a story is read to its end.
    """
    marker = _Marker(grammar, world, text)
    best = _State(0, {}, {}, {}, None, 0)
    todo = [(best, _chain(grammar.start, None))]
    while todo:
        state, nodes = todo.pop()
        if (state.at, -state.wrong) > (best.at, -best.wrong):
            best = state
        if nodes is None or state.at == len(text):
            if state.at == len(text) and not state.wrong:
                break
            continue
        node, rest = nodes
        if isinstance(node, Choice):
            for option, value in zip(node.options[::-1], (node.values or (None,) * len(node.options))[::-1]):
                memory = state.memory | {node.bind: value} if node.bind else state.memory
                todo.append((replace(state, memory=memory), _chain(option, rest)))
        elif isinstance(node, Mark):
            todo.append((state, rest))
        else:
            # The right word last, so that it is tried first.
            todo += [(after, rest) for after in reversed(list(marker.go_on(node, state)))]
    return _list(best, text)


class _Marker:
    """How a text can go on at a node: with the right word, or with a wrong one of the same kind."""

    def __init__(self, grammar: Grammar, world: World, text: str):
        self.grammar, self.characters, self.text = grammar, world.characters, text
        self.by_name = {each.name: each.index for each in world.characters}

    def go_on(self, node: object, state: _State) -> Iterator[_State]:
        """The states after a node. At its end a text may break off in the middle of a word."""
        for words, piece, after in self._words(node, state):
            here = self.text[state.at : state.at + len(words)]
            if words.startswith(here) and (len(here) == len(words) or state.at + len(here) == len(self.text)):
                pieces = (replace(piece, words=here), state.pieces) if here else state.pieces
                wrong = state.wrong + (not piece.right)
                yield replace(after, at=state.at + len(here), pieces=pieces, wrong=wrong)

    def _words(self, node: object, state: _State) -> Iterator[tuple[str, Piece, _State]]:
        if isinstance(node, Text):
            yield node.text, Piece("", "text"), state
        elif isinstance(node, Draw):
            for who in self._named(state):
                if who not in state.cast.values():
                    yield self.characters[who].name, Piece("", "name"), self._enter(node.who, who, state)
        elif isinstance(node, Recall):
            remembered = state.memory[node.name]
            for word in [remembered, *sorted(self.grammar.memory[node.name] - {remembered})]:
                yield inflect(word, node.form), Piece("", "copy", word == remembered), state
        elif isinstance(node, Fact) and node.attr == "name":
            yield from self._names(node, state)
        else:
            assert isinstance(node, Fact)
            yield from self._facts(node, state)

    def _names(self, node: Fact, state: _State) -> Iterator[tuple[str, Piece, _State]]:
        """The name of somebody who plays a part; another name is a mistake, and the story goes on about that person."""
        right, kind = state.cast[node.who], "copy" if (node.who, "name") in state.told else "fact"
        for who in self._named(state):
            name = self.characters[who].name
            told = state.told | {(node.who, "name"): name}
            after = replace(state, cast=state.cast | {node.who: who}, told=told)
            yield name, Piece("", kind, who == right), after

    def _facts(self, node: Fact, state: _State) -> Iterator[tuple[str, Piece, _State]]:
        attr = "he" if node.attr in PRONOUNS else node.attr
        key = (node.who, attr)
        known = self.characters[state.cast[node.who]].facts[attr]
        right, kind = state.told.get(key, known), "copy" if key in state.told else "fact"
        for value in [right, *(each for each in self.grammar.facts[attr] if each != right)]:
            said = value
            if node.attr in PRONOUNS:
                said = node.attr if value == "he" else PRONOUNS[node.attr]
            told = state.told | {key: state.told.get(key, value)}
            yield inflect(said, node.form), Piece("", kind, value == right), replace(state, told=told)

    def _enter(self, part: str, who: int, state: _State) -> _State:
        cast, person = state.cast | {part: who}, self.characters[who]
        if part == "hero":
            cast |= {"friend": person.friend, "neighbour": person.neighbour}
        return replace(state, cast=cast, told=state.told | {(part, "name"): person.name})

    def _named(self, state: _State) -> list[int]:
        """Whose name stands here: one character, or where the text breaks off all whose name may begin like this."""
        word = TOKEN.match(self.text, state.at)
        if word is None or word[0] in self.by_name:
            return [] if word is None else [self.by_name[word[0]]]
        if word.end() < len(self.text):
            return []
        return [each.index for each in self.characters if each.name.startswith(word[0])]


def _chain(nodes: tuple, rest: tuple | None) -> tuple | None:
    """The nodes as a linked list that goes on with `rest`."""
    for node in reversed(nodes):
        rest = (node, rest)
    return rest


def _list(state: _State, text: str) -> tuple[Piece, ...]:
    """The pieces in their order, neighbours of text as one, and what no story goes on with."""
    found, at = [], state.pieces
    while at is not None:
        piece, at = at
        found.append(piece)
    joined: list[Piece] = []
    for piece in [*found[::-1], Piece(text[state.at :], "beyond")]:
        if joined and piece.kind == joined[-1].kind == "text":
            joined[-1] = Piece(joined[-1].words + piece.words, "text")
        elif piece.words:
            joined.append(piece)
    return tuple(joined)
