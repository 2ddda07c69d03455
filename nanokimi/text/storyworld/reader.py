"""Reads a text as the grammar would write it, and says how far that goes.

`writer.derivations` lists the choices behind a whole story, in half a second. This takes milliseconds, because it goes
back to the last choice instead of the first, and it finds the place of the first mistake. It may leave the facts open:
then a character can have any value of a fact, as long as it keeps it, and any friend and neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nanokimi.text.storyworld.english import PRONOUNS, inflect
from nanokimi.text.storyworld.grammar import TOKEN, Grammar
from nanokimi.text.storyworld.nodes import Choice, Draw, Fact, Mark, Recall, Text
from nanokimi.text.storyworld.world import World


@dataclass(frozen=True)
class Reading:
    """How many characters at the beginning of a text some story begins with, and whether the text is a whole story."""

    n_read: int
    whole: bool


@dataclass(frozen=True)
class _State:
    """What has been read so far: at which character the reader is, who is in the story, and what it remembers.

    cast: who plays each part, as an index. memory: the words that may return. told: facts that the text has told,
    where they are open, by part and attribute.
    """

    at: int
    cast: dict[str, int]
    memory: dict[str, str]
    told: dict[tuple[str, str], str]


def read(grammar: Grammar, world: World, text: str, any_facts: bool = False) -> Reading:
    """The longest beginning of `text` that `grammar` can write about this world.

    any_facts: the facts of the world need not hold, and those that the text tells must agree with each other.
    """
    reader = _Reader(grammar, world, text, any_facts)
    furthest = 0
    # Each entry is a state and the nodes that follow, as a linked list: (first, others).
    todo = [(_State(0, {}, {}, {}), chain(grammar.start, None))]
    while todo:
        state, nodes = todo.pop()
        furthest = max(furthest, state.at)
        if nodes is None:
            if state.at == len(text):
                return Reading(len(text), True)
            continue
        node, rest = nodes
        if isinstance(node, Choice):
            for i in reversed(range(len(node.options))):
                memory = state.memory | {node.bind: node.values[i]} if node.bind else state.memory
                todo.append((_State(state.at, state.cast, memory, state.told), chain(node.options[i], rest)))
        elif isinstance(node, Mark):
            todo.append((state, rest))
        else:
            for words, after in reader.write(node, state):
                size = _count_common(words, text, state.at)
                furthest = max(furthest, state.at + size)
                if size == len(words):
                    todo.append((_State(state.at + size, after.cast, after.memory, after.told), rest))
    return Reading(furthest, False)


class _Reader:
    """What nodes can say at a place of this text."""

    def __init__(self, grammar: Grammar, world: World, text: str, any_facts: bool):
        self.characters, self.text, self.any_facts = world.characters, text, any_facts
        self.by_name = {each.name: each.index for each in world.characters}
        self.values = {name: tuple(values) for name, values in grammar.facts.items()}

    def write(self, node: object, state: _State) -> Iterator[tuple[str, _State]]:
        """The words that a node can say, and the state then, without the place."""
        if isinstance(node, Text):
            yield node.text, state
        elif isinstance(node, Recall):
            yield inflect(state.memory[node.name], node.form), state
        elif isinstance(node, Draw):
            yield from self._enter(node.who, state)
        elif isinstance(node, Fact) and self.any_facts:
            yield from self._say_any(node, state)
        else:
            assert isinstance(node, Fact)
            person = self.characters[state.cast[node.who]]
            yield inflect(person.facts[node.attr], node.form), state

    def _enter(self, part: str, state: _State) -> Iterator[tuple[str, _State]]:
        """Somebody who is not yet in the story: whose name stands here, or else all whose name may begin like this."""
        word = TOKEN.match(self.text, state.at)
        named = None if word is None else self.by_name.get(word[0])
        for who in range(len(self.characters)) if named is None else [named]:
            if who not in state.cast.values():
                yield self.characters[who].name, self._cast(part, who, state)

    def _cast(self, part: str, who: int, state: _State) -> _State:
        cast = state.cast | {part: who}
        if part == "hero" and not self.any_facts:
            person = self.characters[who]
            cast |= {"friend": person.friend, "neighbour": person.neighbour}
        return _State(state.at, cast, state.memory, state.told)

    def _say_any(self, node: Fact, state: _State) -> Iterator[tuple[str, _State]]:
        """A fact that the text has told already, or any value of one that it has not."""
        if node.attr == "name":
            if (who := state.cast.get(node.who)) is None:
                yield from self._enter(node.who, state)
            else:
                yield self.characters[who].name, state
            return
        attr = "he" if node.attr in PRONOUNS else node.attr
        key = (node.who, attr)
        for value in (state.told[key],) if key in state.told else self.values[attr]:
            told = state.told | {key: value}
            said = value
            if node.attr in PRONOUNS:
                said = node.attr if value == "he" else PRONOUNS[node.attr]
            yield inflect(said, node.form), _State(state.at, state.cast, state.memory, told)


def chain(nodes: tuple, rest: tuple | None) -> tuple | None:
    """The nodes as a linked list that goes on with `rest`."""
    for node in reversed(nodes):
        rest = (node, rest)
    return rest


def _count_common(words: str, text: str, at: int) -> int:
    """With how many letters of `words` the text goes on at `at`."""
    if text.startswith(words, at):
        return len(words)
    size = 0
    while at + size < len(text) and words[size] == text[at + size]:
        size += 1
    return size
