"""Our tokenizers in the format of transformers: the same ids and the same text."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from nanokimi import hub
from nanokimi.text import tokenizer
from tests.hub.hub_models import TEXT, make_encoding, make_kimi


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """transformers' tokenizers and ours, by name."""
    folder, chars = tmp_path_factory.mktemp("exported") / "kimi", tokenizer.char([TEXT + "é☃\n"])
    hub.save_pretrained(make_kimi(), make_encoding(), folder)
    return {
        "bpe": (AutoTokenizer.from_pretrained(folder), make_encoding()),
        "char": (tokenizer.to_transformers(chars), chars),
    }


def test_auto_tokenizer_gives_the_same_ids_and_text(loaded):
    theirs, encoding = loaded["bpe"]
    assert theirs.eos_token_id == theirs.bos_token_id == encoding.n_vocab - 1 == len(theirs) - 1
    assert theirs(TEXT)["input_ids"] == encoding.encode_ordinary(TEXT)
    assert len(encoding.encode_ordinary(TEXT)) < len(TEXT.encode()) - 30  # merges are at work
    assert theirs.decode(theirs(TEXT)["input_ids"]) == TEXT
    # Written out in a text, the separator is thirteen ordinary bytes, and its id decodes to it.
    assert theirs("a<|endoftext|>b")["input_ids"] == encoding.encode_ordinary("a<|endoftext|>b")
    assert theirs.decode([encoding.n_vocab - 1]) == "<|endoftext|>"
    assert theirs.decode([encoding.n_vocab - 1], skip_special_tokens=True) == ""


def test_auto_tokenizer_pads_rows_and_keeps_its_rules_when_saved_again(loaded, tmp_path):
    theirs, encoding = loaded["bpe"]
    rows = theirs(["a", "a b c d"], padding=True)
    assert rows["input_ids"][0].count(encoding.n_vocab - 1) == len(rows["input_ids"][1]) - 1
    assert sum(rows["attention_mask"][0]) == 1
    theirs.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again("a<|endoftext|>")["input_ids"] == encoding.encode_ordinary("a<|endoftext|>")


def test_a_tokenizer_of_characters_skips_what_it_does_not_know(loaded):
    """Where ours refuses it, as the docstring says."""
    theirs, encoding = loaded["char"]
    assert theirs.encode("a漢n").ids == encoding.encode_ordinary("an")
    with pytest.raises(tokenizer.TokenizerError, match="漢"):
        encoding.encode_ordinary("a漢n")


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(st.sampled_from("Once upn a tim'sdl\n\t 12!é☃\u00a0\u200b\r漢"), max_size=40)
    | st.text(max_size=20)
    | st.lists(st.sampled_from(["<|endoftext|>", " ", "a", "<|", "\n"]), max_size=5).map("".join)
)
def test_any_text_has_the_same_ids(loaded, text):
    theirs, encoding = loaded["bpe"]
    assert theirs.encode(text, add_special_tokens=False) == encoding.encode_ordinary(text)


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.sampled_from(sorted(set(TEXT + "é☃\n"))), max_size=40))
def test_characters_have_the_same_ids(loaded, text):
    theirs, encoding = loaded["char"]
    assert theirs.encode(text).ids == encoding.encode_ordinary(text)
    assert theirs.decode(theirs.encode(text).ids) == text


def test_merges_that_compete_have_the_same_ids():
    """Words of three letters at random: a token can be joined at many places, in many orders, and the rank decides."""
    generator = torch.Generator().manual_seed(0)
    words = [
        "".join("abc"[i] for i in torch.randint(3, (30,), generator=generator).tolist()) for _ in range(600)
    ]
    encoding = tokenizer.train_bpe(words[:300], 400)
    theirs = tokenizer.to_transformers(encoding)
    for word in [*words[300:], "a" * 50, "ab" * 30]:
        assert theirs.encode(word).ids == encoding.encode_ordinary(word)


def test_gpt2_tokenizer_has_the_same_ids(real_text, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(real_text / "gpt2" / "tiktoken_cache"))
    encoding = tokenizer.gpt2()
    theirs = tokenizer.to_transformers(encoding)
    story = TEXT * 3 + "Antidisestablishmentarianism, 3.14159 \t\n\n\n naïve café 漢字 ☃☃ I'll we've"
    assert theirs.encode(story).ids == encoding.encode_ordinary(story)
    assert theirs.get_vocab_size() == 50257
