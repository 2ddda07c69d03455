"""The power fails at any file operation of a training: a checkpoint that was saved is there, and the run goes on.

Also where the new run is one in the folder of an older one: then the older one is there whole until the new one has a
checkpoint. The cuts are those of a model of a file system (`cuts`), and as root also those of a real one: an ext4
image that is copied while a process trains in it, unsynced.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.faults.cuts import Cut, Disk
from benchmarks.faults.outcome import Outcome
from nanokimi import checkpoint
from nanokimi.config import GPTConfig, OptimConfig, TrainConfig
from nanokimi.model import Model, build_model
from nanokimi.runs.folder import LOG
from nanokimi.text import tokenizer
from nanokimi.text.corpus import Corpus, Split
from nanokimi.train import train

NAME = "power cut while training"
RELEASE, SAMPLE = 100, 8
ON_A_REAL_DISK = 10  # of so many cuts is one made on an image, where that is possible

MODEL = GPTConfig(vocab_size=24, max_seq_len=16, d_model=16, n_layers=1, n_heads=2)
TRAINING = TrainConfig(
    steps=6,
    batch_size=2,
    seq_len=8,
    warmup_steps=0,
    eval_every=2,
    eval_windows=2,
    device="cpu",
    optim=OptimConfig(lr=1e-2),
)
OTHER = replace(TRAINING, seed=1, eval_every=3)


@dataclass(frozen=True)
class Run:
    """What a training that nothing disturbed has: its settings, the weights of its last step, its log."""

    cfg: TrainConfig
    weights: dict[str, torch.Tensor]
    log: list[str]
    saved: tuple[int, ...]  # the steps of its checkpoints


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Cut the power at `tries` moments, drawn from all of two trainings, the second in the folder of the first."""
    draw = random.Random(seed)
    cuts = record_cuts(folder / "model")
    runs = [complete(folder / f"whole-{cfg.seed}", cfg) for cfg in (TRAINING, OTHER)]
    lost = []
    for number in range(tries):
        here = folder / f"try-{number}"
        if number % ON_A_REAL_DISK == ON_A_REAL_DISK - 1 and can_mount(folder):
            fault = cut_image(here, draw)
            what = f"ext4 image, try {number} of seed {seed}"
        else:
            cut = draw.choice(cuts)
            cut.write(here)
            fault, what = check(cut, here / "run", runs), f"{cut} (done: {cut.done})"
        if fault:
            lost.append(f"{what}: {fault}")
        shutil.rmtree(here, ignore_errors=True)
        on_progress(number + 1)
    return Outcome(tries, tries - len(lost), lost)


def make_corpus() -> Corpus:
    """A text of 26 sentences, by characters."""
    text = [f"a cat {word} on the mat." for word in ("sat", "lay", "ate", "sang", "hid") * 12]
    encoding = tokenizer.char(text)
    tokens = np.array([t for line in text for t in encoding.encode_ordinary(line)], dtype=np.uint16)
    return Corpus(
        train=Split(tokens=tokens[:800]),
        val=Split(tokens=tokens[800:]),
        tokenizer=encoding,
        token_bytes=torch.ones(encoding.n_vocab, dtype=torch.int64),
        fingerprint="cat",
        name="cat",
        floor=None,
    )


def make_model(cfg: TrainConfig) -> Model:
    """A small GPT."""
    return build_model(MODEL, cfg.seed)


def complete(run_dir: Path, cfg: TrainConfig, resume: bool = False) -> Run:
    """Train to the end."""
    model = make_model(cfg)
    for _ in train(model, make_corpus(), cfg, run_dir, resume):
        pass
    end = checkpoint.load_checkpoint(run_dir)
    assert end.state.step == cfg.steps and not end.skipped
    saved = tuple(range(cfg.eval_every, cfg.steps + 1, cfg.eval_every))
    return Run(cfg, dict(end.model.state_dict()), read_log(run_dir), saved)


def read_log(run_dir: Path) -> list[str]:
    """The log's lines without the clock's numbers."""
    lines = (run_dir / LOG).read_text().splitlines()
    return [
        part
        for line in lines
        for part in line.split(", ")
        if '"seconds"' not in part and "_per_s" not in part
    ]


def record_cuts(root: Path) -> list[Cut]:
    """Every state that a power cut or a kill could leave while one run is trained, and then another in its folder.

    A cut's `done` is the step that the caller had been told of; a hundred more in the second run.
    """
    root.mkdir()
    with Disk(root).watch() as disk:
        for add, cfg in ((0, TRAINING), (100, OTHER)):
            for record in train(make_model(cfg), make_corpus(), cfg, root / "run"):
                disk.done = add + record.step
                disk.keep(f"step {record.step}")
    return disk.cuts


def check(cut: Cut, run_dir: Path, runs: list[Run]) -> str:
    """What was lost after a cut; empty for nothing."""
    first, second = runs
    in_second, step = divmod(cut.done, 100)
    saved = max((s for s in (second if in_second else first).saved if s <= step), default=0)
    if not checkpoint.has_checkpoint(run_dir):
        return "" if not in_second and not saved else "no checkpoint"
    found = checkpoint.load_checkpoint(run_dir)
    if found.skipped:
        return f"a checkpoint does not load: {found.skipped[0]}"
    ours = second if found.train == second.cfg else first
    if in_second and saved and ours is first:
        return "the older run instead of the new one"
    if ours is first and in_second and found.state.step != first.cfg.steps:
        return f"the older run is at step {found.state.step} again"
    if found.state.step < saved and (ours is second or not in_second):
        return f"step {found.state.step}, though {saved} was saved"
    again = complete(run_dir, ours.cfg, resume=True)
    if again.log != ours.log:
        return f"resumed from step {found.state.step}, the log is another"
    if any(not torch.equal(again.weights[name], value) for name, value in ours.weights.items()):
        return f"resumed from step {found.state.step}, the weights are others"
    return ""


# ---------------------------------------------------------------- a real file system


def can_mount(folder: Path) -> bool:
    """Whether images can be made and mounted here: as root, on a machine that lets us."""
    if sys.platform != "linux" or os.geteuid() or not shutil.which("mkfs.ext4"):
        return False
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        image = make_image(folder / "probe.img")
        with mounted(image):
            return True
    return False


def make_image(path: Path) -> Path:
    """An image of 24 MB with an empty ext4."""
    with path.open("wb") as file:
        file.truncate(24 << 20)
    _call("mkfs.ext4", "-q", "-F", str(path))
    return path


@contextlib.contextmanager
def mounted(image: Path) -> Iterator[Path]:
    """The folder in which the image is mounted."""
    place = image.with_suffix(".mounted")
    place.mkdir(exist_ok=True)
    _call("mount", "-o", "loop", str(image), str(place))
    try:
        yield place
    finally:
        _call("umount", str(place))


def cut_image(folder: Path, draw: random.Random) -> str:
    """Copy an image, unsynced, while a process trains in it; what the copy has lost."""
    folder.mkdir()
    image = make_image(folder / "disk.img")
    steps, words = 0, [sys.executable, "-P", "-m", "benchmarks.faults.power_cut"]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    with (
        mounted(image) as place,
        subprocess.Popen([*words, str(place / "run")], stdout=subprocess.PIPE, env=environment) as trainer,
    ):
        assert trainer.stdout is not None
        try:
            for _ in range(draw.randint(1, 40)):
                steps = int(trainer.stdout.readline())
            time.sleep(draw.random() * 0.05)
            # A copy takes a while, and the power fails at one moment: what is written meanwhile must not be in it.
            trainer.send_signal(signal.SIGSTOP)
            os.waitpid(trainer.pid, os.WUNTRACED)
            copy = Path(shutil.copy(image, folder / "copy.img"))
        finally:
            trainer.kill()
    subprocess.run(["e2fsck", "-fy", str(copy)], capture_output=True, check=False)
    with mounted(copy) as place:
        found = checkpoint.load_checkpoint(place / "run")
        if found.state.step < steps or found.skipped:
            return f"step {found.state.step} of {steps}, skipped: {found.skipped}"
        rest = train(make_model(found.train), make_corpus(), found.train, place / "run", resume=True)
        went_on = next(rest).step == found.state.step + 1
        rest.close()
    return "" if went_on else "it does not go on"


def _call(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def main(run_dir: Path) -> None:
    """Train for long, with a checkpoint after every step, and tell every step that is done."""
    cfg = replace(TRAINING, steps=100_000, eval_every=1)
    for record in train(make_model(cfg), make_corpus(), cfg, run_dir):
        print(record.step, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
