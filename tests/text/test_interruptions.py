"""A start that is interrupted or killed, and two processes that prepare one text at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nanokimi.text import tokenizer
from nanokimi.text.corpus import TextError, load_corpus

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


@pytest.mark.slow
def test_a_killed_process_and_two_at_once(text_file, data, tmp_path):
    """A killed process leaves no folder that anybody would use. Then two processes write the same one."""
    cache = tmp_path / "cache"
    killed = start(text_file, cache, "kill")
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    (left,) = (cache / "tokens").iterdir()
    assert left.name.startswith(".writing-")
    assert (left / "train.tokens").stat().st_size > 0, "it was killed while writing"

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
