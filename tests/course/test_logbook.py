"""The learner's file: always whole, begun anew when it is damaged, and forgotten on request."""

import json

from lab_utils.course.logbook import Logbook, logbook_path


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.delenv("NANOKIMI_PROGRESS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert logbook_path() == tmp_path / "nanokimi" / "progress.json"


def test_solved_stays_solved_and_a_stub_is_no_attempt():
    for status in ("not tried", "failed", "passed", "failed"):
        Logbook.open().note_check("attend", status)
    assert Logbook.open().checks == {"attend": {"solved": True, "attempts": 3}}
    assert Logbook.open().solved("attend") and not Logbook.open().solved("other")


def test_a_damaged_file_is_put_aside():
    path = logbook_path()
    path.parent.mkdir()
    path.write_text('{"checks": ')
    assert Logbook.open().checks == {}
    assert path.with_suffix(".damaged").read_text() == '{"checks": '
    Logbook.open().note_hint("attend", 2)
    assert json.loads(path.read_text())["hints"] == {"attend": 2}
    assert {p.name for p in path.parent.iterdir()} == {"progress.damaged", "progress.json"}


def test_reset_forgets_everything():
    Logbook.open().note_check("attend", "passed")
    Logbook.open().reset()
    assert not logbook_path().exists()
    assert not Logbook.open().solved("attend")
