"""The reader against plain searches: all stories of a small grammar, real stories, and stories with a mistake."""

import random
from dataclasses import replace

import pytest

from nanokimi.text.storyworld import (
    Grammar,
    World,
    default_grammar,
    derivations,
    every_story,
    fact_values,
    generate,
    read,
    write,
)
from tests.text.storyworld.test_grammar import SMALL_RULES


@pytest.fixture(scope="module")
def few():
    return World(seed=3, n_characters=8)


@pytest.fixture(scope="module")
def small():
    return Grammar(SMALL_RULES, fact_values())


@pytest.fixture(scope="module")
def texts(small, few):
    return sorted(story.text for story, _ in every_story(small, few))


def spoil(text: str, draw: random.Random) -> str:
    """The text with one letter more, less or other, or cut."""
    at = draw.randrange(len(text))
    return draw.choice(
        [
            text[:at],
            text[:at] + draw.choice("aeh ,.A") + text[at + 1 :],
            text[:at] + text[at + 1 :],
            text + ".",
        ]
    )


def test_every_story_of_a_small_grammar_is_whole(small, few, texts):
    assert all(read(small, few, text).whole for text in texts)
    assert all(read(small, few, text, any_facts=True).whole for text in texts)


def test_how_far_it_reads_is_the_longest_beginning_of_any_story(small, few, texts):
    """Against the beginnings of all stories."""
    draw, begun = random.Random(0), {text[:n] for text in texts for n in range(len(text) + 1)}
    for _ in range(500):
        text = spoil(draw.choice(texts), draw)
        found = read(small, few, text)
        assert found.whole == (text in texts)
        longest = max(n for n in range(len(text) + 1) if text[:n] in begun)
        assert found.n_read == longest
        assert read(small, few, text, any_facts=True).n_read >= longest


def test_the_stories_that_models_are_trained_on_are_whole(world):
    grammar = default_grammar()
    for story in generate(world, 30, seed=5):
        for any_facts in (False, True):
            found = read(grammar, world, story.text, any_facts)
            assert found.whole and found.n_read == len(story.text)


def test_it_agrees_with_the_search_for_derivations():
    """Real stories with one letter changed, some of which are stories again."""
    world, grammar, draw = World(0, 8), default_grammar(), random.Random(1)
    for story in generate(world, 6, seed=2):
        text = spoil(story.text, draw)
        assert read(grammar, world, text).whole == bool(derivations(grammar, world, text))


def swapped(world: World) -> World:
    """The same names and pronouns, with the facts, friend and neighbour of somebody else."""
    keep, other = ("name", "he", "him", "his", "himself"), World(world.seed, world.n_characters)
    people = world.characters
    other.characters = tuple(
        replace(
            person,
            facts={**people[-1 - i].facts, **{name: person.facts[name] for name in keep}},
            friend=(i + 1) % len(people),
            neighbour=(i + 2) % len(people),
        )
        for i, person in enumerate(people)
    )
    return other


def test_other_facts_are_possible_and_not_true():
    world, grammar = World(0, 40), default_grammar()
    for index in range(20):
        text = write(grammar, swapped(world), 0, index).text
        assert not read(grammar, world, text).whole
        assert read(grammar, world, text, any_facts=True).whole


@pytest.mark.parametrize(
    "text, n_read",
    [
        # The hero's pronoun, his food and his friend are open once, and then stay as they are.
        ("Ann ate nuts. He gave nuts to Bob. Bob saw him.", None),
        ("Ann ate nuts. She gave nuts to Bob. Bob saw her.", None),
        (
            "Ann ate nuts. He gave nuts to Bob. Bob saw her.",
            len("Ann ate nuts. He gave nuts to Bob. Bob saw h"),
        ),
        ("Ann ate nuts. He gave buns to Bob. Bob saw him.", len("Ann ate nuts. He gave ")),
        ("Ann ate nuts. He gave nuts to Bob. Ann saw him.", len("Ann ate nuts. He gave nuts to Bob. ")),
        ("Ann ate nuts. He gave nuts to Ann. Ann saw him.", len("Ann ate nuts. He gave nuts to ")),
        ("Ann ate cake. He gave cake to Bob. Bob saw him.", len("Ann ate ")),
        ("Zoe ate nuts. He gave nuts to Bob. Bob saw him.", 0),
    ],
)
def test_facts_that_are_open_must_agree(text, n_read):
    rules = {"story": ["{new hero} ate {food}. {He} gave {food} to {friend}. {friend} saw {him}."]}
    facts = fact_values() | {"food": ("nuts", "buns")}
    world = World(0, 8)
    world.characters = tuple(
        replace(each, name=name, facts={**each.facts, "name": name})
        for each, name in zip(world.characters, ["Ann", "Bob", "Cal", "Dan", "Eve", "Fay", "Gus", "Hal"])
    )
    found = read(Grammar(rules, facts), world, text, any_facts=True)
    assert found.whole == (n_read is None)
    assert found.n_read == (len(text) if n_read is None else n_read)
