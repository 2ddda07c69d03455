import errno
import os
import shutil
import stat
import time

import pytest
import torch
from safetensors.torch import save_file

from nanokimi.system.atomic import new_folder, remove_folder, remove_leftovers, write_json, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_text_replaces_the_old_one_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    for text in ("first\n", "second: é 雨\n"):
        write_text(path, text)
        assert path.read_bytes() == text.encode()
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700), (0o002, 0o664, 0o775)]
)
def test_who_may_read_is_what_the_umask_says(umask, file, folder, tmp_path):
    """Also of a file that its writer, as safetensors does, has hidden."""
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "a")
        with new_folder(tmp_path / "made") as unfinished:
            (unfinished / "inner").mkdir()
            save_file({"a": torch.zeros(1)}, unfinished / "inner" / "a.safetensors")
    finally:
        os.umask(before)
    rights = [
        stat.S_IMODE((tmp_path / each).stat().st_mode)
        for each in ("a.txt", "made/inner/a.safetensors", "made")
    ]
    assert rights == [file, file, folder]


@pytest.mark.parametrize("bad", [{"loss": float("nan")}, {"path": object()}])
def test_what_cannot_be_written_leaves_the_old_file(tmp_path, bad):
    path = tmp_path / "a.json"
    write_json(path, {"loss": 1.5})
    with pytest.raises((ValueError, TypeError)):
        write_json(path, bad)
    assert path.read_text() == '{\n "loss": 1.5\n}\n'
    assert names(tmp_path) == ["a.json"]


def test_a_disk_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(OSError, match="No space"):
        write_text(path, "new")
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_folder_appears_at_the_end_of_its_block(tmp_path):
    target = tmp_path / "run" / "step-1"
    with new_folder(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
    assert names(target) == ["a"] and names(target.parent) == ["step-1"]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_a_folder_that_is_given_up_leaves_nothing(tmp_path, stop):
    with pytest.raises(stop), new_folder(tmp_path / "a") as folder:
        (folder / "x").write_text("1")
        raise stop
    assert names(tmp_path) == []


@pytest.mark.parametrize("used", [False, True])
def test_a_folder_that_is_given_up_takes_the_folders_above_it_along_unless_they_are_in_use(tmp_path, used):
    with pytest.raises(ValueError), new_folder(tmp_path / "cache" / "tokens" / "a"):
        if used:
            (tmp_path / "cache" / "note").write_text("mine")
        raise ValueError
    assert names(tmp_path) == (["cache"] if used else [])


def test_a_full_folder_is_not_replaced(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("mine")
    with pytest.raises(OSError), new_folder(tmp_path / "a") as folder:
        (folder / "x").write_text("new")
    assert (tmp_path / "a" / "x").read_text() == "mine" and names(tmp_path) == ["a"]


def test_a_folder_disappears_before_its_files_are_deleted(tmp_path, monkeypatch):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "x").write_text("1")
    seen = []
    delete = shutil.rmtree

    def watch(path, **options):
        seen.append((folder.exists(), names(path)))
        delete(path, **options)

    monkeypatch.setattr(shutil, "rmtree", watch)
    remove_folder(folder)
    assert seen == [(False, ["x"])] and names(tmp_path) == []


def test_links_are_deleted_and_what_they_point_to_stays(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "x").write_text("keep")
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("step-1", ".writing-1", "a.txt"):
        (folder / name).symlink_to(mine / "x" if name == "a.txt" else mine)
    remove_folder(folder / "step-1")
    remove_leftovers(folder, older_than_s=0.0)
    write_text(folder / "a.txt", "new")
    assert names(folder) == ["a.txt"] and not (folder / "a.txt").is_symlink()
    assert (mine / "x").read_text() == "keep"


def test_a_file_system_that_cannot_sync_is_written_all_the_same(tmp_path, monkeypatch):
    """But a disk that fails at it is told of, and the old file stays."""
    path = tmp_path / "a.txt"

    def refuse(number):
        def fsync(_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)

    refuse(errno.EINVAL)
    write_text(path, "old")
    assert path.read_text() == "old"
    refuse(errno.EIO)
    with pytest.raises(OSError):
        write_text(path, "new")
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_leftovers_are_removed_after_a_day_and_nothing_else_is(tmp_path):
    long_ago = time.time() - 86_460
    for name in (".writing-old", ".writing-new", "kept"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "x").write_text("1")
        file = tmp_path / f"{name}.json"
        file.write_text("{}")
        if name != ".writing-new":
            os.utime(folder, (long_ago, long_ago))
            os.utime(file, (long_ago, long_ago))
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".writing-new", ".writing-new.json", "kept", "kept.json"]
    remove_leftovers(tmp_path / "no such folder")
