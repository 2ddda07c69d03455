"""The panel's figure for a browser and what stays in the notebook, by what they hold."""

import base64
import json
import math
import re
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from lab_utils.live.data import collect_panel_data
from lab_utils.live.figure import make_closing_figure, make_traces
from lab_utils.live.history import RunHistory
from lab_utils.live.layout import make_layout
from lab_utils.live.picture import make_closing_snapshot
from tests.live.made_up_runs import both, evaluation, history, record


def test_the_curves_are_those_of_the_data():
    drawn = {trace["name"]: trace for trace in make_traces(collect_panel_data(both(), 0.5))}
    assert drawn["kimi, training"]["y"].tolist() == [1.5, 1.0, 0.5]
    assert drawn["share"]["z"].tolist() == [[2, 0], [1, 1]] and drawn["share"]["zmid"] == 1.0
    # Layer 1 is the first with experts.
    assert (drawn["dead"]["x"].tolist(), drawn["dead"]["y"].tolist()) == ([1], [1])
    assert sorted(drawn["largest logit"]["y"].tolist()) == [1, 2, 3, 4, 5, 6]


def test_every_curve_lies_in_the_picture_that_its_axes_name():
    """plotly accepts traces and layout together, and every picture has the axes of its quantity."""
    data = collect_panel_data(both(), 0.5)
    figure = go.Figure(data=make_traces(data), layout=make_layout(data))
    title = {trace.name: figure.layout[trace.yaxis.replace("y", "yaxis")].title.text for trace in figure.data}
    assert title == {
        "gpt, training": "bits per byte",
        "kimi, training": "bits per byte",
        "kimi, validation": "bits per byte",
        "fact": "bits per byte",
        "share": "layer",
        "dead": "layer",
        "MaxVio, layer 1": "MaxVio",
        "MaxVio, layer 2": "MaxVio",
        "entropy, layer 1": "nats",
        "entropy, layer 2": "nats",
        "largest logit": "logit (log scale)",
    }


def test_levels_and_marks_are_lines_in_their_pictures():
    shapes = make_layout(collect_panel_data(both(), 0.5))["shapes"]
    levels = {shape["yref"]: shape["y0"] for shape in shapes if shape["y0"] == shape["y1"]}
    assert levels == {"y": 0.25, "y5": 100.0, "y6": pytest.approx(math.log(2))}  # floor, tau, ln E
    marks = [(shape["xref"], shape["x0"]) for shape in shapes if shape["x0"] == shape["x1"]]
    assert marks == [("x", 200), ("x4", 200), ("x6", 200)]  # loss, MaxVio, entropy


def titles(histories: list[RunHistory]) -> str:
    return " ".join(each["text"] for each in make_layout(collect_panel_data(histories, 0.5))["annotations"])


def test_the_roles_picture_says_what_it_waits_for():
    """Before an evaluation nobody knows whether the text has roles; after one without them it is another text."""
    plain = replace(evaluation(1.0), by_role=None)
    assert "Loss by role: after the first evaluation" in titles([history(record(1))])
    assert "Loss by role: known on storyworld only" in titles([history(record(1, evaluation=plain))])
    assert "Loss by role: what is left to learn? (kimi)" in titles(both())


def test_a_mark_stands_across_from_the_legend():
    drawn = make_layout(collect_panel_data(both(), 0.5))["annotations"]
    for number in (each for each in drawn if each["text"] == "<b>1</b>"):
        picture = number["xref"].removeprefix("x").removesuffix(" domain")
        (legend,) = (a for a in drawn if a["xref"] == f"x{picture} domain" and "<span" in a["text"])
        assert number["yanchor"] != legend["yanchor"]


def test_the_layout_names_what_is_drawn_and_escapes_it():
    made = both()
    made[1].name = "<b>kimi"
    texts = [each["text"] for each in make_layout(collect_panel_data(made, 0.5, "seconds"))["annotations"]]
    assert "<b>Tokens per expert: 1.0 is even, × is dead (&lt;b&gt;kimi)</b>" in texts
    (loss,) = (text for text in texts if "floor 0.250 " in text)
    # Letters are in the picture's ink; only the sign has the curve's colour.
    plain = re.sub("<[^>]*>", "", loss)
    assert "gpt – –" in plain and "&lt;b&gt;kimi —" in plain and "floor 0.250 ···" in plain
    assert re.findall(">([^<>]*)</b>", loss) == ["– –", "—", "···"] and "<b>1</b>" in texts


def test_the_layout_is_made_anew_only_where_it_changes():
    """A redraw compares layouts, and a caller may change its own."""
    one = make_layout(collect_panel_data(both(), 0.5))
    longer = both()
    longer[1].add(record(4, evaluation=evaluation(1.0)), 2)
    assert make_layout(collect_panel_data(longer, 0.5)) == one
    one["height"] = 1
    assert make_layout(collect_panel_data(longer, 0.5))["height"] != 1


def numbers_of(packed: dict) -> list[float]:
    return np.frombuffer(base64.b64decode(packed["bdata"]), dtype="<f4").tolist()


def test_the_closing_figure_is_small_plain_and_replays_the_heat_map():
    figure = make_closing_figure(both(), 0.5)
    assert len(json.dumps(figure, allow_nan=False)) < 40_000
    go.Figure(data=figure["data"], layout=figure["layout"], frames=figure["frames"])
    assert [frame["name"] for frame in figure["frames"]] == ["1", "2", "3"]
    (z,) = {json.dumps(frame["data"][0]["z"]) for frame in figure["frames"]}
    assert numbers_of(json.loads(z)) == [2, 0, 1, 1] and json.loads(z)["shape"] == "2, 2"
    cells, dead = (figure["data"][i] for i in figure["frames"][0]["traces"])
    assert (cells["type"], dead["name"]) == ("heatmap", "dead")
    crosses = figure["frames"][0]["data"][1]
    assert (numbers_of(crosses["x"]), numbers_of(crosses["y"])) == ([1], [1])
    tokens, seconds = (button["args"][0]["x"] for button in figure["layout"]["updatemenus"][0]["buttons"])
    curve = [trace["name"] for trace in figure["data"]].index("kimi, training")
    assert (numbers_of(tokens[curve]), numbers_of(seconds[curve])) == ([100, 200, 300], [2, 4, 6])


def test_the_closing_picture_says_what_it_shows():
    snapshot = make_closing_snapshot(both(), 0.5)
    for words in (
        "kimi: step 3 of 10, validation loss 2.000, 1.000 bits per byte.",
        "The floor lies at 0.250 bits per byte.",
        "shares from 0.00 to 2.00, 1 dead experts.",
        "Steered by hand. 1: kimi, step 2, learning rate × 0.5.",
    ):
        assert words in snapshot.alt
    assert len(snapshot.png) < 90_000
    assert make_closing_snapshot([RunHistory("gpt", "gpt")], 0.5) is None
