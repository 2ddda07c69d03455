"""A second text from the world of the stories: one fact per sentence, in random order, with exactly known entropy.

    book = Almanac(seed=0, n_characters=400)
    book.page(0)                        # Martha eats pancakes.⏎Arthur trembles at wasps.⏎...
    book.annotated_page(0).marked()     # <Martha> <eats> {pancakes}. ...
    book.tell(Telling(3, "food", 1))    # the same fact of character 3 in its second phrasing

It shows how many facts a model keeps, and how soon. Each character has one value of every fact in `PHRASINGS`. A
sentence tells one of them: character, fact and phrasing are drawn evenly and independently of all other sentences.

Each fact has `N_PHRASINGS` phrasings, and **one of them is held out**: no page has it. Every phrasing of a fact is held
out for a quarter of the characters and used for all others. So a model has met the phrasing and the fact, but never
both in one sentence: it can complete the sentence if it remembers the fact, and cannot if it remembers strings.

Roles and bits are those of the stories. Every sentence begins with the name, from which a reader of the world knows
which phrasings can follow. So the floor is exact: log2(characters · facts · (N_PHRASINGS - 1)) bits per sentence.
A fact that returns on its page is a copy.

Landmarks of Almanac(0, 400): 4,800 facts of 5.06 bits on average (`value_bits`), 24.3 kbit in all; a sentence has 32
bytes and 13.8 bits. A million sentences take a second of one core, where each has been written once before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

import numpy as np
from jaxtyping import Int64, UInt64

from nanokimi.text.storyworld.grammar import Grammar
from nanokimi.text.storyworld.nodes import GRAMMAR
from nanokimi.text.storyworld.world import World, fact_values
from nanokimi.text.storyworld.writer import Story, Writer

# Count it up whenever a page changes, as `storyworld.VERSION` is counted up for the stories.
VERSION = 1
SENTENCES = 100  # of a page

# What follows the name. The words before a value say which fact it is, so that a value is never a choice.
PHRASINGS = {
    "species": (
        " is {a species}.",
        " was born {a species}.",
        "'s mother is {a species}.",
        " talks like {a species}.",
    ),
    "house": (" owns {a house}.", " has built {a house}.", "'s home is {a house}.", " sleeps in {a house}."),
    "spot": (" lives {spot}.", " can be found {spot}.", "'s garden lies {spot}.", " grew up {spot}."),
    "food": (" eats {food}.", " asks for {food}.", "'s favourite dish is {food}.", " cannot resist {food}."),
    "fear": (
        " fears {fear}.",
        " trembles at {fear}.",
        "'s dreams are about {fear}.",
        " runs away from {fear}.",
    ),
    "treasure": (
        " guards {a treasure}.",
        " keeps {a treasure}.",
        "'s treasure is {a treasure}.",
        " once found {a treasure}.",
    ),
    "colour": (
        " likes the colour {colour}.",
        " paints everything {colour}.",
        "'s favourite colour is {colour}.",
        " dreams in {colour}.",
    ),
    "hobby": (
        " enjoys {hobby}.",
        " spends Sundays {hobby}.",
        "'s hobby is {hobby}.",
        " never tires of {hobby}.",
    ),
    "wish": (" wants {wish}.", " hopes {wish}.", "'s dearest wish is {wish}.", " has decided {wish}."),
    "garment": (
        " wears {a garment}.",
        " has sewn {a garment}.",
        "'s wardrobe holds {a garment}.",
        " never washes the {garment}.",
    ),
    "instrument": (
        " plays the {instrument}.",
        " practises the {instrument}.",
        "'s music comes from the {instrument}.",
        " carries the {instrument}.",
    ),
    "pet": (" feeds {a pet}.", " walks with {a pet}.", "'s pet is {a pet}.", " plays with {a pet}."),
}
FACTS = tuple(PHRASINGS)
N_PHRASINGS = 4


@dataclass(frozen=True)
class Telling:
    """One sentence: which fact of which character it tells, in which phrasing (0 to N_PHRASINGS - 1)."""

    who: int
    fact: str
    phrasing: int


def held_out_phrasing(who: int, fact: str) -> int:
    """The phrasing in which no page tells this fact of this character."""
    return (who + FACTS.index(fact)) % N_PHRASINGS


def value_bits(fact: str) -> float:
    """The bits that tell one value of a fact from all others: log2 of how many there are, for they are drawn evenly."""
    return log2(len(fact_values()[fact]))


class Almanac:
    """All pages about the characters of a world. The same arguments give the same pages on every machine.

    Raises `ValueError` for a number of characters that a `World` cannot have.
    """

    def __init__(self, seed: int = 0, n_characters: int = 400):
        self.seed = seed
        self.world = World(seed, n_characters, even=True)
        # Characters with one remainder have the same phrasings.
        self._forms = [_list_forms(remainder) for remainder in range(N_PHRASINGS)]
        self._grammars = [_compile(forms) for forms in self._forms]
        self._texts: list[str | None] = [None] * (n_characters * len(self._forms[0]))

    @property
    def n_facts(self) -> int:
        """How many facts there are: of all characters together."""
        return len(self.world.characters) * len(FACTS)

    def n_pages(self, n_exposures: int) -> int:
        """How many pages tell every fact `n_exposures` times, on average."""
        return -(-self.n_facts * n_exposures // SENTENCES)

    def tell(self, telling: Telling) -> Story:
        """The sentence, whether or not its phrasing is held out for this character."""
        # Where it is held out here, it is not for the next character.
        neighbour = telling.who + (telling.phrasing == held_out_phrasing(telling.who, telling.fact))
        group = neighbour % N_PHRASINGS
        form = self._forms[group].index((telling.fact, telling.phrasing))
        return self._write([(telling.who, group, form)])

    def page(self, index: int) -> str:
        """The text of page `index` (0, 1, ...): sentences, one per line."""
        who, form = self._draw(index)
        places = (who * len(self._forms[0]) + form).tolist()
        return "\n".join([self._texts[place] or self._remember(place) for place in places])

    def annotated_page(self, index: int) -> Story:
        """The same page with the role and the bits of each byte."""
        who, form = (drawn.tolist() for drawn in self._draw(index))
        return self._write([(w, w % N_PHRASINGS, f) for w, f in zip(who, form)])

    def _remember(self, place: int) -> str:
        """A sentence, which is written once: to write it takes a hundred times as long as to look it up."""
        who, form = divmod(place, len(self._forms[0]))
        text = self._texts[place] = self._write([(who, who % N_PHRASINGS, form)]).text
        return text

    def _draw(self, index: int) -> tuple[Int64[np.ndarray, " sentences"], Int64[np.ndarray, " sentences"]]:
        """The character and the form of every sentence of a page."""
        digest = hashlib.shake_128(f"almanac/page/{self.seed}/{index}".encode()).digest(16 * SENTENCES)
        random = np.frombuffer(digest, dtype="<u8").reshape(2, SENTENCES)
        return _scale(random[0], len(self.world.characters)), _scale(random[1], len(self._forms[0]))

    def _write(self, sentences: Sequence[tuple[int, int, int]]) -> Story:
        """The story that these sentences make: character, whose phrasings, and which of them."""
        picks: list[int] = []
        w = Writer(self.world, lambda n, cumulative=None: picks.pop())
        for number, (who, group, form) in enumerate(sentences):
            if number:
                w.say("\n", GRAMMAR)
            picks += [who, form]  # the grammar asks for the form first
            w.run(self._grammars[group])
        return w.story()


def _list_forms(remainder: int) -> list[tuple[str, int]]:
    """The fact and the phrasing of every sentence about the characters with this remainder."""
    return [
        (fact, phrasing)
        for fact in FACTS
        for phrasing in range(N_PHRASINGS)
        if phrasing != held_out_phrasing(remainder, fact)
    ]


def _compile(forms: Sequence[tuple[str, int]]) -> Grammar:
    lines = ["{new hero}" + PHRASINGS[fact][phrasing] for fact, phrasing in forms]
    return Grammar({"story": lines}, fact_values())


def _scale(random: UInt64[np.ndarray, " sentences"], n: int) -> Int64[np.ndarray, " sentences"]:
    """Random 64-bit numbers as whole numbers below n: floor(random · n / 2^64), exactly."""
    high, low = random >> np.uint64(32), random & np.uint64(2**32 - 1)
    return ((high * np.uint64(n) + (low * np.uint64(n) >> np.uint64(32))) >> np.uint64(32)).astype(np.int64)
