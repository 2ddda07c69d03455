"""Model, corpus and settings that do not fit each other, and models that cannot be trained: one line each."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from nanokimi.checkpoint import TrainingState, save_checkpoint
from nanokimi.config import ConfigError, DataConfig
from nanokimi.evaluate import evaluate
from nanokimi.generate import generate
from nanokimi.hub import HubError, from_pretrained, save_pretrained
from nanokimi.model import build_model
from nanokimi.text.corpus import TextError, batch, load_corpus
from nanokimi.train import train
from tests import tiny
from tests.core.test_checkpoint import save

CFG = tiny.train_config(steps=4, warmup_steps=0, eval_every=2)


def make_kimi(**changes: Any):
    return build_model(replace(tiny.model_config("kimi-mla"), **changes))


def refused(call: Callable[[], object], error: type[Exception] = ConfigError) -> str:
    with pytest.raises(error) as found:
        call()
    return str(found.value)


def both(model: Any, corpus: Any, cfg: Any, error: type[Exception] = ConfigError) -> str:
    """The line of `train` before its first step, and of `evaluate`: the same one."""
    lines = {
        refused(lambda: next(train(model, corpus, cfg)), error),
        refused(lambda: evaluate(model, corpus, cfg), error),
    }
    assert len(lines) == 1
    return lines.pop()


def test_what_does_not_fit_is_said_before_anything_is_computed():
    corpus = tiny.corpus()
    assert (
        both(make_kimi(vocab_size=5), corpus, CFG) == "vocab_size=5 of the model is below the tokenizer's 16"
    )
    long = replace(CFG, seq_len=17)
    assert both(make_kimi(), corpus, long) == "seq_len=17 is above max_seq_len=16 of the model"
    empty = replace(corpus, val=replace(corpus.val, tokens=corpus.val.tokens[:0]))
    line = both(make_kimi(), empty, CFG, TextError)
    assert line.startswith("'tiny': the val") and " is too short: " in line


def test_a_batch_beyond_all_bounds_is_refused_at_once():
    line = refused(lambda: batch(tiny.corpus().train, 0, batch_size=10**12, seq_len=4, seed=0))
    assert line == "batch_size=1000000000000 times seq_len=4 must be 100,000,000 tokens or less"


def test_shapes_without_weights_are_refused_in_one_line(tmp_path):
    with torch.device("meta"):
        model = make_kimi()
    corpus = tiny.corpus()
    where = "the model is on the device meta, where it has shapes and no weights"
    line = f"{where}: build it outside of torch.device('meta')"
    assert both(model, corpus, CFG) == line
    assert refused(lambda: next(generate(model, [1], 2))) == line
    assert refused(lambda: save_pretrained(model, corpus.tokenizer, tmp_path / "hub")) == line
    state = TrainingState(step=1, seconds=0.0, corpus_fingerprint="x")
    assert refused(lambda: save_checkpoint(tmp_path, model, [], corpus.tokenizer, CFG, state)) == line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_training_needs_no_leave_to_compute_gradients(mode, tmp_path):
    """Also when it is resumed; the caller's own setting stays as it is, between two steps too."""
    expected = [record.loss for record in train(make_kimi(), tiny.corpus(), CFG)]
    models = make_kimi(), make_kimi()
    with mode():
        steps = train(models[0], tiny.corpus(), CFG, tmp_path)
        found = [next(steps).loss, next(steps).loss]
        assert not torch.is_grad_enabled() and torch.is_inference_mode_enabled() == (
            mode is torch.inference_mode
        )
        steps.close()
        found += [record.loss for record in train(models[1], tiny.corpus(), CFG, tmp_path, resume=True)]
        assert not torch.is_grad_enabled()
    assert found == expected


def test_a_model_that_no_step_can_change_is_refused():
    with torch.inference_mode():
        model = make_kimi()
    line = refused(lambda: next(train(model, tiny.corpus(), CFG)))
    assert line.startswith("the model was made in torch.inference_mode(), where nothing can be trained")
    frozen = make_kimi().requires_grad_(False)
    line = refused(lambda: next(train(frozen, tiny.corpus(), CFG)))
    assert line == "no weight of the model can be trained: requires_grad is False for all of them"


@pytest.mark.parametrize(
    "answer", ["abc", "", 3, True, False, {}, {"a": 1}, [1], [[]], b"x", print, torch.zeros(())]
)
def test_a_steer_that_returns_something_else_is_told_what_to_return(answer):
    line = refused(lambda: next(train(make_kimi(), tiny.corpus(), CFG, steer=lambda step: answer)))
    assert line.startswith("steer returned ")
    assert line.endswith(": it must return a list of Intervention, or None")


@pytest.mark.parametrize("answer", [None, [], ()])
def test_a_steer_may_change_nothing(answer):
    assert next(train(make_kimi(), tiny.corpus(), CFG, steer=lambda step: answer)).interventions == ()


def test_a_function_of_the_caller_fails_as_itself(tmp_path):
    """Whoever gives a function with other arguments reads Python's own words about that function, no others."""
    steer: Any = lambda: []
    assert "<lambda>() takes 0 positional arguments but 1 was given" in refused(
        lambda: next(train(make_kimi(), tiny.corpus(), CFG, steer=steer)), TypeError
    )
    progress: Any = lambda: None
    data = DataConfig(n_stories=20, tokenizer="char", cache_dir=str(tmp_path))
    assert "<lambda>() takes 0 positional arguments but 3 were given" in refused(
        lambda: load_corpus(data, progress), TypeError
    )
    with contextlib.suppress(TypeError):
        load_corpus(data, progress)
    assert load_corpus(data).name == "storyworld"


def test_what_people_take_for_a_folder_of_the_hub_is_told_what_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused(lambda: from_pretrained("moonshotai/Kimi-K2"), HubError) == (
        "'moonshotai/Kimi-K2': there is no such folder, and nothing is downloaded: a repository of the hub comes with "
        "`hf download moonshotai/Kimi-K2 --local-dir FOLDER`; then name FOLDER"
    )
    checkpoint = save(tmp_path / "run")
    for place in (tmp_path / "run", checkpoint):
        assert refused(lambda p=place: from_pretrained(p), HubError) == (
            f"'{place}': this is the folder of a training: nanokimi.checkpoint.load_checkpoint loads it, "
            "and `nanokimi export` writes it in the format that is read here"
        )
    assert refused(lambda: from_pretrained("x" * 5000), HubError).endswith("File name too long")
