"""Copied words and their distances, by hand in one small story, and models that copy as far as they are told to."""

import re
from dataclasses import replace

import numpy as np
import pytest

from nanokimi.abilities.copying import LIMITS, find_copies, measure_copying
from nanokimi.abilities.questions import NOTHING
from nanokimi.config import DataConfig, TrainConfig
from nanokimi.text import tokenizer
from nanokimi.text.corpus import ROLES, Corpus, Split, load_corpus
from tests import tiny
from tests.abilities.scripted import Scripted

# What stands between stars is a copy, as a world would say it; the stars are not in the story.
MARKED = (
    "*Ann* has a *kite*. A red *Kite*, says *Ann*, is *his* or *a* *bird*. \n"
    "*Ann* likes *ice-cream* and *ice-cream*."
)
STORY = MARKED.replace("*", "")


def by_hand() -> Corpus:
    """The marked words as copies, one token per character."""
    text, roles = "", list[int]()
    for piece in re.split(r"(\*[^*]*\*)", MARKED):
        letters = piece.strip("*")
        text += letters
        roles += [ROLES.index("copy" if piece.startswith("*") else "grammar")] * len(letters)
    encoding = tokenizer.char([text])
    ids = np.array([*encoding.encode_ordinary(text), encoding.n_vocab - 1], dtype=np.uint16)
    val = Split(tokens=ids, roles=np.array([*roles, 0], np.uint8), bits=np.zeros(len(ids), np.float32))
    sizes = tokenizer.token_bytes(encoding)
    return replace(
        tiny.corpus(), val=val, train=val, tokenizer=encoding, token_bytes=tiny.torch.from_numpy(sizes)
    )


def found_words(corpus: Corpus, seq_len: int) -> list[tuple[str, int]]:
    probes, distances = find_copies(corpus, 10, seq_len)
    letters = [probes.targets[probes.asks == number].tolist() for number in range(len(distances))]
    return [(corpus.tokenizer.decode(ids), far) for ids, far in zip(letters, distances)]


def test_by_hand():
    """The first Ann, kite, bird and ice-cream are copied from nowhere; his and a are a pronoun and an article."""
    kites = STORY.index("Kite") - STORY.index("kite")
    second, third = STORY.index("Ann", 1), STORY.rindex("Ann")
    assert found_words(by_hand(), 200) == [
        (" Kite", kites),
        (" Ann", second),
        ("Ann", third - second),  # a line end before it is no blank
        (" ice-cream", len("ice-cream and ")),
    ]


def test_a_word_beyond_the_window_is_not_asked():
    second = STORY.index("Ann", 1)
    assert [word for word, _ in found_words(by_hand(), second + 3)] == [" Kite", " Ann"]
    assert [word for word, _ in found_words(by_hand(), second + 2)] == [" Kite"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    cache = str(tmp_path_factory.mktemp("cache"))
    return load_corpus(DataConfig(n_characters=12, n_stories=600, vocab_size=600, cache_dir=cache))


class Reaches(Scripted):
    """Knows all stories but those words that stood more than `far` tokens ago: there it says the separator."""

    def __init__(self, corpus: Corpus, far: float):
        end = corpus.tokenizer.n_vocab - 1
        self.next: dict[tuple[int, ...], int] = {}
        super().__init__(corpus.tokenizer.n_vocab, self.say)
        self.corpus, self.far = corpus, far
        for story in np.split(corpus.val.tokens, np.flatnonzero(corpus.val.tokens == end) + 1):
            ids = story.tolist()
            self.next |= {tuple(ids[:at]): token for at, token in enumerate(ids)}

    def say(self, begun):
        token = self.next.get(begun, self.end)
        # What stands in the story before, as text: the last word that begins like this token.
        said = self.corpus.tokenizer.decode([token]).strip().lower()
        words = [self.corpus.tokenizer.decode([each]).strip().lower() for each in begun]
        back = next((n for n, word in enumerate(reversed(words), start=1) if word == said), 0)
        return {self.end if back > self.far else token: 1.0}


CFG = TrainConfig(batch_size=16, seq_len=256)


def test_one_who_knows_the_story_copies_everything(corpus):
    found = measure_copying(Reaches(corpus, float("inf")), corpus, CFG)
    assert [each.first for each in found] == list(LIMITS) and sum(each.n_words for each in found) > 90
    assert all(each.known == 1.0 and each.nats == pytest.approx(0, abs=1e-6) for each in found)


def test_one_who_reaches_back_32_tokens(corpus):
    """Names of a token each show it best; longer words begin with tokens that stand elsewhere too."""
    near, middle, *far = measure_copying(Reaches(corpus, 32), corpus, CFG)
    assert near.known == middle.known == 1.0
    assert all(each.known < 0.3 and each.nats > 5 for each in far)


def test_one_who_only_guesses_has_the_nats_of_its_vocabulary(corpus):
    """Every word has a token at least; an even guess is log(vocabulary) nats for each."""
    found = measure_copying(Scripted(corpus.tokenizer.n_vocab, lambda begun: {}), corpus, CFG)
    probes, distances = find_copies(corpus, 128, 256)
    tokens = int((probes.asks != NOTHING).sum())
    nats = sum(each.nats * each.n_words for each in found)
    assert nats == pytest.approx(tokens * np.log(corpus.tokenizer.n_vocab), rel=1e-5)
    assert sum(each.n_words for each in found) == len(distances)


def test_a_bin_without_words_has_no_share():
    found = measure_copying(Scripted(by_hand().tokenizer.n_vocab, lambda begun: {}), by_hand(), CFG)
    assert (found[-1].n_words, found[-1].known, found[-1].nats) == (0, None, None)
    assert (found[0].n_words, found[1].n_words, found[2].n_words) == (2, 1, 1)
