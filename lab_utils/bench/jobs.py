"""Jobs in the queue of submitit: begun, looked at, begun again where they failed, cancelled where somebody stops.

submitit starts each job and says when it has ended: as a process of this machine, or through SLURM. What is added here
is how many may be under way, and what happens to one that ends without a result.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from lab_utils.bench.place import Cluster, Local
from nanokimi.system.interpreter import python
from nanokimi.system.printable import OneLineError, one_line
from nanokimi.system.signals import Stopped, Wish

POLL_SECONDS, POLL_SECONDS_OF_A_CLUSTER = (
    0.2,
    2.0,
)  # a cluster shares its disk, where each look reads a folder
SECONDS_BY_THEMSELVES, SECONDS_TO_END = 2.0, 15.0  # for processes of this machine that shall end
SECONDS_AFTER_REFUSAL = 30.0  # of a queue that has taken other jobs: it may be out of order for a minute
SECONDS_PREEMPTED = (
    1800.0  # until a job that SLURM has taken off its machine must be queued again; sacct is asked rarely
)
WEEK_MINUTES = 7 * 24 * 60


class Job(Protocol):
    """What is used of submitit's jobs."""

    paths: Any
    state: str

    def done(self) -> bool: ...
    def cancel(self, check: bool = True) -> None: ...
    def exception(self) -> Exception | None: ...
    def result(self) -> Any: ...


Submit = Callable[[Callable[[], Any], int], Job]


@dataclass(frozen=True)
class Lost:
    """Why a job gave no result, after its last try."""

    reason: str


@dataclass
class _Begun:
    """A job that was begun, its slot, and since when it is preempted."""

    job: Job
    slot: int
    preempted_at: float | None = None

    def has_ended(self) -> bool:
        """Whether the job is done, or was preempted and not queued again: submitit would wait for it for ever."""
        if self.job.done():
            return True
        if self.job.state != "PREEMPTED":
            self.preempted_at = None
            return False
        self.preempted_at = self.preempted_at or time.monotonic()
        return time.monotonic() - self.preempted_at > SECONDS_PREEMPTED


class NotSubmitted(OneLineError):
    """The queue does not take the first job: one line that says why."""


def open_queue(place: Local | Cluster, folder: Path) -> Submit:
    """A function that begins a job: `submit(function, slot)`. What jobs write for submitit lies in `folder`.

    The slots are 0 to at_once - 1; two jobs that are under way have different ones. On this machine a slot has its own
    GPU, where there are several, and its share of the processor.
    """
    import submitit  # takes a quarter of a second, and only a benchmark with a place needs it

    words = shlex.join(python())
    if isinstance(place, Cluster):
        executor = submitit.SlurmExecutor(folder, max_num_timeout=place.tries, python=words)
        asked = {"partition": place.partition, "account": place.account, "qos": place.qos}
        asked |= {"constraint": place.constraint, "gpus_per_node": place.gpus or None}
        executor.update_parameters(
            job_name="nanokimi",
            time=place.minutes,
            mem=f"{place.memory_gb}GB",
            cpus_per_task=place.cpus,
            nodes=1,
            ntasks_per_node=1,
            **{name: value for name, value in asked.items() if value is not None},
        )
        return lambda function, slot: executor.submit(function)
    executor = submitit.LocalExecutor(folder, python=words)
    gpus = _visible_gpus()
    threads = max(1, torch.get_num_threads() // place.at_once)

    def submit(function: Callable[[], Any], slot: int) -> Job:
        mine = gpus[slot % len(gpus) :][:1] if gpus else []
        executor.update_parameters(timeout_min=WEEK_MINUTES, gpus_per_node=len(mine), visible_gpus=mine)
        # Two trainings with a thread per core each would wait for each other at every operation.
        environ = {"OMP_NUM_THREADS": str(threads), "PYTHONSAFEPATH": "1"}
        with _environment(environ), _stderr_in(folder / "processes.err"):
            return executor.submit(function)

    return submit


def work_off(
    jobs: Mapping[str, Callable[[], Any]],
    submit: Submit,
    place: Local | Cluster,
    tell: Callable[[str], None],
    look: Callable[[Sequence[str], int], None] = lambda under_way, waiting: None,
) -> dict[str, Any | Lost]:
    """The result of each job by its name, or why there is none. At most `place.at_once` are under way.

    tell: gets a line where a job is done, is begun again, or is given up after `place.tries` tries.
    look: is called again and again with the names of the jobs under way and the number of those that wait.

    An exception, Ctrl-C too, cancels what is under way and passes on. `NotSubmitted` where the queue takes not even
    the first job.
    """
    here = isinstance(place, Local)
    waiting, tried = list(jobs), dict.fromkeys(jobs, 0)
    under_way: dict[str, _Begun] = {}
    found: dict[str, Any | Lost] = {}

    def note_failure(name: str, why: str) -> None:
        if tried[name] < place.tries:
            tell(f"{name}: {why}; try {tried[name] + 1} of {place.tries} follows")
            waiting.append(name)
        else:
            tell(f"{name}: {why}; given up after {tried[name]} of {place.tries} tries")
            found[name] = Lost(why)

    try:
        while waiting or under_way:
            while waiting and len(under_way) < place.at_once:
                name = waiting.pop(0)
                slot = min(set(range(place.at_once)) - {each.slot for each in under_way.values()})
                tried[name] += 1
                with Wish() as wish:  # a signal now would leave a job behind that nobody knows
                    try:
                        under_way[name] = _Begun(submit(jobs[name], slot), slot)
                        why = ""
                    except (RuntimeError, OSError) as error:
                        why = f"the queue did not take it: {one_line(error, 200)}"
                if wish.number is not None:
                    raise Stopped(wish.number)
                if why and sum(tried.values()) == 1:
                    raise NotSubmitted(f"{name}: {why}")
                if why:
                    note_failure(name, why)
                    time.sleep(SECONDS_AFTER_REFUSAL)
            for name in [name for name, begun in under_way.items() if begun.has_ended()]:
                job = under_way.pop(name).job
                why = _why_without_result(job, here)
                if why:
                    note_failure(name, why)
                else:
                    found[name] = job.result()
                    tell(f"{name}: done, {len(found)} of {len(jobs)}")
            look(list(under_way), len(waiting))
            time.sleep(POLL_SECONDS if here else POLL_SECONDS_OF_A_CLUSTER)
    except BaseException:
        _cancel([begun.job for begun in under_way.values()], here)
        raise
    return found


def _why_without_result(job: Job, here: bool) -> str:
    """Why a job that has ended has no result; empty where it has one."""
    log = f"see {job.paths.stderr.parent.name}/{job.paths.stderr.name}"
    if not job.done():
        job.cancel(check=False)  # else it might come back beside its next try
        return f"it was preempted and not queued again, {log}"
    # A file of another machine may appear late, and `exception` waits for it. One of this machine is there or not.
    error = None if here and not job.paths.result_pickle.exists() else job.exception()
    if not job.paths.result_pickle.exists():
        ended = "its process was killed" if here else f"it ended without a result (state {job.state})"
        return f"{ended}, {log}"
    if error is None:
        return ""
    # submitit's message holds the traceback between two lines of dashes; the error follows the last indented line.
    lines = str(error).partition("\n---")[2].partition("\n---")[0].strip().splitlines()
    last = max((number for number, line in enumerate(lines) if line.startswith("  ")), default=-1)
    return f"{one_line(' '.join(lines[last + 1 :]) or error, 200)}, {log}"


def _cancel(jobs: Sequence[Job], here: bool) -> None:
    """Cancel these jobs. Of those on this machine the end is waited for: no process is left."""
    if here:  # Ctrl-C has reached their processes too, and a second one would disturb how they end
        _wait(jobs, SECONDS_BY_THEMSELVES)
    for job in jobs:
        if not job.done():
            job.cancel(check=False)
    if here:
        _wait(jobs, SECONDS_TO_END)


def _wait(jobs: Sequence[Job], seconds: float) -> None:
    ends = time.monotonic() + seconds
    while not all(job.done() for job in jobs) and time.monotonic() < ends:
        time.sleep(POLL_SECONDS)


def _visible_gpus() -> list[int]:
    """The numbers of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them; counted from 0 for names."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    if all(each.strip().isdigit() for each in named):
        return [int(each) for each in named]
    return list(range(torch.cuda.device_count()))


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """A block in which the environment that processes inherit has these changes."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _stderr_in(file: Path) -> Iterator[None]:
    """A block in which processes that are started write their errors to the end of `file`.

    submitit's own process, which waits for a job, ends with a traceback where the job is cancelled.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with file.open("ab") as target:
            os.dup2(target.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
