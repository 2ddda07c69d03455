"""A tiny model under observation, without and with a front end."""

from dataclasses import replace

import pytest
import torch

from lab_utils.observatory.observatory import Observatory
from lab_utils.observatory.specimen import Specimen, choose_size
from lab_utils.observatory.word_classes import Lexicon
from nanokimi.kimi import Kimi
from nanokimi.text import tokenizer
from tests import tiny
from tests.observatory.made_up_facts import SCRIPT


@pytest.fixture(scope="module")
def watch() -> Observatory:
    """A tiny model with two layers of four experts, over text by characters that can also write tags."""
    corpus = tiny.corpus(annotated=True)
    letters = tokenizer.char([SCRIPT, "".join(chr(c) for c in range(32, 127)), "\n"])
    corpus = replace(corpus, tokenizer=letters, token_bytes=torch.from_numpy(tokenizer.token_bytes(letters)))
    model = tiny.harsh_(Kimi(tiny.kimi(n_layers=3, vocab_size=letters.n_vocab, max_seq_len=64)))
    specimen = Specimen(
        model=model, corpus=corpus, train=tiny.train_config(), lexicon=Lexicon(), origin="a tiny model"
    )
    size = replace(choose_size("smoke"), windows=6, lesion_windows=2, new_tokens=5, cache_tokens=9)
    return Observatory(specimen, size)


@pytest.fixture
def live(monkeypatch):
    monkeypatch.setenv("NANOKIMI_LIVE", "1")
