"""The training panel: its numbers by hand, its controls without a browser, and what it leaves behind."""

import asyncio
import base64
import json
import math
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from lab_utils.bench import report
from lab_utils.bench.plan import Arm
from lab_utils.bench.results import from_json, to_json
from lab_utils.bench.trial import Trial
from lab_utils.bench.verdicts import verdicts
from lab_utils.live import panel as live
from lab_utils.live import view as live_view
from lab_utils.live.data import bits_per_nat, dead_experts, panel_data
from lab_utils.live.figure import closing_figure, traces
from lab_utils.live.history import RunHistory, Thinned, in_words, time_in_words
from lab_utils.live.layout import layout
from lab_utils.live.picture import closing_snapshot
from lab_utils.machine.front_end import is_live
from lab_utils.show.snapshot import Snapshot
from nanokimi import checkpoint
from nanokimi.config import BalanceConfig, OptimConfig
from nanokimi.evaluate import Evaluation, RoleLoss
from nanokimi.generate import generate
from nanokimi.model import build_model
from nanokimi.record import StepRecord
from nanokimi.steering import Intervention
from nanokimi.step import TrainingDiverged
from nanokimi.text.corpus import batch
from nanokimi.train import train
from tests import tiny
from tests.bench.made_up_results import three_seeds

# ---------------------------------------------------------------- numbers by hand


def record(step: int, load=((2.0, 0.0), (1.0, 1.0)), **changes) -> StepRecord:
    """100 tokens and 2 seconds a step; two layers of two experts, one of them idle in the first layer."""
    facts = dict(
        step=step,
        n_steps=10,
        tokens=100 * step,
        seconds=2.0 * step,
        tokens_per_s=50.0,
        lr=0.1,
        loss=4.0 - step,
        balance_loss=0.0,
        grad_norm=1.0,
        expert_load=[list(row) for row in load],
        max_vio=[max(row) - 1 for row in load],
        router_entropy=[0.5, 0.7],
        max_qk_logit=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
        evaluation=None,
    )
    return StepRecord(**facts | changes)


def evaluation(bits: float) -> Evaluation:
    role = RoleLoss(nats_per_token=1.0, bits_per_byte=bits / 2, floor_bits_per_byte=0.1, n_tokens=5)
    return Evaluation(2 * bits, math.exp(2 * bits), bits, 0.25, 10, {"fact": role})


def history(*records: StepRecord, name: str = "kimi") -> RunHistory:
    made = RunHistory(name, name.partition(",")[0], first_layer=1, tau=100.0)
    for each in records:
        made.add(each, 1 + len(made.marks))
    return made


def test_a_thinned_series_keeps_means_and_stays_small():
    series = Thinned(capacity=4)
    for i in range(7):
        series.add([i, 10 * i])
    # 0 1 2 3 fill it: 0.5 and 2.5 remain, in runs of two; then 4.5, and 6 by itself.
    assert series.rows().tolist() == [[0.5, 5], [2.5, 25], [4.5, 45], [6, 60]]
    for i in range(7, 10_000):
        series.add([i, 10 * i])
    rows = series.rows()
    assert len(rows) <= 4 and rows[:, 1] == pytest.approx(10 * rows[:, 0])
    assert (np.diff(rows[:, 0]) > 0).all()


def test_a_history_gives_its_curves_back():
    made = history(record(1), record(2, load=((1.0, 1.0), (0.5, 1.5))))
    assert made.x("tokens").tolist() == [100, 200] and made.x("seconds").tolist() == [2, 4]
    assert made.curve("loss").tolist() == [3, 2]
    assert made.curve("max_vio", 0).tolist() == [1, 0] and made.curve("max_vio", 1).tolist() == [0, 0.5]
    assert made.curve("router_entropy", 1).tolist() == [0.7, 0.7]
    assert made.load().tolist() == [[1.5, 0.5], [0.75, 1.25]]
    assert [(step, load.tolist()) for step, load in made.frames(5)] == [
        (1, [[2, 0], [1, 1]]),
        (2, [[1, 1], [0.5, 1.5]]),
    ]
    assert made.seconds_left() == 8 * 100 / 50


def test_frames_are_few_and_hold_both_ends():
    made = history(*(record(step) for step in range(1, 101)))
    assert [step for step, _ in made.frames(3)] == [1, 50, 100] or [s for s, _ in made.frames(3)] == [
        1,
        51,
        100,
    ]
    assert len(made.frames(1000)) == 100


def test_time_left_goes_by_the_median_step():
    made = history(*(record(step, tokens_per_s=1.0 if step == 3 else 50.0) for step in range(1, 6)))
    assert made.seconds_left() == 5 * 100 / 50


def test_the_share_is_that_of_the_recent_steps():
    old = [record(step, load=((9.0, 9.0), (9.0, 9.0))) for step in range(1, 11)]
    made = history(*old, *(record(step) for step in range(11, 21)))
    assert made.load().tolist() == [[2, 0], [1, 1]]


def test_dead_is_below_a_hundredth_of_a_share():
    load = np.array([[0.0099, 1.0], [0.01, 0.0]])
    assert dead_experts(load) == [(0, 0), (1, 1)]


def test_panel_data_by_hand():
    steered = (Intervention(2, "lr_factor", 0.5), Intervention(2, "bias_update_rate", 0.0))
    gpt = history(record(1, load=(), max_vio=[], router_entropy=[], max_qk_logit=None), name="gpt")
    kimi = history(record(1), record(2, evaluation=evaluation(1.0), interventions=steered))
    data = panel_data([gpt, kimi], bits=0.5, axis="seconds")
    assert [line.name for line in data.training] == ["gpt", "kimi"]
    assert data.training[1].y.tolist() == [1.5, 1.0]  # losses of 3 and 2 nats, half a bit a byte each
    (validation,) = data.validation
    assert (validation.name, validation.x.tolist(), validation.y.tolist()) == ("kimi", [4.0], [1.0])
    assert data.floor == 0.25
    assert [(r.name, r.y.tolist()) for r in data.roles] == [("fact", [0.5])]
    assert data.marks == [(4.0, "1, 2", "kimi")] and data.router_marks == [(4.0, "1, 2")]
    assert (data.router_of, data.layers, data.dead) == ("kimi", [1, 2], [(0, 1)])
    assert data.even_entropy == pytest.approx(math.log(2))
    assert (data.logits_of, data.logits, data.tau) == ("kimi", [[1, 2], [3, 4], [5, 6]], 100.0)
    assert panel_data([gpt], 0.5).load is None
    assert panel_data([RunHistory("gpt", "gpt")], 0.5).training == []


def test_many_evaluations_are_thinned_and_the_last_is_shown():
    made = history(*(record(step, evaluation=evaluation(step / 100)) for step in range(1, 1001)))
    (line,) = panel_data([made], 1.0).validation
    assert len(line.x) <= 120 and (line.y[0], line.y[-1]) == (0.01, 10)


def test_bits_per_nat_is_that_of_the_validation_text():
    corpus = tiny.corpus()
    mean = np.mean([corpus.token_bytes[token].item() for token in corpus.val.tokens])
    assert bits_per_nat(corpus) == pytest.approx(1 / (math.log(2) * mean), rel=1e-12)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_time_in_words(seconds, words):
    assert time_in_words(seconds) == words


@pytest.mark.parametrize(
    ("what", "value", "words"),
    [
        ("lr_factor", 0.5, "learning rate × 0.5"),
        ("bias_update_rate", 0.0, "bias update off"),
        ("switch_coef", 0.01, "load-balance loss 0.01"),
        ("inference_top_k", 3, "top-k at inference 3"),
        ("inference_top_k", None, "top-k at inference as in training"),
        ("frozen_experts", ((1, 3), (2, 0)), "frozen experts: 1:3, 2:0"),
        ("frozen_experts", (), "no expert frozen"),
    ],
)
def test_interventions_in_words(what, value, words):
    assert in_words(Intervention(1, what, value)) == words


@pytest.mark.parametrize(
    ("text", "pairs"), [("", ()), ("1:3", ((1, 3),)), (" 1:3, 2:0 ;1:3,", ((1, 3), (2, 0)))]
)
def test_frozen_experts_are_read(text, pairs):
    assert live_view.parse_pairs(text) == pairs


@pytest.mark.parametrize("text", ["1", "a:b", "1:-2", "1:2:3", "1:², 2:0", "<script>"])
def test_what_is_no_expert_is_a_sentence(text):
    with pytest.raises(ValueError, match="is no expert: write layer:expert, as in 1:3, 2:0"):
        live_view.parse_pairs(text)


# ---------------------------------------------------------------- pictures


def both() -> list[RunHistory]:
    steered = (Intervention(2, "lr_factor", 0.5),)
    gpt = history(record(1, load=(), max_vio=[], router_entropy=[], max_qk_logit=None), name="gpt")
    kimi = history(
        *(record(s, evaluation=evaluation(1.0), interventions=steered if s == 2 else ()) for s in (1, 2, 3))
    )
    kimi.sample = "<script>alert(1)</script> & more"
    return [gpt, kimi]


def test_the_figure_draws_the_data_and_plotly_accepts_it():
    data = panel_data(both(), 0.5)
    drawn = {trace["name"]: trace for trace in traces(data)}
    assert drawn["kimi, training"]["y"].tolist() == [1.5, 1.0, 0.5]
    assert drawn["share"]["z"].tolist() == [[2, 0], [1, 1]] and drawn["share"]["zmid"] == 1.0
    assert (drawn["dead"]["x"].tolist(), drawn["dead"]["y"].tolist()) == (
        [1],
        [1],
    )  # layer 1 is the first with experts
    assert drawn["floor 0.250"]["y"].tolist() == [0.25, 0.25]
    assert drawn["QK-clip at tau = 100"]["y"].tolist() == [100, 100]
    assert sorted(drawn["largest logit"]["y"].tolist()) == [1, 2, 3, 4, 5, 6]
    placed = layout(data)
    assert [shape["x0"] for shape in placed["shapes"]] == [200, 200, 200]
    go.Figure(data=list(drawn.values()), layout=placed)  # raises for a property that plotly does not know


def numbers_of(packed: dict) -> list[float]:
    return np.frombuffer(base64.b64decode(packed["bdata"]), dtype="<f4").tolist()


def test_the_closing_figure_is_small_plain_and_replays_the_heat_map():
    figure = closing_figure(both(), 0.5)
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
    snapshot = closing_snapshot(both(), 0.5)
    for words in (
        "kimi: step 3 of 10, validation loss 2.000, 1.000 bits a byte.",
        "The floor lies at 0.250 bits a byte.",
        "shares from 0.00 to 2.00, 1 dead experts.",
        "Steered by hand. 1: kimi, step 2, learning rate × 0.5.",
    ):
        assert words in snapshot.alt
    assert len(snapshot.png) < 90_000
    assert closing_snapshot([RunHistory("gpt", "gpt")], 0.5) is None


def test_a_models_text_is_never_markup():
    shown = live_view.sample(both())
    assert "<script" not in shown and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in shown
    named = history(record(1), name="<b>kimi")
    assert "<b>kimi" not in live_view.numbers(named)


# ---------------------------------------------------------------- the panel, without a front end


CFG = tiny.train_config(seed=0, balance=BalanceConfig(bias_update_rate=1e-2))
ARM = Arm(name="kimi", model=tiny.kimi(), train=CFG)


@pytest.fixture
def shown(monkeypatch) -> list:
    """What the panel displays."""
    found = []
    monkeypatch.setattr(live, "display", lambda data, **_: found.append(data))
    return found


def follow(
    run_dir=None, arm=ARM, during=None, corpus=None, panel=None
) -> tuple[live.TrainingPanel, list[StepRecord]]:
    """A training looked at by a panel; `during` is called with the panel and every record."""
    corpus, records = corpus or tiny.corpus(annotated=True), []

    async def cell() -> None:
        model = build_model(arm.model)
        with panel:
            steps = train(model, corpus, arm.train, run_dir, steer=panel.steer)
            async for each in panel.track(steps, arm, model):
                records.append(each)
                if during:
                    during(panel, each)

    panel = panel or live.TrainingPanel(corpus)
    asyncio.run(cell())
    return panel, records


def facts(records) -> list[dict]:
    return [{k: v for k, v in r.to_dict().items() if k not in ("seconds", "tokens_per_s")} for r in records]


def test_watching_changes_nothing(shown):
    _, records = follow()
    assert facts(records) == facts(train(build_model(ARM.model), tiny.corpus(annotated=True), CFG))
    picture, words = shown
    assert isinstance(picture, Snapshot)
    assert "kimi: step 6 of 6" in picture.alt and "Steered" not in picture.alt
    assert words["text/plain"].startswith("kimi wrote after step 6: ")


def test_the_sample_is_what_generate_writes(shown):
    seen = []

    def note(panel, each):
        if each.evaluation:
            seen.append(panel.histories[0].sample)

    follow(during=note)
    corpus, model = tiny.corpus(annotated=True), build_model(ARM.model)
    list(train(model, corpus, CFG))
    prompt = corpus.val.tokens[:12].tolist()
    stop = corpus.tokenizer.eot_token
    new = list(generate(model, prompt, 40, temperature=0.8, top_k=50, stop_id=stop))
    known = [token for token in new if token < corpus.tokenizer.n_vocab]  # the model has rows for 24 tokens
    assert len(seen) == 2
    assert seen[-1] == f"{corpus.tokenizer.decode(prompt)} | {corpus.tokenizer.decode(known)}"


def test_what_is_wanted_comes_before_the_next_step_and_is_recorded(shown, tmp_path):
    answers = []

    def during(panel, each):
        if each.step == 2:
            answers.append(panel.want("lr_factor", 3.0))
            answers.append(panel.want("lr_factor", 0.5))  # the last word counts
            answers.append(panel.want("switch_coef", 0.0))  # as it is: no intervention
            answers.append(panel.want("frozen_experts", ((0, 0),)))
            answers.append(panel.want("inference_top_k", 99))

    _, records = follow(tmp_path, during=during)
    assert [r.interventions for r in records] == [(), (), (Intervention(3, "lr_factor", 0.5),), (), (), ()]
    assert records[2].lr == pytest.approx(
        0.5 * next(r for r in train(build_model(ARM.model), tiny.corpus(), CFG) if r.step == 3).lr
    )
    assert answers[:3] == ["", "", ""]
    assert "layer 0 has no experts" in answers[3] and "top_k=99 must lie in" in answers[4]
    assert "Steered by hand. 1: kimi, step 3, learning rate × 0.5." in shown[0].alt


@pytest.mark.parametrize("how", ["button", "cancelled", "break"])
def test_stop_keeps_the_checkpoint_and_the_cell_goes_on(shown, tmp_path, how):
    """The button; the square button, which cancels the cell; and a loop that ends by itself."""

    def during(panel, each):
        if each.step == 4 and how == "button":
            panel.stop()
        if each.step == 4 and how == "cancelled":
            asyncio.current_task().cancel()
        if each.step == 4 and how == "break":
            raise StopIteration

    if how == "break":
        with pytest.raises(RuntimeError, match="StopIteration"):
            follow(tmp_path, during=during)
    else:
        panel, records = follow(tmp_path, during=during)
        assert panel.stopped
    # Cancelled while it waits for step 5: given up or, where it was done already, kept and shown.
    saved = checkpoint.load_checkpoint(tmp_path).state.step
    assert how == "break" or records[-1].step == saved
    assert saved == 4 or (saved == 5 and how == "cancelled")
    assert isinstance(shown[0], Snapshot)


def test_clicks_are_heard_while_a_step_runs(shown):
    """A step that ends only when the event loop, in which the widgets are heard, has had its turn."""
    heard = threading.Event()

    def steps():
        for step in (1, 2):
            assert step == 1 or heard.wait(10)
            yield record(step)

    async def cell() -> None:
        async for each in panel.track(steps(), ARM, build_model(ARM.model)):
            if each.step == 1:
                asyncio.get_running_loop().call_later(0.05, heard.set)

    panel = live.TrainingPanel(tiny.corpus())
    asyncio.run(cell())
    assert panel.histories[0].last.step == 2


def test_an_error_in_the_loop_leaves_checkpoint_and_picture(shown, tmp_path):
    def during(panel, each):
        if each.step == 5:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        follow(tmp_path, during=during)
    assert checkpoint.load_checkpoint(tmp_path).state.step == 5
    assert isinstance(shown[0], Snapshot)


def test_a_run_that_diverges_raises_unless_it_was_steered_there(shown, tmp_path):
    wild = replace(CFG, warmup_steps=0, optim=OptimConfig(lr=1e30))
    with pytest.raises(TrainingDiverged):
        follow(tmp_path / "a", replace(ARM, train=wild))
    panel, records = follow(tmp_path / "b", during=lambda panel, each: panel.want("lr_factor", 1e32))
    assert panel.stopped and len(records) < 6
    assert any("Stopped: the loss is" in str(each) for each in shown if isinstance(each, dict))


def test_headless_no_widget_is_even_imported():
    code = (
        "import sys, lab_utils.live.panel\n"
        "from tests import tiny\n"
        "lab_utils.live.panel.TrainingPanel(tiny.corpus())\n"
        "assert not {'ipywidgets', 'plotly', 'anywidget'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- the controls, without a browser


@pytest.fixture
def live_shown(monkeypatch):
    """A live panel whose output is caught: what was displayed, and what took its place."""

    class Handle:
        def __init__(self, data):
            self.data = [data]

        def update(self, data, **_):
            self.data.append(data)

    handles = []
    monkeypatch.setenv("NANOKIMI_LIVE", "1")
    monkeypatch.setattr(live, "display", lambda data, **_: handles.append(Handle(data)) or handles[-1])
    return handles


def test_the_controls_steer_the_loop(live_shown):
    def during(panel, each):
        view = panel._view
        if each.step == 1:
            view.lr.value = 10**0.5
            view.axis.value = "seconds"
            view.method.value = "none"
            view.freeze.value = "1:2, 1:0"
        if each.step == 3:
            view.method.value = "load-balance loss"
            view.strength.value = 0.1
            view.freeze.value = "nonsense"
            assert "nonsense&#x27; is no expert" in view._message.value
        if each.step == 4:
            view.method.value = "as configured"
            view.top_k.value = 1

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


def test_closing_replaces_the_widgets_by_a_picture(live_shown):
    views = []
    follow(during=lambda panel, each: views.append(panel._view))
    widget, *rest = live_shown[0].data
    assert widget is views[0].widget and len(rest) == 1 and isinstance(rest[0], Snapshot)
    assert views[0]._figure.comm is None and views[0].lr.comm is None
    (closing,) = widget.children  # for a tab that was opened during the training
    assert closing.value.startswith(rest[0].html()) and "The training has ended" in closing.value


def test_a_tab_opened_later_gets_the_figure_as_it_stands(live_shown):
    def during(panel, each):
        panel._redraw()
        figure = panel._view._figure
        state = figure.get_state()
        assert [trace["name"] for trace in state["_widget_data"]] == [trace.name for trace in figure.data]
        assert state["_widget_layout"]["xaxis"] == figure.layout.xaxis.to_plotly_json()

    follow(during=during)


def in_the_middle_of(step: int, click, monkeypatch) -> None:
    """Have `click` called on the training's thread, once, when step `step` has taken its batch."""
    left = [click if each == step else None for each in range(CFG.steps, 0, -1)]

    def clicking(*args, **more):
        if left and (now := left.pop()):
            now()
        return batch(*args, **more)

    monkeypatch.setattr("nanokimi.step.batch", clicking)


def test_a_click_in_a_step_concerns_this_step(shown, monkeypatch):
    panel = live.TrainingPanel(tiny.corpus(annotated=True))
    in_the_middle_of(3, lambda: panel.want("lr_factor", 0.5), monkeypatch)
    _, records = follow(panel=panel)
    wanted = lambda step: [Intervention(3, "lr_factor", 0.5)] if step == 3 else []
    assert facts(records) == facts(
        train(build_model(ARM.model), tiny.corpus(annotated=True), CFG, steer=wanted)
    )


def test_stop_gives_up_the_step_under_way(shown, monkeypatch, tmp_path):
    panel = live.TrainingPanel(tiny.corpus(annotated=True))
    in_the_middle_of(5, panel.stop, monkeypatch)
    _, records = follow(tmp_path, panel=panel)
    assert records[-1].step == 4 == checkpoint.load_checkpoint(tmp_path).state.step


def test_pause_holds_the_step_under_way(shown, monkeypatch):
    """Nothing is trained until Continue, here by a timer that looks first."""
    panel, seen = live.TrainingPanel(tiny.corpus(annotated=True)), []

    def later():
        seen.append(panel.histories[0].last.step)
        panel.go_on()

    def click():
        panel.pause()
        threading.Timer(0.3, later).start()

    in_the_middle_of(5, click, monkeypatch)
    _, records = follow(panel=panel)
    assert seen == [4] and [r.step for r in records] == [1, 2, 3, 4, 5, 6]


def test_stopped_before_the_first_step_the_cell_ends_and_leaves_a_checkpoint(shown, monkeypatch, tmp_path):
    panel = live.TrainingPanel(tiny.corpus(annotated=True))
    in_the_middle_of(1, panel.stop, monkeypatch)
    _, records = follow(tmp_path, panel=panel)
    assert records == [] and checkpoint.load_checkpoint(tmp_path).state.step == 0


def test_drawing_goes_on_while_paused_and_ends_with_continue(live_shown):
    """The loop waits between two steps; a click, here a timer, lets it go on."""
    ticks = []

    def during(panel, each):
        if each.step == 2:
            panel._view.pause.click()
            assert panel._view.pause.description == "Continue"
            asyncio.get_running_loop().call_later(0.2, panel._view.pause.click)
            asyncio.get_running_loop().call_later(0.1, lambda: ticks.append(panel.histories[0].last.step))

    _, records = follow(during=during)
    assert ticks == [2] and records[-1].step == 6


def test_a_model_without_experts_has_no_router_to_steer(live_shown):
    arm = Arm(name="gpt", model=tiny.gpt(), train=tiny.train_config())

    def during(panel, each):
        assert panel._view.method.disabled and panel._view.freeze.disabled and panel._view.top_k.disabled
        assert "has no experts" in panel._view._message.value

    follow(arm=arm, during=during)


def test_the_figure_shows_what_the_history_holds_after_every_redraw(live_shown):
    """Updated in place: the widget's arrays are those of a figure drawn afresh."""

    def during(panel, each):
        panel._redraw()
        wanted = traces(panel_data(panel.histories, panel._bits))
        figure = panel._view._figure
        assert [trace.name for trace in figure.data] == [trace["name"] for trace in wanted]
        for trace, want in zip(figure.data, wanted, strict=True):
            key = "z" if want["type"] == "heatmap" else "y"
            np.testing.assert_array_equal(getattr(trace, key), want[key])

    follow(during=during)


# ---------------------------------------------------------------- who sits there, and what a steered run counts for


@pytest.mark.parametrize(
    ("environ", "live_there"),
    [
        ({}, False),
        ({"JPY_SESSION_NAME": "a.ipynb"}, True),
        ({"VSCODE_PID": "7"}, True),
        ({"JPY_SESSION_NAME": "a.ipynb", "NANOKIMI_LIVE": "0"}, False),
        ({"NANOKIMI_LIVE": "1"}, True),
        ({"NANOKIMI_LIVE": ""}, False),
    ],
)
def test_is_live(environ, live_there, monkeypatch):
    for name in ("JPY_SESSION_NAME", "VSCODE_PID", "NANOKIMI_LIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert is_live() is live_there


def test_colab_is_live_and_nonsense_is_refused(monkeypatch):
    monkeypatch.delenv("NANOKIMI_LIVE")
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    assert is_live()
    monkeypatch.setenv("NANOKIMI_LIVE", "yes")
    with pytest.raises(ValueError, match="NANOKIMI_LIVE='yes' must be 0"):
        is_live()


def test_a_trial_remembers_that_it_was_steered(tmp_path):
    model = build_model(ARM.model)
    steer = lambda step: [Intervention(step, "lr_factor", 2.0)] if step == 2 else []
    with Trial(ARM, model, tmp_path) as trial:
        for each in train(model, tiny.corpus(), CFG, trial.run_dir, steer=steer):
            trial.add(each)
    assert trial.run().steered
    assert trial.run().interventions == ({"step": 2, "what": "lr_factor", "value": 2.0},)


def test_a_steered_run_is_used_for_no_verdict(tmp_path):
    made = three_seeds()
    assert verdicts(made)[0].answer == "challenger"
    by_hand = ({"step": 7, "what": "lr_factor", "value": 0.5},)
    made = replace(made, runs=(*made.runs[:-1], replace(made.runs[-1], interventions=by_hand)))
    for verdict in verdicts(made):
        assert verdict.answer == "no conclusion"
        assert verdict.reason == "kimi with seed 2 was steered by hand"
        assert [pair.seed for pair in verdict.pairs] == [0, 1]
    assert from_json(json.loads(json.dumps(to_json(made)))) == made
    html = report.render(made, tmp_path)
    assert "kimi with seed 2 was steered by hand (step 7: lr_factor = 0.5): it counts for no verdict." in html
    assert "was steered by hand" not in report.render(three_seeds(), tmp_path)


def test_drawing_takes_no_more_than_its_share(live_shown, monkeypatch):
    """By a clock of our own: a step takes 0.2 s, a redraw 0.1 s; of 100 s 1.5 % and the credit may go into drawing."""
    now = [1000.0]
    monkeypatch.setattr(live.time, "perf_counter", lambda: now[0])
    redraws = []

    class Slow:
        def redraw(self, histories):
            redraws.append(now[0])
            now[0] += 0.1

        begin = say = close = lambda self, *args: None

    panel = live.TrainingPanel(tiny.corpus())
    panel._view = Slow()
    panel._began = now[0]
    while now[0] < 1100:
        now[0] += 0.2
        panel._redraw_if_due()
    assert 0.1 * len(redraws) == pytest.approx(0.015 * 100 + 0.3, abs=0.11)
    assert min(np.diff(redraws)) >= live.REDRAW_EVERY
