"""Characters as tokens, GPT-2's tokens, and tokenizers as files."""

import time

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from nanokimi.text import tokenizer
from nanokimi.text.tokenizer import END_OF_TEXT, WORDS, TokenizerError
from tests.text.made_up_texts import STORY, TEXTS

# ---------------------------------------------------------------- characters


def test_characters_are_numbered_in_code_point_order():
    encoding = tokenizer.char(["bé🎉", "ab\n"])
    assert encoding.n_vocab == 6
    assert encoding.encode_ordinary("\nabé🎉") == [0, 1, 2, 3, 4]
    assert encoding.decode([4, 3, 0]) == "🎉é\n"
    assert list(tokenizer.token_bytes(encoding)) == [1, 1, 1, 2, 4, 0]
    assert isinstance(encoding, tiktoken.Encoding)


@settings(max_examples=300, deadline=None)
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


# ---------------------------------------------------------------- GPT-2


def test_gpt2_is_gpt2(gpt2):
    assert gpt2.encode_ordinary("Hello world") == [15496, 995]
    assert (gpt2.n_vocab, gpt2.eot_token) == (50257, 50256)
    assert tokenizer.token_bytes(gpt2)[[15496, 995, 50256]].tolist() == [5, 6, 0]


def test_our_pattern_cuts_as_gpt2s(gpt2):
    special = {END_OF_TEXT: gpt2.eot_token}
    ours = tiktoken.Encoding(
        "ours", pat_str=WORDS, mergeable_ranks=gpt2._mergeable_ranks, special_tokens=special
    )
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
def test_save_and_load_keep_everything(tmp_path, kind):
    encoding = tokenizer.train_bpe(TEXTS, 320) if kind == "bpe" else tokenizer.char(TEXTS)
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
