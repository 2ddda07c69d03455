"""Which model is looked at: a checkpoint that fits, or one that is trained once and found again."""

import gc

import pytest
import torch

from lab_utils.observatory.specimen import find_specimen
from lab_utils.observatory.word_classes import Lexicon
from nanokimi import checkpoint
from nanokimi.model import build_model
from nanokimi.train import train
from tests import tiny


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


def test_a_model_is_trained_once_and_then_found(out):
    said = []
    first = find_specimen("smoke", out_dir=str(out), say=said.append)
    assert said[-1].startswith("training a Kimi to look at: step 20 of 20")
    again = find_specimen("smoke", out_dir=str(out), say=said.append)
    assert len(said) == 2
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters()))
    assert first.origin == "observatory-smoke-s0, 20 steps of 512 tokens"
    start = build_model(first.model.cfg, first.train.seed)
    assert all(torch.equal(a, b) for a, b in zip(first.start().parameters(), start.parameters()))


def test_other_checkpoints_are_named_and_left(out, tmp_path):
    find_specimen("smoke", out_dir=str(out))
    cfg = tiny.train_config(steps=1, warmup_steps=0, eval_every=1)
    corpus = tiny.corpus()
    for name, model in (
        ("gpt", build_model(tiny.gpt(vocab_size=corpus.tokenizer.n_vocab))),
        ("dense", build_model(tiny.kimi(moe=None, vocab_size=corpus.tokenizer.n_vocab))),
        ("kimi", build_model(tiny.kimi(vocab_size=corpus.tokenizer.n_vocab))),
    ):
        list(train(model, corpus, cfg, tmp_path / name))
    (tmp_path / "empty").mkdir()
    for name, sentence in (
        ("gpt", "this is a GPT: it has no router"),
        ("dense", "this Kimi has no experts"),
        ("kimi", "was trained on another text"),
        ("empty", "no checkpoint in"),
    ):
        said = []
        found = find_specimen("smoke", str(tmp_path / name), str(out), said.append)
        assert sentence in said[0] and said[0].endswith("The observatory goes on with a model of its own.")
        assert found.origin.startswith("observatory-smoke-s0")


def test_a_model_of_the_lab_is_found_by_its_name_without_any_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_specimen("smoke", "kimi-storyworld", str(tmp_path / "out"), pytest.fail)
    assert not (tmp_path / "out").exists()
    assert found.origin == "kimi-storyworld, 4,000 steps of 8,192 tokens"
    assert found.corpus.tokenizer.n_vocab == found.model.cfg.vocab_size == 2048
    assert found.lexicon != Lexicon()
    tokens, index = found.text(3)
    assert tokens.shape == index.shape == (3, 256)


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("gpt-storyworld", "this is a GPT: it has no router"),
        ("kimi-tinystories", "the lab does not have the text of kimi-tinystories"),
        (
            "kimi-storywrold",
            "no folder 'kimi-storywrold'; with the lab come gpt-storyworld, kimi-storyworld, ",
        ),
    ],
)
def test_a_model_of_the_lab_that_cannot_be_looked_at_is_named_and_left(out, name, sentence):
    said = []
    found = find_specimen("smoke", name, str(out), said.append)
    assert sentence in said[0] and found.origin.startswith("observatory-smoke-s0")


def test_a_folder_with_the_name_of_such_a_model_is_meant(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kimi-storyworld").mkdir()
    said = []
    find_specimen("smoke", "kimi-storyworld", str(out), said.append)
    assert "no checkpoint in" in said[0]


def test_an_unfinished_training_is_begun_again(tmp_path):
    folder = tmp_path / "runs" / "observatory-smoke-s0"

    def interrupt(text: str) -> None:
        if "step 10 of 20" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_specimen("smoke", out_dir=str(tmp_path), say=interrupt)
    gc.collect()  # the interrupted training ends, and keeps its checkpoint
    assert checkpoint.load_checkpoint(folder).state.step == 10
    said = []
    assert "20 steps" in find_specimen("smoke", out_dir=str(tmp_path), say=said.append).origin
    assert said
