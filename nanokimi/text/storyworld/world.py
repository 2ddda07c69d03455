"""The world: characters with lasting facts, drawn from a seed.

Each character lives in a village and has a best friend and a neighbour there (both ways: the friend of my friend is
me). Each has one value of every fact in `words.FACTS`. No text lists these facts. They hold in every story, so a
model that remembers who is who can predict them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, product
from math import log2

from nanokimi.text.storyworld import words
from nanokimi.text.storyworld.english import PRONOUNS, article
from nanokimi.text.storyworld.writer import Dice

PER_VILLAGE = 8
PRONOUN_FORMS = ("he", "him", "his", "himself")


@dataclass(frozen=True, slots=True, eq=False)
class Character:
    """One character. `index` is the rank by fame (0 is the most famous); `friend` and `neighbour` are indices too."""

    index: int
    name: str
    facts: Mapping[str, str]  # "name", "species", "food", ..., "he" (the pronoun); see `fact_values`
    friend: int
    neighbour: int

    def __str__(self) -> str:
        f = self.facts
        return (
            f"{self.name} the {f['look']} {f['species']} of {f['village']} "
            f"lives in {article(f['house'])} {f['house']} {f['spot']}, "
            f"eats {f['food']}, fears {f['fear']}, treasures the {f['treasure']}"
        )


@cache
def fact_values() -> dict[str, tuple[str, ...]]:
    """Every value that each fact can take in any world."""
    species = [entry.split() for entry in words.entries(words.SPECIES)]
    values = {name: tuple(words.entries(source)) for name, source in words.FACTS.items()}
    values |= {
        attr: tuple(dict.fromkeys(s[i] for s in species))
        for i, attr in enumerate(("species", "went", "cried", "paw"))
    }
    values["village"] = tuple(
        f"{a} {b}" for b in words.VILLAGES[1].split() for a in words.VILLAGES[0].split()
    )
    values |= {he: (he, she) for he, she in PRONOUNS.items()}
    return values


@cache
def names() -> tuple[tuple[str, str], ...]:
    """(name, "he" or "she") for all possible names, the names of real children first."""
    known = [(n, "she") for n in words.GIRLS] + [(n, "he") for n in words.BOYS]
    taken = words.NOT_NAMES | {n for n, _ in known}
    made = ["".join(parts) for parts in product(*words.SYLLABLES)]
    return tuple(known + [(n, ("he", "she")[i % 2]) for i, n in enumerate(made) if n not in taken])


class World:
    """`n_characters` characters, the same for the same seed on every machine.

    `characters` are sorted by fame. The hero of a story is number r (counted from 1) with a probability
    proportional to 1/r (Zipf's law): in a world of 400 the most famous character is the hero of every 7th story,
    the last one of every 2,600th. Raises `ValueError` for a number that is odd, below 8 (a hero, a friend, a
    neighbour and four guests may meet in one story) or above the number of names (about 12,000).

    even: all are equally famous, for the almanac. Who lives there, and the facts, stay the same.
    """

    def __init__(self, seed: int = 0, n_characters: int = 400, even: bool = False):
        if n_characters % 2 or not 8 <= n_characters <= len(names()):
            raise ValueError(
                f"n_characters={n_characters} must be an even number in 8..{len(names())} "
                "(every character has a best friend)"
            )
        self.seed, self.n_characters = seed, n_characters
        dice = Dice(f"storyworld/world/{seed}/{n_characters}")
        friend, neighbour, village = _draw_relations(dice, n_characters)
        known = len(words.GIRLS) + len(words.BOYS)
        named = _shuffle(dice, names()[:known]) + _shuffle(dice, names()[known:])
        named = _shuffle(dice, named[:n_characters])  # so that fame does not depend on the kind of name
        self.characters = tuple(
            Character(i, name, _draw_facts(dice, name, he, village[i]), friend[i], neighbour[i])
            for i, (name, he) in enumerate(named)
        )
        self.weights = [1 if even else (1 << 32) // (rank + 1) for rank in range(n_characters)]
        self.cumulative = list(accumulate(self.weights))
        self.surprise = [log2(self.cumulative[-1] / w) for w in self.weights]

    def __repr__(self) -> str:
        return f"World(seed={self.seed}, n_characters={self.n_characters})"


def _shuffle(dice: Dice, items) -> list:
    """The items in random order (Fisher and Yates)."""
    items = list(items)
    for last in range(len(items) - 1, 0, -1):
        i = dice(last + 1)
        items[i], items[last] = items[last], items[i]
    return items


def _draw_relations(dice: Dice, n: int) -> tuple[list[int], list[int], list[str]]:
    """The friend, the neighbour and the village of every character.

    A village is a ring: friends sit at places 0-1, 2-3, ..., neighbours at 1-2, 3-4, ..., and the last is the
    neighbour of the first. The last characters join the village before theirs when they are too few for a ring.
    """
    order = _shuffle(dice, range(n))
    starts = list(range(0, max(n - 3, 1), PER_VILLAGE))
    ends = [*starts[1:], n]
    friend, neighbour, village = [0] * n, [0] * n, [""] * n
    available = _shuffle(dice, fact_values()["village"])
    for v, (start, end) in enumerate(zip(starts, ends, strict=True)):
        ring = order[start:end]
        for place, who in enumerate(ring):
            friend[who] = ring[place ^ 1]
            neighbour[who] = ring[((place + 1 ^ 1) - 1) % len(ring)]
            village[who] = available[v % len(available)]
    return friend, neighbour, village


def _draw_facts(dice: Dice, name: str, he: str, village: str) -> dict[str, str]:
    """Every fact of one character."""
    facts = {"name": name, "village": village}
    facts |= {form: PRONOUNS[form] if he == "she" else form for form in PRONOUN_FORMS}
    species = [entry.split() for entry in words.entries(words.SPECIES)]
    facts |= zip(("species", "went", "cried", "paw"), species[dice(len(species))], strict=True)
    for attr in words.FACTS:
        values = fact_values()[attr]
        facts[attr] = values[dice(len(values))]
    return facts
