"""Power cuts, kills and full disks: what was said to be saved is there. `make faults` makes these by the hundred."""

import random
from unittest import mock

import pytest

from benchmarks.faults import power_cut
from benchmarks.faults.cuts import KILLED, NAMES, SYNCED, Disk
from nanokimi import checkpoint
from nanokimi.runs.log import LogError
from nanokimi.system import atomic
from nanokimi.system.atomic import WRITING, new_folder, write_text
from nanokimi.train import train
from tests import tiny
from tests.training import make_model, run, stop_after


def content(disk, kind):
    """What the last cut of this kind leaves."""
    return [cut.files for cut in disk.cuts if cut.kind == kind][-1]


# ---------------------------------------------------------------- the model of a disk


def test_a_power_cut_keeps_what_was_synced(tmp_path):
    """By hand: a file that is synced in a folder that is not has no name; one that is not synced has no content."""
    with Disk(tmp_path).watch() as disk:
        (tmp_path / "loose").write_text("1")
        with (tmp_path / "held").open("w") as file:
            file.write("2")
            file.flush()
            atomic.os.fsync(file.fileno())
            disk.keep("here")
            assert content(disk, KILLED) == {"loose": b"1", "held": b"2"}
            assert content(disk, NAMES) == {"loose": b"", "held": b"2"}
            assert content(disk, SYNCED) == {}
        atomic.sync(tmp_path)
        assert content(disk, SYNCED) == {}
        disk.keep("here")
        assert content(disk, SYNCED) == {"loose": b"", "held": b"2"}
        (tmp_path / "held").rename(tmp_path / "moved")
        disk.keep("here")
        assert content(disk, SYNCED) == {"loose": b"", "held": b"2"}
        assert content(disk, NAMES) == {"loose": b"", "moved": b"2"}


def test_what_atomic_has_written_is_on_the_disk(tmp_path):
    """At every moment before, there is the old content or the new one."""
    write_text(tmp_path / "a.txt", "old")
    atomic.sync(tmp_path)
    disk = Disk(tmp_path)
    disk._remember(tmp_path / "a.txt")
    with disk.watch():
        write_text(tmp_path / "a.txt", "new")
        with new_folder(tmp_path / "deep" / "folder") as folder:
            (folder / "x").write_text("1")
            (folder / "y").mkdir()
            (folder / "y" / "z").write_text("2")
    for cut in disk.cuts:
        whole = {
            "deep": None,
            "deep/folder": None,
            "deep/folder/x": b"1",
            "deep/folder/y": None,
            "deep/folder/y/z": b"2",
        }
        assert cut.files["a.txt"] in (b"old", b"new")
        found = {name: text for name, text in cut.files.items() if name.startswith("deep/folder")}
        assert found in ({}, {name: text for name, text in whole.items() if name != "deep"})
    assert content(disk, SYNCED) == content(disk, NAMES) == {"a.txt": b"new", **whole}


def test_no_moment_of_a_power_cut_or_a_kill_loses_what_was_saved(tmp_path):
    cuts = power_cut.record_cuts(tmp_path / "model")
    runs = [
        power_cut.complete(tmp_path / str(cfg.seed), cfg) for cfg in (power_cut.TRAINING, power_cut.OTHER)
    ]
    lost = []
    for number, cut in enumerate(random.Random(0).sample(cuts, 24)):
        cut.write(tmp_path / f"cut-{number}")
        lost.append(power_cut.check(cut, tmp_path / f"cut-{number}" / "run", runs))
    assert not any(lost), lost


def test_without_the_sync_the_model_shows_what_is_lost(tmp_path):
    with mock.patch("nanokimi.system.atomic.sync"):
        cuts = power_cut.record_cuts(tmp_path / "model")
    lost = 0
    for number, cut in enumerate(
        cut for cut in cuts if cut.kind == NAMES and cut.operation.startswith("step")
    ):
        cut.write(tmp_path / f"cut-{number}")
        try:
            checkpoint.load_checkpoint(tmp_path / f"cut-{number}" / "run")
        except checkpoint.CheckpointError:
            lost += 1
    assert lost >= 8


# ---------------------------------------------------------------- a full disk


def fill(monkeypatch, at="model.safetensors"):
    """No space left while this file of a checkpoint is written."""
    real = checkpoint.save_file

    def save(tensors, path):
        if path.name == at:
            path.write_bytes(b"half")
            raise checkpoint.SafetensorError("No space left on device")
        real(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", save)


@pytest.mark.parametrize("saved_by", ["closing", "an evaluation"])
def test_a_save_that_fails_is_one_line_and_the_older_checkpoint_stays(saved_by, tmp_path, monkeypatch):
    """Closing a training raises it: whoever closes can tell."""
    run_dir = tmp_path / "run"
    running = train(make_model("gpt"), tiny.corpus(), tiny.train_config(), run_dir)
    for _ in range(5):
        next(running)
    fill(monkeypatch)
    with pytest.raises(checkpoint.CheckpointError) as error:
        running.close() if saved_by == "closing" else next(running)
    assert str(error.value) == (
        f"folder '{run_dir}' cannot be written: No space left on device; "
        f"what is saved is '{run_dir / 'step-000003'}'"
    )
    assert not list(run_dir.glob(f"{WRITING}*"))
    monkeypatch.undo()
    assert [
        record.step for record in run(make_model("gpt"), tiny.train_config(), run_dir=run_dir, resume=True)
    ] == [4, 5, 6]


def test_the_first_save_that_fails_says_that_nothing_is_saved(tmp_path, monkeypatch):
    fill(monkeypatch, at="optimizer.safetensors")
    with pytest.raises(checkpoint.CheckpointError, match=r"; nothing is saved$"):
        stop_after(make_model("gpt"), tiny.train_config(), 1, tmp_path)


def test_a_log_that_cannot_grow_is_one_line(tmp_path, monkeypatch):
    running = train(make_model("gpt"), tiny.corpus(), tiny.train_config(), tmp_path)
    next(running)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nanokimi.runs.log.open", full, raising=False)
    with pytest.raises(LogError) as error:
        next(running)
    assert str(error.value) == f"log '{tmp_path / 'steps.jsonl'}' cannot be written: No space left on device"
