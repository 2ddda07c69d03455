"""Widgets end with all their parts, and when the cell that made them runs again."""

import ipywidgets as w
import pytest
from ipywidgets.widgets.widget import _instances

from lab_utils.course.planner import planner
from lab_utils.course.predict import predict
from lab_utils.course.progress import reset_button
from lab_utils.machine import widgets as module
from lab_utils.machine.widgets import close_all, take_place
from lab_utils.observatory.widgets import Panel, choice, prompt_field
from nanokimi.presets.yaml_config import load_model_config


@pytest.fixture
def runs(monkeypatch):
    """What the front end says of the running cell: its name, and the number of its run."""
    now = ["a", "1"]
    monkeypatch.setenv("NANOKIMI_LIVE", "1")
    monkeypatch.setattr(module, "_running_cell", lambda: tuple(now))
    monkeypatch.setattr("lab_utils.course.predict.display", lambda box: None)
    return now


@pytest.fixture(autouse=True)
def new():
    """Counts the widgets that a test leaves."""
    before = set(_instances)
    yield lambda: len(set(_instances) - before)
    for key in set(_instances) - before:
        if key in _instances:
            _instances[key].close()


def test_closing_leaves_no_part(new):
    box = w.VBox([w.HBox([w.Button(), w.Text()]), w.HTML("x"), w.IntSlider(), w.ToggleButtons(options=["a"])])
    assert new() > 10
    close_all(box)
    assert new() == 0


MAKERS = {
    "observatory": lambda: Panel([prompt_field("Once"), choice("Layer", [1, 2], 1)], lambda: "<p>", "Draw"),
    "planner": lambda: planner(load_model_config("kimi-tiny")),
    "guess": lambda: predict("scale", "Does it grow?", choices=("yes", "no")),
    "number": lambda: predict("many", "How many?"),
    "reset": reset_button,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_cell_that_runs_again_leaves_the_widgets_of_one_run(runs, new, make):
    make()
    first = new()
    assert first > 0
    for number in range(2, 6):
        runs[1] = str(number)
        make()
        assert new() == first
    make()  # twice in one run: both are shown
    assert new() == 2 * first
    runs[0] = "b"  # another cell
    make()
    assert new() == 3 * first


def test_a_named_place_has_one_box_whatever_cell_runs(runs, new):
    for cell in "aab":
        runs[0] = cell
        take_place(w.VBox(), "panel")
        assert new() == 2  # the box and its layout


def test_without_the_name_of_the_cell_nothing_is_closed(new, monkeypatch):
    monkeypatch.setattr(module, "_running_cell", lambda: ("", ""))
    for _ in range(3):
        take_place(w.VBox())
    assert new() == 6


def test_the_running_cell_is_what_the_front_end_named(monkeypatch):
    class Kernel:
        def get_parent(self, channel):
            return {"header": {"msg_id": "7"}, "metadata": {"cellId": "abc"}}

    class Shell:
        kernel = Kernel()

    monkeypatch.setattr(module, "get_ipython", lambda: None)
    assert module._running_cell() == ("", "")
    monkeypatch.setattr(module, "get_ipython", Shell)
    assert module._running_cell() == ("abc", "7")
