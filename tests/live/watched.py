"""A tiny training that a panel watches, clicks into it, and the widgets that a reader sees."""

import asyncio
from collections.abc import Iterator

import ipywidgets as w
import plotly.graph_objects as go

from lab_utils.bench.plan import Arm
from lab_utils.live.panel import TrainingPanel
from nanokimi.config import BalanceConfig
from nanokimi.model import build_model
from nanokimi.record import StepRecord
from nanokimi.text.corpus import batch
from nanokimi.train import train
from tests import tiny

CFG = tiny.train_config(seed=0, balance=BalanceConfig(bias_update_rate=1e-2))


ARM = Arm(name="kimi", model=tiny.kimi(), train=CFG)


def follow(
    run_dir=None, arm=ARM, during=None, corpus=None, panel=None
) -> tuple[TrainingPanel, list[StepRecord]]:
    """The panel that watched a training, and its records; `during` is called with the panel and every record."""
    corpus, records = corpus or tiny.corpus(annotated=True), []

    async def cell() -> None:
        model = build_model(arm.model)
        with panel:
            steps = train(model, corpus, arm.train, run_dir, steer=panel.steer)
            async for each in panel.track(steps, arm, model):
                records.append(each)
                if during:
                    during(panel, each)

    panel = panel or TrainingPanel(corpus)
    asyncio.run(cell())
    return panel, records


def facts(records) -> list[dict]:
    """All that two equal trainings share: not the clock."""
    return [
        {k: v for k, v in r.to_dict().items() if k not in ("seconds", "tokens_per_s", "compile_seconds")}
        for r in records
    ]


def click_in_the_middle_of(step: int, click, monkeypatch) -> None:
    """Have `click` called on the training's thread, once, when step `step` has taken its batch."""
    left = [click if each == step else None for each in range(CFG.steps, 0, -1)]

    def clicking(*args, **more):
        if left and (now := left.pop()):
            now()
        return batch(*args, **more)

    monkeypatch.setattr("nanokimi.step.batch", clicking)


class Controls:
    """The widgets in a displayed box, found as a reader finds them: by their labels."""

    def __init__(self, box: w.Box):
        self._all = list(walk(box))

    def __getitem__(self, label: str) -> w.Widget:
        (found,) = (each for each in self._all if getattr(each, "description", None) == label)
        return found

    @property
    def axis(self) -> w.ToggleButtons:
        (found,) = (each for each in self._all if isinstance(each, w.ToggleButtons))
        return found

    @property
    def figure(self) -> go.FigureWidget:
        (found,) = (each for each in self._all if isinstance(each, go.FigureWidget))
        return found

    @property
    def message(self) -> str:
        """The HTML of the sentence under the controls."""
        texts = (each.value for each in self._all if isinstance(each, w.HTML))
        return next(text for text in texts if 'role="status"' in text)


def walk(widget: w.Widget) -> Iterator[w.Widget]:
    """The widget and all that it holds."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)
