"""Byte-level BPE against brute force and against another trainer; cuts that change no token; bytes per token."""

import numpy as np
import pytest
import tiktoken
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nanokimi.text import cuts, tokenizer
from nanokimi.text.bpe import merge_most_frequent, train_ranks
from nanokimi.text.tokenizer import END_OF_TEXT, WORDS, TokenizerError
from tests.text.made_up_texts import STORY, TEXTS
from tests.text.reference_bpe import merge_by_hand, train_with_library

# Any text at all, and texts of the few kinds of characters at which the pattern decides.
any_text = st.text(max_size=60) | st.text(alphabet="ab'sS 1é雨!\n\t\u00a0\u2003\x1c\u0301", max_size=60)
relaxed = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def trained():
    return train_with_library(TEXTS, 319)


@pytest.fixture(scope="module")
def bpe(trained) -> tiktoken.Encoding:
    return tokenizer.train_bpe(TEXTS, 320)


@relaxed
@given(text=any_text)
@example(text=STORY)
def test_bpe_equals_merging_by_hand(trained, bpe, text):
    ids = bpe.encode_ordinary(text)
    assert [bpe.decode_single_token_bytes(i) for i in ids] == merge_by_hand(trained, text)


@relaxed
@given(text=any_text)
@example(text=STORY)
def test_bpe_gives_the_trainers_own_ids(trained, bpe, text):
    assert bpe.encode_ordinary(text) == trained.encode(text).ids


@relaxed
@given(text=any_text)
@example(text=END_OF_TEXT)
def test_bpe_gives_back_every_text(bpe, text):
    assert bpe.decode(bpe.encode_ordinary(text)) == text


def test_bpe_learns_the_most_frequent_pair_first():
    # "ab" stands 5 times, "bc" 3 times, "abc" 3 times once "ab" is one token.
    encoding = tokenizer.train_bpe(["abc abc abc ab ab"], 259)
    assert [encoding.decode_single_token_bytes(i) for i in (256, 257)] == [b"ab", b" ab"]
    assert encoding.n_vocab == 259


@pytest.mark.parametrize(
    ("ids", "merged", "pair"),
    [
        ([1, 2], [9], (1, 2)),
        ([1, 2, 5, 1, 2], [9, 5, 9], (1, 2)),
        ([3, 5, 1, 6, 1, 2], [3, 5, 1, 6, 9], (1, 2)),  # of pairs that stand there once, the smallest
        ([3, 1, 7, 7, 7], [3, 1, 9, 7], (7, 7)),  # twice, as the pairs overlap; replaced from left to right
    ],
)
def test_one_merge_by_hand(ids, merged, pair):
    given_ids = list(ids)
    assert merge_most_frequent(ids, 9) == (merged, pair)
    assert ids == given_ids


@pytest.mark.parametrize("ids", [[], [1]])
def test_fewer_than_two_ids_have_nothing_to_merge(ids):
    with pytest.raises(ValueError, match=f"{len(ids)} ids have no pair of neighbours; give two or more"):
        merge_most_frequent(ids, 256)


@relaxed
@given(word=st.text(alphabet="abc", min_size=2, max_size=40))
def test_merge_after_merge_the_library_learns_the_same_tokens(word):
    ids, tokens = list(word.encode()), {byte: bytes([byte]) for byte in range(256)}
    ranks = train_ranks([word], 262, WORDS)
    for rank, learnt in enumerate(sorted(ranks, key=ranks.__getitem__)[256:], 256):
        ids, (left, right) = merge_most_frequent(ids, rank)
        tokens[rank] = tokens[left] + tokens[right]
        assert tokens[rank] == learnt


def test_bpe_ids_have_no_gap_and_the_separator_is_last(bpe):
    assert bpe.n_vocab == 320
    assert sorted(bpe._mergeable_ranks.values()) == list(range(319))
    assert {bytes([b]) for b in range(256)} <= set(bpe._mergeable_ranks)
    assert bpe.encode_single_token(END_OF_TEXT) == bpe.n_vocab - 1 == bpe.eot_token


def test_bpe_of_a_tiny_text_has_a_smaller_vocabulary():
    encoding = tokenizer.train_bpe(["ab ab"], 2048)
    assert 257 <= encoding.n_vocab < 300
    assert encoding.decode(encoding.encode_ordinary("abab!")) == "abab!"


def test_bpe_training_is_deterministic(bpe):
    assert tokenizer.train_bpe(iter(TEXTS), 320)._mergeable_ranks == bpe._mergeable_ranks


def test_bpe_needs_room_for_the_bytes():
    with pytest.raises(TokenizerError, match="vocab_size=256 must be at least 257"):
        tokenizer.train_bpe(["abc"], 256)


@pytest.mark.parametrize("text", [END_OF_TEXT, f"the end{END_OF_TEXT}\nOnce", f"{END_OF_TEXT}{END_OF_TEXT}"])
def test_the_separators_string_in_a_text_stays_text(bpe, text):
    ids = bpe.encode_ordinary(text)
    assert bpe.n_vocab - 1 not in ids
    assert bpe.decode(ids) == text


@relaxed
@given(text=any_text)
def test_token_bytes_count_the_bytes_of_a_text(bpe, text):
    ids = bpe.encode_ordinary(text)
    assert tokenizer.token_bytes(bpe)[np.array(ids, dtype=int)].sum() == len(text.encode())


def test_token_bytes_of_the_separator_are_none(bpe):
    sizes = tokenizer.token_bytes(bpe)
    assert sizes.shape == (320,)
    assert sizes[-1] == 0
    assert (sizes[:-1] > 0).all()


@relaxed
@given(text=any_text, size=st.integers(1, 9))
@example(text="a  b", size=2)
@example(text="a    b", size=2)
@example(text="!\x1c!", size=1)
@example(text="a's b", size=1)
def test_cuts_have_the_tokens_of_the_whole(bpe, text, size):
    parts = list(cuts.cut_text(text, size))
    assert "".join(parts) == text
    assert [i for part in parts for i in bpe.encode_ordinary(part)] == bpe.encode_ordinary(text)


def test_parts_are_short():
    parts = list(cuts.cut_text("word " * 1000, 100))
    assert len(parts) > 40
    assert max(map(len, parts)) <= 105
