"""Files, folders and TinyStories as documents, each in its split; texts that cannot be used."""

import time
from collections import Counter
from pathlib import Path

import pytest

from nanokimi.config import DataConfig
from nanokimi.text import files, sources
from nanokimi.text.corpus import TextError, load_corpus
from nanokimi.text.tokenizer import END_OF_TEXT, TokenizerError
from tests.text.made_up_texts import documents_of, join, some_documents

# ---------------------------------------------------------------- documents and their split


@pytest.mark.parametrize("kind", ["bpe", "char"])
def test_documents_come_back_whole_and_in_one_split(text_file, data, kind):
    found = load_corpus(data(text_file, tokenizer=kind))
    train, val = (documents_of(s, found.tokenizer) for s in (found.train, found.val))
    assert Counter(train + val) == Counter(some_documents(400))
    assert not set(train) & set(val)
    assert train == [d for d in some_documents(400) if d in set(train)], "the order of the file is kept"
    assert 8 <= len(val) <= 36  # 400/20 = 20, standard deviation 4.4


def test_a_document_without_separator_is_cut_at_nine_tenths(tmp_path, data):
    text = "\n".join(some_documents(200)) + "\n"
    path = tmp_path / "book.md"
    path.write_text(text, encoding="utf-8")
    found = load_corpus(data(path, tokenizer="char"))
    cut = int(0.9 * len(text))
    assert found.tokenizer.decode(found.train.tokens.tolist()) == text[:cut]
    assert found.tokenizer.decode(found.val.tokens.tolist()) == text[cut:], "to the last line's end"
    assert found.notes == ("the last 10% of the text is for validation: it is one document",)


@pytest.mark.parametrize("block", [1, 2, 5, 12, 13, 14, 1000])
def test_a_separator_may_begin_in_one_block_and_end_in_the_next(tmp_path, monkeypatch, block):
    monkeypatch.setattr(files, "BLOCK", block)
    path = tmp_path / "separators.txt"
    path.write_text(f"a{END_OF_TEXT}\nb<|endof{END_OF_TEXT}{END_OF_TEXT}<|endoftext|c{END_OF_TEXT}")
    (file,) = files.find_text_files(path)[0]
    assert list(files.read_documents(file, print)) == ["a", "b<|endof", "<|endoftext|c"]


def test_white_space_empty_documents_and_byte_order_marks_are_removed(tmp_path, data):
    path = tmp_path / "dos.txt"
    stories = [f"Story {i}.\r\nThe end." for i in range(60)]
    path.write_bytes(b"\xef\xbb\xbf" + f"\r\n{END_OF_TEXT}\r\n \r\n{END_OF_TEXT}".join(stories).encode())
    found = load_corpus(data(path))
    documents = documents_of(found.train, found.tokenizer) + documents_of(found.val, found.tokenizer)
    assert sorted(documents) == sorted(stories), "line ends inside a document stay as they are"
    assert any("byte order mark" in note and "dos.txt" in note for note in found.notes)


def test_a_folders_own_split_is_kept(tmp_path, data):
    folder = tmp_path / "folder"
    folder.mkdir()
    train, val = some_documents(30), some_documents(10, seed=1)
    (folder / "b-train.txt").write_text(join(train[15:]), encoding="utf-8")
    (folder / "a-train.txt").write_text(join(train[:15]), encoding="utf-8")
    (folder / "my-valid.txt").write_text(join(val), encoding="utf-8")
    (folder / "README.md").write_text("not a story")
    (folder / ".hidden.txt").write_text("not a story")
    found = load_corpus(data(folder))
    assert documents_of(found.train, found.tokenizer) == train
    assert documents_of(found.val, found.tokenizer) == val


@pytest.mark.parametrize(
    ("name", "validation"),
    [
        ("tinystories-valid", True),
        ("val", True),
        ("x.val", True),
        ("validation", True),
        ("Valid1", True),
        ("train", False),
        ("interval", False),
        ("invalid", False),
        ("valentine", False),
    ],
)
def test_names_of_validation_files(tmp_path, name, validation):
    (tmp_path / f"{name}.txt").write_text("this one")
    (tmp_path / ("stories.txt" if validation else "my-valid.txt")).write_text("the other")
    documents = sources.open_source(DataConfig(source=str(tmp_path))).documents()
    assert {d.text: d.validation for d in documents} == {"this one": validation, "the other": not validation}


def test_a_folder_without_own_split_has_a_document_per_file(tmp_path, data):
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, document in enumerate(some_documents(80)):
        (folder / f"{i:03}.txt").write_text(document, encoding="utf-8")
    found = load_corpus(data(folder))
    train, val = (documents_of(s, found.tokenizer) for s in (found.train, found.val))
    assert sorted(train + val) == sorted(some_documents(80))
    assert val == [d for d in some_documents(80) if d in set(val)]


# ---------------------------------------------------------------- the hub


def test_tinystories_without_network_says_so_quickly_in_one_line(data, tmp_path, capfd, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # as at a user's
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    started = time.monotonic()
    with pytest.raises(TextError) as caught:
        load_corpus(data("tinystories"))
    assert time.monotonic() - started < 15
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in ("tinystories", "no network", "storyworld", "path of a text file"))
    assert not (tmp_path / "cache").exists()
    assert capfd.readouterr().err == ""


def test_tinystories_keeps_its_own_split(data, monkeypatch):
    datasets = pytest.importorskip("datasets")
    stories = {
        "train": datasets.Dataset.from_dict({"text": [*some_documents(40), "  "]}),
        "validation": datasets.Dataset.from_dict({"text": [f"{d}\n" for d in some_documents(5, seed=1)]}),
    }
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *args, **kwargs: None)
    monkeypatch.setattr("datasets.load_dataset", lambda name: stories)
    found = load_corpus(data("tinystories"))
    assert documents_of(found.train, found.tokenizer) == some_documents(40)
    assert documents_of(found.val, found.tokenizer) == some_documents(5, seed=1)
    monkeypatch.setattr("datasets.load_dataset", None)
    assert load_corpus(data("tinystories")).fingerprint == found.fingerprint


# ---------------------------------------------------------------- bad input


def bad_inputs(folder: Path) -> dict[str, tuple[Path | str, str]]:
    long_and_bad = "é".encode() * 600_000 + b"\xe9t\xe9"
    (folder / "empty.txt").write_bytes(b"")
    (folder / "blank.txt").write_bytes(b" \n\n ")
    (folder / "separators.txt").write_text(END_OF_TEXT * 3)
    (folder / "short.txt").write_text("Too short.")
    (folder / "latin1.txt").write_bytes("Ein Caf\xe9 am See.".encode("latin-1"))
    (folder / "late.txt").write_bytes(long_and_bad)
    (folder / "cut.txt").write_bytes("Café".encode()[:-1])
    (folder / "named").mkdir()
    (folder / "named" / "train.txt").write_text("Once upon a time. " * 100)
    (folder / "named" / "val.txt").touch()
    (folder / "turned").mkdir()
    (folder / "turned" / "train.txt").touch()
    (folder / "turned" / "val.txt").write_text("Once upon a time. " * 100)
    (folder / "none").mkdir()
    (folder / "none" / "README.md").write_text("no text")
    return {
        "missing": (
            folder / "missing.txt",
            r"missing\.txt.*no such file or folder; known: storyworld, .*or the path",
        ),
        "misspelt": ("storywrld", r"did you mean storyworld\? \(or the path of a UTF-8 text file"),
        "empty": (folder / "empty.txt", r"empty\.txt' is empty"),
        "blank": (folder / "blank.txt", r"blank\.txt' holds no text"),
        "separators": (folder / "separators.txt", r"separators\.txt' holds no text"),
        "short": (
            folder / "short.txt",
            r"short\.txt.*too short.* of the 65 tokens of one window with seq_len=64",
        ),
        "empty validation": (
            folder / "named",
            r"val\.txt' is empty, and by the names .* the validation text; give",
        ),
        "empty training": (
            folder / "turned",
            r"train\.txt' is empty, and by the names .* the training text; give",
        ),
        "latin1": (folder / "latin1.txt", r"latin1\.txt' is not UTF-8.*0xe9 at position 7 "),
        "late": (folder / "late.txt", r"late\.txt' is not UTF-8.*0xe9 at position 1200000 "),
        "cut": (folder / "cut.txt", r"cut\.txt' is not UTF-8.*0xc3 at position 3 "),
        "folder": (
            folder / "none",
            r"none' holds no \.txt file \(.*not named .txt \(1: 'README.md'\)\); give the path",
        ),
    }


BAD = ("missing", "misspelt", "empty", "blank", "separators", "short", "latin1", "late", "cut", "folder")


@pytest.mark.parametrize("kind", ["bpe", "char"])
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_in_one_line_and_nothing_is_written(tmp_path, data, case, kind):
    (tmp_path / "in").mkdir()
    source, message = bad_inputs(tmp_path / "in")[case]
    with pytest.raises(ValueError, match=message) as caught:
        load_corpus(data(source, tokenizer=kind), seq_len=64)
    assert isinstance(caught.value, TextError)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_gpt2_without_network_writes_nothing(text_file, data, tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "tiktoken"))
    monkeypatch.setattr("tiktoken.registry.ENCODINGS", {})
    with pytest.raises(TokenizerError, match="tokenizer='gpt2'"):
        load_corpus(data(text_file, tokenizer="gpt2"))
    assert not (tmp_path / "cache").exists()
