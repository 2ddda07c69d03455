"""The models that come with the lab: train one, or go on where its training stopped, and write it to its shelf.

    python -m benchmarks.pretrain kimi-storyworld
    python -m benchmarks.pretrain kimi-tinystories --data DATA       # a folder of TinyStories
    python -m benchmarks.pretrain kimi-storyworld --ship             # of the newest checkpoint, and replace the old one

The models of the storyworld learn from ten times as many stories as the default text has, of the same world and cut
into the same tokens: no story is met twice. The stories that the default text holds out are held out here too.
A training writes checkpoints to `out/pretrain/NAME`. Its threads are those of OMP_NUM_THREADS.
"""

import argparse
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.model_card import write_card
from lab_utils.bench.plan import make_plan
from lab_utils.machine.describe import describe, environment
from nanokimi.abilities.report import measure_abilities
from nanokimi.checkpoint import has_checkpoint, load_checkpoint
from nanokimi.config import DataConfig, ModelConfig, TrainConfig
from nanokimi.evaluate import evaluate
from nanokimi.model import build_model
from nanokimi.pretrained.shelf import SHELF, read_model, write_model
from nanokimi.system.memory import keep_freed_memory
from nanokimi.text import storyworld
from nanokimi.text.corpus import Corpus, Split, load_corpus
from nanokimi.text.split import SHARE, hash_text
from nanokimi.text.storyworld.writer import write
from nanokimi.train import train

N_STORIES = 200_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which model, and how it is trained. is_story: on the storyworld, else on the folder that --data names."""

    model: ModelConfig
    train: TrainConfig
    is_story: bool = True


def _plan(arm_name: str, steps: int, lr: float, is_story: bool = True) -> Plan:
    """The arm of `make bench`, trained for longer and at this rate."""
    arm = make_plan("cpu", arm_name).arm(arm_name)
    train = replace(
        arm.train,
        steps=steps,
        batch_size=32,
        warmup_steps=100,
        min_lr_ratio=0.02,
        eval_every=250,
        eval_windows=256,
        optim=replace(arm.train.optim, lr=lr),
    )
    return Plan(model=arm.model, train=train, is_story=is_story)


PLANS = {
    # Half of the rate that is Kimi's best for a million tokens.
    "kimi-storyworld": _plan("kimi", 4000, 0.012),
    "gpt-storyworld": _plan("gpt", 4000, 0.003),
    "kimi-tinystories": _plan("kimi", 1000, 0.012, is_story=False),
}


def add_stories(corpus: Corpus, data: DataConfig, n_stories: int) -> Corpus:
    """The corpus of `data` with the stories up to number `n_stories` to train on, cut into the same tokens.

    Validation stays as it is, and no story that the longer text would hold out is added.
    """
    world = storyworld.World(data.seed, data.n_characters)
    grammar = storyworld.default_grammar()
    end = corpus.tokenizer.eot_token

    def tokens() -> Iterator[np.ndarray]:
        for index in range(data.n_stories, n_stories):
            text = write(grammar, world, data.seed, index).text
            if hash_text(text) / 2**64 >= SHARE:
                ids = [*corpus.tokenizer.encode_ordinary(text), end]
                yield np.asarray(ids, dtype=corpus.train.tokens.dtype)

    longer = Split(tokens=np.concatenate([corpus.train.tokens, *tokens()]))
    return replace(corpus, train=longer, fingerprint=f"{corpus.fingerprint}-{n_stories}-stories")


def pretrain(name: str, plan: Plan, corpus: Corpus, folder: Path) -> None:
    """Train the model of a plan to its end, and print a line per evaluation."""
    keep_freed_memory()
    model = build_model(plan.model, plan.train.seed)
    for record in train(model, corpus, plan.train, run_dir=folder, resume=has_checkpoint(folder)):
        if found := record.evaluation:
            where = f"{name}: step {record.step} of {record.n_steps}, {record.seconds:,.0f} s"
            print(f"{where}: {found.loss:.4f} nats, {found.bits_per_byte:.4f} bits per byte", flush=True)


def ship(name: str, plan: Plan, data: DataConfig, corpus: Corpus, folder: Path, shelf: Path = SHELF) -> None:
    """Write the model of the newest checkpoint to `shelf`, with what it can do, in the place of an older one.

    corpus: of `data`. Its training text is the one that memorisation is measured against.
    """
    found = load_checkpoint(folder)
    model, state = found.model.eval(), found.state
    tokens = state.step * plan.train.batch_size * plan.train.seq_len
    stories = round(data.n_stories * tokens / len(corpus.train)) if plan.is_story else None
    read = replace(data, n_stories=stories) if stories else data
    abilities = measure_abilities(model, corpus, read, plan.train)
    origin = {
        "command": f"python -m benchmarks.pretrain {name}" + ("" if plan.is_story else " --data DATA"),
        "machine": describe(environment("cpu")["machine"]),
        "torch": torch.__version__,
        "steps": state.step,
        "tokens": tokens,
        "stories": stories,
        "seconds": round(state.seconds),
    }
    known = data if plan.is_story else None
    card = write_card(name, model, origin, known, abilities)
    if (shelf / name).exists():
        shutil.rmtree(shelf / name)
    write_model(shelf / name, model, found.tokenizer, known, plan.train, abilities.evaluation, origin, card)
    half = evaluate(read_model(shelf / name).model, corpus, plan.train).loss
    print(f"{name}: {abilities.evaluation.loss:.5f} nats per token, {half:.5f} in half precision", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(PLANS))
    parser.add_argument("--data", default="storyworld")
    parser.add_argument("--out", default="out/pretrain")
    parser.add_argument("--ship", action="store_true", help="train no further")
    args = parser.parse_args()
    plan, data, folder = PLANS[args.name], DataConfig(source=args.data), Path(args.out, args.name)
    if plan.is_story != (args.data == "storyworld"):
        parser.error(
            f"{args.name}: --data must {'be left out' if plan.is_story else 'name a folder of texts'}"
        )
    corpus = load_corpus(data)
    if not args.ship:
        longer = add_stories(corpus, data, N_STORIES) if plan.is_story else corpus
        print(f"{args.name}: {len(longer.train):,} tokens to learn from", flush=True)
        pretrain(args.name, plan, longer, folder)
    ship(args.name, plan, data, corpus, folder)


if __name__ == "__main__":
    main()
