"""The panel's widgets as a browser gets them: their controls, their figure, and what takes their place."""

import asyncio
import gc
import weakref
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from lab_utils.bench.plan import Arm
from lab_utils.live import panel as live
from lab_utils.live.data import collect_panel_data, measure_bits_per_nat
from lab_utils.live.figure import make_traces
from lab_utils.live.widgets import parse_pairs, write_numbers, write_samples
from lab_utils.show.snapshot import Snapshot
from nanokimi.config import BalanceConfig
from tests import tiny
from tests.live.made_up_runs import both, history, record
from tests.live.watched import ARM, CFG, Controls, build_model, follow

pytestmark = pytest.mark.slow  # each makes a whole figure of widgets


@pytest.mark.parametrize(
    ("text", "pairs"), [("", ()), ("1:3", ((1, 3),)), (" 1:3, 2:0 ;1:3,", ((1, 3), (2, 0)))]
)
def test_frozen_experts_are_read(text, pairs):
    assert parse_pairs(text) == pairs


@pytest.mark.parametrize("text", ["1", "a:b", "1:-2", "1:2:3", "1:², 2:0", "<script>"])
def test_what_is_no_expert_is_a_sentence(text):
    with pytest.raises(ValueError, match="is no expert: write layer:expert, as in 1:3, 2:0"):
        parse_pairs(text)


def test_quantiles_leave_nothing_to_choose_in_balancing(live_shown):
    """The sign rule's rate would end the training, so nobody can ask for it."""
    seen = []

    def during(panel, each):
        controls = Controls(live_shown[0].data[0])
        seen.append((controls["Balancing"].disabled, controls.message))

    follow(arm=replace(ARM, train=replace(CFG, balance=BalanceConfig(method="quantile"))), during=during)
    assert all(disabled for disabled, _ in seen)
    assert "balanced by quantiles, which cannot be steered" in seen[0][1]


def test_the_controls_steer_the_loop(live_shown):
    def during(panel, each):
        controls = Controls(live_shown[0].data[0])
        if each.step == 1:
            controls["Learning rate ×"].value = 10**0.5
            controls.axis.value = "seconds"
            controls["Balancing"].value = "none"
            controls["Frozen experts, layer:expert"].value = "1:2, 1:0"
        if each.step == 3:
            controls["Balancing"].value = "load-balance loss"
            controls["Strength"].value = 0.1
            controls["Frozen experts, layer:expert"].value = "nonsense"
            assert "nonsense&#x27; is no expert" in controls.message
        if each.step == 4:
            controls["Balancing"].value = "as configured"
            controls["Experts per token at inference"].value = 1

    _, records = follow(during=during)
    seen = [(i.step, i.what, i.value) for r in records for i in r.interventions]
    assert len(seen) == 7 and set(seen) == {
        (2, "lr_factor", 3.1623),
        (2, "bias_update_rate", 0.0),
        (2, "frozen_experts", ((1, 2), (1, 0))),
        (4, "switch_coef", 0.1),
        (5, "switch_coef", 0.0),
        (5, "bias_update_rate", 0.01),
        (5, "inference_top_k", 1),
    }


def test_in_a_model_without_experts_the_controls_of_the_router_are_off(live_shown):
    arm = Arm(name="gpt", model=tiny.gpt(), train=tiny.train_config())

    def during(panel, each):
        controls = Controls(live_shown[0].data[0])
        for label in ("Balancing", "Frozen experts, layer:expert", "Experts per token at inference"):
            assert controls[label].disabled
        assert "gpt, seed 3 has no experts" in controls.message

    follow(arm=arm, during=during)


def test_pause_becomes_continue_and_nothing_is_trained_between(live_shown):
    """The loop waits between two steps; a click, here by a timer, lets it go on."""
    ticks = []

    def during(panel, each):
        if each.step == 2:
            button = Controls(live_shown[0].data[0])["Pause"]
            button.click()
            assert button.description == "Continue"
            asyncio.get_running_loop().call_later(0.2, button.click)
            asyncio.get_running_loop().call_later(0.1, lambda: ticks.append(panel.histories[0].last.step))

    _, records = follow(during=during)
    assert ticks == [2] and records[-1].step == 6


def test_the_seconds_of_compiling_stand_among_the_numbers():
    assert "compiled in" not in write_numbers(history(record(1)))
    assert ">compiled in<" in (text := write_numbers(history(record(1, compile_seconds=61.0), record(2))))
    assert ">1 min 1 s<" in text


def draw_now(panel) -> None:
    """A pause draws all that was done."""
    panel.pause()
    panel.go_on()


def test_the_figure_shows_what_the_history_holds_after_every_redraw(live_shown):
    """Updated in place: the widget's arrays are those of a figure drawn afresh, and its layout is the last one."""
    bits = measure_bits_per_nat(tiny.corpus(annotated=True))

    def during(panel, each):
        draw_now(panel)
        data = collect_panel_data(panel.histories, bits)
        expected, figure = make_traces(data), Controls(live_shown[0].data[0]).figure
        assert [trace.name for trace in figure.data] == [trace["name"] for trace in expected]
        for trace, want in zip(figure.data, expected, strict=True):
            key = "z" if want["type"] == "heatmap" else "y"
            np.testing.assert_array_equal(getattr(trace, key), want[key])
        assert figure.layout.uirevision == "tokens"  # the same after every redraw, so a reader's zoom stays

    follow(during=during)


def test_a_redraw_sends_only_what_changed(live_shown, monkeypatch):
    """The look of a line is sent once; its points whenever there is a new one."""
    sent = []
    send = lambda self, restyle_data, relayout_data, **_: sent.append((restyle_data, relayout_data))
    monkeypatch.setattr(go.FigureWidget, "_send_update_msg", send)

    def during(panel, each):
        sent.clear()
        draw_now(panel)
        if each.step in (2, 5):  # no evaluation, no mark: nothing new but points
            ((traces, layout),) = sent
            assert not layout and set(traces) <= {"x", "y", "z", "text"}

    follow(during=during)


def test_a_tab_opened_later_gets_the_figure_as_it_stands(live_shown):
    def during(panel, each):
        draw_now(panel)
        figure = Controls(live_shown[0].data[0]).figure
        state = figure.get_state()
        assert [trace["name"] for trace in state["_widget_data"]] == [trace.name for trace in figure.data]
        assert state["_widget_layout"]["xaxis"] == figure.layout.xaxis.to_plotly_json()

    follow(during=during)


def test_closing_replaces_the_widgets_by_a_picture(live_shown):
    controls = []
    follow(during=lambda panel, each: controls.append(Controls(live_shown[0].data[0])))
    widget, *rest = live_shown[0].data
    assert len(rest) == 1 and isinstance(rest[0], Snapshot)
    assert controls[0].figure.comm is None and controls[0]["Learning rate ×"].comm is None
    (closing,) = widget.children  # for a tab that was opened during the training
    assert closing.value.startswith(rest[0].html()) and "The training has ended" in closing.value


def test_a_models_text_is_never_markup():
    html = write_samples(both())
    assert "<script" not in html and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html
    assert "<b>kimi" not in write_numbers(history(record(1), name="<b>kimi"))


def times_of_redraws(monkeypatch, seconds: float) -> list[float]:
    """By a clock of our own: a training of 100 s whose steps take 0.2 s each, and each redraw `seconds`."""
    now, redraws = [1000.0], []
    monkeypatch.setattr(live.time, "perf_counter", lambda: now[0])

    class SlowView:
        def __init__(self, panel, bits):
            pass

        def redraw(self, histories):
            redraws.append(now[0])
            now[0] += seconds

        begin = say = close = lambda self, *args: None

    monkeypatch.setattr("lab_utils.live.widgets.LiveView", SlowView)

    def steps():
        step = 0
        while now[0] < 1100:
            step += 1
            now[0] += 0.2
            yield record(step, n_steps=1000)

    async def cell() -> None:
        async for _ in live.TrainingPanel(tiny.corpus()).track(steps(), ARM, build_model(ARM.model)):
            pass

    asyncio.run(cell())
    return redraws[:-1]  # the last one shows the end


def test_drawing_takes_no_more_than_its_share(live_shown, monkeypatch):
    """Of 100 s 1.5 % and the credit may go into drawing."""
    due = times_of_redraws(monkeypatch, seconds=0.1)
    assert 0.1 * len(due) == pytest.approx(0.015 * 100 + 0.3, abs=0.11)
    assert min(np.diff(due)) >= live.REDRAW_EVERY


def test_where_drawing_is_slow_the_panel_still_moves_every_ten_seconds(live_shown, monkeypatch):
    """Three seconds a picture, as on a machine that is busy: after the first one, 180 s would have to pass."""
    due = times_of_redraws(monkeypatch, seconds=3.0)
    assert max(np.diff(due)) < live.NEWS_EVERY + 3.0 + 0.3
    assert len(due) >= 7


def test_panel_after_panel_leaves_the_closing_picture_of_the_last_one(live_shown):
    """ipywidgets keeps what nobody closes: thirty layouts and styles per panel, and each closing picture."""
    from ipywidgets.widgets.widget import _instances

    follow()
    before = set(_instances)
    for _ in range(3):
        follow()
        left = set(_instances) - before
        kinds = sorted(type(_instances[key]).__name__ for key in left)
        assert kinds == ["HTML", "HTMLStyle", "Layout", "Layout", "VBox"]


def test_a_closed_panel_leaves_no_figure_in_memory(live_shown):
    """anywidget watches a script that is a file, and the watch held every figure with all of its curves."""
    figures = []
    follow(during=lambda panel, each: figures.append(weakref.ref(Controls(live_shown[0].data[0]).figure)))
    live_shown.clear()
    gc.collect()
    assert figures[0]() is None
