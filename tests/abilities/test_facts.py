"""Facts of the storyworld asked of models made by hand: one that knows some characters, and one that only guesses."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from nanokimi.abilities.facts import (
    FACTS,
    MOST_CHARACTERS,
    choose_characters,
    measure_facts,
    n_values,
    write_beginnings,
)
from nanokimi.abilities.questions import NOTHING
from nanokimi.config import DataConfig, TrainConfig
from nanokimi.text.corpus import load_corpus
from nanokimi.text.storyworld import World, default_grammar
from nanokimi.text.storyworld.english import inflect
from nanokimi.text.storyworld.world import fact_values
from nanokimi.text.storyworld.writer import OutOfMoves, Script, Writer
from tests.abilities.scripted import Scripted

CFG = TrainConfig(batch_size=7, seq_len=256)


@pytest.fixture(scope="module")
def world() -> World:
    return World(0, 12)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache"))
    return load_corpus(DataConfig(n_characters=12, n_stories=300, vocab_size=600, cache_dir=cache)).tokenizer


def begins_a_story(world: World, text: str) -> bool:
    """A plain search over all choices of the stories' grammar."""
    todo: list[tuple[int, ...]] = [()]
    while todo:
        moves = todo.pop()
        w = Writer(world, Script(moves))
        try:
            w.run(default_grammar())
        except OutOfMoves as more:
            said = "".join(w.pieces)
            if said.startswith(text):
                return True
            if text.startswith(said):
                todo += [(*moves, i) for i in range(more.n)]
    return False


def test_stories_begin_like_the_questions(world):
    for who in (0, 5):
        for text, _, _ in write_beginnings(world, who):
            assert begins_a_story(world, text), text


def true_value(world: World, who: int, fact: str) -> str:
    person = world.characters[who]
    if fact in ("friend", "neighbour"):
        return world.characters[getattr(person, fact)].name
    return person.facts[fact]


def test_each_fact_of_each_character_is_asked_once(world):
    for who in range(12):
        asked_for = []
        for text, asked, facts in write_beginnings(world, who):
            assert text.index(world.characters[who].name) < np.flatnonzero(asked != NOTHING)[0]
            for number, fact in enumerate(facts):
                said = "".join(letter for letter, mine in zip(text, asked == number) if mine)
                value = true_value(world, who, fact)
                assert said in (value, inflect(value, "a"))
            asked_for += facts
        assert sorted(asked_for) == sorted(FACTS)


class ByHand(Scripted):
    """Knows the beginnings about some characters; of the others it guesses evenly among the values of every fact."""

    def __init__(self, world: World, tokenizer, knows):
        following: defaultdict[tuple[int, ...], Counter] = defaultdict(Counter)
        super().__init__(tokenizer.n_vocab, lambda begun: following[begun])
        for who in range(world.n_characters):
            for text, asked, facts in write_beginnings(world, who):
                ids = tokenizer.encode_ordinary(text)
                for at, token in enumerate(ids):
                    following[tuple(ids[:at])] |= Counter({token: 1})
                if not knows(who):
                    for number, fact in enumerate(facts):
                        self.guess(following, world, tokenizer, text, np.flatnonzero(asked == number), fact)

    @staticmethod
    def guess(following, world, tokenizer, text, letters, fact):
        """Counts every value of the fact once, from the blank before it on."""
        start, stop = letters[0], letters[-1] + 1
        with_article = text[start:stop].split(" ")[0] in ("a", "an")
        people = [each.name for each in world.characters if each.name not in text[:start]]
        values = people if fact in ("friend", "neighbour") else fact_values()[fact]
        before = len(tokenizer.encode_ordinary(text[: start - 1]))
        counts: defaultdict[tuple[int, ...], Counter] = defaultdict(Counter)
        for value in values:
            said = inflect(value, "a") if with_article else value
            ids = tokenizer.encode_ordinary(text[:start] + said)
            for at in range(before, len(ids)):
                counts[tuple(ids[:at])][ids[at]] += 1
            # A value may begin another one, as the friend's name does; then the text goes on as it does.
            counts[tuple(ids)] += Counter()
        following |= {begun: counted for begun, counted in counts.items() if counted}


def test_one_who_knows_everything(world, tokenizer):
    found = measure_facts(ByHand(world, tokenizer, lambda who: True), tokenizer, world, 100, CFG)
    assert found is not None
    assert (found.all.known, found.all.n_facts) == (1.0, 12 * len(FACTS))
    assert found.all.probability == pytest.approx(1, abs=1e-6)
    assert found.known_by_fact == dict.fromkeys(FACTS, 1.0)


def test_one_who_knows_the_famous(world, tokenizer):
    """Of 12 characters the first four, each third of a harmonic world: 1 + 1/2 + 1/3 + 1/4 of 3.103."""
    found = measure_facts(ByHand(world, tokenizer, lambda who: who < 4), tokenizer, world, 100, CFG)
    assert found is not None
    famous, middle, rare = (found.thirds[name] for name in ("famous", "middle", "rare"))
    assert [(each.first, each.last) for each in (famous, middle, rare)] == [(1, 4), (5, 8), (9, 12)]
    assert famous.known == 1.0 and famous.probability == pytest.approx(1, abs=1e-6)
    assert middle.known < 0.2 and rare.known < 0.2
    harmonic = [1 / rank for rank in range(1, 13)]
    assert famous.stories == pytest.approx(100 * sum(harmonic[:4]) / sum(harmonic) / 4, rel=1e-6)


def test_one_who_guesses_is_right_by_chance(world, tokenizer):
    found = measure_facts(ByHand(world, tokenizer, lambda who: False), tokenizer, world, 100, CFG)
    assert found is not None
    values = [1 / n_values(world, fact) for fact in FACTS]
    assert found.all.chance == pytest.approx(sum(values) / len(values))
    # Of a name that begins another one, as Ann does, the tokens are as likely as both names.
    assert found.all.chance * 0.9999 < found.all.probability < found.all.chance * 1.01


def test_how_many_values_there_are(world):
    assert n_values(world, "food") == 48 and n_values(world, "friend") == 11


def test_what_stands_beyond_the_window_is_not_asked(world, tokenizer):
    model = ByHand(world, tokenizer, lambda who: True)
    found = measure_facts(model, tokenizer, world, 100, TrainConfig(seq_len=30))
    assert found is not None and found.all.known == 1.0
    assert "look" in found.known_by_fact and len(found.known_by_fact) < len(FACTS)
    assert measure_facts(model, tokenizer, world, 100, TrainConfig(seq_len=2)) is None


def test_of_a_large_world_some_of_every_fame_are_asked():
    assert choose_characters(400) == list(range(400))
    chosen = choose_characters(5000)
    assert len(set(chosen)) == MOST_CHARACTERS and chosen[0] == 0 and chosen[-1] >= 4990
