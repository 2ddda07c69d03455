"""The learning rates of the presets: every arm tries several, with a seed that no comparison uses.

    python -m benchmarks.sweep --profile cpu --steps 150

An arm tries the rates of `--rates`. While its best rate is the lowest or the highest of them, it tries the next one in
that direction, so that every arm gets the rate that suits it. Every trial is written to
`benchmarks/results/sweep-<profile>.json`. A second call with other arms or rates adds to this file; delete it to start
again. The rates in `nanokimi/presets/bench-<profile>.yaml` are taken from it.
"""

import argparse
import json
from dataclasses import replace
from datetime import date

import torch

from benchmarks.records import add_record_option, machine_name, record_path
from lab_utils.bench.plan import Arm, make_plan
from nanokimi.device import choose_device
from nanokimi.model import build_model
from nanokimi.step import TrainingDiverged
from nanokimi.system.atomic import write_json
from nanokimi.system.memory import keep_freed_memory
from nanokimi.system.printable import show_every_letter
from nanokimi.text import corpus
from nanokimi.text.corpus import Corpus
from nanokimi.train import train

SWEEP_SEED = 1000


def validation_loss(arm: Arm, rate: float, steps: int, loaded: Corpus) -> float | None:
    """The loss after `steps` steps at this rate, with a schedule of that length; None where training diverged."""
    cfg = replace(
        arm.train, steps=steps, eval_every=steps, seed=SWEEP_SEED, optim=replace(arm.train.optim, lr=rate)
    )
    try:
        *_, last = train(build_model(arm.model, SWEEP_SEED), loaded, cfg)
    except TrainingDiverged:
        return None
    return last.evaluation.loss


Losses = dict[float, float | None]


def sweep(arm: Arm, rates: list[float], known: Losses, steps: int, loaded: Corpus) -> Losses:
    """The loss at every rate. While the best rate is at an edge of the grid, the grid is extended by its own factor."""
    found = dict(known)
    todo = [rate for rate in rates if rate not in found]
    while todo:
        for rate in todo:
            found[rate] = validation_loss(arm, rate, steps, loaded)
            print(f"{arm.name:12s} lr {rate:<8g} loss {found[rate]}", flush=True)
        tried = sorted(found)
        best = min((r for r in tried if found[r] is not None), key=lambda r: found[r])
        factor = tried[1] / tried[0]
        todo = []
        if best == tried[0]:
            todo = [float(f"{best / factor:.3g}")]
        elif best == tried[-1]:
            todo = [float(f"{best * factor:.3g}")]
    return found


def main() -> None:
    show_every_letter()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--arms", default="ladder")
    parser.add_argument("--data", default="")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.003, 0.006, 0.012])
    add_record_option(parser)
    args = parser.parse_args()
    plan = make_plan(args.profile, args.arms, 1, args.data)
    loaded = corpus.load_corpus(plan.data, seq_len=plan.arms[0].train.seq_len)
    plan = plan.with_vocabulary_of(loaded)
    path = record_path(f"sweep-{args.profile}", args.record)
    device = choose_device("auto")
    if device.type == "cpu":
        keep_freed_memory()
    about = {
        "machine": machine_name(device),
        "date": date.today().isoformat(),
        "command": f"python -m benchmarks.sweep --profile {args.profile} --steps {args.steps} --data {loaded.name}",
        "torch": torch.__version__,
        "corpus": loaded.name,
        "steps": args.steps,
        "seed": SWEEP_SEED,
        "arms": json.loads(path.read_text())["arms"] if path.exists() else {},
    }
    for arm in plan.arms:
        known = about["arms"].get(arm.name, {"loss": {}})["loss"]
        losses = sweep(arm, args.rates, {float(r): loss for r, loss in known.items()}, args.steps, loaded)
        best = min((r for r in losses if losses[r] is not None), key=lambda r: losses[r])
        about["arms"][arm.name] = {"best": best, "loss": {str(r): losses[r] for r in sorted(losses)}}
        write_json(path, about)


if __name__ == "__main__":
    main()
