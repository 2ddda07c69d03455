"""A measured step is a step of training: its numbers are those of `train`, and its memory is what the system gave."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.steps import StepCase, in_new_process, measure_peak, random_text
from nanokimi.count import flops_per_token
from nanokimi.model import build_model
from nanokimi.train import train
from tests import tiny

CASE = StepCase(model=tiny.kimi(), train=tiny.muon_clip(grad_accum=2))


def test_a_step_is_that_of_train():
    step = CASE.stepper()
    measured = [step() for _ in range(3)]
    cfg = replace(CASE.train, steps=10**9, eval_every=10**9)
    trained = train(build_model(CASE.model), random_text(CASE.model.vocab_size), cfg)
    for mine, wanted in zip(measured, trained, strict=False):
        assert (mine.loss, mine.grad_norm, mine.max_qk_logit) == (
            wanted.loss,
            wanted.grad_norm,
            wanted.max_qk_logit,
        )
    assert [record.evaluation for record in measured] == [None] * 3
    assert len({record.loss for record in measured}) == 3


def test_micro_batches_are_counted():
    assert CASE.tokens == 2 * 4 * 8
    assert CASE.operations == 64 * flops_per_token(CASE.model, 8)


def test_products_run_in_the_format_of_training(monkeypatch):
    on_cuda = replace(CASE, train=replace(CASE.train, device="cuda"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: True)
    assert (CASE.dtype, on_cuda.dtype) == (torch.float32, torch.bfloat16)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: False)
    assert on_cuda.dtype == torch.float32


def test_random_tokens_fill_the_vocabulary():
    tokens = random_text(24).train.tokens
    assert set(np.unique(tokens)) == set(range(24))


def hold_200_mb() -> None:
    np.ones(25_000_000)


def peak_of_200_mb() -> int | None:
    return measure_peak(hold_200_mb, "cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process")
def test_the_peak_is_what_a_step_takes_at_most():
    assert 199e6 <= in_new_process(peak_of_200_mb) <= 220e6


def test_an_unknown_peak_is_none(monkeypatch):
    monkeypatch.setattr("pathlib.Path.write_text", lambda *_: (_ for _ in ()).throw(OSError()))
    assert measure_peak(hold_200_mb, "cpu", steps=1) is None
