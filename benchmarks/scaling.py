"""How a training step of Kimi scales: its speed and peak memory over width, layers, experts, context and batch.

    python -m benchmarks.scaling                  about ten minutes on two cores; --device cuda: larger models

One axis moves at a time; the rest stays at the preset's (kimi-tiny on a CPU, kimi-small on CUDA). The optimizer is
AdamW, and the bias update balances the experts. Context grows at a fixed number of tokens in the step. Every
measurement is a new process. All points are measured once, in random order, before any is measured again, so that a
slow minute falls on no axis alone. The figures are medians over the processes. Beside each step runs a large matrix
product, whose speed is the ceiling that the step's speed is a share of.
"""

import argparse
import random
import statistics
from dataclasses import replace
from typing import Any

import torch

from benchmarks.ceiling import make_product, product_operations
from benchmarks.records import (
    add_machine_options,
    add_record_option,
    choose_measured_device,
    describe_run,
    machine_name,
    machine_record_path,
)
from benchmarks.steps import StepCase, in_new_process, keep_memory_as_training, measure_peak
from benchmarks.turns import time_in_turns
from nanokimi.config import KimiConfig, to_dict
from nanokimi.count import count_parameters
from nanokimi.presets.yaml_config import load_model_config, load_train_config
from nanokimi.system.atomic import write_json
from nanokimi.system.printable import show_every_letter

# Per size: the values of each axis.
VALUES = {
    "tiny": {
        "width": (64, 128, 192, 256, 384),
        "layers": (2, 4, 8, 12),
        "experts": (8, 16, 32, 64, 128, 256),
        "context": (64, 128, 256, 512, 1024),
        "batch": (2, 4, 8, 16, 32),
    },
    "small": {
        "width": (256, 512, 768, 1024),
        "layers": (4, 8, 16),
        "experts": (8, 16, 32, 64, 128, 256),
        "context": (128, 256, 512, 1024, 2048),
        "batch": (8, 16, 32, 64, 128),
    },
}


def base_case(size: str, device: str) -> StepCase:
    """The preset's own size, which lies on every axis."""
    return StepCase(
        model=load_model_config(f"kimi-{size}"),
        train=load_train_config(f"train-{size}", [f"device={device}", "balance.bias_update_rate=0.001"]),
    )


def move(case: StepCase, axis: str, value: int) -> StepCase:
    """The case with one axis at another value. All that is in a layer grows with its width: heads by their number."""
    model, train = case.model, case.train
    assert isinstance(model, KimiConfig) and model.mla is not None and model.moe is not None
    if axis == "width":
        scaled = lambda n: round(n * value / model.d_model / 8) * 8 if value != model.d_model else n
        return replace(
            case,
            model=replace(
                model,
                d_model=value,
                n_heads=model.n_heads * value // model.d_model,
                intermediate_size=scaled(model.intermediate_size),
                mla=replace(model.mla, kv_lora_rank=scaled(model.mla.kv_lora_rank)),
                moe=replace(model.moe, moe_intermediate_size=scaled(model.moe.moe_intermediate_size)),
            ),
        )
    if axis == "layers":
        return replace(case, model=replace(model, n_layers=value))
    if axis == "experts":
        return replace(case, model=replace(model, moe=replace(model.moe, n_routed_experts=value)))
    if axis == "context":
        tokens = train.batch_size * train.seq_len
        return StepCase(
            model=replace(model, max_seq_len=value),
            train=replace(train, seq_len=value, batch_size=max(1, tokens // value)),
        )
    assert axis == "batch"
    return replace(case, train=replace(train, batch_size=value))


def make_points(base: StepCase, values: dict[str, tuple[int, ...]]) -> dict[StepCase, dict[str, int]]:
    """Every case to measure, each once, with its value on the axes that it lies on."""
    found: dict[StepCase, dict[str, int]] = {}
    for axis, along in values.items():
        for value in along:
            found.setdefault(move(base, axis, value), {})[axis] = value
    return found


def measure(case: StepCase, rounds: int) -> dict[str, Any]:
    """In a new process: seconds of the step, operations per second of a large product beside it, and peak memory."""
    device = torch.device(case.train.device)
    keep_memory_as_training(device.type)
    step = case.stepper()
    peak = measure_peak(step, device.type)  # before the product takes memory
    times = time_in_turns({"step": step, "product": make_product(device, case.dtype)}, rounds, device)
    return {
        "seconds": statistics.median(times["step"]),
        "ceiling": product_operations(device) / statistics.median(times["product"]),
        "peak_memory": peak,
    }


def is_at_an_end(axes: dict[str, int], values: dict[str, tuple[int, ...]]) -> bool:
    """Whether a point has the least or the largest value of an axis: `lab_utils.course.forecast` is made from these."""
    return any(value in (min(values[axis]), max(values[axis])) for axis, value in axes.items())


def make_figures(
    case: StepCase, axes: dict[str, int], calibrates: bool, runs: list[dict[str, Any]]
) -> dict[str, Any]:
    """What is recorded of a point: what it is, and medians over its processes. Memory in bytes, times in ms.

    `calibrates` says that forecasts may be made from it; they are compared with the other points.
    """
    seconds = statistics.median(run["seconds"] for run in runs)
    share = statistics.median(case.operations / run["seconds"] / run["ceiling"] for run in runs)
    known = [run["peak_memory"] for run in runs if run["peak_memory"] is not None]
    return {
        "axes": axes,
        "calibrates": calibrates,
        "model": to_dict(case.model),
        "batch_size": case.train.batch_size,
        "seq_len": case.train.seq_len,
        "parameters": count_parameters(case.model).total,
        "ms": 1000 * seconds,
        "process_ms": [1000 * run["seconds"] for run in runs],
        "tokens_per_s": case.tokens / seconds,
        "share_of_ceiling": share,
        "peak_memory": statistics.median(known) if known else None,
    }


def main() -> None:
    show_every_letter()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=3, help="new processes per point")
    parser.add_argument("--rounds", type=int, default=5, help="steps that are timed in each process")
    parser.add_argument("--size", choices=VALUES, default=None, help="default: tiny on a CPU, small on CUDA")
    add_machine_options(parser)
    add_record_option(parser)
    args = parser.parse_args()
    device = choose_measured_device("scaling", args.device)
    size = args.size or ("small" if device.type == "cuda" else "tiny")
    machine = args.machine or machine_name(device)
    points = make_points(base_case(size, device.type), VALUES[size])
    runs: dict[StepCase, list[dict[str, Any]]] = {case: [] for case in points}
    path = machine_record_path("scaling", machine, args.record)
    shuffle = random.Random(0)
    for process in range(args.processes):
        for case in shuffle.sample(list(points), len(points)):
            run = in_new_process(measure, case, args.rounds)
            runs[case].append(run)
            print(f"process {process + 1} of {args.processes}: {points[case]} {run}", flush=True)
        command = (
            f"scaling --size {size} --processes {process + 1} --rounds {args.rounds} --device {device.type}"
        )
        about = describe_run(machine, command) | {
            "dtype": str(next(iter(points)).dtype).removeprefix("torch."),
            "ceiling": statistics.median(run["ceiling"] for each in runs.values() for run in each),
            "points": [
                make_figures(case, axes, is_at_an_end(axes, VALUES[size]), runs[case])
                for case, axes in points.items()
            ],
        }
        write_json(path, about)  # after each round, so that little is lost with an interruption
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
