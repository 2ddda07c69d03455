"""The pictures of notebook 11 show the numbers they are given, and its four processes measure what the formulas say."""

import json

import pytest
import torch

from lab_utils.course.chapters.ch11_machines import cases, work
from lab_utils.course.chapters.ch11_machines.figures import draw_travel, draw_waiting, travel_plotly
from nanokimi.cluster.memory import bytes_held
from nanokimi.expert_parallel import send_counts
from nanokimi.model import build_model
from nanokimi.presets.yaml_config import load_model_config

ROWS = [[3, 0, 5], [1, 2, 5], [4, 4, 0]]


def test_a_band_is_as_wide_as_its_rows():
    (trace,) = json.loads(json.dumps(travel_plotly(ROWS)))["data"]
    link = trace["link"]
    bands = {(s, t - 3): n for s, t, n in zip(link["source"], link["target"], link["value"])}
    assert bands == {(s, r): n for s, row in enumerate(ROWS) for r, n in enumerate(row) if n}
    assert len(trace["node"]["y"]) == len(trace["node"]["label"]) == 6
    assert trace["node"]["y"][3:] == sorted(trace["node"]["y"][3:])


def test_a_cell_says_its_rows():
    said = [text.get_text() for text in draw_travel(ROWS).axes[0].texts]
    assert said == ["3", "0", "5", "1", "2", "5", "4", "4", "0"]


def test_a_bar_ends_with_the_slowest_rank():
    figure = draw_waiting({"even": [0.002, 0.002], "uneven": [0.001, 0.004]})
    tops = [max(bar.get_y() + bar.get_height() for bar in axes.patches) for axes in figure.axes]
    assert tops == pytest.approx([2.0, 4.0])
    works, waits = figure.axes[1].containers
    assert [bar.get_height() for bar in works] == pytest.approx([1.0, 4.0])
    assert [bar.get_height() for bar in waits] == pytest.approx([3.0, 0.0])


def test_the_ranks_measure_what_the_formulas_say():
    idx, preset = cases.choices(40, 8, 2), "kimi-smoke"
    with work.four_ranks() as ranks:
        arrived = ranks.run(work.rows_from_each, idx, 8)
        held = ranks.run(work.bytes_in_memory, preset)
        equal = ranks.run(work.compare_with_one, idx, 8)
        gradients = ranks.run(work.gradients_together, [0, 4, 12, 32, 64])
        busy = ranks.run(work.seconds_of_experts, [100, 100, 0, 0, 1, 0, 200, 200], 32, 1)
    sent = torch.stack([send_counts(part, 8, 4).sum(dim=1) for part in idx.tensor_split(4)])
    assert torch.tensor(arrived).T.equal(sent)
    shapes = [tuple(p.shape) for p in build_model(load_model_config(preset)).parameters()]
    assert held == [bytes_held(shapes, rank, 4, 16) for rank in range(4)]
    assert all(all(each.values()) for each in equal)
    whole = work.gradient_of(0, 64)
    for plain, weighted in gradients:
        torch.testing.assert_close(weighted, whole, rtol=1e-6, atol=1e-7)
        assert (plain - whole).norm() > 0.1 * whole.norm()
    assert busy[1] < 1e-3 and all(seconds >= 0 for seconds in busy)
