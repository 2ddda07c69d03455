"""Stories from one walk over the grammar. Chance makes the choices, or a script does.

The walk asks a `pick` function for every choice. `Dice` answers from a counter-based random stream, `Script` from
a list of moves. With scripts the same walk lists all stories of a small grammar (`every_story`) and finds the
choices behind a given text (`derivations`).
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, groupby
from math import log2

import numpy as np

from nanokimi.text.storyworld.grammar import Grammar, first_token
from nanokimi.text.storyworld.nodes import CHOICE, FACT, ROLES, Choice, Draw, Mark


@dataclass(frozen=True, slots=True, eq=False)
class Story:
    """A text, and the role and the surprise in bits of each of its bytes (see the docstring of the package)."""

    text: str
    roles: np.ndarray  # uint8, an index into ROLES for each byte
    bits: np.ndarray  # float32, -log2 probability given the world, on the first byte of the chosen word

    def segments(self) -> list[tuple[str, str, float]]:
        """(role, text, bits) of every run of bytes with one role, in order; the texts join to the story."""
        runs, at = [], 0
        for role, run in groupby(self.roles.tolist()):
            end = at + len(list(run))
            runs.append((ROLES[role], self.text[at:end], float(self.bits[at:end].sum())))
            at = end
        return runs

    def marked(self) -> str:
        """The story as plain text with its roles: <choice>, {fact}, (copy); forced words stand without a mark."""
        left = {"grammar": "", "choice": "<", "fact": "{", "copy": "("}
        right = {"grammar": "", "choice": ">", "fact": "}", "copy": ")"}
        return "".join(left[role] + text + right[role] for role, text, _ in self.segments())


# ---- what answers a choice --------------------------------------------------------------------------------


def stream(key: str) -> Iterator[int]:
    """Endless 64-bit random integers, the same for the same key on every machine (SHAKE-128)."""
    for block in count():
        yield from struct.unpack("<128Q", hashlib.shake_128(f"{key}/{block}".encode()).digest(1024))


class Dice:
    """Picks at random, with integers only: (64 random bits * n) >> 64 is uniform to one part in 2**64 / n."""

    def __init__(self, key: str):
        self._next = stream(key).__next__

    def __call__(self, n: int, cumulative: Sequence[int] | None = None) -> int:
        if cumulative is None:
            return self._next() * n >> 64
        return bisect_right(cumulative, self._next() * cumulative[-1] >> 64)


class OutOfMoves(Exception):
    """The script has ended, and the story still has to pick one of `n`."""

    def __init__(self, n: int):
        self.n = n


class Script:
    """Picks as told, and keeps the exact probability of these picks."""

    def __init__(self, moves: Sequence[int]):
        self.moves, self.at, self.probability = moves, 0, Fraction(1)

    def __call__(self, n: int, cumulative: Sequence[int] | None = None) -> int:
        if self.at == len(self.moves):
            raise OutOfMoves(n)
        i = self.moves[self.at]
        self.at += 1
        weights = range(1, n + 1) if cumulative is None else cumulative
        self.probability *= Fraction(weights[i] - (weights[i - 1] if i else 0), weights[-1])
        return i


# ---- the walk ---------------------------------------------------------------------------------------------


class Writer:
    """The state of one story while it is written."""

    def __init__(self, world, pick):
        self.world, self.pick = world, pick
        self.cast: dict = {}  # who is in the story: hero, friend, neighbour, guests
        self.memory: dict[str, str] = {}  # words that may return
        self.said: set[tuple[str, str]] = set()  # (name, attribute) that the story has already said
        self.surprise = 0.0  # bits waiting for the next word
        self.size = 0
        self.pieces: list[str] = []
        self.roles: list[bytes] = []
        self.places: list[int] = []  # the bytes that carry bits,
        self.bits: list[float] = []  # and how many bits each of them carries

    def say(self, text: str, role: bytes) -> None:
        if self.surprise:
            end = len(first_token(text))
            self.places.append(self.size)
            self.bits.append(self.surprise)
            self.surprise = 0.0
            self.roles.append(CHOICE * end + role * (len(text) - end))
        else:
            self.roles.append(role * len(text))
        self.pieces.append(text)
        self.size += len(text)

    def draw(self, who: str) -> None:
        characters, n = self.world.characters, len(self.world.characters)
        if who == "hero":
            i = self.pick(n, self.world.cumulative)
            hero = characters[i]
            self.cast = {
                "hero": hero,
                "friend": characters[hero.friend],
                "neighbour": characters[hero.neighbour],
            }
            self.surprise += self.world.surprise[i]
        else:
            i = self.pick(n - len(self.cast))
            for taken in sorted(person.index for person in self.cast.values()):
                i += i >= taken
            self.surprise += log2(n - len(self.cast))
            self.cast[who] = characters[i]
        person = self.cast[who]
        self.said.add((person.name, "name"))
        self.say(person.name, FACT)  # `say` makes it a choice if there was one

    def run(self, grammar: Grammar) -> Writer:
        for node in grammar.start:
            node.write(self)
        return self

    def story(self) -> Story:
        bits = np.zeros(self.size, np.float32)
        bits[self.places] = self.bits
        return Story("".join(self.pieces), np.frombuffer(b"".join(self.roles), np.uint8), bits)


def write(grammar: Grammar, world, seed: int, index: int) -> Story:
    """Story number `index` of `seed`. The same arguments give the same bytes on every machine."""
    return Writer(world, Dice(f"storyworld/story/{seed}/{index}")).run(grammar).story()


# ---- what the same walk can prove -------------------------------------------------------------------------


def every_story(grammar: Grammar, world) -> Iterator[tuple[Story, Fraction]]:
    """All stories of a small grammar with their exact probabilities (the full one has about 2**300)."""
    todo: list[tuple[int, ...]] = [()]
    while todo:
        moves = todo.pop()
        w = Writer(world, script := Script(moves))
        try:
            w.run(grammar)
        except OutOfMoves as more:
            todo += [(*moves, i) for i in reversed(range(more.n))]
        else:
            yield w.story(), script.probability


def derivations(grammar: Grammar, world, text: str) -> list[tuple[tuple[int, ...], Fraction]]:
    """All ways in which the grammar can write `text`, each with its probability: one way, or none.

    A plain search. It does not use the rule by which the grammar tells alternatives apart, so it can confirm that
    rule. It takes about half a second per story.
    """
    found, todo = [], [()]
    while todo:
        moves = todo.pop()
        w = Writer(world, script := Script(moves))
        try:
            w.run(grammar)
        except OutOfMoves as more:
            if text.startswith("".join(w.pieces)):
                todo += [(*moves, i) for i in range(more.n)]
        else:
            if text == "".join(w.pieces):
                found.append((moves, script.probability))
    return found


def entropy(grammar: Grammar, world) -> float:
    """The exact mean number of bits per story, by recursion over the grammar.

    A later choice depends on one thing only: how many characters are in the story already, because a guest is one
    of the others. So the recursion carries the distribution of that number along.
    """
    n = len(world.characters)
    known: dict[tuple[int, int], tuple[float, dict[int, float]]] = {}

    def sequence(nodes, size: int) -> tuple[float, dict[int, float]]:
        bits, sizes = 0.0, {size: 1.0}
        for node in nodes:
            if isinstance(node, Draw | Choice):
                after: dict[int, float] = {}
                for s, p in sizes.items():
                    more, then = step(node, s)
                    bits += p * more
                    for t, q in then.items():
                        after[t] = after.get(t, 0.0) + p * q
                sizes = after
        return bits, sizes

    def step(node, size: int) -> tuple[float, dict[int, float]]:
        if isinstance(node, Draw):
            if node.who == "hero":
                total = world.cumulative[-1]
                return sum(w / total * s for w, s in zip(world.weights, world.surprise, strict=True)), {
                    3: 1.0
                }
            return log2(n - size), {size + 1: 1.0}
        if (id(node), size) not in known:
            share = 1 / len(node.options)
            bits, sizes = log2(len(node.options)), {}
            for option in node.options:
                more, then = sequence([x for x in option if not isinstance(x, Mark)], size)
                bits += share * more
                for t, q in then.items():
                    sizes[t] = sizes.get(t, 0.0) + share * q
            known[id(node), size] = bits, sizes
        return known[id(node), size]

    return sequence(grammar.start, 0)[0]
