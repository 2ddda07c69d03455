"""A study of arms as a whole: it is run, killed, begun again, and its record is read."""

import json
import shutil

import pytest

from lab_utils.study import command
from lab_utils.study.arms_found import read_arms
from nanokimi.config import ConfigError


def test_a_study_of_arms_refuses_a_folder_of_another(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "study.json").write_text('{"format": 1, "name": "muon"}')
    with pytest.raises(ConfigError, match="holds a study with other settings"):
        command.run(["--name=balance", "--profile=smoke", f"--out={tmp_path / 'out'}"])


@pytest.mark.slow
def test_a_study_on_another_text_says_so_in_its_record(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (text := tmp_path / "my notes.txt").write_text("Ann eats soup, and Bob eats bread. " * 2000)
    line = ["--name=balance", "--profile=smoke", f"--data={text}", f"--out={tmp_path / 'out'}"]
    assert command.run(line) == 0
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["command"] == f"make study NAME=balance PROFILE=smoke SEEDS=1 DATA='{text}'"
    assert record["preset"]["data"]["source"] == str(text)


@pytest.mark.slow
def test_the_command_trains_records_and_goes_on_after_a_kill(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "out"
    line = ["--name=balance", "--profile=smoke", f"--out={out}"]
    assert command.run(line) == 0
    first = capfd.readouterr().out
    record = json.loads((out / "results.json").read_text())
    found = read_arms(record)
    assert [each.arm for each in found.trained] == ["none", "switch-0.01", "bias-0.01"]
    assert all(each.run.complete and each.run.final.by_role is None for each in found.trained)
    assert {(each.n, each.top_k) for each in found.experts.values()} == {(16, 2)}
    logs = [found.log_of(each) for each in found.trained]
    assert logs[2].max_vio[-1] < logs[0].max_vio[-1] and all(log.steps[-1] == 20 for log in logs)
    assert record["command"] == "make study NAME=balance PROFILE=smoke SEEDS=1"
    assert all(len(times) >= 3 for times in found.step_seconds.values())
    assert "Equal tokens: no conclusion: 1 seed, 3 needed." in first
    assert (out / "report.html").read_text().count("<img") == 1
    # As after a kill: one training and the record are missing, and nothing else is done again.
    (out / "results.json").unlink()
    shutil.rmtree(out / "runs" / "bias-0.01-lr0.024-s0")
    kept = {file: file.stat().st_mtime_ns for file in [*out.rglob("run.json"), out / "steps.json"]}
    assert command.run(line) == 0
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    again = read_arms(json.loads((out / "results.json").read_text()))
    assert again.trained[:2] == found.trained[:2]
    assert [p.loss for p in again.trained[2].run.points] == [p.loss for p in found.trained[2].run.points]
    assert (again.logged, again.step_seconds) == (found.logged, found.step_seconds)
