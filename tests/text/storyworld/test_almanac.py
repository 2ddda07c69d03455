"""The almanac: exact bits against counting all sentences, held-out phrasings, even draws, and the corpus made of it."""

import hashlib
import itertools
import math
import re
from collections import Counter

import numpy as np
import pytest

from nanokimi.text import storyworld
from nanokimi.text.corpus import load_corpus
from nanokimi.text.sources import open_source
from nanokimi.text.storyworld import World, almanac, fact_values
from nanokimi.text.storyworld.almanac import FACTS, N_PHRASINGS, PHRASINGS, Almanac, Telling
from nanokimi.text.storyworld.english import inflect
from tests.text.made_up_texts import documents_of

GOLDEN = {"VERSION": 1, "20 pages": "56dcee13cc9bdbac27e327921a4362f02a8ed49acf5ebacd6da299c37a0a0b40"}
RENEW = (
    "The pages are no longer those of this VERSION. Not intended? Undo the change. Intended? Count VERSION in "
    "almanac.py up and renew the golden values in this file. They are now: "
)
WORD = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9]")


@pytest.fixture(scope="module")
def book() -> Almanac:
    return Almanac(seed=0, n_characters=100)


def all_tellings(book: Almanac) -> list[Telling]:
    """Every sentence that a page can have."""
    return [
        Telling(who, fact, phrasing)
        for who, fact, phrasing in itertools.product(
            range(len(book.world.characters)), FACTS, range(N_PHRASINGS)
        )
        if phrasing != almanac.held_out_phrasing(who, fact)
    ]


def sentences(book: Almanac, n_pages: int) -> list[str]:
    return [line for index in range(n_pages) for line in book.page(index).split("\n")]


def test_the_bits_of_every_byte_are_those_of_counting_all_sentences():
    """All sentences are equally likely, so a word costs log2 of the sentences before it over those after it."""
    book = Almanac(seed=3, n_characters=10)
    stories = [book.tell(telling) for telling in all_tellings(book)]
    prefixes = Counter()
    for story in stories:
        prefixes.update(itertools.accumulate(WORD.findall(story.text)))
    assert len({story.text for story in stories}) == len(stories) == 10 * 12 * 3
    for story in stories:
        expected, before, at = np.zeros(len(story.text)), len(stories), 0
        for prefix in itertools.accumulate(WORD.findall(story.text)):
            expected[at] = math.log2(before / prefixes[prefix])
            before, at = prefixes[prefix], len(prefix)
        np.testing.assert_allclose(story.bits, expected, atol=1e-6)


def test_the_fact_of_a_sentence_is_its_value_and_nothing_else():
    book = Almanac(seed=3, n_characters=8)
    for who, fact, phrasing in itertools.product(range(8), FACTS, range(N_PHRASINGS)):
        character = book.world.characters[who]
        template = PHRASINGS[fact][phrasing]
        value = inflect(character.facts[fact], "a" if "{a " in template else "")
        story = book.tell(Telling(who, fact, phrasing))
        assert story.text == character.name + re.sub(r"\{.*\}", value, template)
        assert "".join(text for role, text, _ in story.segments() if role == "fact") == value


@pytest.mark.parametrize("fact", FACTS)
def test_no_value_begins_another(fact):
    """A model that has said a value has said no part of another one."""
    for form in ("", "a"):
        values = [inflect(value, form).split() for value in fact_values()[fact]]
        assert not [v for v, w in itertools.permutations(values, 2) if w[: len(v)] == v]
    assert 2 ** almanac.value_bits(fact) == pytest.approx(len(set(fact_values()[fact])))


def test_each_fact_has_one_phrasing_that_no_page_has_and_others_have(book):
    held_out = {
        book.tell(Telling(who, fact, almanac.held_out_phrasing(who, fact))).text
        for who in range(100)
        for fact in FACTS
    }
    told = set(sentences(book, 500))
    assert not held_out & told
    assert told == {book.tell(telling).text for telling in all_tellings(book)}
    for fact, phrasing in itertools.product(FACTS, range(N_PHRASINGS)):
        without = [who for who in range(100) if almanac.held_out_phrasing(who, fact) == phrasing]
        assert len(without) == 25


def test_characters_facts_and_phrasings_are_drawn_evenly(book):
    of_text = {book.tell(telling).text: telling for telling in all_tellings(book)}
    found = [of_text[line] for line in sentences(book, 1000)]
    for what, n in ((lambda t: t.who, 100), (lambda t: t.fact, 12), (lambda t: (t.fact, t.phrasing), 48)):
        counts = np.array(list(Counter(map(what, found)).values()))
        assert len(counts) == n
        chi_square = ((counts - 1e5 / n) ** 2 / (1e5 / n)).sum()
        assert abs(chi_square - (n - 1)) < 4 * math.sqrt(2 * n)
    neighbours = Counter((a.who % 2, b.who % 2) for a, b in itertools.pairwise(found))
    assert all(abs(count - 25_000) < 600 for count in neighbours.values()), (
        "one draw says nothing of the next"
    )


def test_numbers_are_scaled_exactly():
    random = np.array([0, 1, 2**32 - 1, 2**32, 2**63 + 12345, 2**64 - 1], dtype=np.uint64)
    for n in (1, 36, 400, 12_000):
        assert almanac._scale(random, n).tolist() == [int(x) * n >> 64 for x in random.tolist()]


def test_a_page_with_its_roles_is_the_same_page(book):
    for index in (0, 7, 10**6):
        page = book.annotated_page(index)
        assert page.text == book.page(index)
        assert len(page.text) == len(page.roles) == len(page.bits)
        assert page.bits.sum() == pytest.approx(100 * math.log2(100 * 12 * 3), rel=1e-5)


def test_a_fact_that_returns_on_its_page_is_a_copy():
    page = Almanac(seed=0, n_characters=8).annotated_page(0)
    roles = [role for role, _, _ in page.segments() if role in ("fact", "copy")]
    assert roles.count("fact") + roles.count("copy") == 100
    assert roles.count("fact") <= 96
    assert roles[0] == "fact"


def test_the_characters_are_those_of_the_stories(book):
    world = World(seed=0, n_characters=100)
    assert [str(each) for each in book.world.characters] == [str(each) for each in world.characters]
    assert set(book.world.surprise) == {math.log2(100)}


def test_a_world_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="n_characters=401 must be an even number"):
        Almanac(n_characters=401)


def test_the_pages_are_those_of_this_version(book):
    digest = hashlib.sha256()
    for index in range(20):
        page = book.annotated_page(index)
        digest.update(page.text.encode() + page.roles.tobytes())
        digest.update(np.rint(page.bits * 1000).astype("<i4").tobytes())
    found = {"VERSION": almanac.VERSION, "20 pages": digest.hexdigest()}
    assert found == GOLDEN, RENEW + str(found)


def test_the_almanac_as_a_corpus(data):
    cfg = data("almanac", n_characters=20, n_exposures=30, vocab_size=400)
    found = load_corpus(cfg)
    book = Almanac(0, 20)
    pages = documents_of(found.train, found.tokenizer)
    assert pages == [book.page(index) for index in range(72)]  # 240 facts, 30 times, 100 per page
    assert documents_of(found.val, found.tokenizer) == [book.page(index) for index in range(72, 76)]
    n_bytes = found.token_bytes[found.val.tokens.astype(int)].sum().item()
    assert found.floor == pytest.approx(4 * 100 * math.log2(20 * 12 * 3) / n_bytes, rel=1e-5)
    assert (found.name, set(np.unique(found.val.roles))) == ("almanac", {0, 1, 2, 3})
    assert load_corpus(cfg).fingerprint == found.fingerprint
    assert load_corpus(data("almanac", n_characters=20, n_exposures=31)).fingerprint != found.fingerprint


def test_settings_and_versions_are_all_that_tells_almanacs_apart(data):
    assert open_source(data("almanac", seed=3, n_characters=50, n_exposures=7)).identity == {
        "source": "almanac",
        "version": [storyworld.VERSION, almanac.VERSION],
        "seed": 3,
        "n_characters": 50,
        "n_exposures": 7,
    }
