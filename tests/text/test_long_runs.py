"""One long run without a break: every tokenizer takes bounded time for it, and gives back every character."""

import random
import time

import pytest

from nanokimi.text import tokenizer
from nanokimi.text.corpus import load_corpus
from nanokimi.text.cuts import RUN, cut_runs, cut_text
from tests.text.made_up_texts import TEXTS

DRAW = random.Random(0)
RUNS = {
    "a letter": lambda n: "a" * n,
    "a genome": lambda n: "".join(DRAW.choices("ACGT", k=n)),
    "base64": lambda n: "".join(
        DRAW.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/", k=n)
    ),
    "new lines": lambda n: "\n" * n,
    "blanks before a word": lambda n: " " * n + "x",
    "tabs": lambda n: "\t" * n,
    "digits": lambda n: "7" * n,
    "dashes": lambda n: "-" * n,
    "Chinese": lambda n: "".join(chr(DRAW.randrange(0x4E00, 0x9FA5)) for _ in range(n)),
    "marks": lambda n: "e" + "\u0301" * n,
    "separators by halves": lambda n: "<|endoftext|" * (n // 12),
    "carriage returns": lambda n: "\r" * n,
}


@pytest.mark.parametrize("kind", RUNS)
def test_no_part_has_a_long_run(kind):
    text = "before " + RUNS[kind](5000) + " after" + RUNS[kind](2 * RUN)
    parts = list(cut_runs(text))
    assert "".join(parts) == text
    assert max(map(len, parts)) <= 2 * RUN + 10
    for size in (1, 300, 1700, 4000):  # the cuts of a document's parts are cuts of the whole
        assert [p for part in cut_text(text, size) for p in cut_runs(part)] != []
        by_parts = {len("".join(parts[:i])) for i in range(len(parts))}
        ends, place = set(), 0
        for part in cut_text(text, size):
            for piece in cut_runs(part):
                place += len(piece)
                ends.add(place)
        assert by_parts - {0} <= ends


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_without_a_long_run_is_not_cut(text):
    assert list(cut_runs(text * 200)) == [text * 200]


@pytest.mark.parametrize("kind", RUNS)
def test_tokens_of_a_long_run_give_back_the_text(kind):
    text = RUNS[kind](20_000)
    for encoding in (tokenizer.train_bpe([text[:5000], *TEXTS], 300), tokenizer.char([text])):
        assert encoding.decode(encoding.encode_ordinary(text)) == text
        assert encoding.decode(encoding.encode(text)) == text


def test_a_million_blanks_crash_no_tokenizer(gpt2):
    """tiktoken's expression needs a stack as long as the run."""
    text = " " * 1_000_000 + "x"
    for encoding in (gpt2, tokenizer.train_bpe(TEXTS, 300)):
        assert encoding.decode(encoding.encode_ordinary(text)) == text


@pytest.mark.parametrize("kind", ["a letter", "a genome", "base64", "new lines"])
@pytest.mark.parametrize("tokens", ["bpe", "char"])
def test_a_million_characters_without_a_break_are_prepared_in_seconds(tmp_path, data, kind, tokens):
    path = tmp_path / "run.txt"
    path.write_text("A long run. " + RUNS[kind](1_000_000) + " Its end.")
    started = time.process_time()
    found = load_corpus(data(path, tokenizer=tokens, vocab_size=2048))
    assert time.process_time() - started < 10
    text = found.tokenizer.decode(found.train.tokens.tolist()) + found.tokenizer.decode(
        found.val.tokens.tolist()
    )
    assert text == path.read_text()
