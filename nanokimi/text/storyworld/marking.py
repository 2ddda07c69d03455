"""What a text says that can be true or false, word by word: names, facts and copies, right or wrong in this world.

`reader.read` stops at the first word that no story has there. This one goes on where a word is of the right kind and
wrong: another friend, another food, another toy than the one that the story began with. Where no word fits, it looks
for the next sentence that the story could still have. So a model's story can be read to its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from nanokimi.text.storyworld.english import PRONOUNS, inflect
from nanokimi.text.storyworld.grammar import TOKEN, Grammar
from nanokimi.text.storyworld.nodes import Choice, Draw, Fact, Mark, Recall, Text
from nanokimi.text.storyworld.reader import chain
from nanokimi.text.storyworld.world import World

Kind = Literal["text", "name", "fact", "copy", "beyond"]
END = re.compile(r'[.!?]"?[ \n]+')  # of a sentence


@dataclass(frozen=True)
class Piece:
    """Some words of a text.

    kind: text: words of the grammar, or chosen freely. name: somebody enters the story. fact: what the world says of
        somebody, told for the first time. copy: what the story has told already. beyond: no story goes on like this, up
        to the next sentence that one can have.
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
    best, left = _read_on(marker, _State(0, {}, {}, {}, None, 0), chain(grammar.start, None))
    while best.at < len(text):
        best, left = _begin_again(marker, best, left)
    return _list(best)


def _read_on(marker: _Marker, begin: _State, nodes: tuple | None) -> tuple[_State, tuple | None]:
    """How far the text goes on with these nodes, and the nodes that are then left."""
    best, left = begin, nodes
    todo = [(begin, nodes)]
    while todo:
        state, nodes = todo.pop()
        if (state.at, -state.wrong) > (best.at, -best.wrong):
            best, left = state, nodes
        if nodes is None or state.at == len(marker.text):
            if state.at == len(marker.text) and state.wrong == begin.wrong:
                break
            continue
        node, rest = nodes
        if isinstance(node, Choice):
            for option, value in zip(node.options[::-1], (node.values or (None,) * len(node.options))[::-1]):
                memory = state.memory | {node.bind: value} if node.bind else state.memory
                todo.append((replace(state, memory=memory), chain(option, rest)))
        elif isinstance(node, Mark):
            todo.append((state, rest))
        else:
            # The right word last, so that it is tried first.
            todo += [(after, rest) for after in reversed(list(marker.go_on(node, state)))]
    return best, left


def _begin_again(marker: _Marker, lost: _State, left: tuple | None) -> tuple[_State, tuple | None]:
    """Behind the next sentence that the story can still have, or at the end of the text."""
    later = list(_sentences(_flat(left), None))
    for end in END.finditer(marker.text, lost.at):
        beyond = Piece(marker.text[lost.at : end.end()], "beyond")
        begin = replace(lost, at=end.end(), pieces=(beyond, lost.pieces))
        found = max(
            (_read_on(marker, begin, nodes) for nodes in later),
            key=lambda each: (each[0].at, -each[0].wrong),
            default=(begin, None),
        )
        its_end = END.search(marker.text, begin.at)
        if found[0].at >= (its_end.start() if its_end else len(marker.text)):
            return found
    beyond = Piece(marker.text[lost.at :], "beyond")
    return replace(lost, at=len(marker.text), pieces=(beyond, lost.pieces)), None


def _sentences(nodes: tuple, rest: tuple | None) -> Iterator[tuple | None]:
    """What follows the end of every sentence in these nodes, with their options, before `rest`."""
    for i, node in enumerate(nodes):
        after = chain(nodes[i + 1 :], rest)
        if isinstance(node, Text) and node.text.isspace() and i and _may_end(nodes[i - 1]):
            yield after
        elif isinstance(node, Text):
            for end in END.finditer(node.text):
                tail = node.text[end.end() :]
                yield (Text(tail), after) if tail else after
        elif isinstance(node, Choice):
            for option in node.options:
                yield from _sentences(option, after)


def _may_end(node: object) -> bool:
    """Whether a sentence may end with this node: with a full stop, or with options that have one."""
    return isinstance(node, Choice) or (isinstance(node, Text) and END.search(node.text + " ") is not None)


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
            # Where the sentence that chose the word was not to be read, nobody knows which one is right.
            remembered = state.memory.get(node.name)
            kind = "text" if remembered is None else "copy"
            for word in sorted(self.grammar.memory[node.name], key=lambda word: (word != remembered, word)):
                yield inflect(word, node.form), Piece("", kind, remembered in (None, word)), state
        elif isinstance(node, Fact) and node.attr == "name":
            yield from self._names(node, state)
        else:
            assert isinstance(node, Fact)
            yield from self._facts(node, state)

    def _names(self, node: Fact, state: _State) -> Iterator[tuple[str, Piece, _State]]:
        """The name of somebody who plays a part; another name is a mistake, and the story goes on about that person."""
        right, kind = state.cast.get(node.who), "copy" if (node.who, "name") in state.told else "fact"
        if right is None:
            kind = "name"  # of somebody who came in a sentence that was not to be read
        for who in self._named(state):
            name = self.characters[who].name
            told = state.told | {(node.who, "name"): name}
            after = replace(state, cast=state.cast | {node.who: who}, told=told)
            yield name, Piece("", kind, right in (None, who)), after

    def _facts(self, node: Fact, state: _State) -> Iterator[tuple[str, Piece, _State]]:
        attr = "he" if node.attr in PRONOUNS else node.attr
        key = (node.who, attr)
        known = self.characters[state.cast[node.who]].facts[attr] if node.who in state.cast else None
        right, kind = state.told.get(key, known), "copy" if key in state.told else "fact"
        if right is None:
            kind = "text"  # of somebody whom nobody knows
        for value in sorted(self.grammar.facts[attr], key=lambda value: value != right):
            said = value
            if node.attr in PRONOUNS:
                said = node.attr if value == "he" else PRONOUNS[node.attr]
            told = state.told | {key: state.told.get(key, value)}
            yield inflect(said, node.form), Piece("", kind, right in (None, value)), replace(state, told=told)

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


def _flat(nodes: tuple | None) -> tuple:
    """The nodes of a linked list."""
    found = []
    while nodes is not None:
        node, nodes = nodes
        found.append(node)
    return tuple(found)


def _list(state: _State) -> tuple[Piece, ...]:
    """The pieces in their order, and neighbours of one kind without truth as one."""
    joined: list[Piece] = []
    for piece in _flat(state.pieces)[::-1]:
        if joined and piece.kind == joined[-1].kind and piece.kind in ("text", "beyond"):
            joined[-1] = Piece(joined[-1].words + piece.words, piece.kind)
        else:
            joined.append(piece)
    return tuple(joined)
