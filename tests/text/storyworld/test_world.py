"""Characters and their facts; names and lists that cannot be confused."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanokimi.text.storyworld import World, default_grammar, fact_values, words, write
from nanokimi.text.storyworld.world import names


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**63), half=st.integers(4, 120))
def test_friends_and_neighbours_are_mutual_and_live_in_one_village(seed, half):
    w = World(seed, 2 * half)
    assert len({c.name for c in w.characters}) == 2 * half
    for i, c in enumerate(w.characters):
        friend, neighbour = w.characters[c.friend], w.characters[c.neighbour]
        assert c.index == i and friend.friend == i and neighbour.neighbour == i
        assert len({i, c.friend, c.neighbour}) == 3
        assert c.facts["village"] == friend.facts["village"] == neighbour.facts["village"]
        assert all(c.facts[attr] in values for attr, values in fact_values().items())


def test_heroes_follow_zipfs_law(world, stories):
    heroes = Counter(
        min(
            (s.text.index(c.name), c.index)
            for c in world.characters[:60]
            if re.search(rf"\b{c.name}\b", s.text)
        )[1]
        for s in stories
        if any(re.search(rf"\b{c.name}\b", s.text.split("\n")[0]) for c in world.characters[:60])
    )
    harmonic = sum(1 / r for r in range(1, 401))
    for rank in (1, 2, 4):
        expected = len(stories) / rank / harmonic
        assert abs(heroes[rank - 1] - expected) < 5 * expected**0.5


@pytest.mark.parametrize("n", [0, 6, 9, 10**6])
def test_an_impossible_world_is_refused_by_name(n):
    with pytest.raises(ValueError, match=f"n_characters={n} must be an even number"):
        World(0, n)


def test_thousands_of_characters():
    w = World(0, 5000)
    assert len({c.name for c in w.characters}) == 5000
    assert 80 <= len(write(default_grammar(), w, 0, 0).text.split()) <= 200


def test_no_name_is_a_word_of_the_grammar():
    source = " ".join(line for lines in default_grammar().rules.values() for line in lines)
    source += " ".join(v for attr, values in fact_values().items() for v in values)
    taken = set(re.findall(r"[A-Za-z]+", source)) | {"She", "Her", "A", "An"}
    taken |= {w.capitalize() for w in taken}
    assert sorted({name for name, _ in names()} & taken) == []
    assert len(names()) == len({name for name, _ in names()}) > 6000
    assert all(re.fullmatch(r"[A-Z][a-z]+", name) for name, _ in names())


def test_no_list_has_a_value_twice():
    for source in [*words.LISTS.values(), *words.FACTS.values(), words.SPECIES]:
        values = words.entries(source)
        assert len(values) == len(set(values)) and all(values), [
            v for v, n in Counter(values).items() if n > 1
        ]


def test_no_adjective_repeats_the_noun_that_it_may_meet():
    """No "magic magic bean" and no "small small"."""
    opens = {name: {entry.split()[0] for entry in words.entries(s)} for name, s in words.LISTS.items()}
    closes = {name: {entry.split()[-1] for entry in words.entries(s)} for name, s in words.LISTS.items()}
    for left, right in [("sizes", "adjs"), ("sizes", "things"), ("adjs", "things"), ("adjs", "finds")]:
        assert closes[left] & opens[right] == set(), (left, right)
    for left, right in [
        ("tempers", "creatures"),
        ("tempers", "jobs"),
        ("tints", "flowers"),
        ("olds", "places"),
    ]:
        assert closes[left] & opens[right] == set(), (left, right)
