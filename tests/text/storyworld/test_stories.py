"""Stories of the full grammar: probabilities, length, plain English and roles, for every seed."""

import re
import time
from collections import Counter
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanokimi.text.storyworld import (
    ROLES,
    World,
    default_grammar,
    derivations,
    entropy,
    fact_values,
    generate,
    write,
)
from nanokimi.text.storyworld.english import inflect
from nanokimi.text.storyworld.nodes import Choice, Fact, Recall, Text

ROLE = {name: i for i, name in enumerate(ROLES)}


def test_a_search_finds_exactly_the_derivation_that_wrote_a_story(world):
    for i in range(4):
        story = write(default_grammar(), world, 5, i)
        (one,) = derivations(default_grammar(), world, story.text)
        assert story.bits.sum() == pytest.approx(-log2(one[1].numerator) + log2(one[1].denominator), abs=1e-3)


def test_a_text_from_elsewhere_has_no_derivation(world):
    text = write(default_grammar(), world, 5, 0).text
    assert derivations(default_grammar(), world, text + "!") == []
    assert derivations(default_grammar(), World(1, 400), text) == []


@pytest.mark.parametrize("n_characters", [20, 400])
def test_sampled_mean_surprise_agrees_with_the_exact_entropy(n_characters):
    w = World(seed=2, n_characters=n_characters)
    bits = np.array([s.bits.sum(dtype=np.float64) for s in generate(w, 3000, seed=1)])
    error = bits.std(ddof=1) / len(bits) ** 0.5
    assert abs(bits.mean() - entropy(default_grammar(), w)) < 3.5 * error
    assert error < 1


def test_every_possible_story_has_80_to_200_words():
    """Bounds over all derivations and all worlds, not over a sample."""
    grammar = default_grammar()

    def blanks(nodes) -> tuple[int, int]:
        low = high = 0
        for node in nodes:
            if isinstance(node, Text):
                counts = [sum(c in " \n" for c in node.text)]
            elif isinstance(node, Choice):
                spans = [blanks(option) for option in node.options]
                counts = [min(a for a, _ in spans), max(b for _, b in spans)]
            elif isinstance(node, Fact) and node.attr != "name":
                counts = [inflect(v, node.form).count(" ") for v in grammar.facts[node.attr]]
            elif isinstance(node, Recall):
                counts = [inflect(v, node.form).count(" ") for v in grammar.memory[node.name]]
            else:
                counts = [0]
            low, high = low + min(counts), high + max(counts)
        return low, high

    low, high = blanks(grammar.start)
    assert low + 1 >= 80 and high + 1 <= 200


def test_the_corpus_is_worth_learning(stories):
    n_bytes = sum(len(s.text) for s in stories)
    share = np.bincount(np.concatenate([s.roles for s in stories]), minlength=4) / n_bytes
    assert share[ROLE["fact"]] > 0.10 and share[ROLE["copy"]] > 0.06
    assert 0.2 < sum(s.bits.sum() for s in stories) / n_bytes < 0.8
    vocabulary = {w for s in stories for w in re.findall(r"\b[a-z]+\b", s.text)}
    assert len(vocabulary) > 1500, "words in lower case, names left out"
    assert len({s.text for s in stories}) == len(stories)
    plots = [
        line for rule in ("first", "second", "third", "fourth") for line in default_grammar().rules[rule]
    ]
    assert len(plots) >= 30
    events = Counter(s.text.count("\n") for s in stories)  # opening, first, second, (third, fourth,) ending
    assert set(events) == {3, 4, 5}


def test_story_i_is_the_same_in_any_series():
    w = World(4, 50)
    series = list(generate(w, 7, seed=9))
    assert [story.text for story in generate(w, 3, seed=9)] == [story.text for story in series[:3]]
    for i, story in enumerate(series):
        alone = write(default_grammar(), w, 9, i)
        assert story.text == alone.text
        assert (story.roles == alone.roles).all() and story.roles.dtype == np.uint8
        assert (story.bits == alone.bits).all() and story.bits.dtype == np.float32


def test_an_impossible_number_of_stories_is_refused():
    assert list(generate(World(0, 8), 0)) == []
    with pytest.raises(ValueError, match="n_stories=-1 must be at least 0"):
        generate(World(0, 8), -1)


def test_a_thousand_stories_take_no_more_than_two_seconds_of_a_core(world):
    start = time.process_time()
    assert sum(1 for _ in generate(world, 1000, seed=3)) == 1000
    assert time.process_time() - start < 2


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**63),
    index=st.integers(0, 10**9),
    world_seed=st.integers(0, 3),
    n=st.sampled_from([8, 40]),
)
def test_a_story_is_plain_correct_english(seed, index, world_seed, n):
    w = World(world_seed, n)
    story = write(default_grammar(), w, seed, index)
    text = story.text
    assert text.isascii() and len(story.roles) == len(story.bits) == len(text)
    assert set(story.roles.tolist()) <= set(ROLE.values())
    assert np.isfinite(story.bits).all() and (story.bits >= 0).all() and story.bits.sum() > 50
    assert (story.roles[story.bits > 0] == ROLE["choice"]).all()
    assert 80 <= len(text.split()) <= 200
    assert not re.search(r"  |\n\n| \n|\n | [.,!?]|[{}\[\]|_]|\.\.|,,", text) and text == text.strip()
    for paragraph in text.split("\n"):
        assert re.match(r'"?[A-Z]', paragraph) and re.search(r'[.!?]"?$', paragraph), paragraph
        assert paragraph.count('"') % 2 == 0
    for a, word in re.findall(r"\b([Aa]n?) (\w+)", text):
        consonant = word in ("useful", "useless", "unicorn") or word[0] not in "aeiou"
        assert (a.lower() == "a") == (consonant and word not in ("honest", "hourglass")), (a, word)
    doubled = re.findall(r"\b(\w+) \1\b", text)
    assert doubled == [], doubled
    for c in w.characters:
        for look, species in re.findall(rf"\b{c.name} the (?:([a-z-]+) )?([a-z]+)", text):
            if species in fact_values()["species"]:
                assert species == c.facts["species"] and look in ("", c.facts["look"]), (
                    c.name,
                    look,
                    species,
                )


def test_roles_tell_first_mentions_from_returns(world, stories):
    """A name is first chosen or known, and a copy after that. Every other copy stands in the text before."""
    everybody = {c.name for c in world.characters}
    pronouns = {"he", "she", "him", "her", "his", "himself", "herself"}
    copies = 0
    for story in stories[:300]:
        seen = set()
        for m in re.finditer(r"\w+", story.text):
            if m[0] in everybody:
                is_copy = (story.roles[m.start() : m.end()] == ROLE["copy"]).all()
                chosen = (story.roles[m.start() : m.end()] == ROLE["choice"]).all()
                assert (is_copy or chosen) if m[0] in seen else not is_copy, story.marked()
                seen.add(m[0])
        at = 0
        for role, text, _ in story.segments():
            plain = re.sub(r"^(an?) ", "", text.lower())
            if role == "copy" and plain not in pronouns:
                assert plain in story.text[:at].lower(), (plain, story.text)
                copies += 1
            at += len(text)
        assert at == len(story.text)
    assert copies > 2000


def test_marked_shows_every_role_and_loses_no_text(stories):
    marked = stories[0].marked()
    assert all(mark in marked for mark in "<{(")
    assert re.sub(r"[<>{}()]", "", marked) == stories[0].text
