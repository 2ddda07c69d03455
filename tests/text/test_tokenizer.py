"""The tokenizers against brute force, against the trainer's own ids, and against published counts."""

import json
import shutil
import time
from itertools import pairwise

import numpy as np
import pytest
import regex
import tiktoken
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nanokimi.text import tokenizer
from nanokimi.text.tokenizer import END_OF_TEXT, WORDS, TokenizerError

STORY = (
    "Once upon a time there was a little hen. The hen's name was Henny, and she didn't like the rain at all.\n"
    "“Why does it rain?” she asked. It had rained for 12 days!  The other hens laughed.\n\n\tThen it stopped.\n"
)
TEXTS = [
    STORY,
    STORY.upper(),
    "Über den Wölkchen 雨雨雨 🌧️🌧️ " * 3,
    "    def rain(): return 100 # rain\r\n" * 4,
]

# Any text at all, and texts of the few kinds of characters at which the pattern decides.
any_text = st.text(max_size=60) | st.text(alphabet="ab'sS 1é雨!\n\t\u00a0\u2003\x1c\u0301", max_size=60)
relaxed = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def trained():
    return tokenizer._train(TEXTS, 319)


@pytest.fixture(scope="module")
def bpe(trained) -> tiktoken.Encoding:
    return tokenizer.train_bpe(TEXTS, 320)


@pytest.fixture(scope="module")
def gpt2(real_text, tmp_path_factory) -> tiktoken.Encoding:
    """GPT-2's encoding from a copy of the offline cache (tiktoken deletes files there that fail its check)."""
    cache = tmp_path_factory.mktemp("tiktoken") / "cache"
    shutil.copytree(real_text / "gpt2" / "tiktoken_cache", cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        return tokenizer.gpt2()


def merge_by_hand(trained, text: str) -> list[bytes]:
    """BPE as the paper has it: in each word, again and again, join the pair that was learned first."""
    alphabet = {token: bytes([b]) for token, b in printable_alphabet().items()}
    pairs = json.loads(trained.to_str())["model"]["merges"]
    rank = {tuple(b"".join(alphabet[c] for c in side) for side in pair): i for i, pair in enumerate(pairs)}
    tokens = []
    for word in regex.findall(WORDS, text):
        parts = [bytes([b]) for b in word.encode()]
        while known := [(rank[p], i) for i, p in enumerate(pairwise(parts)) if p in rank]:
            _, i = min(known)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        tokens += parts
    return tokens


def printable_alphabet() -> dict[str, int]:
    """GPT-2's bytes_to_unicode: printable bytes are themselves, the others count up from U+0100."""
    alphabet, following = {}, 0x100
    for b in range(256):
        if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174:
            alphabet[chr(b)] = b
        else:
            alphabet[chr(following)] = b
            following += 1
    return alphabet


# ---------------------------------------------------------------- byte-level BPE


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


def test_bpe_on_real_stories(real_text):
    with open(real_text / "tinystories" / "tinystories-train.txt", encoding="utf-8") as file:
        stories = file.read(3_000_000).split(END_OF_TEXT)
    with open(real_text / "tinystories" / "tinystories-valid.txt", encoding="utf-8") as file:
        unseen = file.read(300_000).split(END_OF_TEXT)
    trained = tokenizer._train(stories, 2047)
    encoding = tokenizer.train_bpe(stories, 2048)
    assert encoding.n_vocab == 2048
    ids = encoding.encode_ordinary_batch(unseen)
    assert ids == [e.ids for e in trained.encode_batch(unseen)]
    assert [encoding.decode(row) for row in ids] == unseen
    # GPT-2's 50,257 tokens stand for 4.15 bytes each on these stories; 2,048 of their own come close.
    assert sum(len(text.encode()) for text in unseen) / sum(map(len, ids)) > 3.5


# ---------------------------------------------------------------- special strings, bytes a token, safe cuts


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
def test_pieces_have_the_tokens_of_the_whole(bpe, text, size):
    parts = list(tokenizer.pieces(text, size))
    assert "".join(parts) == text
    assert [i for part in parts for i in bpe.encode_ordinary(part)] == bpe.encode_ordinary(text)


def test_pieces_are_short():
    parts = list(tokenizer.pieces("word " * 1000, 100))
    assert len(parts) > 40
    assert max(map(len, parts)) <= 105


# ---------------------------------------------------------------- characters


def test_characters_are_numbered_in_code_point_order():
    encoding = tokenizer.char(["bé🎉", "ab\n"])
    assert encoding.n_vocab == 6
    assert encoding.encode_ordinary("\nabé🎉") == [0, 1, 2, 3, 4]
    assert encoding.decode([4, 3, 0]) == "🎉é\n"
    assert list(tokenizer.token_bytes(encoding)) == [1, 1, 1, 2, 4, 0]
    assert isinstance(encoding, tiktoken.Encoding)


@relaxed
@given(text=st.text(min_size=1, max_size=60))
def test_characters_give_back_every_text(text):
    encoding = tokenizer.char([text])
    ids = encoding.encode_ordinary(text)
    assert len(ids) == len(text)
    assert encoding.decode(ids) == text
    assert [sorted(set(text))[i] for i in ids] == list(text)


@pytest.mark.parametrize("text", ["z", "éz", "è", "\ud800", END_OF_TEXT])
@pytest.mark.parametrize("method", ["encode_ordinary", "encode", "encode_ordinary_batch"])
def test_an_unknown_character_is_named(text, method):
    encoding = tokenizer.char(["é?abc"])
    with pytest.raises(ValueError) as caught:
        getattr(encoding, method)([text] if method.endswith("batch") else text)
    if text != END_OF_TEXT or method != "encode":  # there tiktoken itself forbids the special token
        assert isinstance(caught.value, TokenizerError)
    if text == "éz":
        assert "'z' is none of the 5 characters" in str(caught.value)


def test_the_separator_can_be_asked_for_by_characters():
    encoding = tokenizer.char(["abc"])
    assert encoding.encode(f"a{END_OF_TEXT}b", allowed_special={END_OF_TEXT}) == [0, 3, 1]
    assert encoding.encode(f"a{END_OF_TEXT}b", allowed_special="all") == [0, 3, 1]


def test_no_characters_no_encoding():
    with pytest.raises(TokenizerError, match="no character"):
        tokenizer.char(["", ""])


def test_tiny_shakespeare_has_65_characters(real_text):
    text = (real_text / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    encoding = tokenizer.char([text])
    assert encoding.n_vocab == 65 + 1
    assert len(encoding.encode_ordinary(text)) == 1_115_394
    # nanoGPT's data/shakespeare_char/prepare.py prints these, in this order, as its vocabulary.
    characters = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    assert encoding.decode(list(range(65))) == characters


# ---------------------------------------------------------------- GPT-2


def test_gpt2_is_gpt2(gpt2):
    assert gpt2.encode_ordinary("Hello world") == [15496, 995]
    assert (gpt2.n_vocab, gpt2.eot_token) == (50257, 50256)
    assert tokenizer.token_bytes(gpt2)[[15496, 995, 50256]].tolist() == [5, 6, 0]


def test_gpt2_counts_of_tiny_shakespeare_are_nanogpts(real_text, gpt2):
    text = (real_text / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    cut = int(0.9 * len(text))
    assert len(gpt2.encode_ordinary(text[:cut])) == 301_966
    assert len(gpt2.encode_ordinary(text[cut:])) == 36_059


def test_our_pattern_cuts_as_gpt2s(gpt2):
    ours = tokenizer._from_ranks("ours", gpt2._mergeable_ranks)
    for text in TEXTS:
        assert ours.encode_ordinary(text) == gpt2.encode_ordinary(text)


def test_gpt2_without_copy_and_network_says_so_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("tiktoken.registry.ENCODINGS", {})
    with pytest.raises(TokenizerError) as caught:
        tokenizer.gpt2()
    assert "TIKTOKEN_CACHE_DIR" in str(caught.value)
    assert "'bpe'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_gpt2_does_not_wait_for_a_silent_network(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("tiktoken.get_encoding", lambda name: time.sleep(3))
    started = time.monotonic()
    with pytest.raises(TokenizerError, match="TimeoutError"):
        tokenizer.gpt2(wait_s=0.1)
    assert time.monotonic() - started < 2


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("kind", ["bpe", "char"])
def test_save_and_load_keep_everything(tmp_path, bpe, kind):
    encoding = bpe if kind == "bpe" else tokenizer.char(TEXTS)
    path = tmp_path / "tokenizer.json"
    tokenizer.save_tokenizer(encoding, path)
    again = tokenizer.load_tokenizer(path)
    assert type(again) is type(encoding)
    assert (again.name, again.n_vocab, again.eot_token) == (kind, encoding.n_vocab, encoding.n_vocab - 1)
    assert again._mergeable_ranks == encoding._mergeable_ranks
    assert again.encode_ordinary(STORY) == encoding.encode_ordinary(STORY)


def test_gpt2_needs_no_network_once_saved(tmp_path, gpt2, monkeypatch):
    tokenizer.save_tokenizer(gpt2, tmp_path / "tokenizer.json")
    monkeypatch.setattr("tiktoken.get_encoding", None)
    again = tokenizer.load_tokenizer(tmp_path / "tokenizer.json")
    assert [again.encode_ordinary(text) for text in TEXTS] == [gpt2.encode_ordinary(text) for text in TEXTS]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"tokens": ["?"], "name": "bpe", "pattern": "."}'])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: not a tokenizer"):
        tokenizer.load_tokenizer(path)
    with pytest.raises(TokenizerError, match="no such file"):
        tokenizer.load_tokenizer(tmp_path / "other.json")
