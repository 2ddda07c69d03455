"""Files of any name and any bytes: read as they are, left out with a word, or refused in one line that helps."""

import os
import unicodedata

import pytest

from nanokimi.config import DataConfig
from nanokimi.text import files, sources
from nanokimi.text.corpus import TextError, load_corpus
from nanokimi.text.tokenizer import END_OF_TEXT

TEXT = "Käse and bread, 雨 and 🌧️, line by line.\n" * 200


def refusal(path, data) -> str:
    with pytest.raises(TextError) as caught:
        load_corpus(data(path), seq_len=8)
    message = str(caught.value)
    assert len(message) <= 600 and message.isprintable()
    return message


# ---------------------------------------------------------------- encodings

ENCODINGS = {
    "utf-16": ("is UTF-16 text", "iconv -f UTF-16 -t UTF-8"),
    "utf-32": ("is UTF-32 text", "iconv -f UTF-32 -t UTF-8"),
    "utf-16-le": ("zero bytes", "iconv -f UTF-16LE -t UTF-8"),
    "utf-16-be": ("zero bytes", "iconv -f UTF-16BE -t UTF-8"),
    "utf-32-le": ("zero bytes", "iconv -f UTF-32LE -t UTF-8"),
    "utf-32-be": ("zero bytes", "iconv -f UTF-32BE -t UTF-8"),
    "cp1252": ("not UTF-8 text: byte 0xe4 at position 1 ", "iconv -f WINDOWS-1252"),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_another_encoding_is_named_with_the_command_that_converts_it(tmp_path, data, encoding):
    path = tmp_path / "käse.txt"
    path.write_bytes("Käse and bread, line by line.\n".encode(encoding) * 200)
    message = refusal(path, data)
    assert all(part in message for part in ENCODINGS[encoding])
    assert "käse.txt" in message


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\0" * 5000, "no text"),
        (b"text " * 100 + b"\0" * 100, "no text"),
        (b"\x1f\x8b\x08\0" + b"x" * 99, "gzip -dc"),
        (b"PK\x03\x04" + b"x" * 99, "archive"),
    ],
)
def test_what_is_no_text_is_not_trained_on(tmp_path, data, content, what):
    (tmp_path / "a.txt").write_bytes(content)
    assert what in refusal(tmp_path / "a.txt", data)


def test_a_few_zero_bytes_are_text(tmp_path, data):
    (tmp_path / "a.txt").write_bytes(b"text " * 1000 + b"\0")
    assert len(load_corpus(data(tmp_path / "a.txt")).val) > 0


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\r", "\u2028", ""])
def test_no_character_of_a_text_is_changed(tmp_path, data, end):
    text = f"\n  {END_OF_TEXT[:-1]} a line,\twith{end}" * 500 + f"\ufeff{end} "
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode())
    for kind in ("char", "bpe"):
        found = load_corpus(data(path, tokenizer=kind))
        ids = [*found.train.tokens.tolist(), *found.val.tokens.tolist()]
        assert found.tokenizer.decode(ids) == text


# ---------------------------------------------------------------- names

ODD_NAMES = [
    "naïve.txt",
    "故事.txt",
    "a b'\"$(x).txt",
    "new\nline.txt",
    "\x1b[2J.txt",
    "-rf.txt",
    "قصة.txt",
    "e\u0301.txt",
]


@pytest.mark.parametrize("name", [*ODD_NAMES, os.fsdecode(b"caf\xe9.txt")])
def test_a_file_of_any_name_is_read(tmp_path, data, name):
    (tmp_path / name).write_text(TEXT)
    assert len(load_corpus(data(tmp_path / name)).train) > 0
    (tmp_path / name).write_bytes(b"\xff\xfe")
    assert "UTF-16" in refusal(tmp_path / name, data)


@pytest.mark.parametrize(
    "name", ["naïval", "évalué", "ßvalid", "故事val", "ναlval", "ōval", "valé", "हिval", "val\u0301"]
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_letters_of_any_script_are_letters(tmp_path, name, form):
    """Only a whole word val, valid or validation says that a file is for validation."""
    name = unicodedata.normalize(form, name)
    (tmp_path / f"{name}.txt").write_text(TEXT)
    (tmp_path / "train.txt").write_text(TEXT)
    found, _ = files.find_text_files(tmp_path)
    assert not any(file.for_validation for file in found)


@pytest.mark.parametrize("name", ["故事 val", "naïve-valid", "VAL", "été_validation2", "٣val٣"])
def test_a_word_beside_other_letters_is_found(tmp_path, name):
    (tmp_path / f"{name}.txt").write_text(TEXT)
    ((found,), _) = files.find_text_files(tmp_path)
    assert found.for_validation


# ---------------------------------------------------------------- folders


def test_a_folder_says_what_it_leaves_out(tmp_path, data):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.txt", "B.TXT", "c.Txt", "sub/d.txt", ".hidden.txt", "notes.md", "more.md"):
        (folder / name).write_text(f"{name} " * 500)
    (tmp_path / "secret.txt").write_text("secret " * 500)
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "in.txt").symlink_to("a.txt")
    (folder / "loop.txt").symlink_to("loop.txt")
    os.mkfifo(folder / "pipe.txt")
    found, left_out = files.find_text_files(folder)
    assert [file.path.name for file in found] == ["B.TXT", "a.txt", "c.Txt", "in.txt"]
    assert left_out == (
        "left out of folder 'in': hidden (1: '.hidden.txt'); no files (2: 'loop.txt', ...); "
        "not named .txt (2: 'more.md', ...); links that lead out of it (1: 'out.txt'); folders (1: 'sub')"
    )
    corpus = load_corpus(data(folder, tokenizer="char"))
    assert left_out in corpus.notes
    (folder / "new.md").touch()
    assert "not named .txt (3: " in " ".join(load_corpus(data(folder, tokenizer="char")).notes), (
        "said anew each time"
    )


@pytest.mark.parametrize(
    "place", ["pipe", "/dev/zero", "/dev/null", "x" * 5000, "~nobody-here/a.txt", "loop"]
)
def test_what_is_no_file_is_refused(tmp_path, data, place):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    source = place if place[0] in "/~x" else str(tmp_path / place)
    refusal(source, data)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="for root every file can be read")
def test_a_file_without_rights_is_named(tmp_path, data):
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "a.txt").chmod(0)
    assert "a.txt' cannot be read" in refusal(tmp_path / "a.txt", data)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, data, monkeypatch):
    """Else the tokens of one text would be kept under the name of another."""
    path = tmp_path / "a.txt"
    path.write_text(TEXT)

    def change(stage, done, total):
        if stage == "making tokenizer":
            path.write_text(TEXT.replace("bread", "honey"))

    with pytest.raises(TextError, match=r"a\.txt' was changed while it was read; start again"):
        load_corpus(data(path), change)
    assert not (tmp_path / "cache").exists()
    assert "honey" in load_corpus(data(path)).tokenizer.decode(load_corpus(data(path)).train.tokens.tolist())


def test_white_space_goes_only_where_a_separator_stands(tmp_path):
    (tmp_path / "a.txt").write_text("\n one \n")
    (tmp_path / "b.txt").write_text(f"\n two \n{END_OF_TEXT}\n three \n")
    (tmp_path / "c.txt").write_text(" \n\t")
    texts = [d.text for d in sources.open_source(DataConfig(source=str(tmp_path))).documents()]
    assert "".join(texts) == "\n one \ntwothree"
