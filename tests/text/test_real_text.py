"""Counts on real text, as nanoGPT and TinyStories publish them. NANOKIMI_TEXT names the folder with the texts."""

import shutil

import numpy as np

from nanokimi.text import tokenizer
from nanokimi.text.corpus import load_corpus
from nanokimi.text.tokenizer import END_OF_TEXT
from tests.text.made_up_texts import join, some_documents
from tests.text.reference_bpe import train_with_library


def test_tiny_shakespeare_has_nanogpts_counts(real_text, data, tmp_path, monkeypatch):
    shutil.copytree(real_text / "gpt2" / "tiktoken_cache", tmp_path / "tiktoken")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "tiktoken"))
    path = real_text / "tinyshakespeare" / "input.txt"
    characters = load_corpus(data(path, tokenizer="char"))
    assert (len(characters.train), len(characters.val)) == (1_003_854, 111_540)
    assert characters.tokenizer.n_vocab == 66
    gpt2 = load_corpus(data(path, tokenizer="gpt2"))
    assert (len(gpt2.train), len(gpt2.val)) == (301_966, 36_059)
    assert gpt2.train.tokens.dtype == np.uint16


def test_tinystories_has_its_published_counts(real_text, data, tmp_path, monkeypatch):
    """The validation half by GPT-2's tokens (the training half takes five seconds and adds nothing)."""
    shutil.copytree(real_text / "gpt2" / "tiktoken_cache", tmp_path / "tiktoken")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "tiktoken"))
    folder = tmp_path / "stories"
    folder.mkdir()
    shutil.copy(real_text / "tinystories" / "tinystories-valid.txt", folder)
    (folder / "train.txt").write_text(join(some_documents(3)), encoding="utf-8")
    found = load_corpus(data(folder, tokenizer="gpt2"))
    assert len(found.val) == 454_514 + 2_332  # tokens without separators, and stories
    assert (found.val.tokens == 50256).sum() == 2_332


def test_tiny_shakespeare_has_65_characters(real_text):
    text = (real_text / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    encoding = tokenizer.char([text])
    assert encoding.n_vocab == 65 + 1
    assert len(encoding.encode_ordinary(text)) == 1_115_394
    # nanoGPT's data/shakespeare_char/prepare.py prints these, in this order, as its vocabulary.
    characters = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    assert encoding.decode(list(range(65))) == characters


def test_gpt2_counts_of_tiny_shakespeare_are_nanogpts(real_text, gpt2):
    text = (real_text / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    cut = int(0.9 * len(text))
    assert len(gpt2.encode_ordinary(text[:cut])) == 301_966
    assert len(gpt2.encode_ordinary(text[cut:])) == 36_059


def test_bpe_on_real_stories(real_text):
    with open(real_text / "tinystories" / "tinystories-train.txt", encoding="utf-8") as file:
        stories = file.read(3_000_000).split(END_OF_TEXT)
    with open(real_text / "tinystories" / "tinystories-valid.txt", encoding="utf-8") as file:
        unseen = file.read(300_000).split(END_OF_TEXT)
    trained = train_with_library(stories, 2047)
    encoding = tokenizer.train_bpe(stories, 2048)
    assert encoding.n_vocab == 2048
    ids = encoding.encode_ordinary_batch(unseen)
    assert ids == [e.ids for e in trained.encode_batch(unseen)]
    assert [encoding.decode(row) for row in ids] == unseen
    # GPT-2's 50,257 tokens stand for 4.15 bytes each on these stories; 2,048 of their own come close.
    assert sum(len(text.encode()) for text in unseen) / sum(map(len, ids)) > 3.5
