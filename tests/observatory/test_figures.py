"""The observatory's figures, by what they hold."""

import json

import numpy as np
import pytest

from lab_utils.observatory import clinic_plots, pictures
from lab_utils.observatory import plots as routing_plots
from lab_utils.observatory.clinic import read_trace
from lab_utils.observatory.clinic_view import list_experts_of_token
from lab_utils.observatory.counts import Lift
from lab_utils.observatory.lesions import ALL, LesionRow
from lab_utils.observatory.plotly import clinic_plotly, paths_plotly
from tests.observatory.made_up_facts import unpacked


def test_lift_figure_shows_values_counts_and_doubts():
    lift = Lift(classes=("a", "b"), counts=np.array([[30, 10], [10, 30], [1, 1]]))
    figure = routing_plots.draw_lift(lift, "title", [1, 0, 2])
    words = [text.get_text() for text in figure.axes[0].texts]
    value = 30 / (40 * 41 / 82)
    assert words == [
        f"{2 - value:.2f} (10)",
        f"{value:.2f} (30)",
        f"{value:.2f} (30)",
        f"{2 - value:.2f} (10)",
        "1",
        "1",
    ]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["1", "0", "2"]
    hatched = [patch for patch in figure.axes[0].patches if patch.get_hatch()]
    assert len(hatched) == 2


def test_lift_alternative_text_names_the_strongest_cell():
    lift = Lift(classes=("a", "b"), counts=np.array([[30, 10], [10, 30], [2, 0]]))
    assert "expert 1 on b" in pictures.lift_picture(lift, "word class", 2).alt  # not the noisy 2 of expert 2


def test_path_figure_and_its_twin():
    counts = [np.array([[3, 1], [0, 4]])]
    figure = routing_plots.draw_paths(counts, [1, 2])
    assert [t.get_text() for t in figure.axes[0].texts] == ["0: 50%", "1: 50%", "0: 38%", "1: 62%"]
    link = paths_plotly(counts, [1, 2])["data"][0]["link"]
    numbers = [unpacked(link[key]).tolist() for key in ("source", "target", "value")]
    assert list(zip(*numbers)) == [(0, 2, 3), (0, 3, 1), (1, 3, 4)]


def test_lesion_figure_has_a_panel_a_role_and_its_own_numbers():
    rows = [LesionRow(1, e, {ALL: 0.1 * e, "copy": -0.001 * e}) for e in range(2)]
    figure = routing_plots.draw_lesions(rows)
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == [
        f"{ALL} (darkest: ±100)",
        "copy (darkest: ±1)",
    ]
    assert [[t.get_text() for t in axes.texts] for axes in panels] == [["0", "100"], ["0", "-1"]]
    assert "expert 1 of layer 1: +0.100" in pictures.lesion_picture(rows).alt


def test_clinic_figures():
    trace = read_trace()
    figure = clinic_plots.draw_clinic_step(trace, -1)
    words = [t.get_text() for t in figure.axes[0].texts]
    loads = [x for course in trace.courses for x in course.frames[-1].load]
    assert words == ["×" if x < 0.1 else f"{x:.2f}" for x in loads]
    twin = clinic_plotly(trace)
    assert [frame["name"] for frame in twin["frames"]] == [str(step) for step in trace.steps[1::2]]
    values = unpacked(twin["frames"][3]["data"][0]["z"])
    assert values == pytest.approx(np.array([course.frames[7].load for course in trace.courses]), abs=1e-6)
    assert len(json.dumps(twin)) < 40_000
    signs = clinic_plots.draw_vital_signs(trace)
    lines = {line.get_label(): line for line in signs.axes[1].lines[:4]}
    assert signs.axes[1].get_title(loc="left") == "sigmoid"
    assert list(lines["none"].get_ydata()) == [f.max_vio for f in trace.course("sigmoid", "none").frames]
    assert len({line.get_linestyle() for line in lines.values()}) == 4


def test_experts_of_a_token():
    trace = read_trace()
    table = list_experts_of_token(trace, 0, 2)
    assert table.cells[5] == (
        ("sigmoid, load-balance loss",),
        (" ".join(map(str, trace.courses[5].frames[0].probe[2])),),
    )
    with pytest.raises(ValueError, match="token 24 does not exist: the probe text has tokens 0 to 23"):
        list_experts_of_token(trace, 0, 24)
