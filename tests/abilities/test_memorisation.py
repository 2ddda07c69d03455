"""What is repeated from a training text, against a plain search for every run of tokens."""

import random

import numpy as np
import pytest

from nanokimi.abilities import memorisation
from nanokimi.abilities.memorisation import WINDOW, measure_memorisation


def plain_search(texts: list[list[int]], training: list[int]) -> tuple[int, list[bool]]:
    """The longest run that stands in the training text, and of each run of `WINDOW` tokens whether it does."""

    def stands(run: list[int]) -> bool:
        return any(training[at : at + len(run)] == run for at in range(len(training) - len(run) + 1))

    longest = 0
    for text in texts:
        for start in range(len(text)):
            while start + longest < len(text) and stands(text[start : start + longest + 1]):
                longest += 1
    windows = [stands(text[at : at + WINDOW]) for text in texts for at in range(len(text) - WINDOW + 1)]
    return longest, windows


@pytest.mark.parametrize("chunk", [3, 64, 1 << 18])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_as_a_plain_search_finds(monkeypatch, chunk, dtype):
    """Texts that are partly copied: from the beginning, the end and across the parts in which the text is hashed."""
    monkeypatch.setattr(memorisation, "_CHUNK", chunk)
    draw = random.Random(chunk)
    training = [draw.randrange(6) for _ in range(300)]
    noise = [[draw.randrange(6) for _ in range(draw.randrange(1, 40))] for _ in range(6)]
    copied = [
        training[:25] + noise[0],
        noise[1] + training[-22:],
        training[40:103] + noise[2],
        training[57:64],
    ]
    for texts in ([], noise, copied, [*noise, *copied]):
        found = measure_memorisation(texts, np.array(training, dtype=dtype))
        longest, windows = plain_search(texts, training)
        assert (found.longest, found.n_windows) == (longest, len(windows))
        assert found.windows == pytest.approx(sum(windows) / max(1, len(windows)))


def test_one_who_writes_the_training_text_repeats_all_of_it():
    training = np.random.default_rng(0).integers(0, 2048, 5000, dtype=np.uint16)
    found = measure_memorisation([training[:300].tolist(), training[4000:4400].tolist()], training)
    assert (found.longest, found.windows) == (400, 1.0)


def test_a_text_with_other_tokens_repeats_nothing():
    training = np.arange(1000, dtype=np.uint16)
    assert measure_memorisation([list(range(2000, 2300))], training).longest == 0


def test_a_run_that_is_longer_than_the_training_text_does_not_stand_there():
    found = measure_memorisation([[1] * 40], np.ones(10, dtype=np.uint16))
    assert (found.longest, found.windows, found.n_windows) == (10, 0.0, 21)


def test_of_a_long_training_text_only_the_beginning_is_searched(monkeypatch):
    monkeypatch.setattr(memorisation, "MOST_TOKENS", 50)
    training = np.arange(100, dtype=np.uint16)
    assert measure_memorisation([list(range(30, 90))], training).longest == 20
