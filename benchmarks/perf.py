"""How fast the parts are, measured in turn: `make perf`, or `python -m benchmarks.perf --processes 5 --rounds 9`.

The comparisons stand in `benchmarks.comparisons`. In every round all candidates of a comparison run once, so that a
machine whose speed changes slows all of them equally. Every round has another order, because a candidate finds the
memory as the one before left it. The rounds run in several new processes, because the layout of a process's memory
changes a layer's time by more than its rounds differ. A round gives each candidate's ratio to the first one. The
figures are medians over the rounds of all processes, with the least and the greatest of the processes' own medians.
Every table also has the time of one small operation, because cores wait longer for each other at some times than at
others. The results go to `out/benchmarks/`, one JSON file per machine, and with --record to `benchmarks/results/`.
"""

import argparse
import platform
import random
import re
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from typing import Any

import torch

from benchmarks.comparisons import COMPARISONS, ONLY_ON_CUDA, Candidates
from benchmarks.records import add_record_option, record_path
from lab_utils.machine.describe import cpu_name
from nanokimi.system.atomic import write_json
from nanokimi.system.memory import keep_freed_memory
from nanokimi.system.printable import show_every_letter

Times = dict[str, list[float]]


def time_in_turns(candidates: Candidates, rounds: int, device: torch.device) -> Times:
    """Seconds of every candidate, one number per round."""
    times: Times = {name: [] for name in candidates}
    shuffle = random.Random(0)
    for turn in range(rounds + 2):
        for name in shuffle.sample(list(candidates), len(candidates)):
            _wait(device)
            start = time.perf_counter()
            candidates[name]()
            _wait(device)
            if turn >= 2:  # the first two rounds fill caches and allocate memory
                times[name].append(time.perf_counter() - start)
    return times


def make_figures(processes: Sequence[Times]) -> dict[str, dict[str, Any]]:
    """Median milliseconds of each candidate, its median ratio to the first one, and the same ratio per process."""
    first = next(iter(processes[0]))
    found = {}
    for name in processes[0]:
        ratios = [
            [mine / base for mine, base in zip(times[name], times[first], strict=True)] for times in processes
        ]
        found[name] = {
            "ms": 1000 * statistics.median(s for times in processes for s in times[name]),
            "ratio": statistics.median(r for each in ratios for r in each),
            "process_ratios": [statistics.median(each) for each in ratios],
        }
    return found


def time_small_operation(device: torch.device) -> float:
    """Microseconds for scaling 98,304 numbers: so little work that the waiting of its threads shows."""
    numbers = torch.ones(512, 192, device=device)
    seconds = []
    for _ in range(500):
        _wait(device)
        start = time.perf_counter()
        numbers.mul_(1.0)
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return 1e6 * statistics.median(seconds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(title: str, rounds: int, device: torch.device) -> tuple[Times, float]:
    """The times of one comparison and of a small operation in this process, with memory handled as in a training."""
    if device.type == "cpu":
        keep_freed_memory()
    return time_in_turns(COMPARISONS[title](device), rounds, device), time_small_operation(device)


def main() -> None:
    show_every_letter()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=5, help="new processes per comparison")
    parser.add_argument("--rounds", type=int, default=9, help="rounds in each process")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--machine", default=None, help="the name under which the results are kept")
    add_record_option(parser)
    args = parser.parse_args()
    cuda = torch.cuda.is_available() and args.device != "cpu"
    if args.device == "cuda" and not cuda:
        sys.exit("perf: --device cuda: this machine has no CUDA device; use cpu or auto")
    device = torch.device("cuda" if cuda else "cpu")
    machine = args.machine or machine_name(device)
    titles = [title for title in COMPARISONS if cuda or title not in ONLY_ON_CUDA]
    runs: dict[str, list[tuple[Times, float]]] = {title: [] for title in titles}
    # The processes of a table run minutes apart, so that a slow minute does not fall on one table only.
    for process in range(args.processes):
        for title in titles:
            print(f"process {process + 1} of {args.processes}: {title}", flush=True)
            with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
                runs[title].append(fresh.submit(measure, title, args.rounds, device).result())
    found = {title: make_figures([times for times, _ in runs[title]]) for title in titles}
    small = {title: [us for _, us in runs[title]] for title in titles}
    for title in titles:
        print(f"\n{title} (a small operation: {min(small[title]):.1f} .. {max(small[title]):.1f} us)")
        for name, row in found[title].items():
            low, high = min(row["process_ratios"]), max(row["process_ratios"])
            print(f"  {name:30s} {row['ms']:9.2f} ms   x {row['ratio']:.2f}  ({low:.2f} .. {high:.2f})")
    about = {
        "machine": machine,
        "date": date.today().isoformat(),
        "command": f"python -m benchmarks.perf --processes {args.processes} --rounds {args.rounds} "
        f"--device {device.type}",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "processes": args.processes,
        "rounds": args.rounds,
        "figures": found,
        "small_operation_us": small,
    }
    path = record_path(f"perf-{re.sub('[^a-z0-9]+', '-', machine.lower()).strip('-')}", args.record)
    write_json(path, about)
    print(f"\nwrote {path}")


def machine_name(device: torch.device) -> str:
    """The GPU's name, or the processor's name and its threads: measurements are compared on one machine only."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{cpu_name()}, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
