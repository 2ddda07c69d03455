"""The measures of knowledge against a model made by hand, which knows some facts exactly and guesses the others."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch

from nanokimi.abilities.almanac import choose_tellings, make_probes
from nanokimi.abilities.knowledge import measure_knowledge, summarise
from nanokimi.abilities.questions import Answers, ask
from nanokimi.config import DataConfig, TrainConfig
from nanokimi.text.corpus import load_corpus
from nanokimi.text.storyworld.almanac import FACTS, Almanac, Telling, held_out_phrasing, value_bits
from nanokimi.text.storyworld.world import fact_values
from tests.abilities.scripted import Scripted

CFG = TrainConfig(batch_size=3, seq_len=64)


@pytest.fixture(scope="module")
def book() -> Almanac:
    return Almanac(seed=0, n_characters=8)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache"))
    return load_corpus(
        DataConfig(source="almanac", n_characters=8, n_exposures=20, vocab_size=500, cache_dir=cache)
    )


class ByHand(Scripted):
    """Predicts each token by counting sentences that begin with the tokens since the last line end.

    A known sentence is the only one. Of an unknown one there is one for every value that its fact can have, and as many
    again with a wrong value: so p(value) is 1 / (2 n), and a greedy answer is wrong.
    """

    def __init__(self, book, corpus, tellings, knows):
        encoding = corpus.tokenizer
        newline = encoding.encode_ordinary("\n")[0]
        following: defaultdict[tuple[int, ...], Counter] = defaultdict(Counter)
        super().__init__(encoding.n_vocab, lambda begun: following[begun], end=newline)
        for telling in tellings:
            story = book.tell(telling)
            value = "".join(text for role, text, _ in story.segments() if role == "fact")
            article = value.split(" ")[0] in ("a", "an") and value not in fact_values()[telling.fact]
            texts = [story.text]
            if not knows(telling):
                values = fact_values()[telling.fact]
                spelled = [with_article(v) if article else v for v in values]
                wrong = next(v for v in spelled if v != value)
                head, _, tail = story.text.rpartition(value)
                texts = [head + v + tail for v in [*spelled, *[wrong] * len(values)]]
            for text in texts:
                ids = encoding.encode_ordinary(text + "\n")
                for at, token in enumerate(ids):
                    following[tuple(ids[:at])][token] += 1


def with_article(value: str) -> str:
    vowel = value[0] in "aeiou" and not value.startswith("uni")
    return f"{'an' if vowel else 'a'} {value}"


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("n_known", [0, 5, 8])
def test_a_model_that_knows_some_facts_exactly(book, corpus, held_out, n_known):
    """It knows all facts of the first `n_known` characters; of the others it is one bit below an even guess."""
    tellings = choose_tellings(book, held_out)
    model = ByHand(book, corpus, tellings, lambda telling: telling.who < n_known)
    found = measure_knowledge(model, corpus, book, CFG, held_out)
    bits = sum(math.log2(len(fact_values()[fact])) for fact in FACTS)
    n_unknown = 8 - n_known
    guessed = sum(1 / (2 * len(fact_values()[fact])) for fact in FACTS)
    assert found.n_facts == 96
    assert found.known == pytest.approx(n_known / 8, abs=1e-9)
    assert found.probability == pytest.approx((n_known * 12 + n_unknown * guessed) / 96, rel=1e-5)
    assert found.all_bits == pytest.approx(8 * bits)
    assert found.bits == pytest.approx(n_known * bits - n_unknown * 12, abs=1e-3)


def test_one_that_remembers_strings_fails_on_held_out_phrasings(book, corpus):
    """It knows every sentence that pages have, and none that they have not."""
    told = [t for t in all_tellings(book) if t.phrasing != held_out_phrasing(t.who, t.fact)]
    held = [t for t in all_tellings(book) if t.phrasing == held_out_phrasing(t.who, t.fact)]
    model = ByHand(book, corpus, [*told, *held], lambda t: t.phrasing != held_out_phrasing(t.who, t.fact))
    assert measure_knowledge(model, corpus, book, CFG, held_out=False).known == 1
    assert measure_knowledge(model, corpus, book, CFG, held_out=True).known == 0


def all_tellings(book):
    return [Telling(who, fact, phrasing) for who in range(8) for fact in FACTS for phrasing in range(4)]


def test_numbers_by_hand():
    """Two facts of 2 bits: one has p = 1, one p = 1/8, below the even guess of 1/4."""
    answers = Answers(nats=np.array([0.0, math.log(8)]), right=np.array([True, False]))
    found = summarise(answers, [2.0, 2.0])
    assert (found.n_facts, found.known, found.all_bits) == (2, 0.5, 4.0)
    assert found.probability == pytest.approx((1 + 1 / 8) / 2)
    assert found.bits == pytest.approx(2 - 1)
    assert value_bits("food") == math.log2(48)


@pytest.mark.parametrize("held_out", [False, True])
def test_every_fact_is_asked_once(book, held_out):
    tellings = choose_tellings(book, held_out)
    assert sorted((t.who, t.fact) for t in tellings) == sorted((w, f) for w in range(8) for f in FACTS)
    assert {t.phrasing == held_out_phrasing(t.who, t.fact) for t in tellings} == {held_out}
    if not held_out:
        assert len({(t.phrasing - held_out_phrasing(t.who, t.fact)) % 4 for t in tellings}) == 3
    assert tellings == choose_tellings(book, held_out)
    assert [t.who for t in tellings] != sorted(t.who for t in tellings)


def test_rows_hold_whole_sentences_and_mark_their_values(book, corpus):
    tellings = choose_tellings(book, held_out=False)
    probes = make_probes(book, tellings, corpus.tokenizer, 40)
    assert probes.inputs.shape == probes.targets.shape == probes.asks.shape
    assert torch.equal(probes.inputs[:, 1:], probes.targets[:, :-1])
    read = []
    for row in torch.cat([probes.inputs[:, :1], probes.targets], dim=1).tolist():
        text = corpus.tokenizer.decode([t for t in row if t != corpus.tokenizer.n_vocab - 1])
        read += text.removesuffix("\n").split("\n")
    assert read == [book.tell(telling).text for telling in tellings]
    for number, telling in enumerate(tellings):
        said = corpus.tokenizer.decode(probes.targets[probes.asks == number].tolist())
        segments = book.tell(telling).segments()
        assert said.strip() == "".join(text for role, text, _ in segments if role == "fact")


def test_the_size_of_a_batch_changes_no_answer(book, corpus):
    tellings = choose_tellings(book, held_out=False)
    model = ByHand(book, corpus, tellings, lambda telling: telling.who % 2 == 0)
    probes = make_probes(book, tellings, corpus.tokenizer, 64)
    one, all_ = (
        ask(model, probes, TrainConfig(batch_size=size, seq_len=64)) for size in (1, len(probes.inputs))
    )
    assert np.array_equal(one.right, all_.right)
    np.testing.assert_allclose(one.nats, all_.nats, rtol=1e-6)


def test_a_row_that_is_too_short_is_refused(book, corpus):
    with pytest.raises(ValueError, match="seq_len=4 is below the"):
        make_probes(book, choose_tellings(book, held_out=False), corpus.tokenizer, 4)
