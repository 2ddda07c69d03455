"""The cache of tokens: found without reading the text, repaired when damaged; and what it holds."""

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tiktoken

from nanokimi.config import DataConfig
from nanokimi.text import files, sources, tokenfile, tokenizer
from nanokimi.text.corpus import TextError, load_corpus
from tests.text.made_up_texts import documents_of, some_documents


def test_a_second_start_reads_no_text(text_file, data):
    first = load_corpus(data(text_file))
    times = text_file.stat()
    # Other bytes under the old size and time: who reads them fails, for they are no UTF-8.
    text_file.write_bytes(b"\xff" * times.st_size)
    os.utime(text_file, ns=(times.st_atime_ns, times.st_mtime_ns))
    calls = []
    again = load_corpus(data(text_file), on_progress=lambda *facts: calls.append(facts))
    assert again.fingerprint == first.fingerprint
    assert np.array_equal(again.train.tokens, first.train.tokens)
    assert not calls


def test_the_same_text_elsewhere_is_not_tokenized_again(text_file, data, tmp_path):
    first = load_corpus(data(text_file))
    shutil.copy(text_file, tmp_path / "other.txt")
    stages = []
    again = load_corpus(
        data(tmp_path / "other.txt"), on_progress=lambda stage, done, total: stages.append(stage)
    )
    assert again.fingerprint == first.fingerprint
    assert set(stages) == {"dividing text", "reading text"}


def test_the_fingerprint_follows_text_and_tokenizer(text_file, data):
    found = [
        load_corpus(data(text_file, **s)).fingerprint
        for s in ({}, {"vocab_size": 290}, {"tokenizer": "char"})
    ]
    text_file.write_text(text_file.read_text(encoding="utf-8").replace("hen", "cow", 1), encoding="utf-8")
    assert len({*found, load_corpus(data(text_file)).fingerprint}) == 4


@pytest.mark.parametrize("damage", ["missing", "short", "meta", "folder"])
def test_a_damaged_cache_is_written_again(text_file, data, damage):
    first = load_corpus(data(text_file))
    expected = first.train.tokens.copy()
    folder = Path(data(text_file).cache_dir) / "tokens" / first.fingerprint
    del first
    if damage == "missing":
        (folder / "val.tokens").unlink()
    elif damage == "short":
        os.truncate(folder / "train.tokens", 100)
    elif damage == "meta":
        (folder / "meta.json").write_text("{")
    else:
        shutil.rmtree(folder)
    assert np.array_equal(load_corpus(data(text_file)).train.tokens, expected)
    assert [f.name for f in folder.parent.iterdir()] == [folder.name]


def test_a_damaged_note_is_written_again(text_file, data):
    first = load_corpus(data(text_file))
    (note,) = (Path(data(text_file).cache_dir) / "sources").iterdir()
    note.write_text("[]")
    assert load_corpus(data(text_file)).fingerprint == first.fingerprint
    assert "fingerprint" in note.read_text()


def test_a_cache_that_cannot_be_written_is_named(text_file, tmp_path):
    (tmp_path / "occupied").write_text("a file, no folder")
    with pytest.raises(TextError, match=r"cache folder .*occupied' cannot be written"):
        load_corpus(DataConfig(source=str(text_file), cache_dir=str(tmp_path / "occupied"), vocab_size=300))


def test_a_text_that_fits_may_be_too_short_later(text_file, data):
    found = load_corpus(data(text_file))
    with pytest.raises(TextError, match="the validation text is too short: it has "):
        load_corpus(data(text_file), seq_len=len(found.val))


def test_progress_tells_how_far(text_file, data):
    calls = []
    load_corpus(data(text_file), on_progress=lambda stage, done, total: calls.append((stage, done, total)))
    assert list(dict.fromkeys(stage for stage, _, _ in calls)) == [
        "dividing text",
        "reading text",
        "making tokenizer",
        "tokenizing",
    ]
    for stage in ("reading text", "tokenizing"):
        done = [d for s, d, _ in calls if s == stage]
        assert done == sorted(done)
    assert all(total is None or done <= total for _, done, total in calls)
    assert calls[-1][1] == calls[-1][2]


# ---------------------------------------------------------------- what is written


def test_a_long_document_has_the_tokens_of_its_whole(tmp_path, data, monkeypatch):
    monkeypatch.setattr(sources, "PIECE", 50)
    monkeypatch.setattr(files, "BLOCK", 37)
    monkeypatch.setattr(tokenfile, "BATCH", 200)
    text = "\n\n".join(some_documents(200))
    path = tmp_path / "book.txt"
    path.write_text(text, encoding="utf-8")
    found = load_corpus(data(path))
    assert found.train.tokens.tolist() == found.tokenizer.encode_ordinary(text[: int(0.9 * len(text))])


def test_long_documents_end_once(text_file, data, monkeypatch):
    monkeypatch.setattr(sources, "PIECE", 30)
    found = load_corpus(data(text_file))
    documents = documents_of(found.train, found.tokenizer) + documents_of(found.val, found.tokenizer)
    assert sorted(documents) == sorted(some_documents(400))


@pytest.mark.parametrize(("n_vocab", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_ids_have_two_bytes_where_they_fit(data, text_file, monkeypatch, n_vocab, dtype):
    def large(texts, vocab_size, on_wait):
        ranks = {bytes([b]): b for b in range(256)}
        ranks |= {i.to_bytes(3, "big") + b"xy": i for i in range(256, n_vocab - 1)}
        special = {tokenizer.END_OF_TEXT: len(ranks)}
        return tiktoken.Encoding(
            "bpe", pat_str=tokenizer.WORDS, mergeable_ranks=ranks, special_tokens=special
        )

    monkeypatch.setattr(tokenizer, "train_bpe", large)
    found = load_corpus(data(text_file))
    assert found.train.tokens.dtype == found.val.tokens.dtype == dtype
    assert found.train.tokens.max() == n_vocab - 1
    assert Counter(documents_of(found.train, found.tokenizer)) <= Counter(some_documents(400))
