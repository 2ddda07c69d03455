"""Characters as tokens, GPT-2's tokens, and tokenizers as files."""

import base64
import json
import time

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from nanokimi.text import tokenizer
from nanokimi.text.tokenizer import CHARACTERS, END_OF_TEXT, WORDS, TokenizerError
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


def some_content(kind: str) -> dict:
    """What the file of a good tokenizer holds."""
    encoding = tokenizer.train_bpe(TEXTS, 300) if kind == "bpe" else tokenizer.char(["abé"])
    tokens = sorted(encoding._mergeable_ranks, key=encoding._mergeable_ranks.__getitem__)
    spelled = [base64.b64encode(token).decode() for token in tokens]
    return {"name": kind, "pattern": encoding._pat_str, "special": END_OF_TEXT, "tokens": spelled}


HANGS = r"(?:(?:a+)+)+$"  # takes time with 2 to the power of a text's length

DAMAGE = {
    "nothing": ("bpe", lambda c: {}),
    "a list": ("bpe", lambda c: [c]),
    "a text": ("bpe", lambda c: "tokenizer"),
    "null": ("bpe", lambda c: None),
    "another name": ("bpe", lambda c: c | {"name": "gpt3"}),
    "a list as its name": ("bpe", lambda c: c | {"name": ["bpe"]}),
    "no name": ("bpe", lambda c: {k: v for k, v in c.items() if k != "name"}),
    "a pattern that hangs": ("bpe", lambda c: c | {"pattern": HANGS}),
    "no pattern": ("bpe", lambda c: c | {"pattern": None}),
    "a list of patterns": ("bpe", lambda c: c | {"pattern": [WORDS]}),
    "the pattern of another kind": ("char", lambda c: c | {"pattern": WORDS}),
    "bytes as characters": ("bpe", lambda c: c | {"name": "char", "pattern": CHARACTERS}),
    "another special token": ("bpe", lambda c: c | {"special": "\x1b[2J"}),
    "no special token": ("bpe", lambda c: {k: v for k, v in c.items() if k != "special"}),
    "a missing byte": ("bpe", lambda c: c | {"tokens": c["tokens"][1:]}),
    "cut tokens": ("bpe", lambda c: c | {"tokens": c["tokens"][:100]}),
    "a token twice": ("bpe", lambda c: c | {"tokens": [*c["tokens"], c["tokens"][-1]]}),
    "an empty token": ("bpe", lambda c: c | {"tokens": [*c["tokens"], ""]}),
    "no base64": ("bpe", lambda c: c | {"tokens": [*c["tokens"], "?"]}),
    "no ASCII": ("bpe", lambda c: c | {"tokens": [*c["tokens"], "é"]}),
    "numbers": ("bpe", lambda c: c | {"tokens": list(range(300))}),
    "tokens in an object": ("bpe", lambda c: c | {"tokens": dict.fromkeys(c["tokens"])}),
    "two characters": ("char", lambda c: c | {"tokens": [*c["tokens"], "YWI="]}),
    "half a character": ("char", lambda c: c | {"tokens": [*c["tokens"], "w6k="[:2] + "=="]}),
    "no tokens": ("char", lambda c: c | {"tokens": []}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_in_one_line(tmp_path, damage):
    kind, change = DAMAGE[damage]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(some_content(kind)))
    assert tokenizer.load_tokenizer(path).n_vocab > 3, "it is the change that is refused"
    path.write_text(json.dumps(change(some_content(kind))))
    with pytest.raises(TokenizerError, match=r"tokenizer\.json is not a tokenizer") as caught:
        tokenizer.load_tokenizer(path)
    assert len(str(caught.value)) <= 600 and str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"\0" * 50, b"[" * 100_000, b"1" * 5000])
def test_what_is_no_json_is_no_tokenizer(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json.*should hold a tokenizer"):
        tokenizer.load_tokenizer(path)
    for other in (tmp_path / "other.json", tmp_path):
        with pytest.raises(TokenizerError, match="should hold a tokenizer"):
            tokenizer.load_tokenizer(other)


def test_a_tokenizer_of_an_older_version_is_read(tmp_path, gpt2):
    """tiktoken has written GPT-2's pattern in two ways, which cut alike."""
    import tiktoken_ext.openai_public as published

    tokenizer.save_tokenizer(gpt2, tmp_path / "tokenizer.json")
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    assert content["pattern"] == WORDS != published.r50k_pat_str
    (tmp_path / "tokenizer.json").write_text(json.dumps(content | {"pattern": published.r50k_pat_str}))
    again = tokenizer.load_tokenizer(tmp_path / "tokenizer.json")
    assert [again.encode_ordinary(text) for text in TEXTS] == [gpt2.encode_ordinary(text) for text in TEXTS]
