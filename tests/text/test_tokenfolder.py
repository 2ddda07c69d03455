"""A folder of tokens that is not what was written is seen, said, and made again: nothing trains on other text."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nanokimi.config import DataConfig
from nanokimi.text import tokenfolder
from nanokimi.text.corpus import TextError, batch, load_corpus, windows
from nanokimi.text.tokenfolder import DamagedFolder, read_folder
from tests.text.made_up_texts import some_documents

TOO_LARGE = 10**400


def folder_of(cfg: DataConfig) -> Path:
    (folder,) = (Path(cfg.cache_dir) / "tokens").iterdir()
    return folder


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link(path: Path) -> None:
    shutil.copy(path, path.parent.parent.parent / "elsewhere")
    path.unlink()
    path.symlink_to(path.parent.parent.parent / "elsewhere")
    flip(path.parent.parent.parent / "elsewhere")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = {
    "zeroed": zero,
    "one bit": flip,
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0\0"),
    "empty": lambda path: os.truncate(path, 0),
    "missing": Path.unlink,
    "a link": link,
    "a pipe": pipe,
    "a folder": directory,
}


@pytest.fixture(scope="module")
def stories(tmp_path_factory) -> DataConfig:
    """A small storyworld in a cache, which has every kind of file."""
    cfg = DataConfig(n_stories=60, tokenizer="char", cache_dir=str(tmp_path_factory.mktemp("stories")))
    load_corpus(cfg)
    return cfg


@pytest.fixture
def copied(stories, tmp_path) -> DataConfig:
    shutil.copytree(stories.cache_dir, tmp_path / "cache")
    return DataConfig(n_stories=60, tokenizer="char", cache_dir=str(tmp_path / "cache"))


def contents(cfg: DataConfig) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder_of(cfg).iterdir()}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_seen(copied, damage):
    for path in folder_of(copied).iterdir():
        content = path.read_bytes()
        DAMAGES[damage](path)
        with pytest.raises(DamagedFolder) as caught:
            read_folder(path.parent)
        assert str(caught.value).isprintable()
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.write_bytes(content)
        read_folder(path.parent)


@pytest.mark.parametrize(("name", "damage"), [("train.tokens", "zeroed"), ("meta.json", "a folder")])
def test_a_damaged_folder_is_said_and_made_again(stories, copied, name, damage):
    DAMAGES[damage](folder_of(copied) / name)
    found = load_corpus(copied)
    assert len(found.notes) == 1
    assert "could not be used, and were made again" in found.notes[0] and found.notes[0].isprintable()
    assert contents(copied) == contents(stories)
    assert [path.name for path in (Path(copied.cache_dir) / "tokens").iterdir()] == [found.fingerprint]
    assert load_corpus(copied).notes == ()


META = {
    "no object": lambda m: [m],
    "no layout": lambda m: {k: v for k, v in m.items() if k != "layout"},
    "another layout": lambda m: m | {"layout": 1},
    "another format": lambda m: m | {"dtype": "float32"},
    "a format that is code": lambda m: m | {"dtype": "O"},
    "a wider format": lambda m: m | {"dtype": "uint32"},
    "a floor that is no number": lambda m: m | {"floor": "low"},
    "no floor": lambda m: m | {"floor": None},
    "a huge floor": lambda m: m | {"floor": TOO_LARGE},
    "an infinite floor": lambda m: m | {"floor": float("inf")},
    "a floor below 0": lambda m: m | {"floor": -1.0},
    "a path outside": lambda m: m | {"files": m["files"] | {"../../secret": [1, "x"]}},
    "a name less": lambda m: m | {"files": {k: v for k, v in m["files"].items() if k != "val.bits"}},
    "a list of files": lambda m: m | {"files": list(m["files"])},
    "a size that is text": lambda m: m | {"files": m["files"] | {"val.bits": ["1", "x"]}},
    "a size of thousands of digits": lambda m: m | {"files": m["files"] | {"val.bits": [TOO_LARGE, "x"]}},
    "a digest that is none": lambda m: m | {"files": m["files"] | {"val.bits": [1, None]}},
    "notes that are no texts": lambda m: m | {"notes": [1]},
    "notes that are a text": lambda m: m | {"notes": "\x1b[2J"},
}


def test_a_meta_json_is_believed_in_nothing(copied):
    path = folder_of(copied) / "meta.json"
    meta = json.loads(path.read_text())
    for change in META.values():
        path.write_text(json.dumps(change(meta)))
        with pytest.raises(DamagedFolder) as caught:
            read_folder(path.parent)
        assert str(caught.value).isprintable() and len(str(caught.value)) <= 300


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.tokens", np.full(100, 60_000, np.uint16)),
        ("val.roles", None),
        ("val.bits", None),
        ("train.tokens", np.zeros(0, np.uint16)),
        ("tokenizer.json", b'{"name": "bpe"}'),
    ],
)
def test_numbers_that_cannot_be_are_seen_under_a_right_digest(copied, name, content):
    path = folder_of(copied) / name
    if content is None:
        kind = np.uint8 if name == "val.roles" else np.float32
        content = np.full(
            path.stat().st_size // np.dtype(kind).itemsize, 99 if kind is np.uint8 else np.nan, kind
        )
    path.write_bytes(bytes(content) if isinstance(content, bytes) else content.tobytes())
    meta = json.loads((path.parent / "meta.json").read_text())
    data = path.read_bytes()
    meta["files"][name] = [len(data), hashlib.sha256(data).hexdigest()]
    (path.parent / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(DamagedFolder):
        read_folder(path.parent)


def test_a_link_in_place_of_the_folder_is_not_followed(copied, stories, tmp_path):
    folder, other = folder_of(copied), tmp_path / "other"
    folder.rename(other)
    folder.symlink_to(other)
    zero(other / "train.tokens")
    load_corpus(copied)
    assert not folder.is_symlink() and not any((other / "train.tokens").read_bytes()), (
        "nothing outside is written"
    )
    assert contents(copied) == contents(stories)


@pytest.mark.parametrize(
    "note", ['{"fingerprint": "../../secret"}', '{"fingerprint": 5}', "[]", "{", "x" * 2000, "null"]
)
def test_a_note_is_a_name_and_no_path(tmp_path, data, note):
    (tmp_path / "a.txt").write_text("\n".join(some_documents(50)))
    first = load_corpus(data(tmp_path / "a.txt"))
    (path,) = (tmp_path / "cache" / "sources").iterdir()
    path.write_text(note)
    again = load_corpus(data(tmp_path / "a.txt"))
    assert again.fingerprint == first.fingerprint and json.loads(path.read_text()) == {
        "fingerprint": first.fingerprint
    }


# ---------------------------------------------------------------- while a training runs


def test_a_file_that_is_cut_or_zeroed_in_a_training_changes_nothing(copied):
    """Its tokens are in memory."""
    found = load_corpus(copied)
    before = batch(found.train, 3, batch_size=4, seq_len=16, seed=0)[0]
    zero(folder_of(copied) / "train.tokens")
    os.truncate(folder_of(copied) / "train.tokens", 0)
    assert (batch(found.train, 3, batch_size=4, seq_len=16, seed=0)[0] == before).all()
    assert not found.train.tokens.flags.writeable


def test_a_large_file_that_is_cut_in_a_training_ends_in_a_line(copied, monkeypatch):
    """A mapped file that is read beyond its end kills the process: SIGBUS."""
    monkeypatch.setattr(tokenfolder, "HELD", 1000)
    found = load_corpus(copied)
    assert isinstance(found.train.tokens, np.memmap)
    inputs, _ = batch(found.train, 0, batch_size=2, seq_len=8, seed=0)
    os.truncate(folder_of(copied) / "train.tokens", 10)
    for cut in (
        lambda: batch(found.train, 0, batch_size=2, seq_len=8, seed=0),
        lambda: windows(found.train, 5, 8),
    ):
        with pytest.raises(
            TextError, match=r"train\.tokens' was cut to 10 bytes while it was in use; start again"
        ):
            cut()
    assert (batch(load_corpus(copied).train, 0, batch_size=2, seq_len=8, seed=0)[0] == inputs).all()


# ---------------------------------------------------------------- wrong arguments

WRONG = """
from nanokimi import DataConfig, load_corpus
from nanokimi.text.corpus import Split, batch, windows
from nanokimi.text.tokenizer import char, train_bpe
import numpy as np
cfg = DataConfig(n_stories=60, tokenizer="char", cache_dir={cache!r})
split = Split(tokens=np.arange(100, dtype=np.uint16))
calls = [lambda: load_corpus("storyworld"), lambda: load_corpus(None), lambda: load_corpus(cfg, seq_len=0),
    lambda: load_corpus(cfg, seq_len="8"), lambda: load_corpus(cfg, seq_len=True), lambda: load_corpus(cfg, 5),
    lambda: batch(split, -1, batch_size=1, seq_len=8, seed=0), lambda: batch(split, 0, batch_size=0, seq_len=8, seed=0),
    lambda: batch(split, 0, batch_size=2.5, seq_len=8, seed=0),
    lambda: batch(split, 0, batch_size=2, seq_len=0, seed=0),
    lambda: batch([1, 2], 0, batch_size=2, seq_len=8, seed=0),
    lambda: windows(split, 0, 8), lambda: windows(split, 1, "8"), lambda: windows("tokens", 1, 8),
    lambda: train_bpe("a text"), lambda: train_bpe(["a"], "300"), lambda: train_bpe([b"a"]), lambda: train_bpe(5),
    lambda: char("a text"), lambda: char([1])]
for i, call in enumerate(calls):
    try:
        call()
    except ValueError as error:
        assert str(error).isprintable() and len(str(error)) < 300, error
    else:
        raise AssertionError(i)
"""


def test_wrong_arguments_are_one_line(copied):
    """In a process without the tests' own checks of types."""
    code = WRONG.format(cache=copied.cache_dir)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
