"""What groups of ranks do in the tests; each scenario returns plain data, and every rank calls it."""

import hashlib
import os
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor.debug import CommDebugMode

from nanokimi import checkpoint, ranks, torchrun
from nanokimi.cli.commands import run_command
from nanokimi.cli.program import call
from nanokimi.config import BalanceConfig, ConfigError, TrainConfig
from nanokimi.model import Model
from nanokimi.optim import build_optimizers
from nanokimi.steering import EndTraining, Intervention
from nanokimi.train import train
from tests import tiny
from tests.cli.conftest import SMALL, write_tales
from tests.training import drop_clock, make_model

# Everything that ranks must agree on acts in every step: both clips, both ways of balancing, Muon and AdamW.
EVERYTHING = tiny.muon_clip(grad_clip=0.1, eval_windows=9)
EVERYTHING = replace(EVERYTHING, balance=BalanceConfig(bias_update_rate=1e-3, switch_coef=0.01))


def hash_tensors(tensors: dict[str, Tensor]) -> str:
    """The same text for the same numbers, bit for bit."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode() + tensors[name].detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def hash_weights(model: Model) -> str:
    return hash_tensors({name: ranks.whole(value) for name, value in model.state_dict().items()})


def hash_checkpoint(run_dir: Path) -> str:
    """Weights and momenta, as they are on the disk."""
    found = checkpoint.load_checkpoint(run_dir)
    return hash_tensors(found.model.state_dict() | found.optimizer_state)


def with_micro_batches(n: int) -> TrainConfig:
    return replace(EVERYTHING, grad_accum=n)


def follow(
    run_dir: Path | None,
    cfg: TrainConfig,
    *,
    name: str = "kimi-mla",
    stop: int | None = None,
    harsh=True,
    **more,
) -> dict:
    """Train to the end, or for `stop` steps: the records, and the digests of the weights here and on the disk."""
    model = make_model(name, harsh=harsh)
    if more.pop("sharded", False):
        ranks.shard(model, next(model.parameters()).device)
    records, seen = train(model, tiny.corpus(annotated=True), cfg, run_dir, **more), []
    for record in records:
        seen.append(record)
        if record.step == stop:
            records.close()
    saved = None if run_dir is None else torchrun.ask_first(lambda: hash_checkpoint(run_dir))
    return {"records": drop_clock(seen), "weights": hash_weights(model), "saved": saved}


def two_micro_batches(folder: Path) -> dict:
    """Trainings of two micro-batches a step, and one that is stopped after three steps."""
    n, cfg = ranks.n_ranks(), with_micro_batches(2)
    found = {"kimi": follow(folder / f"kimi-{n}", cfg)}
    adamw = tiny.train_config(grad_accum=2, grad_clip=0.1)
    quantiles = replace(cfg, balance=BalanceConfig(method="quantile"))
    found["quantiles"] = follow(folder / f"quantiles-{n}", quantiles)
    found["gpt"] = follow(folder / f"gpt-{n}", adamw, name="gpt")
    follow(folder / f"begun-on-{n}", cfg, stop=3)
    return found


def go_on(folder: Path) -> dict:
    """The run that the other number of ranks has begun, 1 or 2, taken to its end."""
    return follow(folder / f"begun-on-{3 - ranks.n_ranks()}", with_micro_batches(2), resume=True)


def four_micro_batches(folder: Path) -> dict:
    """A training of four micro-batches a step."""
    return follow(None, with_micro_batches(4))


def steer(folder: Path) -> dict:
    """A training that rank 0 alone steers, holds up and ends; what the others would do is never asked."""
    torchrun.BEAT_S = 0.05

    def change(step: int) -> list[Intervention]:
        assert ranks.rank() == 0
        if step == 2:
            time.sleep(0.5)  # a pause, in which the others hear that rank 0 is still there
        if step == 5:
            raise EndTraining
        return [Intervention(3, "lr_factor", 0.5), Intervention(3, "switch_coef", 0.1)] if step == 3 else []

    return follow(folder / f"steered-{ranks.n_ranks()}", with_micro_batches(2), steer=change)


def read_refusal(cfg: TrainConfig, model: Model | None = None, **more) -> str:
    """The one line with which a training is refused here."""
    try:
        next(train(model or make_model("kimi-mla"), tiny.corpus(), cfg, **more))
    except (ValueError, torchrun.RankLost) as error:
        return f"{type(error).__name__}: {error}"
    return "it is not refused"


def refuse(folder: Path) -> dict:
    """What two ranks refuse, and how soon."""
    started = time.monotonic()

    def fail(step: int) -> None:
        raise ValueError("the caller of rank 0 has failed")

    found = {
        "no micro-batch": read_refusal(with_micro_batches(1)),
        "not a multiple": read_refusal(with_micro_batches(3)),
        "other settings": read_refusal(with_micro_batches(2 + 2 * ranks.rank())),
        "the steer fails": read_refusal(with_micro_batches(2), steer=fail),
        "said already": torchrun.is_said("the same words"),
    }
    dealt = make_model("kimi-mla")
    ranks.shard(dealt, torch.device("cpu"))
    freeze = lambda step: [Intervention(1, "frozen_experts", ((1, 2),))]
    found |= {
        "a frozen expert": read_refusal(with_micro_batches(2), dealt, steer=freeze),
        "compiled": read_refusal(replace(with_micro_batches(2), compile="on"), dealt),
    }
    records = train(make_model("kimi-mla"), tiny.corpus(), with_micro_batches(2))
    next(records)
    dist.destroy_process_group()
    try:
        next(records)
    except ConfigError as error:
        found["fewer ranks"] = str(error)
    return found | {"seconds": time.monotonic() - started}


def hang(folder: Path) -> dict:
    """A group in which rank 1 does not answer for longer than the time limit, until all others have given up."""
    said = [folder / f"hang-{rank}" for rank in range(ranks.n_ranks()) if rank != 1]
    if ranks.rank() == 1:
        while not all(path.exists() for path in said):
            time.sleep(0.05)
        return {}
    refusal = read_refusal(with_micro_batches(3))
    (folder / f"hang-{ranks.rank()}").touch()
    return {"refusal": refusal}


def shard(folder: Path) -> dict:
    """Trainings of six micro-batches a step whose weights are dealt to the ranks; with one rank, ordinary ones."""
    clipped = replace(tiny.muon_clip(grad_accum=6), grad_clip=0.1)
    return {
        "kimi": follow(None, with_micro_batches(6), sharded=True),
        "gpt": follow(None, clipped, name="gpt", sharded=True),
        "block_latent": follow(None, clipped, name="kimi-block_latent", sharded=True),
        # With harsh weights its training turns rounding of 1e-7 into 1e-3 within these steps, also on one rank.
        "hybrid": follow(None, clipped, name="kimi-hybrid", harsh=False, sharded=True),
    }


def change_layout(folder: Path) -> dict:
    """A run that is replicated, then sharded, then replicated again; two steps each."""
    run_dir, cfg = folder / f"changed-{ranks.n_ranks()}", with_micro_batches(2)
    first = follow(run_dir, cfg, stop=2)
    first["passed on"] = pass_on(run_dir, cfg)
    second = follow(run_dir, cfg, stop=4, resume=True, sharded=True)
    third = follow(run_dir, cfg, resume=True)
    return {"first": first, "second": second, "third": third}


def pass_on(run_dir: Path, cfg: TrainConfig) -> str:
    """The digest of the newest checkpoint of a run after a sharded model has read it and written it again."""
    found, model, target = checkpoint.load_checkpoint(run_dir), make_model("kimi-mla"), run_dir / "copy"
    ranks.shard(model, torch.device("cpu"))
    optimizers = build_optimizers(model, cfg.optim)
    checkpoint.restore_(model, optimizers, found)
    checkpoint.save_checkpoint(target, model, optimizers, found.tokenizer, cfg, found.state)
    return torchrun.ask_first(lambda: hash_checkpoint(target))


def compare_muon(folder: Path) -> dict:
    """Three steps of Muon on parts and on whole weights, with the same gradients, and what one step sends."""
    models = make_model("kimi-mla", harsh=True), make_model("kimi-mla", harsh=True)
    ranks.shard(models[0], torch.device("cpu"))
    optimizers = [build_optimizers(model, EVERYTHING.optim)[0] for model in models]
    for seed in range(3):
        for dealt, whole in zip(models[0].parameters(), models[1].parameters(), strict=True):
            whole.grad = tiny.normal(*whole.shape, seed=seed)
            dealt.grad = torch.zeros_like(dealt)
            ranks.own(dealt.grad).copy_(ranks.part(whole.grad, dealt))
        optimizers[1].step()
        with CommDebugMode() as sent:
            optimizers[0].step()
    names = [name for name, _ in models[0].named_parameters()]
    pairs = zip(names, models[0].parameters(), models[1].parameters(), strict=True)
    distances = {name: ((ranks.whole(a) - b).norm() / b.norm()).item() for name, a, b in pairs}
    matrices = [p for group in optimizers[1].param_groups for p in group["params"] if p.ndim == 2]
    counts = {str(kind).rpartition(".")[2]: n for kind, n in sent.get_comm_counts().items()}
    return {"distance": max(distances.values()), "matrices": len(matrices), "sent": counts}


def command_line(folder: Path) -> dict:
    """Commands that two ranks are given: the exit code, and what was printed by each."""
    here = folder / "commands"
    here.mkdir(exist_ok=True)
    os.chdir(here)
    os.environ["XDG_CACHE_HOME"] = str(here / f"cache-{ranks.rank()}")
    write_tales(here)
    found = {}
    for name, words in {
        "too few": ["--out=a"],
        "sharded": ["--set=train.grad_accum=2", "--layout=sharded", "--out=a"],
        "again": ["--set=train.grad_accum=2", "--out=a"],
    }.items():
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            code = call("nanokimi", run_command, ["train", *SMALL, "--data=tales.txt", *words])
        found[name] = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
    return found
