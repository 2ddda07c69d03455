"""A run's folder: one owner, two checkpoints, and an older run or the new one, never a mix."""

import contextlib
import subprocess
import sys

import pytest
import torch

from nanokimi import checkpoint
from nanokimi.config import ConfigError
from nanokimi.runs import folder
from nanokimi.train import train
from tests import tiny
from tests.training import drop_clock, make_model, read_log, read_refusal, run, stop_after

TRAINS = """
import pathlib, sys
from nanokimi.train import train
from tests import tiny
from tests.training import make_model
for record in train(make_model("gpt"), tiny.corpus(), tiny.train_config(steps=100000), pathlib.Path(sys.argv[1])):
    print(record.step, flush=True)
"""


def names(path):
    return sorted(each.name for each in path.iterdir())


# ---------------------------------------------------------------- one owner


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_training_in_a_folder_is_refused_in_one_line(resume, tmp_path):
    cfg = tiny.train_config()
    running = train(make_model("gpt"), tiny.corpus(), cfg, tmp_path / "run")
    for _ in range(4):
        next(running)
    before = (tmp_path / "run" / "steps.jsonl").read_bytes()
    line = read_refusal(ConfigError, make_model("gpt"), tiny.corpus(), cfg, tmp_path / "run", resume)
    assert line == (
        f"folder '{tmp_path / 'run'}' is in use: another training writes there; "
        "wait until it ends, or name another folder"
    )
    assert (tmp_path / "run" / "steps.jsonl").read_bytes() == before
    assert checkpoint.load_checkpoint(tmp_path / "run").state.step == 3  # reading needs no lock
    running.close()
    assert [record.step for record in run(make_model("gpt"), cfg, run_dir=tmp_path / "run", resume=True)] == [
        5,
        6,
    ]
    assert names(tmp_path / "run") == ["step-000004", "step-000006", "steps.jsonl"]


def test_the_lock_is_for_other_processes_too_and_dies_with_its_own(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", TRAINS, str(tmp_path / "run")], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        while int(other.stdout.readline()) < 4:
            pass
        cfg = tiny.train_config(steps=100000)
        line = read_refusal(ConfigError, make_model("gpt"), tiny.corpus(), cfg, tmp_path / "run", resume=True)
        assert "is in use" in line
    finally:
        other.kill()
        other.communicate()
    stop_after(make_model("gpt"), cfg, 2, tmp_path / "run", resume=True)


def test_a_training_that_fails_leaves_the_folder_free(tmp_path):
    def fail(*_):
        raise RuntimeError("no memory")

    model = make_model("gpt")
    hook = model.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="no memory"):
        run(model, tiny.train_config(), run_dir=tmp_path / "a" / "run")
    assert names(tmp_path) == []
    hook.remove()
    run(model, tiny.train_config(), run_dir=tmp_path / "a" / "run")


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_what_is_no_lock_in_its_place_is_refused_and_nothing_outside_is_touched(kind, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "mine").write_text("keep")
    lock = tmp_path / "run" / folder.LOCK
    lock.symlink_to(tmp_path / "mine") if kind == "link" else lock.mkdir()
    line = read_refusal(ConfigError, make_model("gpt"), tiny.corpus(), tiny.train_config(), tmp_path / "run")
    assert line.startswith(f"folder '{tmp_path / 'run'}' cannot be written: ")
    assert (tmp_path / "mine").read_text() == "keep"


# ---------------------------------------------------------------- a new run in the folder of an older one


def test_a_start_that_fails_leaves_the_older_run_as_it_was(tmp_path):
    run(make_model("gpt"), tiny.train_config(), run_dir=tmp_path)
    before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}
    model = make_model("gpt")
    model.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("no memory")))
    with pytest.raises(RuntimeError):
        run(model, tiny.train_config(), run_dir=tmp_path)
    assert {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} == before


def test_until_the_new_run_has_a_checkpoint_the_older_one_is_there_and_can_be_resumed(tmp_path):
    """The older one stopped at step 5 of 6; the new one has another seed, and a checkpoint at step 3."""
    cfg, other = tiny.train_config(), tiny.train_config(seed=8)
    whole = drop_clock(run(make_model("gpt"), cfg))
    stop_after(make_model("gpt"), cfg, 5, tmp_path)
    running = train(make_model("gpt", seed=1), tiny.corpus(), other, tmp_path)
    next(running)
    assert (checkpoint.load_checkpoint(tmp_path).train, checkpoint.load_checkpoint(tmp_path).state.step) == (
        cfg,
        5,
    )
    _abandon(running)
    run(make_model("gpt"), cfg, run_dir=tmp_path, resume=True)
    assert read_log(tmp_path) == whole
    assert names(tmp_path) == ["step-000005", "step-000006", "steps.jsonl"]

    running = train(make_model("gpt", seed=1), tiny.corpus(), other, tmp_path)
    for _ in range(3):
        next(running)
    assert (checkpoint.load_checkpoint(tmp_path).train, checkpoint.load_checkpoint(tmp_path).state.step) == (
        other,
        3,
    )
    running.close()
    assert names(tmp_path) == ["step-000003", "steps.jsonl"]
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3]


def _abandon(running):
    """End a training as an exception between two steps does: nothing is saved."""
    with contextlib.suppress(KeyboardInterrupt):
        running.throw(KeyboardInterrupt)


def test_a_new_run_twice_begun_still_keeps_the_older_one(tmp_path):
    """What the first new run had logged is not taken for the older run's log."""
    cfg = tiny.train_config()
    stop_after(make_model("gpt"), cfg, 4, tmp_path)
    for seed in (8, 9):
        running = train(make_model("gpt"), tiny.corpus(), tiny.train_config(seed=seed), tmp_path)
        next(running)
        _abandon(running)
    run(make_model("gpt"), cfg, run_dir=tmp_path, resume=True)
    assert read_log(tmp_path) == drop_clock(run(make_model("gpt"), cfg))


# ---------------------------------------------------------------- which checkpoints there are


def make_checkpoint(run_dir, name):
    (run_dir / name).mkdir(parents=True)
    (run_dir / name / "checkpoint.json").write_text("{}")


def test_only_names_of_checkpoints_count_and_the_highest_number_comes_first(tmp_path):
    for name in ("step-000009", "step-000100", "step-1000000", "step-9", "step-\x1b[2J", "step-000101.old"):
        make_checkpoint(tmp_path, name)
    (tmp_path / "step-000200").mkdir()
    make_checkpoint(tmp_path, ".replaced-step-000300")
    found = [each.name for each in folder.list_checkpoints(tmp_path)]
    assert found == ["step-1000000", "step-000100", "step-000009"]
    assert folder.list_checkpoints(tmp_path / "none") == []


def test_of_the_checkpoints_of_a_run_the_new_one_and_the_one_before_it_are_kept(tmp_path):
    """Higher numbers are those that did not load when the run was resumed."""
    for step in (1, 2, 3, 5, 6):
        make_checkpoint(tmp_path, f"step-00000{step}")
    make_checkpoint(tmp_path, ".replaced-step-000007")
    folder.keep_two(tmp_path / "step-000003")
    assert names(tmp_path) == ["step-000002", "step-000003"]


def test_a_link_in_place_of_a_checkpoint_is_skipped_and_its_target_stays(tmp_path):
    cfg = tiny.train_config()
    stop_after(make_model("gpt"), cfg, 3, tmp_path / "mine")
    stop_after(make_model("gpt"), cfg, 3, tmp_path / "run")
    kept = tmp_path / "mine" / "step-000003"
    for step in (4, 6):
        (tmp_path / "run" / f"step-00000{step}").symlink_to(kept)
    found = checkpoint.load_checkpoint(tmp_path / "run")
    assert (
        found.state.step == 3
        and [line.split(" is ")[1] for line in found.skipped] == ["a link, not a folder of this run"] * 2
    )
    run(make_model("gpt"), cfg, run_dir=tmp_path / "run", resume=True)
    assert names(tmp_path / "run") == ["step-000003", "step-000006", "steps.jsonl"]
    assert not any(each.is_symlink() for each in (tmp_path / "run").iterdir())
    assert checkpoint.load_checkpoint(kept).state.step == 3
    (tmp_path / "named").symlink_to(kept)
    assert checkpoint.load_checkpoint(tmp_path / "named").state.step == 3


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one_to_the_same_end(tmp_path):
    cfg = tiny.train_config(eval_every=2)
    whole = make_model("gpt")
    expected = drop_clock(run(whole, cfg))
    stop_after(make_model("gpt"), cfg, 4, tmp_path)
    (tmp_path / "step-000004" / "model.safetensors").write_bytes(b"")
    again = make_model("gpt", seed=5)
    assert [record.step for record in run(again, cfg, run_dir=tmp_path, resume=True)] == [3, 4, 5, 6]
    assert read_log(tmp_path) == expected
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), whole.parameters(), strict=True))


def test_a_newer_checkpoint_without_its_description_is_told(tmp_path):
    run(make_model("gpt"), tiny.train_config(), run_dir=tmp_path)
    (tmp_path / "step-000006" / "checkpoint.json").unlink()
    found = checkpoint.load_checkpoint(tmp_path)
    assert found.state.step == 3 and found.skipped == (
        f"checkpoint {tmp_path}/step-000006: checkpoint.json is missing",
    )


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_run_needs_the_name_of_a_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r"run_dir=.* must (name a folder|be a path, and no path has a zero byte)"
    ):
        run(make_model("gpt"), tiny.train_config(), run_dir=name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_goes_while_it_is_looked_at_holds_nothing(tmp_path, monkeypatch):
    def gone(*_):
        raise FileNotFoundError(2, "No such file or directory", str(tmp_path))
        yield

    monkeypatch.setattr(type(tmp_path), "glob", gone)
    assert folder.list_checkpoints(tmp_path) == []
