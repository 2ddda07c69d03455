"""The widgets of the panel: numbers, Pause, Stop and the other controls, six pictures updated in place, a sample."""

from __future__ import annotations

from html import escape
from typing import Any, Protocol

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go

from lab_utils.bench.plan import Arm
from lab_utils.live.data import collect_panel_data
from lab_utils.live.figure import make_traces
from lab_utils.live.history import RunHistory, XAxis, write_duration
from lab_utils.live.layout import IN_THEME, make_layout
from lab_utils.live.picture import describe_panel
from lab_utils.machine.memory import MB, memory_in_use
from lab_utils.machine.spoken import speak
from lab_utils.machine.widgets import close_all, take_place
from lab_utils.show.colours import QUIET
from nanokimi.config import BalanceConfig
from nanokimi.kimi import Kimi
from nanokimi.model import Model

METHODS = ("as configured", "none", "load-balance loss", "bias update")
DEFAULT_STRENGTH = 0.01
_WIDE = {"description_width": "initial"}


class Controlled(Protocol):
    """What the controls act on; the training panel is one."""

    @property
    def paused(self) -> bool: ...
    def pause(self) -> None: ...
    def go_on(self) -> None: ...
    def stop(self) -> None: ...
    def request(self, what: str, value: object) -> str: ...


class Figure(go.FigureWidget):
    """A figure that sends its present state to a tab that is opened later; plotly's own sends that of the beginning."""

    # The same script as text: as a file, which it would watch for changes, it would hold every figure for ever.
    _esm = str(go.FigureWidget._esm)

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        state = super().get_state(key, drop_defaults)
        if key is None and self.comm is not None:  # the whole state, and the figure exists already
            now = self.to_plotly_json()
            for name, value in (("_widget_data", now["data"]), ("_widget_layout", now["layout"])):
                state[name] = self.trait_metadata(name, "to_json")(value, self)
        return state


class LiveView:
    """Draws what the panel's histories hold, and tells the panel what the controls say."""

    def __init__(self, panel: Controlled, bits: float):
        self._panel, self._bits = panel, bits
        self._axis: XAxis = "tokens"
        self._balance = BalanceConfig()
        self._quiet = False  # true while the controls are set from here: then they ask for nothing
        self._figure = Figure()
        self._sent: list[dict[str, Any]] = []
        self._sent_layout: dict[str, Any] = {}
        self._histories: list[RunHistory] = []
        self._numbers, self._message, self._sample = w.HTML(), w.HTML(), w.HTML()
        self._build_controls()
        rows = (
            self._numbers,
            w.HBox([self.pause, self.stop, self.axis], layout=w.Layout(flex_flow="row wrap")),
            w.HBox([self.lr, self.method, self.strength], layout=w.Layout(flex_flow="row wrap")),
            w.HBox([self.top_k, self.freeze], layout=w.Layout(flex_flow="row wrap")),
            self._message,
            self._figure,
            self._sample,
            w.HTML(IN_THEME, layout=w.Layout(display="none")),
        )
        self.widget = w.VBox(rows)
        self.widget.add_class("nk-training")
        self._spoken = speak(self.widget)
        self._spoken.observe(self._on_drawn, "drawn")
        take_place(self.widget, "training panel")

    def _build_controls(self) -> None:
        def box(**more: str) -> w.Layout:
            return w.Layout(margin="2px 18px 2px 0", **more)

        self.pause = w.Button(description="Pause", icon="pause", tooltip="Hold the training at this step")
        self.stop = w.Button(
            description="Stop", icon="stop", tooltip="End training, keep the checkpoint; the next cells run"
        )
        self.axis = w.ToggleButtons(
            options=[("Curves over tokens", "tokens"), ("Curves over seconds", "seconds")],
            style={"button_width": "170px"},
            layout=box(),
        )
        self.lr = w.FloatLogSlider(
            value=1.0, min=-2, max=2, step=0.05, description="Learning rate ×", readout_format=".2f",
            style=_WIDE, layout=box(width="330px"),
        )  # fmt: skip
        self.method = w.Dropdown(
            options=METHODS, description="Balancing", style=_WIDE, layout=box(width="230px")
        )
        self.strength = w.FloatLogSlider(
            value=DEFAULT_STRENGTH, min=-4, max=0, step=0.1, description="Strength", readout_format=".4f",
            disabled=True, style=_WIDE, layout=box(width="290px"),
        )  # fmt: skip
        self.top_k = w.IntSlider(
            value=1, min=1, max=1, description="Experts per token at inference", style=_WIDE,
            layout=box(width="330px"),
        )  # fmt: skip
        self.freeze = w.Text(
            description="Frozen experts, layer:expert", placeholder="1:3, 2:0 and Enter", style=_WIDE,
            continuous_update=False, layout=box(width="430px"),
        )  # fmt: skip
        self.pause.on_click(self._on_pause)
        self.stop.on_click(self._on_stop)
        self.axis.observe(self._on_axis, "value")
        self.lr.observe(lambda change: self._ask("lr_factor", round(change.new, 4)), "value")
        self.method.observe(self._on_balance, "value")
        self.strength.observe(self._on_balance, "value")
        self.top_k.observe(lambda change: self._ask("inference_top_k", change.new), "value")
        self.freeze.observe(lambda change: self._on_freeze(change.new), "value")

    # ------------------------------------------------------------ from the controls

    def _ask(self, what: str, value: object) -> None:
        if not self._quiet:
            self.say(self._panel.request(what, value))

    def _on_pause(self, _: w.Button) -> None:
        if self._panel.paused:
            self._panel.go_on()
        else:
            self._panel.pause()
        self.pause.description, self.pause.icon = (
            ("Continue", "play") if self._panel.paused else ("Pause", "pause")
        )

    def _on_stop(self, _: w.Button) -> None:
        self._panel.stop()
        self.say("Stopping; the checkpoint is kept.")

    def _on_drawn(self, _: Any) -> None:
        # All of it again: what was sent while the browser loaded plotly is lost.
        self._sent, self._sent_layout = [], {}
        self.redraw(self._histories)

    def _on_axis(self, change: Any) -> None:
        self._axis = change.new
        self.redraw(self._histories)

    def _on_balance(self, _: Any) -> None:
        method, strength = self.method.value, round(self.strength.value, 6)
        self.strength.disabled = method in METHODS[:2]
        given = self._balance
        switch, sequence, bias = {
            "as configured": (given.switch_coef, given.sequence_coef, given.bias_update_rate),
            "none": (0.0, 0.0, 0.0),
            "load-balance loss": (strength, 0.0, 0.0),
            "bias update": (0.0, 0.0, strength),
        }[method]
        for what, value in (("switch_coef", switch), ("sequence_coef", sequence), ("bias_update_rate", bias)):
            self._ask(what, value)

    def _on_freeze(self, text: str) -> None:
        try:
            pairs = parse_pairs(text)
        except ValueError as error:
            self.say(str(error))
            return
        self._ask("frozen_experts", pairs)

    # ------------------------------------------------------------ to the screen

    def begin(self, history: RunHistory, arm: Arm, model: Model) -> None:
        """Set the controls to what this training starts with. Without experts, those of the router do nothing."""
        self._quiet, self._balance = True, arm.train.balance
        self.lr.value, self.method.value, self.freeze.value = 1.0, METHODS[0], ""
        moe = arm.model.moe if isinstance(model, Kimi) and model.moe_layers() else None
        for control in (self.top_k, self.freeze):
            control.disabled = moe is None
        # Quantiles go on whatever is asked for, and take no rate.
        by_quantile = moe is not None and self._balance.method == "quantile"
        self.method.disabled = moe is None or by_quantile
        self.strength.disabled = True
        self.top_k.max, self.top_k.value = (moe.n_routed_experts, moe.top_k) if moe else (1, 1)
        self._quiet = False
        fixed = "The experts are balanced by quantiles, which cannot be steered." if by_quantile else ""
        self.say(
            fixed if moe else f"{history.name} has no experts: balancing, top-k and freezing do nothing here."
        )

    def say(self, text: str) -> None:
        """One sentence under the controls."""
        self._message.value = f'<div role="status" style="min-height:1.5em">{escape(text)}</div>'

    def redraw(self, histories: list[RunHistory]) -> None:
        """Bring everything up to date. Only what changed is sent to the browser."""
        self._histories = histories
        if not any(history.last for history in histories):
            return
        data = collect_panel_data(histories, self._bits, self._axis)
        drawn, placed = make_traces(data), make_layout(data)
        with self._figure.batch_update():
            if [t["name"] for t in drawn] != [t["name"] for t in self._sent]:
                self._figure.data = []
                self._figure.add_traces(drawn)
            else:
                for shown, trace, before in zip(self._figure.data, drawn, self._sent):
                    changed = {
                        k: trace[k] for k in ("x", "y", "z", "text") if _differ(trace.get(k), before.get(k))
                    }
                    if changed:
                        shown.update(changed, overwrite=True)
            if placed != self._sent_layout:
                self._figure.layout.update(placed, overwrite=True)
        self._sent, self._sent_layout = drawn, placed
        current = next(history for history in reversed(histories) if history.last)
        self._numbers.value = write_numbers(current)
        self._sample.value = write_samples(histories)
        self._spoken.chart = describe_panel([each for each in histories if each.last], data)

    def close(self, picture: str) -> None:
        """Remove the widgets, all but a box with the closing picture as HTML.

        The cell's output holds that picture too. But Jupyter gives a tab that was opened during the training no
        output of this cell; such a tab shows the box, until the next panel is made.
        """
        for row in self.widget.children:
            close_all(row)
        self.widget.children = [w.HTML(picture + escape("The training has ended. Run the cells below."))]


def _differ(a: Any, b: Any) -> bool:
    return not np.array_equal(a, b) if isinstance(a, np.ndarray) else a != b


def parse_pairs(text: str) -> tuple[tuple[int, int], ...]:
    """`1:3, 2:0` as ((1, 3), (2, 0)). A `ValueError` says how it should look."""
    pairs = []
    for part in text.replace(";", ",").split(","):
        if not part.strip():
            continue
        layer, colon, expert = part.partition(":")
        if not colon or not layer.strip().isdecimal() or not expert.strip().isdecimal():
            raise ValueError(f"{part.strip()!r} is no expert: write layer:expert, as in 1:3, 2:0")
        pairs.append((int(layer), int(expert)))
    return tuple(dict.fromkeys(pairs))


def write_numbers(history: RunHistory) -> str:
    """The line of numbers above the controls, as HTML."""
    last, memory = history.last, memory_in_use()
    facts = [
        (history.name, f"step {last.step} of {last.n_steps}"),
        ("speed", f"{history.tokens_per_s():,.0f} tokens/s"),
        ("time left", write_duration(history.seconds_left())),
        *([("compiled in", write_duration(history.compile_seconds))] if history.compile_seconds else []),
        ("memory", "not known" if memory is None else f"{memory / MB:,.0f} MB"),
        ("learning rate", f"{last.lr:.3g}"),
        ("loss", f"{last.loss:.3f} nats per token"),
    ]
    cells = "".join(
        f'<div style="min-width:7em"><div style="color:{QUIET};font-size:11px">{escape(name)}</div>'
        f'<div style="font-size:15px;font-variant-numeric:tabular-nums">{escape(value)}</div></div>'
        for name, value in facts
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:6px 22px;line-height:1.35">{cells}</div>'


def write_samples(histories: list[RunHistory]) -> str:
    """What each model wrote at its last evaluation, and the interventions, as HTML. A model's text is never markup."""
    rows = [
        f"<dt><b>{escape(h.name)}</b>, after step {h.evaluations[-1].step}</dt>"
        f'<dd style="margin:0 0 6px 0;font-family:monospace;white-space:pre-wrap">{escape(h.sample)}</dd>'
        for h in histories
        if h.sample
    ]
    rows += [
        f"<dd style='margin:0'>{mark.number}: {escape(h.name)}, step {mark.step}: {escape(mark.text)}</dd>"
        for h in histories
        for mark in h.marks[-8:]
    ]
    return f'<dl style="margin:0;line-height:1.4;max-width:1100px">{"".join(rows)}</dl>'
