"""Shares of stories and of sentences, counted by hand on stories that are right up to a known place."""

import pytest

from nanokimi.abilities.grammar import measure_grammar
from nanokimi.text.storyworld import World, generate


@pytest.fixture(scope="module")
def world():
    return World(0, 40)


@pytest.fixture(scope="module")
def stories(world):
    return [story.text for story in generate(world, 4, seed=1)]


def test_real_stories_are_all_right(world, stories):
    heard = []
    found = measure_grammar([(text, True) for text in stories], world, heard.append)
    assert found.n_stories == 4 and heard == [1, 2, 3, 4]
    for score in (found.true, found.possible):
        assert (score.stories, score.sentences) == (1.0, 1.0)


def test_a_story_that_was_cut_is_not_whole(world, stories):
    found = measure_grammar([(stories[0], False), (stories[1], True)], world)
    assert (found.true.stories, found.true.sentences) == (0.5, 1.0)


def test_sentences_before_the_first_mistake(world):
    """Four sentences, of which two stand before a wrong word; one nonsense text, and one without a sentence."""
    hero = world.characters[0]
    facts = hero.facts
    start = f"Do you know {hero.name} the {facts['species']}? {facts['he'].capitalize()} had a "
    house = f"{facts['house']} {facts['spot']}. "
    text = f"{start}{house}Somebody sang. The end."
    found = measure_grammar([(text, True)], world)
    assert (found.true.stories, found.true.sentences) == (0.0, pytest.approx(2 / 4))
    # With the spot of somebody else the second sentence is possible, and not true.
    other = next(each for each in world.characters if each.facts["spot"] != facts["spot"])
    text = text.replace(facts["spot"], other.facts["spot"])
    found = measure_grammar([(text, True), ("Xyz. Abc!", True), ("xyz", True)], world)
    assert found.true.sentences == pytest.approx((1 / 4 + 0 + 0) / 3)
    assert found.possible.sentences == pytest.approx((2 / 4 + 0 + 0) / 3)


def test_no_stories_have_no_share(world):
    assert measure_grammar([], world).true.stories == 0.0
