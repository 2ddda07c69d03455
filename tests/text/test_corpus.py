"""The corpus against slow recomputation, published counts and rough treatment."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nanokimi.config import DataConfig
from nanokimi.text import corpus, sources, storyworld, tokenfile, tokenizer
from nanokimi.text.corpus import ROLES, Split, TextError, batch, load_corpus, windows
from nanokimi.text.tokenizer import END_OF_TEXT, TokenizerError

REPOSITORY = Path(__file__).parents[2]


def some_documents(n: int, seed: int = 0) -> list[str]:
    """Different short documents of words, with one é each, so that bytes and characters differ."""
    rng = np.random.default_rng(seed)
    words = "the hen saw a red fox under an old tree and ran home to her café by the sea".split()
    return [f"{i} café " + " ".join(rng.choice(words, size=20)) + "." for i in range(n)]


def joined(documents: list[str]) -> str:
    return "".join(f"{d}\n{END_OF_TEXT}\n" for d in documents)


@pytest.fixture
def text_file(tmp_path) -> Path:
    path = tmp_path / "stories.txt"
    path.write_text(joined(some_documents(400)), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path):
    """A DataConfig with a cache of the test's own."""

    def make(source, **settings) -> DataConfig:
        settings = {"vocab_size": 300, **settings}
        return DataConfig(source=str(source), cache_dir=str(tmp_path / "cache"), **settings)

    return make


def documents_of(split: Split, encoding) -> list[str]:
    """The texts between separators, decoded again."""
    ids = split.tokens.tolist()
    ends = [i for i, token in enumerate(ids) if token == encoding.n_vocab - 1]
    assert ends
    assert ends[-1] == len(ids) - 1
    return [encoding.decode(ids[a + 1 : b]) for a, b in zip([-1, *ends], ends)]


def split_of(n: int) -> Split:
    return Split(tokens=np.arange(n, dtype=np.uint32))


# ---------------------------------------------------------------- documents and their side of the split


@pytest.mark.parametrize("kind", ["bpe", "char"])
def test_documents_come_back_whole_and_on_one_side(text_file, data, kind):
    found = load_corpus(data(text_file, tokenizer=kind))
    train, val = (documents_of(s, found.tokenizer) for s in (found.train, found.val))
    assert Counter(train + val) == Counter(some_documents(400))
    assert not set(train) & set(val)
    assert train == [d for d in some_documents(400) if d in set(train)], "the order of the file is kept"
    assert 8 <= len(val) <= 36  # 400/20 = 20, standard deviation 4.4


def test_the_side_depends_on_the_text_alone(tmp_path, data):
    """Equal documents stand on one side, wherever they stand; the rule is a hash that anyone can recompute."""
    documents = some_documents(300)
    path = tmp_path / "twice.txt"
    path.write_text(joined(documents + documents[::-1]), encoding="utf-8")
    found = load_corpus(data(path))
    val = documents_of(found.val, found.tokenizer)
    by_hand = {
        d for d in documents if hashlib.sha256(d.encode()).digest()[:8] < (2**64 // 20).to_bytes(8, "big")
    }
    assert set(val) == by_hand
    assert Counter(val) == {d: 2 for d in by_hand}


def test_few_documents_still_have_one_for_validation(tmp_path, data):
    documents = some_documents(4, seed=3)
    assert all(sources._hash(d) >= 0.05 for d in documents), (
        "choose documents that the hash leaves in training"
    )
    path = tmp_path / "four.txt"
    path.write_text(joined(documents), encoding="utf-8")
    found = load_corpus(data(path))
    assert documents_of(found.val, found.tokenizer) == [min(documents, key=sources._hash)]
    assert len(documents_of(found.train, found.tokenizer)) == 3


def test_a_document_without_separator_is_cut_at_nine_tenths(tmp_path, data):
    text = "\n".join(some_documents(100))
    path = tmp_path / "book.md"
    path.write_text(text, encoding="utf-8")
    found = load_corpus(data(path, tokenizer="char"))
    cut = int(0.9 * len(text))
    assert found.tokenizer.decode(found.train.tokens.tolist()) == text[:cut]
    assert found.tokenizer.decode(found.val.tokens.tolist()) == text[cut:]


def test_a_long_document_has_the_tokens_of_its_whole(tmp_path, data, monkeypatch):
    monkeypatch.setattr(sources, "PIECE", 50)
    monkeypatch.setattr(sources, "BLOCK", 37)
    monkeypatch.setattr(tokenfile, "BATCH", 200)
    text = "\n\n".join(some_documents(60))
    path = tmp_path / "book.txt"
    path.write_text(text, encoding="utf-8")
    found = load_corpus(data(path))
    assert found.train.tokens.tolist() == found.tokenizer.encode_ordinary(text[: int(0.9 * len(text))])


def test_long_documents_end_once(text_file, data, monkeypatch):
    monkeypatch.setattr(sources, "PIECE", 30)
    found = load_corpus(data(text_file))
    documents = documents_of(found.train, found.tokenizer) + documents_of(found.val, found.tokenizer)
    assert sorted(documents) == sorted(some_documents(400))


@pytest.mark.parametrize("block", [1, 2, 5, 12, 13, 14, 1000])
def test_separators_may_straddle_blocks(block):
    text = f"a{END_OF_TEXT}\nb<|endof{END_OF_TEXT}{END_OF_TEXT}<|endoftext|c{END_OF_TEXT}"
    blocks = (text[i : i + block] for i in range(0, len(text), block))
    assert list(sources._cut(blocks)) == text.split(END_OF_TEXT)


def test_cleaning(tmp_path, data):
    path = tmp_path / "dos.txt"
    stories = [f"Story {i}.\r\nThe end." for i in range(60)]
    path.write_bytes(b"\xef\xbb\xbf" + f"\r\n{END_OF_TEXT}\r\n \r\n{END_OF_TEXT}".join(stories).encode())
    found = load_corpus(data(path))
    documents = documents_of(found.train, found.tokenizer) + documents_of(found.val, found.tokenizer)
    assert sorted(documents) == sorted(f"Story {i}.\nThe end." for i in range(60))


def test_a_folders_own_split_is_honoured(tmp_path, data):
    folder = tmp_path / "folder"
    folder.mkdir()
    train, val = some_documents(30), some_documents(10, seed=1)
    (folder / "b-train.txt").write_text(joined(train[15:]), encoding="utf-8")
    (folder / "a-train.txt").write_text(joined(train[:15]), encoding="utf-8")
    (folder / "my-valid.txt").write_text(joined(val), encoding="utf-8")
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
def test_names_of_validation_files(name, validation):
    assert bool(sources._VALIDATION_FILE.search(name.lower())) == validation


def test_a_folder_without_own_split_is_hashed(tmp_path, data):
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, document in enumerate(some_documents(80)):
        (folder / f"{i:03}.txt").write_text(document, encoding="utf-8")
    found = load_corpus(data(folder))
    train, val = (documents_of(s, found.tokenizer) for s in (found.train, found.val))
    assert sorted(train + val) == sorted(some_documents(80))
    assert val == [d for d in some_documents(80) if d in set(val)]


# ---------------------------------------------------------------- real text


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
    (folder / "train.txt").write_text(joined(some_documents(3)), encoding="utf-8")
    found = load_corpus(data(folder, tokenizer="gpt2"))
    assert len(found.val) == 454_514 + 2_332  # tokens without separators, and stories
    assert (found.val.tokens == 50256).sum() == 2_332


# ---------------------------------------------------------------- storyworld


def stub_stories(n: int) -> list[SimpleNamespace]:
    rng = np.random.default_rng(7)
    stories = []
    for text in some_documents(n):
        text = text.replace("é", "e")
        roles = rng.choice(4, size=len(text), p=[0.7, 0.1, 0.1, 0.1]).astype(np.uint8)
        bits = np.where(roles == 1, rng.exponential(3, len(text)), 0).astype(np.float32)
        stories.append(SimpleNamespace(text=text, roles=roles, bits=bits))
    return stories


@pytest.fixture
def stub_world(monkeypatch) -> list[int]:
    """storyworld with 300 stories of random roles; the list counts how often they are made."""
    made = []

    def generate(world, n_stories, seed, workers):
        made.append(n_stories)
        yield from stub_stories(n_stories)

    monkeypatch.setattr(storyworld, "World", lambda seed, n_characters: None)
    monkeypatch.setattr(storyworld, "generate", generate, raising=False)
    return made


@pytest.mark.parametrize("kind", ["bpe", "char"])
def test_roles_and_bits_of_tokens(stub_world, data, kind):
    """Every token of the validation split, byte by byte."""
    found = load_corpus(data("storyworld", n_stories=300, tokenizer=kind))
    stories = {s.text: s for s in stub_stories(300)}
    freest_first = ("choice", "fact", "copy", "grammar")
    position = total_bits = total_bytes = 0
    for text in documents_of(found.val, found.tokenizer):
        at = 0
        for token in found.tokenizer.encode_ordinary(text):
            span = range(at, at + len(found.tokenizer.decode_single_token_bytes(token)))
            names = {ROLES[stories[text].roles[i]] for i in span}
            assert found.val.tokens[position] == token
            assert ROLES[found.val.roles[position]] == next(r for r in freest_first if r in names)
            bits = sum(float(stories[text].bits[i]) for i in span)
            assert found.val.bits[position] == pytest.approx(bits, rel=1e-6)
            position, at = position + 1, span.stop
            total_bits += bits
        assert found.val.tokens[position] == found.tokenizer.n_vocab - 1
        assert (found.val.roles[position], found.val.bits[position]) == (0, 0)
        position, total_bytes = position + 1, total_bytes + len(text)
    assert position == len(found.val) == len(found.val.roles) == len(found.val.bits)
    assert found.floor == pytest.approx(total_bits / total_bytes, rel=1e-6)
    assert found.train.roles is None
    assert found.train.bits is None
    assert (found.val.roles.dtype, found.val.bits.dtype) == (np.uint8, np.float32)


def test_bits_of_evaluated_windows_are_those_of_their_targets(stub_world, data):
    found = load_corpus(data("storyworld", n_stories=300))
    _, targets, index = windows(found.val, 10_000, 16)
    whole = range(1, targets.numel() + 1)
    assert targets.flatten().tolist() == [int(found.val.tokens[i]) for i in whole]
    assert found.val.bits[index.numpy()].sum() == pytest.approx(sum(float(found.val.bits[i]) for i in whole))


def test_stories_are_made_once(stub_world, data):
    first = load_corpus(data("storyworld", n_stories=300))
    again = load_corpus(data("storyworld", n_stories=300))
    assert stub_world == [300]
    assert again.fingerprint == first.fingerprint
    assert (again.floor, again.name) == (first.floor, "storyworld")


def test_a_story_sample_trains_bpe_and_is_tokenized_too(stub_world, data, monkeypatch):
    monkeypatch.setattr(tokenfile, "SAMPLE", 3000)
    found = load_corpus(data("storyworld", n_stories=300))
    assert (
        len(documents_of(found.train, found.tokenizer)) + len(documents_of(found.val, found.tokenizer)) == 300
    )
    assert stub_world == [300]


def test_an_edited_grammar_is_another_corpus(stub_world, data, tmp_path, monkeypatch):
    (tmp_path / "grammar").mkdir()
    (tmp_path / "grammar" / "__init__.py").write_text("one")
    monkeypatch.setattr(storyworld, "__file__", str(tmp_path / "grammar" / "__init__.py"))
    first = load_corpus(data("storyworld", n_stories=300))
    (tmp_path / "grammar" / "words.txt").write_text("two")
    assert load_corpus(data("storyworld", n_stories=300)).fingerprint != first.fingerprint
    assert stub_world == [300, 300]


def test_the_real_storyworld(data):
    found = load_corpus(data("storyworld", n_stories=300, n_characters=50))
    assert found.floor is not None
    assert 0 < found.floor < 2
    mean = found.val.bits.sum(dtype=np.float64) / found.token_bytes[found.val.tokens.astype(int)].sum().item()
    assert found.floor == pytest.approx(mean, rel=1e-5)
    assert set(np.unique(found.val.roles)) == {0, 1, 2, 3}
    assert not found.val.bits[found.val.roles == 0].any(), "what is forced costs nothing"


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


# ---------------------------------------------------------------- the cache


def test_a_second_start_reads_no_text(text_file, data):
    first = load_corpus(data(text_file))
    times = text_file.stat()
    # Other bytes under the old size and time: who reads them fails, for they are no UTF-8.
    text_file.write_bytes(b"\xff" * times.st_size)
    os.utime(text_file, ns=(times.st_atime_ns, times.st_mtime_ns))
    calls = []
    again = load_corpus(data(text_file), progress=lambda *facts: calls.append(facts))
    assert again.fingerprint == first.fingerprint
    assert np.array_equal(again.train.tokens, first.train.tokens)
    assert not calls


def test_the_same_text_elsewhere_is_not_tokenized_again(text_file, data, tmp_path):
    first = load_corpus(data(text_file))
    shutil.copy(text_file, tmp_path / "other.txt")
    stages = []
    again = load_corpus(
        data(tmp_path / "other.txt"), progress=lambda stage, done, total: stages.append(stage)
    )
    assert again.fingerprint == first.fingerprint
    assert set(stages) == {"reading text"}


def test_the_fingerprint_follows_text_and_tokenizer(text_file, data):
    found = [
        load_corpus(data(text_file, **s)).fingerprint
        for s in ({}, {"vocab_size": 290}, {"tokenizer": "char"})
    ]
    text_file.write_text(text_file.read_text(encoding="utf-8").replace("hen", "cow", 1), encoding="utf-8")
    assert len({*found, load_corpus(data(text_file)).fingerprint}) == 4


@pytest.mark.parametrize("damage", ["missing", "short", "meta", "folder"])
def test_a_damaged_cache_is_built_again(text_file, data, damage):
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


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_start_leaves_nothing(text_file, data, monkeypatch, error):
    def interrupt(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(tokenizer, "save", interrupt)
        with pytest.raises(error):
            load_corpus(data(text_file))
    assert not Path(data(text_file).cache_dir).exists()
    assert len(load_corpus(data(text_file)).train) > 0


def test_tokens_appear_by_one_rename(text_file, data, monkeypatch):
    """Were they copied into place, a kill in between would leave a folder that others use."""

    def refuse(self, target):
        raise OSError(f"{self} is not to become {target}")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(TextError, match="is not to become"):
            load_corpus(data(text_file))
    assert not Path(data(text_file).cache_dir).exists()


PREPARE = """
import os, signal, sys
from nanokimi.text import corpus, sources, tokenfile
from nanokimi.config import DataConfig
tokenfile.BATCH = 500
kill = sys.argv[3] == "kill"
def progress(stage, done, total):
    if kill and stage == "tokenizing" and done > 2000:
        os.kill(os.getpid(), signal.SIGKILL)
cfg = DataConfig(source=sys.argv[1], cache_dir=sys.argv[2], vocab_size=300)
print(corpus.load_corpus(cfg, progress).fingerprint)
"""


def start(text_file: Path, cache: Path, kill: str) -> subprocess.Popen:
    arguments = [sys.executable, "-c", PREPARE, str(text_file), str(cache), kill]
    return subprocess.Popen(
        arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_killed_process_and_two_at_once(text_file, data, tmp_path):
    """A process killed in the middle of writing leaves no folder that would be used; then two race for it."""
    cache = tmp_path / "cache"
    killed = start(text_file, cache, "kill")
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    (left,) = (cache / "tokens").iterdir()
    assert left.name.startswith(".building-")
    assert (left / "train.tokens").stat().st_size > 0, "it was killed while writing"

    racing = [start(text_file, cache, "live") for _ in range(2)]
    prints, errors = zip(*(process.communicate(timeout=120) for process in racing))
    assert [process.returncode for process in racing] == [0, 0], errors
    assert prints[0] == prints[1] == load_corpus(data(text_file)).fingerprint + "\n"

    long_ago = time.time() - 3 * 86_400
    os.utime(left, (long_ago, long_ago))
    load_corpus(data(text_file, vocab_size=290))
    assert not left.exists(), "what a killed process left is swept up after a day"


def test_the_loser_of_a_race_takes_the_winners_tokens(text_file, data, monkeypatch):
    """Both find no folder; the other one is there when ours is to be renamed."""
    write, winners = tokenfile._write, []

    def be_late(folder, *args):
        write(folder, *args)
        if not winners:
            winners.append(None)
            winners[0] = load_corpus(data(text_file)).fingerprint

    monkeypatch.setattr(tokenfile, "_write", be_late)
    assert [load_corpus(data(text_file)).fingerprint] == winners
    tokens = Path(data(text_file).cache_dir) / "tokens"
    assert [f.name for f in tokens.iterdir()] == winners


def test_a_cache_that_cannot_be_written_is_named(text_file, tmp_path):
    (tmp_path / "occupied").write_text("a file, no folder")
    with pytest.raises(TextError, match=r"cache folder .*occupied cannot be written"):
        load_corpus(DataConfig(source=str(text_file), cache_dir=str(tmp_path / "occupied"), vocab_size=300))


@pytest.mark.parametrize(("n_vocab", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_ids_have_two_bytes_where_they_fit(data, text_file, monkeypatch, n_vocab, dtype):
    def large(texts, vocab_size):
        ranks = {bytes([b]): b for b in range(256)}
        ranks |= {i.to_bytes(3, "big") + b"xy": i for i in range(256, n_vocab - 1)}
        return tokenizer._from_ranks("bpe", ranks)

    monkeypatch.setattr(tokenizer, "train_bpe", large)
    found = load_corpus(data(text_file))
    assert found.train.tokens.dtype == found.val.tokens.dtype == dtype
    assert found.train.tokens.max() == n_vocab - 1
    assert Counter(documents_of(found.train, found.tokenizer)) <= Counter(some_documents(400))


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
    (folder / "none").mkdir()
    (folder / "none" / "README.md").write_text("no text")
    return {
        "missing": (folder / "missing.txt", r"missing\.txt.*no such file or folder.*allowed: storyworld"),
        "misspelt": ("storywrld", "did you mean 'storyworld'"),
        "empty": (folder / "empty.txt", r"empty\.txt is empty"),
        "blank": (folder / "blank.txt", r"blank\.txt holds no text"),
        "separators": (folder / "separators.txt", r"separators\.txt holds no text"),
        "short": (folder / "short.txt", r"short\.txt.*too short.*seq_len=64 needs 65"),
        "latin1": (folder / "latin1.txt", r"latin1\.txt is not UTF-8.*0xe9 at position 7 "),
        "late": (folder / "late.txt", r"late\.txt is not UTF-8.*0xe9 at position 1200000 "),
        "cut": (folder / "cut.txt", r"cut\.txt is not UTF-8.*0xc3 at position 3 "),
        "folder": (folder / "none", r"none holds no \.txt file; allowed"),
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


def test_a_text_that_fits_may_be_too_short_later(text_file, data):
    found = load_corpus(data(text_file))
    with pytest.raises(TextError, match="the val split is too short"):
        load_corpus(data(text_file), seq_len=len(found.val))


def test_gpt2_without_network_writes_nothing(text_file, data, tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "tiktoken"))
    monkeypatch.setattr("tiktoken.registry.ENCODINGS", {})
    with pytest.raises(TokenizerError, match="tokenizer='gpt2'"):
        load_corpus(data(text_file, tokenizer="gpt2"))
    assert not (tmp_path / "cache").exists()


def test_progress_tells_how_far(text_file, data):
    calls = []
    load_corpus(data(text_file), progress=lambda stage, done, total: calls.append((stage, done, total)))
    assert list(dict.fromkeys(stage for stage, _, _ in calls)) == [
        "reading text",
        "making tokenizer",
        "tokenizing",
    ]
    for stage in ("reading text", "tokenizing"):
        done = [d for s, d, _ in calls if s == stage]
        assert done == sorted(done)
    assert all(total is None or done <= total for _, done, total in calls)
    assert calls[-1][1] == calls[-1][2]


# ---------------------------------------------------------------- batches and windows


@pytest.mark.parametrize(
    ("n_tokens", "batch_size", "seq_len"), [(1000, 4, 8), (997, 7, 16), (35, 3, 8), (9, 2, 8)]
)
def test_an_epoch_visits_every_window_once(n_tokens, batch_size, seq_len):
    n = max(1, (n_tokens - 1) // seq_len - 1)
    steps = -(-3 * n // batch_size)
    rows = torch.cat(
        [
            batch(split_of(n_tokens), s, batch_size=batch_size, seq_len=seq_len, seed=5)[0]
            for s in range(steps)
        ]
    )
    orders = []
    for epoch in range(3):
        starts = rows[epoch * n : (epoch + 1) * n, 0].tolist()
        offset = min(starts)
        assert sorted(starts) == [offset + seq_len * i for i in range(n)]
        assert 0 <= offset < 2 * seq_len
        assert max(starts) + seq_len < n_tokens
        orders.append(starts)
    if n > 10:
        assert orders[0] != orders[1] != orders[2], "each epoch has an order of its own"


def test_every_token_gets_its_turn():
    """Over many epochs each token but the last is an input, at each place of a window."""
    n_tokens, seq_len = 50, 8
    inputs, _ = batch(split_of(n_tokens), 0, batch_size=5 * 300, seq_len=seq_len, seed=0)
    assert set(inputs.flatten().tolist()) == set(range(n_tokens - 1))
    assert set((inputs[:, 0] % seq_len).tolist()) == set(range(seq_len))


@pytest.mark.parametrize("step", [0, 3, 1000])
def test_targets_are_the_inputs_one_token_later(step):
    inputs, targets = batch(split_of(500), step, batch_size=6, seq_len=9, seed=1)
    assert inputs.shape == targets.shape == (6, 9)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(targets, inputs + 1), "the tokens count up, so the next token is one more"
    inputs, targets, index = windows(split_of(500), 7, 9)
    assert torch.equal(targets, inputs + 1)
    assert torch.equal(index, targets), "token i of this split is i"


def test_batches_depend_on_seed_and_step_alone():
    """Two models see the same batches; a run resumed at step k sees what the first run saw there."""
    settings = {"batch_size": 4, "seq_len": 16, "seed": 11}
    first = [batch(split_of(3000), step, **settings)[0] for step in range(120)]
    torch.manual_seed(99)
    again = [batch(split_of(3000), step, **settings)[0] for step in reversed(range(120))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    corpus._epoch_starts.cache_clear()
    assert torch.equal(batch(split_of(3000), 77, **settings)[0], first[77])
    other = batch(split_of(3000), 77, **{**settings, "seed": 12})[0]
    assert not torch.equal(other, first[77])


def test_batches_leave_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    batch(split_of(3000), 5, batch_size=4, seq_len=16, seed=0)
    assert torch.equal(torch.rand(2), expected)


def test_windows_are_fixed_and_do_not_overlap():
    inputs, targets, index = windows(split_of(100), 1000, 9)
    assert inputs.shape == (11, 9)
    assert index.flatten().tolist() == list(range(1, 100)), "every token but the first is a target once"
    assert targets.flatten().tolist() == list(range(1, 100))
    fewer = windows(split_of(100), 3, 9)
    assert all(torch.equal(a[:3], b) for a, b in zip((inputs, targets, index), fewer))


@pytest.mark.parametrize(
    "cut", [lambda s: windows(s, 1, 10), lambda s: batch(s, 0, batch_size=1, seq_len=10, seed=0)]
)
def test_a_split_below_one_window_is_refused(cut):
    assert cut(split_of(11))[0].shape == (1, 10)
    with pytest.raises(TextError, match="10 tokens, and one window of seq_len=10 needs 11"):
        cut(split_of(10))


def test_large_vocabularies_keep_their_ids():
    tokens = np.array([0, 65_535, 65_536, 2**31], dtype=np.uint32)
    inputs, targets, _ = windows(Split(tokens=tokens), 1, 3)
    assert inputs.tolist() == [[0, 65_535, 65_536]]
    assert targets.tolist() == [[65_535, 65_536, 2**31]]
