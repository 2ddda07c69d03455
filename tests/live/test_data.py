"""The numbers behind the panel's pictures, by hand."""

import math

import numpy as np
import pytest

from lab_utils.live.data import collect_panel_data, find_dead_experts, measure_bits_per_nat
from lab_utils.live.history import RunHistory
from nanokimi.steering import Intervention
from tests import tiny
from tests.live.made_up_runs import evaluation, history, record


def test_dead_is_below_a_hundredth_of_a_share():
    load = np.array([[0.0099, 1.0], [0.01, 0.0]])
    assert find_dead_experts(load) == [(0, 0), (1, 1)]


def test_panel_data_by_hand():
    steered = (Intervention(2, "lr_factor", 0.5), Intervention(2, "bias_update_rate", 0.0))
    gpt = history(record(1, load=(), max_vio=[], router_entropy=[], max_qk_logit=None), name="gpt")
    kimi = history(record(1), record(2, evaluation=evaluation(1.0), interventions=steered))
    data = collect_panel_data([gpt, kimi], bits=0.5, axis="seconds")
    assert [line.name for line in data.training] == ["gpt", "kimi"]
    assert data.training[1].y.tolist() == [1.5, 1.0]  # losses of 3 and 2 nats, half a bit per byte each
    (validation,) = data.validation
    assert (validation.name, validation.x.tolist(), validation.y.tolist()) == ("kimi", [4.0], [1.0])
    assert data.floor == 0.25
    assert [(r.name, r.y.tolist()) for r in data.roles] == [("fact", [0.5])]
    assert data.marks == [(4.0, "1, 2", "kimi")] and data.router_marks == [(4.0, "1, 2")]
    assert (data.router_of, data.layers, data.dead) == ("kimi", [1, 2], [(0, 1)])
    assert data.even_entropy == pytest.approx(math.log(2))
    assert (data.logits_of, data.logits, data.tau) == ("kimi", [[1, 2], [3, 4], [5, 6]], 100.0)
    assert collect_panel_data([gpt], 0.5).load is None
    assert collect_panel_data([RunHistory("gpt", "gpt")], 0.5).training == []


def test_many_evaluations_are_thinned_and_the_last_is_shown():
    made = history(*(record(step, evaluation=evaluation(step / 100)) for step in range(1, 1001)))
    (line,) = collect_panel_data([made], 1.0).validation
    assert len(line.x) <= 120 and (line.y[0], line.y[-1]) == (0.01, 10)


def test_bits_per_nat_is_that_of_the_validation_text():
    corpus = tiny.corpus()
    mean = np.mean([corpus.token_bytes[token].item() for token in corpus.val.tokens])
    assert measure_bits_per_nat(corpus) == pytest.approx(1 / (math.log(2) * mean), rel=1e-12)
