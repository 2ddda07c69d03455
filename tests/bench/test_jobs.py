"""Jobs: how many are under way, what is tried again, what is cancelled, in a made-up queue and in submitit's."""

import operator
import os
import signal
import stat
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab_utils.bench import jobs
from lab_utils.bench.jobs import Lost, NotSubmitted, open_queue, work_off
from lab_utils.bench.place import EXAMPLE, Cluster, Local
from nanokimi.presets.yaml_config import build, read_yaml
from nanokimi.system.signals import SIGNALS, Stopped, on_stop, raise_stopped
from tests.bench.makers import Sleeper, Threads, within
from tests.processes import wait_for_the_end

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(jobs, "POLL_SECONDS_OF_A_CLUSTER", 0.01)
    monkeypatch.setattr(jobs, "SECONDS_AFTER_REFUSAL", 0.01)


class Queue:
    """A queue whose jobs end at the second look: with what their function returns, or killed where it returns None."""

    def __init__(self, refuses: tuple[int, ...] = ()):
        self.refuses, self.submitted, self.most, self.under_way, self.cancelled = refuses, 0, 0, {}, 0

    def __call__(self, function, slot: int):
        self.submitted += 1
        if self.submitted in self.refuses:
            raise RuntimeError("sbatch: error:\nslurmctld is away")
        assert slot not in self.under_way.values()
        job, looks, value = SimpleNamespace(), iter((False, True)), function()
        self.under_way[id(job)] = slot
        self.most = max(self.most, len(self.under_way))

        def done() -> bool:
            ended = next(looks, True)
            if ended:
                self.under_way.pop(id(job), None)
            return ended

        def cancel(check: bool) -> None:
            self.cancelled += 1

        job.done, job.cancel, job.state = done, cancel, "FAILED"
        job.result, job.exception = lambda: value, lambda: None
        exists = SimpleNamespace(exists=lambda: value is not None)
        job.paths = SimpleNamespace(result_pickle=exists, stderr=Path("out/jobs/7_0_log.err"))
        return job


def test_all_results_come_and_no_more_are_under_way_than_allowed():
    queue, lines = Queue(), []
    work = {name: partial(operator.add, name, "!") for name in "abcde"}
    assert work_off(work, queue, Local(2), lines.append) == {name: f"{name}!" for name in "abcde"}
    assert (queue.submitted, queue.most) == (5, 2)
    assert lines[-1].endswith("done, 5 of 5")


def test_what_ends_without_a_result_is_tried_again_and_then_given_up():
    answers, lines = iter([None, None, "late"]), []
    found = work_off(
        {"a": lambda: next(answers), "b": lambda: None}, Queue(), Local(2, tries=3), lines.append
    )
    reason = "its process was killed, see jobs/7_0_log.err"
    assert found == {"a": "late", "b": Lost(reason)}
    assert lines.count(f"b: {reason}; given up after 3 of 3 tries") == 1
    assert f"a: {reason}; try 3 of 3 follows" in lines


def test_the_first_refusal_of_a_queue_ends_everything_and_a_later_one_counts_as_a_try():
    work = {name: lambda: 1 for name in "abc"}
    with pytest.raises(NotSubmitted, match="a: the queue did not take it: sbatch: error: slurmctld is away"):
        work_off(work, Queue(refuses=(1,)), Local(2), print)
    assert work_off(work, Queue(refuses=(2, 4)), Local(2), print) == dict.fromkeys("abc", 1)


class Endless(Queue):
    """A queue whose jobs never end."""

    def __call__(self, function, slot: int):
        job = super().__call__(function, slot)
        job.done = lambda: False
        return job


def test_a_job_that_is_preempted_and_not_queued_again_is_cancelled_and_tried_again(monkeypatch):
    monkeypatch.setattr(jobs, "SECONDS_PREEMPTED", 0.1)
    queue, endless, lines = Queue(), Endless(), []

    def submit(function, slot):
        if endless.submitted:
            return queue(function, slot)
        job = endless(function, slot)
        job.state = "PREEMPTED"
        return job

    assert work_off({"a": lambda: 1}, submit, Local(1), lines.append) == {"a": 1}
    assert lines[0] == "a: it was preempted and not queued again, see jobs/7_0_log.err; try 2 of 3 follows"
    assert endless.cancelled == 1


def test_an_exception_cancels_what_is_under_way_and_nothing_else():
    queue, seen = Endless(), []

    def look(under_way, waiting):
        seen.append((sorted(under_way), waiting))
        raise KeyboardInterrupt

    cluster = build(Cluster, read_yaml(str(EXAMPLE)) | {"at_once": 2})
    with pytest.raises(KeyboardInterrupt):
        work_off({name: lambda: 1 for name in "abc"}, queue, cluster, print, look)
    assert seen == [(["a", "b"], 1)]
    assert (queue.submitted, queue.cancelled) == (2, 2)


def test_a_signal_while_a_job_is_submitted_cancels_that_job_too():
    queue = Endless()

    def submit(function, slot):
        job = queue(function, slot)
        os.kill(os.getpid(), signal.SIGTERM)  # now the job is there, and nobody knows of it yet
        return job

    cluster = build(Cluster, read_yaml(str(EXAMPLE)))
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        with pytest.raises(Stopped) as stopped, on_stop(raise_stopped):
            work_off({"a": lambda: 1, "b": lambda: 2}, submit, cluster, print)
    finally:
        for number, held in before.items():
            signal.signal(number, held)
    assert (stopped.value.exit_code, queue.submitted, queue.cancelled) == (143, 1, 1)


# ---------------------------------------------------------------- submitit's queues


@pytest.fixture
def own_modules(monkeypatch):
    """Jobs find the modules of the tests."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_processes_of_this_machine_give_results_and_say_why_they_failed(own_modules, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr(jobs.torch, "get_num_threads", lambda: 6)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numpy.py").write_text(
        "raise SystemExit('a file of the folder where the user stands was run')"
    )
    work = {"a": Threads(), "b": Threads(), "wrong": partial(operator.truediv, 1, 0)}
    place = Local(2, tries=1)
    with within(120):
        found = work_off(work, open_queue(place, tmp_path / "jobs"), place, print)
    assert {found["a"], found["b"]} == {("3", "3"), ("3", "5")}
    assert found["wrong"].reason.startswith("ZeroDivisionError: division by zero, see jobs/")
    assert (tmp_path / found["wrong"].reason.rpartition(" ")[2]).is_file()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_ctrl_c_leaves_no_process_and_shows_no_traceback(own_modules, tmp_path, capfd):
    noted = tmp_path / "pid"

    def look(under_way, waiting):
        if noted.exists() and noted.read_text():
            raise KeyboardInterrupt

    place = Local(1)
    with pytest.raises(KeyboardInterrupt), within(120):
        work_off({"a": Sleeper(noted)}, open_queue(place, tmp_path / "jobs"), place, print, look)
    assert wait_for_the_end([int(noted.read_text())])
    assert capfd.readouterr().err == ""


SLURM = {
    "sbatch": 'cat "$1" > "$HERE/script.sh"; [ -e "$HERE/refuse" ] && { echo "invalid partition" >&2; exit 1; }\n'
    "echo Submitted batch job 7",
    "srun": "exit 1",
    "sacct": 'echo "JobID|State|NodeList"; echo "7|$(cat "$HERE/state")|n1"',
    "scancel": 'echo "$@" >> "$HERE/cancelled"',
}


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """SLURM's commands, made up: what they are asked is in this folder, and `state` is what they say of a job."""
    (tmp_path / "bin").mkdir()
    for name, does in SLURM.items():
        command = tmp_path / "bin" / name
        command.write_text(f"#!/bin/sh\nHERE={tmp_path}\n{does}\n")
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "state").write_text("PENDING")
    return tmp_path


def test_slurm_is_asked_for_what_the_settings_say_and_told_to_cancel(slurm):
    def look(under_way, waiting):
        raise KeyboardInterrupt

    settings = {"partition": "h200", "constraint": "a&b", "memory_gb": 20, "gpus": 2}
    cluster = build(Cluster, read_yaml(str(EXAMPLE)) | settings)
    with pytest.raises(KeyboardInterrupt), within(60):
        work_off({"a": Threads()}, open_queue(cluster, slurm / "jobs"), cluster, print, look)
    script = (slurm / "script.sh").read_text().splitlines()
    asked = {line.removeprefix("#SBATCH --") for line in script if line.startswith("#SBATCH")}
    assert asked >= {
        *("partition=h200", "constraint='a&b'", "gpus-per-node=2", "cpus-per-task=4", "mem=20GB"),
        *("time=240", "nodes=1", "ntasks-per-node=1", "job-name=nanokimi"),
    }
    assert not any(line.startswith(("account", "qos")) for line in asked)
    assert " -P -u -m submitit.core._submit " in "\n".join(script)
    assert (slurm / "cancelled").read_text() == "7\n"


def test_a_job_that_slurm_lost_is_named_with_its_state(slurm, monkeypatch):
    monkeypatch.setattr("submitit.SlurmJob._results_timeout_s", 0)
    (slurm / "state").write_text("NODE_FAIL")
    cluster = build(Cluster, read_yaml(str(EXAMPLE)) | {"tries": 1})
    with within(60):
        found = work_off({"a": Threads()}, open_queue(cluster, slurm / "jobs"), cluster, print)
    assert found["a"].reason.startswith("it ended without a result (state NODE_FAIL), see jobs/7_0_log.err")


def test_slurms_refusal_is_one_line(slurm, capsys):
    (slurm / "refuse").touch()
    cluster = build(Cluster, read_yaml(str(EXAMPLE)))
    with pytest.raises(NotSubmitted, match="a: the queue did not take it: invalid partition"), within(60):
        work_off({"a": Threads()}, open_queue(cluster, slurm / "jobs"), cluster, print)
