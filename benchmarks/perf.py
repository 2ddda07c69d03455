"""How fast the parts are, measured in turn: `make perf`, or `python -m benchmarks.perf --processes 5 --rounds 9`.

The comparisons stand in `benchmarks.comparisons`. In every round all candidates of a comparison run once, so that a
machine whose speed changes slows all of them equally. Every round has another order, because a candidate finds the
memory as the one before left it. The rounds run in several new processes, because the layout of a process's memory
changes a layer's time by more than its rounds differ. A round gives each candidate's ratio to the first one. The
figures are medians over the rounds of all processes, with the least and the greatest of the processes' own medians.
Every table also has the time of one small operation, because cores wait longer for each other at some times than at
others.

Training steps are also compared with a large matrix product in the same number format, which runs in the same turns:
a step's share of its speed (MFU) counts the operations of `nanokimi.count`. Their peak memory is measured in a process
of its own, where the system tells it. The results go to `out/benchmarks/`, one JSON file per machine, and with --record
to `benchmarks/results/`.
"""

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from benchmarks.ceiling import make_product, product_operations
from benchmarks.comparisons import COMPARISONS, STEPS, comparison_titles
from benchmarks.records import (
    add_machine_options,
    add_record_option,
    choose_measured_device,
    describe_run,
    machine_name,
    machine_record_path,
)
from benchmarks.steps import StepCase, in_new_process, keep_memory_as_training, peak_of
from benchmarks.turns import Times, time_in_turns, wait
from nanokimi.system.atomic import write_json
from nanokimi.system.printable import show_every_letter

PRODUCT = "a large matrix product"


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


def add_step_figures(
    figures: dict[str, dict[str, Any]],
    processes: Sequence[Times],
    cases: Mapping[str, StepCase],
    peaks: Mapping[str, int | None],
    operations: float,
) -> float:
    """Give every training step its tokens per second, its share of the product's speed, and its peak memory in bytes.

    `operations` are the floating-point operations of the product; the share is taken round by round. Returns the
    product's speed, in operations per second, and takes its row out of the figures.
    """
    for name, case in cases.items():
        shares = [
            case.operations / step / (operations / product)
            for times in processes
            for step, product in zip(times[name], times[PRODUCT], strict=True)
        ]
        figures[name] |= {
            "tokens_per_s": case.tokens / (figures[name]["ms"] / 1000),
            "share_of_ceiling": statistics.median(shares),
            "peak_memory": peaks[name],
        }
    return operations / (figures.pop(PRODUCT)["ms"] / 1000)


def time_small_operation(device: torch.device) -> float:
    """Microseconds for scaling 98,304 numbers: so little work that the waiting of its threads shows."""
    numbers = torch.ones(512, 192, device=device)
    seconds = []
    for _ in range(500):
        wait(device)
        start = time.perf_counter()
        numbers.mul_(1.0)
        wait(device)
        seconds.append(time.perf_counter() - start)
    return 1e6 * statistics.median(seconds)


def measure(title: str, rounds: int, device: torch.device) -> tuple[Times, float]:
    """The times of one comparison and of a small operation in this process, with memory handled as in a training."""
    keep_memory_as_training(device.type)
    if title in STEPS:
        cases = STEPS[title](device)
        candidates = {name: case.stepper() for name, case in cases.items()}
        candidates[PRODUCT] = make_product(device, next(iter(cases.values())).dtype)
    else:
        candidates = COMPARISONS[title](device)
    return time_in_turns(candidates, rounds, device), time_small_operation(device)


def measure_all(titles: Sequence[str], processes: int, rounds: int, device: torch.device) -> dict[str, Any]:
    """What a record says of these comparisons: their figures, and beside them the ceilings and small operations."""
    runs: dict[str, list[tuple[Times, float]]] = {title: [] for title in titles}
    # The processes of a table run minutes apart, so that a slow minute does not fall on one table only.
    for process in range(processes):
        for title in titles:
            print(f"process {process + 1} of {processes}: {title}", flush=True)
            runs[title].append(in_new_process(measure, title, rounds, device))
    found: dict[str, Any] = {"processes": processes, "rounds": rounds, "figures": {}, "ceilings": {}}
    for title in titles:
        times = [each for each, _ in runs[title]]
        found["figures"][title] = figures = make_figures(times)
        if title in STEPS:
            cases = STEPS[title](device)
            peaks = {name: in_new_process(peak_of, case) for name, case in cases.items()}
            speed = add_step_figures(figures, times, cases, peaks, product_operations(device))
            found["ceilings"][title] = speed
    found["small_operation_us"] = {title: [us for _, us in runs[title]] for title in titles}
    return found


def show(found: dict[str, Any]) -> None:
    """Print the figures, a table per comparison."""
    for title, rows in found["figures"].items():
        small = found["small_operation_us"][title]
        print(f"\n{title} (a small operation: {min(small):.1f} .. {max(small):.1f} us)")
        for name, row in rows.items():
            low, high = min(row["process_ratios"]), max(row["process_ratios"])
            line = f"  {name:30s} {row['ms']:9.2f} ms   x {row['ratio']:.2f}  ({low:.2f} .. {high:.2f})"
            if title in found["ceilings"]:
                peak = row["peak_memory"]
                memory = "unknown" if peak is None else f"{peak / 1e9:.2f} GB"
                line += f"  {row['share_of_ceiling']:.0%} of {found['ceilings'][title] / 1e9:,.0f} GFLOP/s  {memory}"
            print(line)


def main() -> None:
    show_every_letter()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=5, help="new processes per comparison")
    parser.add_argument("--rounds", type=int, default=9, help="rounds in each process")
    add_machine_options(parser)
    add_record_option(parser)
    args = parser.parse_args()
    device = choose_measured_device("perf", args.device)
    machine = args.machine or machine_name(device)
    found = measure_all(comparison_titles(device), args.processes, args.rounds, device)
    show(found)
    command = f"perf --processes {args.processes} --rounds {args.rounds} --device {device.type}"
    path = machine_record_path("perf", machine, args.record)
    write_json(path, describe_run(machine, command) | found)
    print(f"\nwrote {path}")


if __name__ == "__main__":
    main()
