"""Two ranks under torchrun, watched and steered by the panel of notebook 08 through the folder of their run."""

import ast
import asyncio
import json
import re
import time
import types
from pathlib import Path

import pytest

from lab_utils.bench.follow import SAVED_WITHIN_S, _Messenger, follow_run
from lab_utils.live.panel import TrainingPanel
from nanokimi import checkpoint
from nanokimi.cli.commands import run_command
from nanokimi.cli.outside import Outside
from nanokimi.cli.program import call
from nanokimi.record import StepRecord
from nanokimi.runs.folder import LOG
from nanokimi.runs.wishes import WISHES, Wishes, forget_wishes, read_wishes, write_wishes
from nanokimi.steering import EndTraining, Intervention
from nanokimi.train import train
from tests import tiny
from tests.cli.conftest import SMALL, write_tales
from tests.live.watched import ARM
from tests.ranks.test_torchrun import LIMIT_S, start
from tests.training import EVERYTHING, MUON, intervene, make_kimi, make_model


def test_a_record_comes_back_from_its_line():
    """Evaluations with roles and all kinds of interventions, through the text of a line."""
    for record in train(make_kimi(), tiny.corpus(annotated=True), MUON, steer=intervene(*EVERYTHING)):
        assert StepRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    with pytest.raises(ValueError, match=r"step='one' must be a whole number"):
        StepRecord.from_dict(record.to_dict() | {"step": "one"})


def test_wishes_come_back_from_their_file(tmp_path):
    assert read_wishes(tmp_path) == Wishes()
    wishes = Wishes(pause=True, settings={"lr_factor": 0.5, "frozen_experts": [[1, 2]]})
    write_wishes(tmp_path, wishes)
    assert read_wishes(tmp_path) == wishes
    (tmp_path / WISHES).write_text('{"pause": 1}')
    with pytest.raises(ValueError, match=r"steer.json: pause=1 must be true or false"):
        read_wishes(tmp_path)


def test_a_training_obeys_what_it_can(tmp_path, capsys):
    """A change is asked for until it was taken; what cannot be is told once and does no harm."""
    outside = Outside(tmp_path, make_model("kimi-mla"))
    ask = lambda step: outside.ask(step, lambda: True)
    assert ask(1) == ()
    write_wishes(tmp_path, Wishes(pause=True, settings={"lr_factor": 0.5, "frozen_experts": [[7, 7]]}))
    assert ask(2) == ask(2) == (Intervention(2, "lr_factor", 0.5),)
    (record,) = [each for each in train_two_steps() if each.step == 2]
    outside.see(record)
    assert ask(3) == ()
    (tmp_path / WISHES).write_text("{")
    assert ask(3) == ()
    write_wishes(tmp_path, Wishes(stop=True))
    with pytest.raises(EndTraining):
        ask(4)
    assert outside.has_stopped
    said = capsys.readouterr().err
    assert said.count("layer 7 has no experts") == said.count("line 1 is no JSON") == 1


def train_two_steps() -> list[StepRecord]:
    cfg = tiny.train_config(steps=2, warmup_steps=1)
    steer = intervene(Intervention(2, "lr_factor", 0.5))
    return list(train(make_model("kimi-mla"), tiny.corpus(), cfg, steer=steer))


def test_a_run_that_has_ended_gives_the_weights_that_it_still_has(tmp_path):
    """Of three evaluations the first one's checkpoint is gone: nobody waits for it. A damaged one is told."""
    cfg = tiny.train_config(steps=6, warmup_steps=1, eval_every=2)
    records = list(train(make_model("kimi-mla"), tiny.corpus(), cfg, tmp_path))
    model = make_model("kimi-mla", harsh=True)
    started, found = time.monotonic(), []
    for record in follow_run(tmp_path, model):
        found.append(record)
        if record.step == 4:
            kept = checkpoint.load_checkpoint(tmp_path / "step-000004").model.state_dict()
            assert all(value.equal(kept[name]) for name, value in model.state_dict().items())
    assert found == records and time.monotonic() - started < SAVED_WITHIN_S / 2
    weights = tmp_path / "step-000006" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(checkpoint.CheckpointError):
        list(follow_run(tmp_path, model))


def test_what_is_asked_before_the_first_step_is_written_after_it(tmp_path, monkeypatch):
    """And once more where the training that begins has deleted it."""
    monkeypatch.setattr("lab_utils.bench.follow.POLL_SECONDS", 0.01)
    asked = iter([(Intervention(1, "lr_factor", 0.5),)])
    messenger = _Messenger(tmp_path / "run", lambda step: next(asked, ()))
    messenger.ask(1)
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOG).touch()
    for _ in range(2):
        messenger.ask(2)
        assert read_wishes(tmp_path / "run").settings == {"lr_factor": 0.5}
        forget_wishes(tmp_path / "run")
    messenger.close(2)


def test_each_step_comes_once_where_a_run_was_killed_and_begun_again(tmp_path, monkeypatch):
    """Its log is written anew up to the last checkpoint, and steps after that come a second time."""
    monkeypatch.setattr("lab_utils.bench.follow.POLL_SECONDS", 0.01)
    cfg = tiny.train_config(steps=6, warmup_steps=1, eval_every=2)
    records = list(train(make_model("kimi-mla"), tiny.corpus(), cfg, tmp_path))
    lines = (tmp_path / LOG).read_text().splitlines(keepends=True)
    (tmp_path / LOG).write_text("".join(lines[:3]))
    following = follow_run(tmp_path)
    found = [next(following) for _ in range(3)]
    (tmp_path / "again").write_text("".join(lines))
    (tmp_path / "again").replace(tmp_path / LOG)
    assert [*found, *following] == records


def test_what_the_documents_say_of_a_run_of_others(tmp_path, monkeypatch):
    """Their lines, run as a cell, show every step of a run of `nanokimi train`."""
    write_tales(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert call("nanokimi", run_command, ["train", *SMALL, "--data=tales.txt", "--out=shared"]) == 0
    text = (Path(__file__).parents[2] / "docs" / "many-machines.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", text, re.S)
    lines = lines.replace('"/shared/out/a"', '"shared"').replace("pass", "seen.append(record.step)")
    code = compile(lines, "many-machines.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    seen: list[int] = []
    asyncio.run(types.FunctionType(code, {"seen": seen})())
    assert seen == [1, 2, 3, 4, 5, 6]


def test_the_panel_watches_and_steers_two_ranks(tmp_path, monkeypatch):
    """Pause holds the run, a change reaches its log, Stop saves and ends it with code 0."""
    monkeypatch.setattr("lab_utils.bench.follow.POLL_SECONDS", 0.05)
    write_tales(tmp_path)
    sets = ["--set=train.steps=5000", "--set=train.grad_accum=2", "--set=train.eval_every=5000"]
    process = start(tmp_path, *SMALL, *sets, "--data=tales.txt", "--out=run")
    folder, held = tmp_path / "run", []

    def count() -> int:
        return (folder / "steps.jsonl").read_text().count("\n")

    async def cell() -> None:
        with TrainingPanel(tiny.corpus(annotated=True)) as panel:
            records = follow_run(folder, None, panel.steer, lambda: process.poll() is not None)
            async for record in panel.track(records, ARM, make_model("kimi-mla")):
                if record.step == 5:
                    panel.pause()
                    await asyncio.sleep(0)
                    panel.request("lr_factor", 0.5)
                    asyncio.get_running_loop().call_later(4.0, lambda: held.append(count()))
                    asyncio.get_running_loop().call_later(6.0, lambda: (held.append(count()), panel.go_on()))
                if record.interventions:
                    panel.stop()

    try:
        asyncio.run(asyncio.wait_for(cell(), LIMIT_S))
        said, errors = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert held[0] == held[1]  # two seconds in which nothing was trained
    lines = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    changed = [line for line in lines if line["interventions"]]
    assert [each["what"] for line in changed for each in line["interventions"]] == ["lr_factor"]
    assert changed[0]["step"] > held[0]
    assert process.returncode == 0, errors[-3000:]
    assert f"stopped after step {lines[-1]['step']} and saved" in said
    assert checkpoint.load_checkpoint(folder).state.step == lines[-1]["step"]
