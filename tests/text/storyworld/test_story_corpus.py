"""The storyworld as a corpus: roles and bits per token, the floor, and stories that are written once."""

from types import SimpleNamespace

import numpy as np
import pytest

from nanokimi.text import storyworld, tokenfile
from nanokimi.text.corpus import ROLES, load_corpus, windows
from nanokimi.text.sources import open_source
from tests.text.made_up_texts import documents_of, some_documents


def stub_stories(n: int) -> list[SimpleNamespace]:
    rng = np.random.default_rng(7)
    stories = []
    for text in some_documents(n):
        text = text.replace("é", "e")
        roles = rng.choice(4, size=len(text), p=[0.7, 0.1, 0.1, 0.1]).astype(np.uint8)
        bits = np.where(roles == 1, rng.exponential(3, len(text)), 0).astype(np.float32)
        stories.append(SimpleNamespace(text=text, roles=roles, bits=bits))
    return stories


@pytest.fixture
def stub_world(monkeypatch) -> list[int]:
    """storyworld with 300 stories of random roles; the list counts how often they are made."""
    made = []

    def generate(world, n_stories, seed):
        made.append(n_stories)
        yield from stub_stories(n_stories)

    monkeypatch.setattr(storyworld, "World", lambda seed, n_characters: None)
    monkeypatch.setattr(storyworld, "generate", generate)
    return made


@pytest.mark.parametrize("kind", ["bpe", "char"])
def test_roles_and_bits_of_tokens(stub_world, data, kind):
    """Every token of the validation split, byte by byte."""
    found = load_corpus(data("storyworld", n_stories=300, tokenizer=kind))
    stories = {s.text: s for s in stub_stories(300)}
    freest_first = ("choice", "fact", "copy", "grammar")
    position = total_bits = total_bytes = 0
    for text in documents_of(found.val, found.tokenizer):
        at = 0
        for token in found.tokenizer.encode_ordinary(text):
            span = range(at, at + len(found.tokenizer.decode_single_token_bytes(token)))
            names = {ROLES[stories[text].roles[i]] for i in span}
            assert found.val.tokens[position] == token
            assert ROLES[found.val.roles[position]] == next(r for r in freest_first if r in names)
            bits = sum(float(stories[text].bits[i]) for i in span)
            assert found.val.bits[position] == pytest.approx(bits, rel=1e-6)
            position, at = position + 1, span.stop
            total_bits += bits
        assert found.val.tokens[position] == found.tokenizer.n_vocab - 1
        assert (found.val.roles[position], found.val.bits[position]) == (0, 0)
        position, total_bytes = position + 1, total_bytes + len(text)
    assert position == len(found.val) == len(found.val.roles) == len(found.val.bits)
    assert found.floor == pytest.approx(total_bits / total_bytes, rel=1e-6)
    assert found.train.roles is None
    assert found.train.bits is None
    assert (found.val.roles.dtype, found.val.bits.dtype) == (np.uint8, np.float32)


def test_bits_of_evaluated_windows_are_those_of_their_targets(stub_world, data):
    found = load_corpus(data("storyworld", n_stories=300))
    _, targets, index = windows(found.val, 10_000, 16)
    whole = range(1, targets.numel() + 1)
    assert targets.flatten().tolist() == [int(found.val.tokens[i]) for i in whole]
    assert found.val.bits[index.numpy()].sum() == pytest.approx(sum(float(found.val.bits[i]) for i in whole))


def test_stories_are_made_once(stub_world, data):
    first = load_corpus(data("storyworld", n_stories=300))
    again = load_corpus(data("storyworld", n_stories=300))
    assert stub_world == [300]
    assert again.fingerprint == first.fingerprint
    assert (again.floor, again.name) == (first.floor, "storyworld")


def test_a_story_sample_trains_bpe_and_is_tokenized_too(stub_world, data, monkeypatch):
    monkeypatch.setattr(tokenfile, "SAMPLE", 3000)
    found = load_corpus(data("storyworld", n_stories=300))
    assert (
        len(documents_of(found.train, found.tokenizer)) + len(documents_of(found.val, found.tokenizer)) == 300
    )
    assert stub_world == [300]


def test_another_version_is_another_corpus(stub_world, data, monkeypatch):
    first = load_corpus(data("storyworld", n_stories=300))
    monkeypatch.setattr(storyworld, "VERSION", storyworld.VERSION + 1)
    assert load_corpus(data("storyworld", n_stories=300)).fingerprint != first.fingerprint
    assert stub_world == [300, 300]


def test_settings_and_version_are_all_that_tells_stories_apart(data):
    """Not the source code: a comment that changes must not make a run impossible to resume."""
    assert open_source(data("storyworld", seed=3, n_characters=50, n_stories=7)).identity == {
        "source": "storyworld",
        "version": storyworld.VERSION,
        "seed": 3,
        "n_characters": 50,
        "n_stories": 7,
    }


def test_the_real_storyworld(data):
    found = load_corpus(data("storyworld", n_stories=300, n_characters=50))
    assert found.floor is not None
    assert 0 < found.floor < 2
    mean = found.val.bits.sum(dtype=np.float64) / found.token_bytes[found.val.tokens.astype(int)].sum().item()
    assert found.floor == pytest.approx(mean, rel=1e-5)
    assert set(np.unique(found.val.roles)) == {0, 1, 2, 3}
    assert not found.val.bits[found.val.roles == 0].any(), "what is forced costs nothing"
