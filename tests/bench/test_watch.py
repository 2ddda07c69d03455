"""Progress of a training in another process, from its steps.jsonl."""

import io
import json
from pathlib import Path

import pytest

from lab_utils.bench import watch


def record(step: int, **changes) -> str:
    return json.dumps({"step": step, "loss": 2.5, "tokens_per_s": 1000.0, "seconds": 2.0 * step} | changes)


def test_step_file_reads_only_whole_new_lines(tmp_path):
    file = watch.StepFile(tmp_path)
    assert file.read_new() == []
    path = tmp_path / "steps.jsonl"
    path.write_text(record(1) + "\n" + record(2)[:10])
    assert [r["step"] for r in file.read_new()] == [1]
    assert file.read_new() == []
    path.write_text(record(1) + "\n" + record(2) + "\n" + record(3) + "\n")
    assert [r["step"] for r in file.read_new()] == [2, 3]


def test_a_log_that_was_begun_again_is_read_from_its_first_line(tmp_path):
    """Its first lines may be longer than those before, so that no place in the old file is one in the new."""
    file, path = watch.StepFile(tmp_path), tmp_path / "steps.jsonl"
    path.write_text("".join(record(step) + "\n" for step in (1, 2, 3)))
    assert len(file.read_new()) == 3
    again = tmp_path / "again"
    again.write_text("".join(record(step, seconds=step / 3) + "\n" for step in (1, 2)))
    again.replace(path)
    assert [r["seconds"] for r in file.read_new()] == [1 / 3, 2 / 3]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "log"])
def test_watcher_shows_step_loss_speed_and_ends_with_the_block(tmp_path, stream):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "steps.jsonl").write_text(record(1) + "\n" + record(2) + "\n")
    expected = [watch.Expected("first", tmp_path / "a", 2), watch.Expected("never", tmp_path / "b", 2)]
    with watch.Watcher(expected, stream):
        pass
    shown = stream.getvalue()
    assert "first" in shown and "2/2" in shown and "loss 2.500, 1,000 tokens/s" in shown
    assert "never" not in shown


def test_log_lines_come_every_ten_seconds(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    view = watch.LogLines(watch.Expected("gpt", Path("x"), 100), stream)
    for step in range(1, 101):
        now[0] += 1
        view.update([json.loads(record(step))])
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0] == "gpt: step 10/100, loss 2.500, 1,000 tokens/s, about 180 s left"
    assert lines[-1] == "gpt: step 100/100, loss 2.500, 1,000 tokens/s, done"
