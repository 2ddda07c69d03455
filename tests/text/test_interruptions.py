"""A start that is interrupted or killed, and two processes that prepare one text at once."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nanokimi.text import bpe, tokenizer
from nanokimi.text.corpus import TextError, load_corpus
from tests.text.made_up_texts import TEXTS

REPOSITORY = Path(__file__).parents[2]
PREPARE = """
import os, signal, sys
from nanokimi.text import corpus, tokenfile
from nanokimi.config import DataConfig
tokenfile.BATCH = 500
kill = sys.argv[3] == "kill"
def on_progress(stage, done, total):
    if kill and stage == "tokenizing" and done > 2000:
        os.kill(os.getpid(), signal.SIGKILL)
cfg = DataConfig(source=sys.argv[1], cache_dir=sys.argv[2], vocab_size=300)
print(corpus.load_corpus(cfg, on_progress).fingerprint)
"""


def start(text_file: Path, cache: Path, kill: str) -> subprocess.Popen:
    arguments = [sys.executable, "-c", PREPARE, str(text_file), str(cache), kill]
    return subprocess.Popen(
        arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_start_leaves_nothing(text_file, data, monkeypatch, error):
    def interrupt(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(tokenizer, "save_tokenizer", interrupt)
        with pytest.raises(error):
            load_corpus(data(text_file))
    assert not Path(data(text_file).cache_dir).exists()
    assert len(load_corpus(data(text_file)).train) > 0


def test_tokens_appear_by_one_rename(text_file, data, monkeypatch):
    """If they were copied to their place, a killed process would leave a part that others use."""
    replace = os.replace

    def refuse_folders(source, target):
        if Path(source).is_dir():
            raise OSError(f"{source} is not to become {target}")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse_folders)
        with pytest.raises(TextError, match="is not to become"):
            load_corpus(data(text_file))
    assert not Path(data(text_file).cache_dir).exists()


def test_a_killed_process_and_two_at_once(text_file, data, tmp_path):
    """A killed process leaves no folder that anybody would use. Then two processes write the same one."""
    cache = tmp_path / "cache"
    killed = start(text_file, cache, "kill")
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    (left,) = (cache / "tokens").iterdir()
    assert left.name.startswith(".writing-")
    assert [each.name for each in left.iterdir() if each.suffix == ".json"] == [], (
        "it was killed while writing"
    )
    assert (left / "train.tokens").exists()

    racing = [start(text_file, cache, "live") for _ in range(2)]
    prints, errors = zip(*(process.communicate(timeout=120) for process in racing))
    assert [process.returncode for process in racing] == [0, 0], errors
    assert prints[0] == prints[1] == load_corpus(data(text_file)).fingerprint + "\n"

    long_ago = time.time() - 3 * 86_400
    os.utime(left, (long_ago, long_ago))
    load_corpus(data(text_file, vocab_size=290))
    assert not left.exists(), "what a killed process left is removed after a day"


def test_the_loser_of_a_race_takes_the_tokens_of_the_winner(text_file, data):
    """Both processes find no folder. When ours has written all its tokens, the other one has finished."""
    winners = []

    def let_the_other_win(stage, done, total):
        if stage == "tokenizing" and done == total and not winners:
            winners.append(load_corpus(data(text_file)).fingerprint)

    assert [load_corpus(data(text_file), let_the_other_win).fingerprint] == winners
    tokens = Path(data(text_file).cache_dir) / "tokens"
    assert [f.name for f in tokens.iterdir()] == winners


# ---------------------------------------------------------------- the process that learns the tokens


@pytest.fixture
def elsewhere(monkeypatch) -> list[subprocess.Popen]:
    """Tokens are learnt in another process, however small the text; the list holds those processes."""
    started, start_one = [], subprocess.Popen

    def popen(*args, **more):
        started.append(start_one(*args, **more))
        return started[-1]

    monkeypatch.setattr(bpe, "SMALL", 10)
    monkeypatch.setattr(bpe.subprocess, "Popen", popen)
    return started


def test_another_process_learns_the_same_tokens(elsewhere):
    found = tokenizer.train_bpe(TEXTS, 320)
    assert [process.returncode for process in elsewhere] == [0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpe, "SMALL", 10**9)
        assert tokenizer.train_bpe(TEXTS, 320)._mergeable_ranks == found._mergeable_ranks
    assert len(elsewhere) == 1


def test_an_interrupt_ends_the_learning(elsewhere):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenizer.train_bpe(TEXTS * 200, 320, interrupt)
    assert elsewhere[0].returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "program", ["raise SystemExit(3)", "import sys; sys.stdin.read(); raise MemoryError"]
)
def test_a_learning_that_fails_is_one_line(elsewhere, monkeypatch, tmp_path, program):
    (tmp_path / "program.py").write_text(program)
    monkeypatch.setattr(bpe.learn, "__file__", str(tmp_path / "program.py"))
    with pytest.raises(tokenizer.TokenizerError, match=r"learning the tokens ended with exit code \d; free"):
        tokenizer.train_bpe(TEXTS * 500, 320)


@pytest.mark.parametrize("stage", ["making tokenizer", "tokenizing"])
def test_ctrl_c_is_heard_within_two_seconds(tmp_path, stage):
    """A genome is the hardest text: nothing in it ends a word."""
    (tmp_path / "text.txt").write_text("".join(random.Random(0).choices("ACGT", k=6_000_000)))
    process = subprocess.Popen(
        [sys.executable, "-c", LISTEN, str(tmp_path / "text.txt"), str(tmp_path / "cache"), stage],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == f"{stage}\n"
    time.sleep(0.1)  # in the midst of it: the tokens of 6 million letters take a fast machine 0.7 s
    asked = time.monotonic()  # one clock for all processes of a machine
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=180)
    assert out.startswith("heard") and float(out.split()[-1]) - asked < 2, out + err
    assert not (tmp_path / "cache").exists()


LISTEN = """
import sys, time
from nanokimi.config import DataConfig
from nanokimi.text.corpus import load_corpus
asked = set()
def tell(stage, done, total):
    if stage == sys.argv[3] and not asked:
        asked.add(stage)
        print(stage, flush=True)
try:
    load_corpus(DataConfig(source=sys.argv[1], cache_dir=sys.argv[2]), tell)
    print("it ended before", 0.0)
except KeyboardInterrupt:
    print("heard", time.monotonic(), flush=True)
"""
