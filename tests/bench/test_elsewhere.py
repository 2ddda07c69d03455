"""The ladder as jobs of this machine, two at once, one of them killed on the way and one that never comes."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import nanokimi
from lab_utils.bench.elsewhere import check_place, run_elsewhere
from lab_utils.bench.place import Local
from lab_utils.bench.plan import make_plan
from lab_utils.bench.results import read_results, read_steps, run_folder
from lab_utils.bench.trial import Trial
from lab_utils.bench.verdicts import ladder
from nanokimi.config import ConfigError
from tests.bench.makers import Failing, KilledAt, within
from tests.bench.test_unattended import facts

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def worked_off(smoke, tmp_path_factory):
    """(results, folder, told lines, makers) of one run: gpt is preempted, kimi-dense killed, and kimi-mla fails."""
    _, text = smoke
    log = tmp_path_factory.mktemp("log")
    out = tmp_path_factory.mktemp("out")
    makers = {
        "gpt": KilledAt(log / "gpt", 15, signal.SIGUSR2),
        "kimi-dense": KilledAt(log / "dense", 25),
        "kimi-mla": Failing(log / "mla"),
    }
    plan = make_plan("smoke", ",".join(makers))
    for name, maker in makers.items():
        plan = plan.with_maker(name, maker)
    lines = []
    with pytest.MonkeyPatch.context() as patch, within(600):
        patch.setenv("PYTHONPATH", str(ROOT))  # jobs find the module of the makers
        results = run_elsewhere(plan, text, out, Local(2, tries=2), lines.append)
    return results, out, lines, makers


def test_what_was_stopped_resumes_and_all_numbers_are_those_of_one_process(worked_off, smoke, tmp_path):
    results, _, _, makers = worked_off
    _, text = smoke
    assert makers["gpt"].begun() == [1, 11]
    assert makers["kimi-dense"].begun() == [1, 21]
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // 2))  # as each of two jobs has
    try:
        for name in ("gpt", "kimi-dense"):
            arm = make_plan("smoke", name).arm(name).with_vocabulary_of(text)
            model = nanokimi.build_model(arm.model, seed=0)
            with Trial(arm, model, tmp_path) as trial:
                for record in nanokimi.train(model, text, arm.train):
                    trial.add(record)
            assert facts(results.run(name, 0)) == facts(trial.run())
    finally:
        torch.set_num_threads(threads)


def test_results_report_and_logs_are_whole(worked_off):
    results, out, lines, _ = worked_off
    assert read_results(out / "results.json") == results
    assert {path.name for path in out.iterdir()} == {"jobs", "report.html", "results.json", "runs"}
    for name in ("gpt", "kimi-dense"):
        steps = read_steps(run_folder(out, name, 0))
        assert [record["step"] for record in steps] == list(range(1, 31))
        assert len(results.arms[name].step_seconds) >= 3
    assert [len(results.run(name, 0).tries) for name in ("gpt", "kimi-dense")] == [2, 2]
    assert not any(
        line.startswith("gpt") and "try 2" in line for line in lines
    )  # submitit queued it again by itself
    assert any(
        re.match(r"kimi-dense seed 0: its process was killed, see jobs/.*; try 2 of 2", line)
        for line in lines
    )
    ended = [line for line in lines if ": done, " in line]
    assert ended[:2] == ["step times: done, 1 of 1", "gpt seed 0: done, 1 of 3"]
    assert [line.partition(",")[0] for line in ended[2:3]] == ["kimi-dense seed 0: done"]
    jobs = {f"abilities of {name}: done" for name in ("gpt", "kimi-dense")}
    assert {line.partition(",")[0] for line in ended[3:]} == jobs and len(ended) == 5
    assert list(results.abilities) == ["gpt", "kimi-dense"]
    assert results.unmeasured == {"kimi-mla": "its training with seed 0 did not finish"}


def test_what_never_came_is_named_and_its_rung_has_no_verdict(worked_off):
    results, out, _, makers = worked_off
    assert makers["kimi-mla"].begun() == [1, 1]
    (lost,) = results.lost
    assert (lost.arm, lost.seed) == ("kimi-mla", 0)
    assert re.fullmatch(r"RuntimeError: no luck at all, see jobs/\d+_0_log.err", lost.reason)
    (_, rung) = ladder(results)
    assert (rung.challenger, rung.answer, rung.winner) == ("kimi-mla", "no conclusion", None)
    assert rung.reason.startswith("kimi-mla with seed 0 did not finish")
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "<li>kimi-mla with seed 0 never came: RuntimeError: no luck at all, see jobs/" in html
    assert "Where the numbers come from" in html
    assert "<li>Step times, and all times that follow from them: measured in turns on one device, " in html
    assert "<li>Losses and peak memory of all trainings: " in html
    assert "<li>kimi-dense with seed 0 was begun 2 times, and went on where it was.</li>" in html


def test_arms_and_folders_that_no_job_can_have_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="arm 'yours' is made of your saved notebooks, which no job has"):
        check_place(make_plan("smoke", "gpt,yours"), tmp_path)
    with pytest.raises(ConfigError, match="a cluster reads % in a path as a number of the job"):
        check_place(make_plan("smoke"), tmp_path / "100%j")
    check_place(make_plan("smoke"), tmp_path / "out")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_ctrl_c_cancels_what_was_begun(tmp_path):
    """In a terminal it reaches the processes of all jobs too."""
    command = [sys.executable, "-m", "lab_utils.bench", "--profile=smoke", "--seeds=60", "--where=local:2"]
    with within(600), subprocess.Popen(
        [*command, "--out", str(tmp_path)],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            for line in process.stderr:  # the first finished training
                if " seed 0: done" in line:
                    break
            os.killpg(process.pid, signal.SIGINT)
            rest = process.stderr.read()
            assert process.wait(timeout=180) == 130
        finally:
            process.kill()
    (folder,) = tmp_path.iterdir()
    assert rest.splitlines()[-1] == f"interrupted; what was done so far is in {folder}"
    assert "Traceback" not in rest
    assert processes_of(folder) == []


def processes_of(folder: Path) -> list[str]:
    """The command lines that name the folder, after two seconds."""
    time.sleep(2)
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found
