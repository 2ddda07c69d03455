"""steps.jsonl: lines by the number of their step, whatever was in the file before."""

import json
import os
import shutil

import pytest

from nanokimi import checkpoint
from nanokimi.runs.log import LogError, StepLog, describe_gaps
from nanokimi.train import train
from tests import tiny
from tests.training import drop_clock, make_model, read_log, run, stop_after


def line(step, **more):
    return json.dumps({"step": step, **more}) + "\n"


def test_lines_are_kept_by_their_step(tmp_path):
    """Not by their count, and once each: this is what two trainings in one folder, kills and editors have left."""
    deep = '{"step": 3, "x": ' + "[" * 100_000 + "]" * 100_000 + "}\n"
    text = "".join(
        [
            *(line(1, loss=1.0), "\n", "no JSON\n", '{"step": 2, "loss": NaN}\n', "[2]\n", deep),
            *(
                '{"step": true}\n',
                '{"step": "2"}\n',
                '{"step": 2.0}\n',
                '{"step": -1}\n',
                f'{{"step": {"9" * 5000}}}\n',
            ),
            *(
                line(2, loss=2.0),
                line(3, loss=3.0),
                line(2, loss=7.0),
                line(3, loss=8.0),
                line(5),
                line(4, loss=4.0),
            ),
            '{"step": 4, "lo',
        ]
    )
    (tmp_path / "steps.jsonl").write_bytes(text.encode() + b"\xff\xfe")
    log = StepLog(tmp_path, keep_steps=4)
    assert (tmp_path / "steps.jsonl").read_text() == line(1, loss=1.0) + line(2, loss=2.0) + line(
        3, loss=3.0
    ) + line(4, loss=4.0)
    log.write({"step": 5})
    log.sync()
    assert (tmp_path / "steps.jsonl").read_text().endswith(line(4, loss=4.0) + line(5))
    StepLog(tmp_path, keep_steps=0)
    assert (tmp_path / "steps.jsonl").read_text() == ""


def test_no_line_has_a_number_that_json_does_not_have(tmp_path):
    log = StepLog(tmp_path, keep_steps=0)
    with pytest.raises(ValueError):
        log.write({"step": 1, "loss": float("nan")})
    assert (tmp_path / "steps.jsonl").read_text() == ""


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "device"])
def test_resuming_a_strangers_folder_touches_nothing_outside_it(kind, tmp_path):
    """Also where its log is a link to a file of ours, or something that never ends."""
    stop_after(make_model("gpt"), tiny.train_config(), 3, tmp_path / "run")
    log, mine = tmp_path / "run" / "steps.jsonl", tmp_path / "mine"
    log.rename(mine)
    before = mine.read_bytes()
    if kind == "folder":
        log.mkdir()
    elif kind == "pipe":
        os.mkfifo(log)
    else:
        log.symlink_to(mine if kind == "link" else "/dev/zero")
    with pytest.raises(LogError) as error:
        run(make_model("gpt"), tiny.train_config(), run_dir=tmp_path / "run", resume=True)
    assert str(error.value) == (
        f"log '{log}' is no file but a link, a folder or a pipe: delete it to go on without its lines"
    )
    assert mine.read_bytes() == before


def test_a_new_run_replaces_a_link_in_place_of_its_log(tmp_path):
    (tmp_path / "mine").write_text("keep")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "steps.jsonl").symlink_to(tmp_path / "mine")
    run(make_model("gpt"), tiny.train_config(), run_dir=tmp_path / "run")
    assert (tmp_path / "mine").read_text() == "keep"
    assert len(read_log(tmp_path / "run")) == 6


def test_a_link_that_comes_while_a_training_runs_is_not_followed(tmp_path):
    running = train(make_model("gpt"), tiny.corpus(), tiny.train_config(), tmp_path / "run")
    next(running)
    (tmp_path / "mine").write_text("keep")
    (tmp_path / "run" / "steps.jsonl").unlink()
    (tmp_path / "run" / "steps.jsonl").symlink_to(tmp_path / "mine")
    with pytest.raises(LogError, match="cannot be written"):
        next(running)
    assert (tmp_path / "mine").read_text() == "keep"


def test_a_log_of_two_trainings_is_mended_by_resuming(tmp_path):
    cfg = tiny.train_config()
    stop_after(make_model("gpt"), cfg, 4, tmp_path)
    log = tmp_path / "steps.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(each for pair in zip(lines, lines) for each in pair) + lines[0][:40])
    run(make_model("gpt"), cfg, run_dir=tmp_path, resume=True)
    assert read_log(tmp_path) == drop_clock(run(make_model("gpt"), cfg))


@pytest.mark.parametrize(
    ("kept", "gaps"),
    [
        ([1, 2, 3, 4, 5, 6], ""),
        ([1, 2, 3, 4, 5, 6, 7, 9], ""),  # later steps are none of the checkpoint's
        ([1, 2, 4, 5, 6], "step 3:"),
        ([3, 4], "steps 1 to 2, 5 to 6:"),
        ([], "steps 1 to 6:"),
        ([1, 3, 5], "steps 2, 4, 6:"),
    ],
)
def test_steps_without_a_line_are_described(kept, gaps, tmp_path):
    log = tmp_path / "steps.jsonl"
    log.write_text("{bad\n".join(["", *map(line, kept)]))
    found = describe_gaps(log, done=6)
    assert (f"no line, or a damaged one, for {gaps}" in found) if gaps else found == ""


def test_of_many_gaps_some_are_named(tmp_path):
    (tmp_path / "steps.jsonl").write_text("".join(line(step) for step in range(2, 10**5, 2)))
    assert " for steps 1, 3, 5, 7, 9 and 49995 more gaps: " in describe_gaps(
        tmp_path / "steps.jsonl", 10**5 - 1
    )
    assert "steps 1 to 3:" in describe_gaps(tmp_path / "nothing.jsonl", 3)


@pytest.mark.parametrize("how", ["deleted", "moved", "moved before the first step"])
def test_a_folder_that_goes_is_told_to_be_gone_and_not_made_again(how, tmp_path):
    run_dir, place = tmp_path / "run", tmp_path / "place"

    def steer(step: int) -> list:
        if step == (1 if "before" in how else 5) and run_dir.exists():
            shutil.rmtree(run_dir) if how == "deleted" else run_dir.rename(place)
        return []

    with pytest.raises(LogError) as error:
        run(make_model("gpt"), tiny.train_config(), run_dir=run_dir, steer=steer)
    assert str(error.value).startswith(f"folder '{run_dir}' is gone: it was deleted or moved ")
    assert "`nanokimi train --resume --out NEW`" in str(error.value)
    assert not run_dir.exists()
    if how == "moved":
        resumed = run(make_model("gpt"), tiny.train_config(), run_dir=place, resume=True)
        assert [record.step for record in resumed] == [4, 5, 6]


def test_a_folder_that_goes_while_a_checkpoint_is_written_is_told_to_be_gone(tmp_path, monkeypatch):
    real = checkpoint.save_file

    def save(tensors, path):
        shutil.rmtree(tmp_path / "run")
        real(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", save)
    with pytest.raises(checkpoint.CheckpointError, match=r"run' is gone: it was deleted or moved"):
        run(make_model("gpt"), tiny.train_config(), run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
