"""What can be learnt of a GPU in 15 minutes, in one command: contracts, speed, and a training of four arms.

    python -m benchmarks.one_gpu --prepare        anywhere, before: the text's tokens, in out/one_gpu/
    python -m benchmarks.one_gpu --minutes 14     on the GPU
    python -m benchmarks.one_gpu --try            the same path with the smallest sizes, on a CPU

1. contracts: what one step of GPT and of Kimi asks of the device, counted by the profiler, against the bars of
   tests/contracts, which count on a pretended device.
2. perf: `benchmarks.perf` for training steps and experts.
3. training: the profile gpu for gpt, kimi, kimi-dense and gpt-muon, each with as many steps as fit in the minutes left.

A part that fails is recorded with its error, and the next one begins. After each part the record is written:
out/benchmarks/one-gpu-<card>.json, with --record in benchmarks/results/. `--parts` runs some parts only, and keeps
what the record has of the others.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import perf, profiled
from benchmarks.records import (
    add_machine_options,
    add_record_option,
    choose_measured_device,
    describe_run,
    machine_name,
    machine_record_path,
)
from benchmarks.steps import StepCase, in_new_process, keep_memory_as_training
from lab_utils.bench.plan import Plan, make_plan
from lab_utils.bench.trial import Trial
from nanokimi.model import build_model
from nanokimi.system.atomic import write_json
from nanokimi.system.printable import one_line, show_every_letter
from nanokimi.text.corpus import load_corpus
from nanokimi.train import train

FOLDER = Path("out/one_gpu")
PARTS = ("contracts", "perf", "training")
ARMS = ("gpt", "kimi", "kimi-dense", "gpt-muon")
COUNTED = ("gpt", "kimi")
STORIES = 100_000  # fewer than the profile's: their tokens can be carried to another machine


@dataclass(frozen=True)
class Scale:
    """How large the parts are: the profile, and the comparisons of `benchmarks.perf` with their rounds."""

    profile: str
    steps: str
    comparisons: tuple[str, ...]
    rounds: int


GPU = Scale(
    profile="gpu",
    steps="training step, small",
    comparisons=("experts of kimi-small, 32,768 tokens", "MoE layer of kimi-small, 4,096 tokens"),
    rounds=9,
)
TRY = Scale(
    profile="smoke",
    steps="training step, smoke",
    comparisons=("experts of kimi-smoke, 512 tokens",),
    rounds=2,
)


def make_text_plan(scale: Scale, device: torch.device) -> Plan:
    """The profile's plan for the four arms on this device, on a text whose tokens are kept in `FOLDER`."""
    plan = make_plan(scale.profile, ",".join(ARMS))
    n_stories = min(STORIES, plan.data.n_stories)
    return replace(
        plan,
        data=replace(plan.data, n_stories=n_stories, cache_dir=str(FOLDER.absolute())),
        arms=tuple(replace(arm, train=replace(arm.train, device=device.type)) for arm in plan.arms),
    )


def count_contracts(scale: Scale, device: torch.device) -> dict[str, Any]:
    """What a step of each arm in `COUNTED` asks of the device."""
    plan = make_text_plan(scale, device)
    found = {}
    for arm in map(plan.arm, COUNTED):
        case = StepCase(model=arm.model, train=arm.train)
        found[arm.name] = in_new_process(profiled.count_step, case)
        print(f"{arm.name}: {found[arm.name]}", flush=True)
    return found


def measure_speed(scale: Scale, device: torch.device) -> dict[str, Any]:
    """What `benchmarks.perf` finds in one process per comparison; `failed` has the comparisons that did not work."""
    found: dict[str, Any] = {"figures": {}, "ceilings": {}, "small_operation_us": {}, "failed": {}}
    for title in (scale.steps, *scale.comparisons):
        try:
            one = perf.measure_all((title,), 1, scale.rounds, device)
        except Exception as error:
            found["failed"][title] = _as_line(error)
            print(f"{title} failed: {found['failed'][title]}", flush=True)
        else:
            perf.show(one)
            for name in ("figures", "ceilings", "small_operation_us"):
                found[name] |= one[name]
    return found


def _as_line(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}")


def train_arms(scale: Scale, device: torch.device, seconds: float) -> dict[str, Any]:
    """The evaluations, seconds and memory of every arm; all arms take equally many steps, as many as fit."""
    plan = make_text_plan(scale, device)
    per_step = sum(in_new_process(time_step, StepCase(model=a.model, train=a.train)) for a in plan.arms)
    starts = len(plan.arms) * (10 if device.type == "cuda" else 4)  # seconds until a new process trains
    steps = int((seconds - starts) / (1.1 * per_step))  # the tenth is for evaluations
    steps = max(10, min(steps, plan.arms[0].train.steps))
    found: dict[str, Any] = {"steps": steps, "stories": plan.data.n_stories, "arms": {}}
    for arm in plan.arms:
        run = in_new_process(train_arm, scale, device, arm.name, steps)
        found["arms"][arm.name] = run
        print(f"{arm.name}: {run['points'][-1] if run['points'] else run['diverged_because']}", flush=True)
    return found


def time_step(case: StepCase) -> float:
    """Seconds of a step, for a first guess: the shortest of three after three that warm up."""
    step = case.stepper()
    seconds = []
    for _ in range(6):
        started = time.perf_counter()
        step()  # it reads its facts, and so waits for the device
        seconds.append(time.perf_counter() - started)
    return min(seconds[3:])


def train_arm(scale: Scale, device: torch.device, name: str, steps: int) -> dict[str, Any]:
    """One training, with ten evaluations."""
    keep_memory_as_training(device.type)
    plan = make_text_plan(scale, device)
    arm = plan.arm(name)
    corpus = load_corpus(plan.data, seq_len=arm.train.seq_len)
    warmup = min(arm.train.warmup_steps, steps // 10)
    cfg = replace(arm.train, steps=steps, eval_every=max(1, steps // 10), warmup_steps=warmup)
    arm = replace(arm, train=cfg).with_vocabulary_of(corpus)
    model = build_model(arm.model, cfg.seed)
    with Trial(arm, model, FOLDER / "runs") as trial:
        for record in train(model, corpus, cfg):
            trial.add(record)
    run = trial.run()
    return {
        "seconds": run.train_seconds,
        "tokens": steps * cfg.batch_size * cfg.seq_len * cfg.grad_accum,
        "peak_memory": run.peak_memory,
        "points": [{"step": p.step, "loss": p.loss, "bits_per_byte": p.bits_per_byte} for p in run.points],
        "diverged_because": run.diverged_because,
    }


def judge(record: dict[str, Any], scale: Scale) -> list[dict[str, Any]]:
    """The bars that the record can be held against: what was found, what it should be, and whether it holds."""
    found: list[dict[str, Any]] = []

    def bar(what: str, value: float | None, sign: str, limit: float) -> None:
        if value is not None:
            holds = value <= limit if sign == "<=" else value >= limit
            found.append({"what": what, "found": value, "bar": f"{sign} {limit:g}", "holds": holds})

    for arm, limits in {
        "gpt": {"operations": 650, "waits": 4, "peak_gb": 8.0},
        "kimi": {"operations": 2200, "products": 220, "waits": 8, "peak_gb": 11.8},
    }.items():
        counts = record.get("contracts", {}).get(arm, {})
        for what, limit in limits.items():
            bar(f"{arm}: {what} of a step", counts.get(what), "<=", limit)
    figures = record.get("perf", {}).get("figures", {})
    if steps := figures.get(scale.steps):
        bar("share of the product's speed, GPT", steps["GPT, AdamW"]["share_of_ceiling"], ">=", 0.4)
        bar("Kimi's step over GPT's, AdamW", steps["Kimi, AdamW"]["ratio"], "<=", 1.4)
    for title in scale.comparisons:
        if grouped := figures.get(title, {}).get("grouped"):
            bar(f"{title}: speed of grouped over loop", 1 / grouped["ratio"], ">=", 3)
    return found


def run_parts(
    scale: Scale, device: torch.device, parts: tuple[str, ...], minutes: float
) -> Iterator[dict[str, Any]]:
    """After each part: its name with what it found, or the line that says why it failed."""
    ends = time.monotonic() + 60 * minutes
    functions: dict[str, Callable[[], dict[str, Any]]] = {
        "contracts": lambda: count_contracts(scale, device),
        "perf": lambda: measure_speed(scale, device),
        "training": lambda: train_arms(scale, device, ends - time.monotonic()),
    }
    for part in parts:
        print(f"{part}: {(ends - time.monotonic()) / 60:.1f} minutes left", flush=True)
        try:
            yield {part: functions[part]()}
        except Exception as error:  # minutes on a GPU are few: the next part begins all the same
            print(f"{part} failed: {_as_line(error)}", flush=True)
            yield {part: {"failed": _as_line(error)}}


def main() -> None:
    show_every_letter()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepare", action="store_true", help="only make the text's tokens")
    parser.add_argument("--try", dest="tried", action="store_true", help="the smallest sizes, on any device")
    parser.add_argument("--minutes", type=float, default=14.0, help="for all parts together")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    add_machine_options(parser)
    add_record_option(parser)
    args = parser.parse_args()
    scale = TRY if args.tried else GPU
    if args.prepare:
        corpus = load_corpus(make_text_plan(scale, torch.device("cpu")).data)
        print(f"{len(corpus.train):,} tokens in {FOLDER}")
        return
    device = choose_measured_device("one_gpu", args.device)
    machine = args.machine or machine_name(device)
    path = machine_record_path("one-gpu-try" if args.tried else "one-gpu", machine, args.record)
    command = f"one_gpu --minutes {args.minutes:g} --device {device.type}" + " --try" * args.tried
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    record = {part: kept[part] for part in PARTS if part in kept} | describe_run(machine, command)
    for found in run_parts(scale, device, tuple(args.parts), args.minutes):
        record |= found
        record["bars"] = judge(record, scale)
        write_json(path, record)
    for bar in () if args.tried else record["bars"]:  # the bars are those of the larger sizes
        print(
            f"{'holds' if bar['holds'] else 'FALLS SHORT'}: {bar['what']} {bar['found']:.3g} (bar {bar['bar']})"
        )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
