"""The panel around a training, without a front end: it changes nothing, and leaves a picture and a checkpoint."""

import asyncio
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from lab_utils.live.panel import TrainingPanel
from lab_utils.show.snapshot import Snapshot
from nanokimi import checkpoint
from nanokimi.config import OptimConfig
from nanokimi.generate import generate
from nanokimi.model import build_model
from nanokimi.step import TrainingDiverged
from nanokimi.train import train
from tests import tiny
from tests.live.made_up_runs import record
from tests.live.watched import ARM, CFG, facts, follow


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


def test_the_stop_button_keeps_the_checkpoint(shown, tmp_path):
    panel, records = follow(tmp_path, during=lambda panel, each: panel.stop() if each.step == 4 else None)
    assert panel.stopped and records[-1].step == 4
    assert checkpoint.load_checkpoint(tmp_path).state.step == 4
    assert isinstance(shown[0], Snapshot)


def test_an_interrupt_of_the_cell_acts_as_stop_does(shown, tmp_path):
    """The square button cancels the cell while it waits: step 5 is given up or, if it was done already, kept."""

    def during(panel, each):
        if each.step == 4:
            asyncio.current_task().cancel()

    panel, records = follow(tmp_path, during=during)
    assert panel.stopped and records[-1].step in (4, 5)
    assert checkpoint.load_checkpoint(tmp_path).state.step == records[-1].step
    assert isinstance(shown[0], Snapshot)


def test_a_break_out_of_the_loop_keeps_the_checkpoint(shown, tmp_path):
    async def cell() -> None:
        corpus, model = tiny.corpus(annotated=True), build_model(ARM.model)
        with TrainingPanel(corpus) as panel:
            records = train(model, corpus, CFG, tmp_path, steer=panel.steer)
            async for each in panel.track(records, ARM, model):
                if each.step == 4:
                    break

    asyncio.run(cell())
    assert checkpoint.load_checkpoint(tmp_path).state.step == 4
    assert "kimi: step 4 of 6" in shown[0].alt


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

    panel = TrainingPanel(tiny.corpus())
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
    panel, records = follow(tmp_path / "b", during=lambda panel, each: panel.request("lr_factor", 1e32))
    assert panel.stopped and len(records) < 6
    endings = [str(each) for each in shown if isinstance(each, dict)]
    assert any(
        "Stopped: " in ending and "What may help in a new run: a lower optim.lr than " in ending
        for ending in endings
    )


def test_without_a_front_end_no_widget_is_imported():
    code = (
        "import sys, lab_utils.live.panel\n"
        "from tests import tiny\n"
        "lab_utils.live.panel.TrainingPanel(tiny.corpus())\n"
        "assert not {'ipywidgets', 'plotly', 'anywidget'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
