"""Exact probabilities, roles and bits, on a grammar small enough to list every story; grammars that are refused."""

import re
from collections import Counter, defaultdict
from fractions import Fraction
from math import log2

import numpy as np
import pytest

from nanokimi.text.storyworld import (
    ROLES,
    Grammar,
    GrammarError,
    World,
    entropy,
    every_story,
    fact_values,
    write,
)
from nanokimi.text.storyworld.english import article

ROLE = {name: i for i, name in enumerate(ROLES)}
TOKENS = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9]")

# Everything that the notation can do, small enough to write down every story.
SMALL_RULES = {
    "story": [
        "{new hero} the {species} [had|saw] {a toys=toy}. {more}{newline}[The|That] {toy} [fell.|broke.]",
        "One [hot|cold [day|night]], {new hero} found {a toys=toy}. {He} liked {food}.",
        "One warm {trees} tree stood near {new hero} and {friend}.",
    ],
    "more": [
        "{He} met {new guest}, {a guest.species}.",
        "{He} met {friend}, {a friend.species}.",
        "{Friend} came.",
    ],
    "toys": ["red ball", "red kite", "apple"],
    "trees": ["oak", "elm"],
}


@pytest.fixture(scope="module")
def small():
    return Grammar(SMALL_RULES, fact_values())


@pytest.fixture(scope="module")
def few():
    return World(seed=3, n_characters=8)


@pytest.fixture(scope="module")
def enumerated(small, few):
    return list(every_story(small, few))


def test_probabilities_of_all_stories_sum_to_one(enumerated):
    assert len(enumerated) > 150
    assert sum(p for _, p in enumerated) == Fraction(1)


def test_no_two_derivations_give_one_text(enumerated):
    texts = Counter(story.text for story, _ in enumerated)
    assert [t for t, n in texts.items() if n > 1] == []


def test_bits_of_a_story_are_its_surprise(enumerated):
    for story, p in enumerated:
        assert story.bits.sum() == pytest.approx(-log2(p), abs=1e-5)


def test_bits_stand_where_the_surprise_is_and_all_other_words_are_forced(enumerated):
    """Roles and bits agree with the conditional probability of every word, taken from the list of all stories."""
    mass = defaultdict(float)
    for story, p in enumerated:
        for end in [0, *(m.end() for m in TOKENS.finditer(story.text))]:
            mass[story.text[:end]] += float(p)
    checked = 0
    for story, _ in enumerated:
        for m in TOKENS.finditer(story.text):
            surprise = log2(mass[story.text[: m.start()]] / mass[story.text[: m.end()]])
            assert story.bits[m.start() : m.end()].sum() == pytest.approx(surprise, abs=1e-5), story.text
            assert (story.roles[m.start() : m.end()] == ROLE["choice"]).all() == (surprise > 1e-9)
            checked += surprise > 1e-9
    assert checked > 1000


def test_exact_entropy_equals_the_enumerated_one(small, few, enumerated):
    expected = sum(float(p) * -log2(p) for _, p in enumerated)
    assert entropy(small, few) == pytest.approx(expected, abs=1e-9)


def test_sampled_frequencies_follow_the_probabilities(small, few, enumerated):
    n = 10_000
    seen = Counter(write(small, few, 0, i).text for i in range(n))
    expected = np.array([float(p) * n for _, p in enumerated])
    counts = np.array([seen[story.text] for story, _ in enumerated])
    assert counts.sum() == n
    chi2 = ((counts - expected) ** 2 / expected).sum()
    freedom = len(expected) - 1
    assert abs(chi2 - freedom) < 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        ({"story": ["A [red|red big] ball"]}, "begins another one"),
        ({"story": ["A [red|red] ball"]}, "begins another one"),
        ({"story": ["{colours} ball", "red dog"], "colours": ["red", "blue"]}, "can go on with 'red'"),
        ({"story": ["{new hero} [saw {food}|saw {friend.food}]"]}, "two alternatives can go on with"),
        ({"story": ["{new hero} [saw {food}|saw pancakes]"]}, "can go on with 'pancakes'"),
        ({"story": ["{new hero}. [{He}|She] ran"]}, "can go on with 'She'"),
        (
            {"story": ["{new hero} [saw {toys=toy}|sang]. {toy}"], "toys": ["ball", "kite"]},
            "{toy} is used on a path",
        ),
        ({"story": ["{hero} ran"]}, "{hero} is used on a path"),
        ({"story": ["a {more}"], "more": ["b", "c {more}"]}, "needs itself"),
        ({"story": ["{toys}s"], "toys": ["ball", "kite"]}, "touches a letter"),
        ({"story": ["{new hero} ate {fodo.x}"]}, "nothing is known of {fodo.x}"),
        ({"story": ["{a more}"], "more": ["[b|c] d", "e"]}, "only a list of plain words"),
        ({"story": ["[a|b"]}, "never closed"),
        ({"story": ["{more}x"], "more": ["", "y"]}, "empty|touches"),
    ],
)
def test_a_grammar_that_cannot_be_read_back_is_refused(rules, complaint):
    with pytest.raises(GrammarError, match=re.escape(complaint) if "|" not in complaint else complaint):
        Grammar(rules, fact_values())


def test_article_goes_by_the_sound():
    an = [
        "apple",
        "egg timer",
        "ice",
        "old kite",
        "umbrella",
        "unusual hat",
        "upturned boat",
        "hourglass",
        "honest cook",
    ]
    a = ["ball", "useful rope", "useless egg", "unicorn", "one-eyed cat", "yo-yo", "huge owl", "European map"]
    assert {article(noun) for noun in an} == {"an"} and {article(noun) for noun in a} == {"a"}
