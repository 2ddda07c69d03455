"""What one training step asks of the real device, counted by torch's profiler: the contracts of tests/contracts again.

On CUDA an operation is a kernel, a copy or a fill on the device. On a CPU, where this is only tried, it is an operator.
"""

from collections import Counter
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from benchmarks.steps import StepCase
from benchmarks.turns import WARM_UP, wait

PRODUCTS = {f"aten::{name}" for name in ("mm", "bmm", "addmm", "baddbmm", "_grouped_mm")}
WAITS = {"cudaStreamSynchronize", "cudaEventSynchronize"}
LONGEST = 12  # kinds of operations whose time is recorded


def count_step(case: StepCase) -> dict[str, Any]:
    """Counts of the third step of a new training, and where its time goes.

    operations: on the device. products: matrix products of the forward and backward pass. waits: how often the program
    waited for the device. peak_gb: the most memory beside weights and optimizers' state, None on a CPU. busy: the
    share of the step in which the device worked. longest_ms: the operations that took longest, by name.
    """
    device = torch.device(case.train.device)
    step = case.stepper()
    for _ in range(WARM_UP):
        step()
    on_cuda = device.type == "cuda"
    held = 0
    if on_cuda:
        wait(device)
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
    with profile(activities=activities) as seen:
        step()
        wait(device)
    events = list(seen.events())
    done = [event for event in events if _is_operation(event, on_cuda)]
    milliseconds: Counter[str] = Counter()
    for event in done:
        milliseconds[event.name] += _microseconds(event, on_cuda) / 1000
    program = [event for event in events if event.device_type == DeviceType.CPU]
    span = max(e.time_range.end for e in program) - min(e.time_range.start for e in program)
    return {
        "operations": len(done),
        "products": sum(event.name in PRODUCTS and not _is_in_optimizer(event) for event in program),
        "waits": sum(event.name in WAITS for event in program),
        "peak_gb": (torch.cuda.max_memory_allocated() - held) / 1e9 if on_cuda else None,
        "step_ms": span / 1000,
        "busy": 1000 * milliseconds.total() / span,
        "longest_ms": {name[:80]: round(ms, 3) for name, ms in milliseconds.most_common(LONGEST)},
    }


def _is_operation(event: FunctionEvent, on_cuda: bool) -> bool:
    if on_cuda:
        return event.device_type == DeviceType.CUDA and not event.is_user_annotation
    return event.name.startswith("aten::")


def _microseconds(event: FunctionEvent, on_cuda: bool) -> float:
    return event.time_range.elapsed_us() if on_cuda else event.self_cpu_time_total


def _is_in_optimizer(event: FunctionEvent) -> bool:
    while event is not None and not event.name.startswith("Optimizer.step#"):
        event = event.cpu_parent
    return event is not None
