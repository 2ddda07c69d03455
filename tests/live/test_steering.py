"""Requests and clicks reach the training inside a step, and are recorded."""

import threading

import pytest

from lab_utils.live.panel import TrainingPanel
from nanokimi import checkpoint
from nanokimi.model import build_model
from nanokimi.steering import Intervention
from nanokimi.train import train
from tests import tiny
from tests.live.watched import ARM, CFG, click_in_the_middle_of, facts, follow


def test_requests_act_before_the_next_step_and_are_recorded(shown, tmp_path):
    answers = []

    def during(panel, each):
        if each.step == 2:
            answers.append(panel.request("lr_factor", 3.0))
            answers.append(panel.request("lr_factor", 0.5))  # the last word counts
            answers.append(panel.request("switch_coef", 0.0))  # as it is: no intervention
            answers.append(panel.request("frozen_experts", ((0, 0),)))
            answers.append(panel.request("inference_top_k", 99))

    _, records = follow(tmp_path, during=during)
    assert [r.interventions for r in records] == [(), (), (Intervention(3, "lr_factor", 0.5),), (), (), ()]
    assert records[2].lr == pytest.approx(
        0.5 * next(r for r in train(build_model(ARM.model), tiny.corpus(), CFG) if r.step == 3).lr
    )
    assert answers[:3] == ["", "", ""]
    assert "layer 0 has no experts" in answers[3] and "top_k=99 must lie in" in answers[4]
    assert "Steered by hand. 1: kimi, step 3, learning rate × 0.5." in shown[0].alt


def test_a_click_in_a_step_concerns_this_step(shown, monkeypatch):
    panel = TrainingPanel(tiny.corpus(annotated=True))
    click_in_the_middle_of(3, lambda: panel.request("lr_factor", 0.5), monkeypatch)
    _, records = follow(panel=panel)
    steer = lambda step: [Intervention(3, "lr_factor", 0.5)] if step == 3 else []
    assert facts(records) == facts(
        train(build_model(ARM.model), tiny.corpus(annotated=True), CFG, steer=steer)
    )


def test_stop_gives_up_the_step_under_way(shown, monkeypatch, tmp_path):
    panel = TrainingPanel(tiny.corpus(annotated=True))
    click_in_the_middle_of(5, panel.stop, monkeypatch)
    _, records = follow(tmp_path, panel=panel)
    assert records[-1].step == 4 == checkpoint.load_checkpoint(tmp_path).state.step


def test_pause_holds_the_step_under_way(shown, monkeypatch):
    """Nothing is trained until Continue, here by a timer that looks first."""
    panel, seen = TrainingPanel(tiny.corpus(annotated=True)), []

    def later():
        seen.append(panel.histories[0].last.step)
        panel.go_on()

    def click():
        panel.pause()
        threading.Timer(0.3, later).start()

    click_in_the_middle_of(5, click, monkeypatch)
    _, records = follow(panel=panel)
    assert seen == [4] and [r.step for r in records] == [1, 2, 3, 4, 5, 6]


def test_stopped_before_the_first_step_the_cell_ends_and_leaves_a_checkpoint(shown, monkeypatch, tmp_path):
    panel = TrainingPanel(tiny.corpus(annotated=True))
    click_in_the_middle_of(1, panel.stop, monkeypatch)
    _, records = follow(tmp_path, panel=panel)
    assert records == [] and checkpoint.load_checkpoint(tmp_path).state.step == 0
