"""Texts of any bytes, names and shapes are prepared: every character comes back, or a refusal in a line.

Random bytes, ten encodings with and without marks, zero bytes, runs without a break, separators, empty and equal
documents, odd names, in a file or in a folder of files with links and pipes beside them.
"""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.batches import judge, run_in_batches
from benchmarks.faults.outcome import Outcome
from nanokimi.config import DataConfig
from nanokimi.text.corpus import TextError, load_corpus
from nanokimi.text.tokenizer import END_OF_TEXT, TokenizerError

NAME = "odd texts prepared"
RELEASE, SAMPLE = 1000, 10
ENCODINGS = (
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "utf-8-sig",
    "latin-1",
    "cp1251",
    "shift-jis",
    "gb18030",
)
PIECES = (
    *(
        "a",
        "\n",
        " ",
        "\t",
        "\r",
        "\r\n",
        "\0",
        "\ufeff",
        "\u2028",
        "\u200d",
        "\x1b[2J",
        "ACGT",
        "<|endof",
        "e\u0301",
    ),
    *("雨", "🌧️", "\u202e", "word ", "The end.\n", "text|>", "7", "-", "'s", "\x1c", "\x85", "\U0010ffff"),
)
NAMES = (
    *(
        "a",
        "naïve",
        "故事",
        "new\nline",
        "\x1b[2J",
        "-rf",
        "a b'\"$(x)",
        "val",
        "my-valid",
        "قصة",
        "x" * 200,
        " ",
        "%s{}",
    ),
    *("\u202etxt", os.fsdecode(b"caf\xe9")),
)


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Prepare `tries` texts, and compare what comes back."""
    return run_in_batches("mutated_texts", tries, seed, folder, on_progress)


def prepare(folder: Path) -> None:
    """Nothing: every try makes its own text."""


def try_one(folder: Path, draw: random.Random) -> str:
    """What was wrong with how one odd text was prepared."""
    here = folder / "try"
    shutil.rmtree(here, ignore_errors=True)  # of a try that ended its process
    (here / "in").mkdir(parents=True)
    kind = draw.choice(("bpe", "bpe", "char"))
    contents = {}
    for _ in range(draw.choice((1, 1, 2, 5, 30))):
        name = (
            draw.choice(NAMES)
            + draw.choice(("", "1", "2", "3"))
            + draw.choice((".txt", ".txt", ".TXT", ".md", ""))
        )
        contents[name] = _draw_content(draw)
        (here / "in" / name).write_bytes(contents[name])
    if draw.random() < 0.2:
        os.mkfifo(here / "in" / "pipe.txt")
        (here / "in" / "link.txt").symlink_to(
            draw.choice(("link.txt", "/dev/zero", "/etc/passwd", "nothing"))
        )
    one = len(contents) == 1
    source = here / "in" / next(iter(contents)) if one else here / "in"
    cfg = DataConfig(source=str(source), tokenizer=kind, vocab_size=320, cache_dir=str(here / "cache"))

    def use() -> None:
        found = load_corpus(cfg, seq_len=8)
        if not all(note and len(note) < 1000 for note in found.notes):
            raise AssertionError("a note is no line")
        ids = [*found.train.tokens.tolist(), *found.val.tokens.tolist()]
        text = found.tokenizer.decode(ids, errors="strict")
        whole = next(iter(contents.values())).decode("utf-8-sig") if one else END_OF_TEXT
        if END_OF_TEXT not in whole and text != whole:
            raise AssertionError("the text that came is another one")

    try:
        fault = judge(use, (TextError, TokenizerError))
    finally:
        shutil.rmtree(here)
    return fault and f"{fault} ({kind}, {len(contents)} files)"


def _draw_content(draw: random.Random) -> bytes:
    """The bytes of one file."""
    shape = draw.randrange(8)
    if shape == 0:
        return draw.randbytes(draw.choice((0, 1, 3, 1000, 100_000)))
    if shape == 1:
        return b""
    if shape == 2:  # a long run
        return (draw.choice(PIECES) * draw.choice((1000, 30_000, 150_000))).encode()
    pieces = draw.choices(PIECES, k=draw.choice((1, 10, 1000, 20_000)))
    if shape == 3:
        pieces = [*pieces[:50], END_OF_TEXT] * draw.choice((1, 2, 500))
    if shape == 4:
        pieces = [f"word {i} " for i in range(3000)]
    text = "".join(pieces)
    if shape == 5:
        return text.encode(draw.choice(ENCODINGS), errors="ignore")
    data = bytearray(text.encode())
    if shape == 6 and data:
        for _ in range(draw.choice((1, 3, 200))):
            data[draw.randrange(len(data))] = draw.choice((0, 255, 0xC3, 32))
    return bytes(data)
