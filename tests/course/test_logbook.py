"""The learner's file: always whole, never lost by a second writer or by damage, and forgotten on request."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab_utils.course import logbook as module
from lab_utils.course.check import check
from lab_utils.course.hints import hint
from lab_utils.course.logbook import Logbook, logbook_path
from lab_utils.course.progress import progress
from nanokimi.experts import swiglu as right
from nanokimi.system.lock import hold


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.delenv("NANOKIMI_PROGRESS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert logbook_path() == tmp_path / "nanokimi" / "progress.json"


def test_a_user_without_a_home_is_told(monkeypatch, capsys):
    monkeypatch.delenv("NANOKIMI_PROGRESS")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", lambda self: (_ for _ in ()).throw(RuntimeError("no home")))
    Logbook.open().note_check("attend", "passed")
    assert "cannot be written" in capsys.readouterr().err


def test_solved_stays_solved_and_a_stub_is_no_attempt():
    for status in ("not tried", "failed", "passed", "failed"):
        Logbook.open().note_check("attend", status)
    assert Logbook.open().checks == {"attend": {"solved": True, "attempts": 3}}
    assert Logbook.open().solved("attend") and not Logbook.open().solved("other")


def test_the_first_guess_counts_and_the_last_hint():
    for right_now in (False, True):
        Logbook.open().note_prediction("scale", right_now)
    for number in (1, 3, 2):
        Logbook.open().note_hint("attend", number)
    assert Logbook.open().predictions == {"scale": False} and Logbook.open().hints == {"attend": 3}


def test_an_entry_adds_to_what_others_wrote_since():
    mine, other = Logbook.open(), Logbook.open()
    other.note_check("attend", "passed")
    mine.note_check("rope", "failed")
    mine.note_hint("rope", 1)
    assert set(mine.checks) == {"attend", "rope"}
    assert Logbook.open() == mine


DAMAGED = (
    '{"checks": ',
    "[]",
    '{"checks": {}, "hints": []}',
    '{"checks": {"attend": 5}, "hints": {}, "predictions": {}}',
    '{"checks": {"attend": {"solved": 1, "attempts": 1}}, "hints": {}, "predictions": {}}',
    '{"checks": {}, "hints": {"attend": "\\u001b[31m"}, "predictions": {}}',
    '{"checks": {}, "hints": {}, "predictions": {"scale": null}}',
    "[" * 100_000,
    "\x00" * 50,
    "",
)


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_file_is_put_aside_and_said(text, capsys):
    path = logbook_path()
    path.parent.mkdir()
    path.write_text(text)
    assert Logbook.open() == Logbook(path)
    line = capsys.readouterr().err
    assert line.startswith("The logbook was damaged (") and line.count("\n") == 1 and "\x1b" not in line
    assert path.with_suffix(".damaged").read_text() == text
    Logbook.open().note_hint("attend", 2)
    assert json.loads(path.read_text())["hints"] == {"attend": 2}
    path.write_text(text)
    Logbook.open().note_hint("rope", 1)  # the second one has a name of its own
    assert path.with_suffix(".damaged-2").read_text() == text
    names = {"progress.damaged", "progress.damaged-2", "progress.json"}
    assert {p.name for p in path.parent.iterdir()} == names


def test_bytes_that_are_no_text_are_damage():
    path = logbook_path()
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe\x00")
    assert Logbook.open().checks == {} and path.with_suffix(".damaged").read_bytes() == b"\xff\xfe\x00"


def test_reset_forgets_everything():
    Logbook.open().note_check("attend", "passed")
    Logbook.open().reset()
    assert not logbook_path().exists()
    assert not Logbook.open().solved("attend")


@pytest.mark.parametrize("place", ["/proc/none/progress.json", "/dev/null/progress.json"])
def test_where_nothing_can_be_kept_the_verdict_is_shown_and_a_line_says_so(monkeypatch, capsys, place):
    def swiglu(x, gate_up, down):
        return right(x, gate_up, down)

    monkeypatch.setenv("NANOKIMI_PROGRESS", place)
    assert check(swiglu).status == "passed"
    assert hint("swiglu").text.startswith("Hint 1 of")
    assert progress("03").rows[0].solved == 0
    Logbook.open().reset()
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith(f"Not kept: the logbook {place} cannot be written: ") for line in lines)
    assert all(line.endswith(". NANOKIMI_PROGRESS names another file.") for line in lines)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file_is_neither_read_nor_replaced_nor_deleted(monkeypatch, capsys, tmp_path, kind):
    path = tmp_path / "logbook"
    {"pipe": os.mkfifo, "folder": os.mkdir, "device": lambda it: it.symlink_to("/dev/zero")}[kind](path)
    monkeypatch.setenv("NANOKIMI_PROGRESS", str(path))
    before = path.stat().st_mode
    Logbook.open().note_check("attend", "passed")
    Logbook.open().reset()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 and all("it is no file but a folder, a device or a pipe" in line for line in lines)
    assert path.stat().st_mode == before


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_whatever_the_file_system_answers_is_said_in_its_words(monkeypatch, capsys, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module.atomic, "write_json", refuse)
    mine = Logbook.open()
    mine.note_check("attend", "passed")
    assert mine.checks == {"attend": {"solved": True, "attempts": 1}} and Logbook.open().checks == {}
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr(module, "hold", refuse)
    mine.note_check("attend", "passed")
    line = capsys.readouterr().err
    assert f"cannot be written: {os.strerror(number)}. NANOKIMI_PROGRESS" in line


def test_a_lock_that_is_held_is_waited_for_and_then_said(monkeypatch, capsys):
    monkeypatch.setattr(module, "WAIT_S", 0.1)
    started = time.monotonic()
    with hold(logbook_path().with_suffix(".lock")):
        Logbook.open().note_check("attend", "passed")
    assert time.monotonic() - started < 5
    line = capsys.readouterr().err
    assert line.startswith("Not kept: the logbook") and "is held by another program" in line


WRITER = """
import sys
from pathlib import Path
from lab_utils.course.logbook import Logbook
name, times = sys.argv[1], int(sys.argv[2])
for i in range(times):
    Logbook.open().note_check("shared", "failed")
    Logbook.open().note_check(f"{name}-{i}", "passed")
"""


def test_processes_that_write_at_once_lose_nothing():
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, f"w{n}", "20"]) for n in range(6)]
    assert [writer.wait(120) for writer in writers] == [0] * 6
    checks = Logbook.open().checks
    assert checks.pop("shared")["attempts"] == 120
    assert len(checks) == 120 and all(entry == {"solved": True, "attempts": 1} for entry in checks.values())
    assert {p.name for p in logbook_path().parent.iterdir()} == {"progress.json"}


def test_an_answer_that_passes_after_its_reveal_is_read_and_one_that_passed_before_stays_solved(tmp_path):
    book = Logbook.open()
    book.note_check("attend", "passed")
    book.note_reveal("attend")
    book.note_check("split_heads", "failed")
    book.note_reveal("split_heads")
    book.note_check("split_heads", "passed")
    book.note_reveal("join_heads")
    book.note_check("causal_mask", "begun")
    book = Logbook.open()
    assert book.revealed == {"split_heads": True, "join_heads": True}
    names = ("attend", "split_heads", "join_heads", "causal_mask")
    assert [book.solved(n) for n in names] == [True, False, False, False]
    assert [book.read(n) for n in names] == [False, True, False, False]
    assert [book.begun(n) for n in names] == [False, False, False, True]
    assert book.checks["causal_mask"] == {"solved": False, "attempts": 1}


def test_a_logbook_of_an_older_version_is_read_and_one_with_an_odd_reveal_is_damaged(capsys):
    path = Logbook.open().path
    path.parent.mkdir(parents=True)
    old = {"checks": {"attend": {"solved": True, "attempts": 2}}, "hints": {"attend": 1}, "predictions": {}}
    path.write_text(json.dumps(old))
    assert Logbook.open().solved("attend") and Logbook.open().revealed == {}
    assert not capsys.readouterr().err
    path.write_text(json.dumps(old | {"revealed": {"attend": "yes"}}))
    assert not Logbook.open().solved("attend")
    assert "revealed of attend must not be 'yes'" in capsys.readouterr().err
