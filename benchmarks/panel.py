"""What the live panel costs: training steps with and without it, in turns.

    python -m benchmarks.panel --minutes 3

Two trainings of the same Kimi (profile cpu) run side by side in one process, a block of steps of one, then of the
other, in an order that changes round by round. One is looked at by a panel with its widgets and samples, one by
nobody; evaluating and saving are no part of the measurement, as in the records. What the widgets send is packed and
signed as a kernel does it, and then dropped: what a browser on the same machine takes for drawing comes on top, and is
not measured here.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import comm
from jupyter_client.session import Session

from lab_utils.bench.plan import Arm, make_plan
from lab_utils.live.sample import write_sample
from nanokimi.device import choose_device
from nanokimi.model import build_model
from nanokimi.record import StepRecord
from nanokimi.system.memory import keep_freed_memory
from nanokimi.system.printable import show_every_letter
from nanokimi.text.corpus import Corpus, load_corpus
from nanokimi.train import train

BLOCK = 8  # steps
WARM_UP = 1  # rounds that are not counted


class PackedComm(comm.DummyComm):
    """Packs every message as a kernel would, and sends it nowhere."""

    session = Session(key=b"benchmark")

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys) -> None:
        content = {"data": data or {}, "comm_id": self.comm_id, **keys}
        self.session.serialize(self.session.msg(msg_type, content=content, metadata=metadata))


async def plain(arm: Arm, corpus: Corpus) -> AsyncIterator[StepRecord]:
    for record in train(build_model(arm.model), corpus, arm.train):
        yield record


async def with_panel(arm: Arm, corpus: Corpus) -> AsyncIterator[StepRecord]:
    from lab_utils.live import panel as live

    model = build_model(arm.model)
    panel = live.TrainingPanel(corpus)  # not displayed: there is no front end to show it
    async for record in panel.track(train(model, corpus, arm.train, steer=panel.steer), arm, model):
        yield record


async def seconds_of_block(steps: AsyncIterator[StepRecord]) -> float:
    """Wall clock of a block of steps, with whatever the panel does between them."""
    started = time.perf_counter()
    for _ in range(BLOCK):
        await anext(steps)
    return time.perf_counter() - started


async def measure(profile: str, minutes: float) -> list[float]:
    """The panel's share of the time, a value per round: with / without - 1."""
    plan = make_plan(profile)
    corpus = load_corpus(plan.data, seq_len=plan.arms[0].train.seq_len)
    arm = plan.with_vocabulary_of(corpus).arm("kimi")
    # An evaluation falls on the end of both alike, never into a counted block; its sample is timed by itself below.
    arm = replace(arm, train=replace(arm.train, steps=10_000, eval_every=10_000))
    runs = {"plain": plain(arm, corpus), "panel": with_panel(arm, corpus)}
    shares: list[float] = []
    ends = time.monotonic() + 60 * minutes
    for turn in itertools.count():
        order = list(runs) if turn % 2 else list(runs)[::-1]
        seconds = {name: await seconds_of_block(runs[name]) for name in order}
        if turn >= WARM_UP:
            shares.append(seconds["panel"] / seconds["plain"] - 1)
        if time.monotonic() > ends and len(shares) >= 5:
            return shares


async def sample_share(profile: str) -> float:
    """Seconds of one sample over the seconds of training between two evaluations."""
    plan = make_plan(profile)
    corpus = load_corpus(plan.data, seq_len=plan.arms[0].train.seq_len)
    arm = plan.with_vocabulary_of(corpus).arm("kimi")
    model = build_model(arm.model)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        write_sample(model, corpus)
        times.append(time.perf_counter() - started)
    steps = plain(replace(arm, train=replace(arm.train, eval_every=arm.train.steps)), corpus)
    block = [await seconds_of_block(steps) for _ in range(3)]
    return statistics.median(times) / (min(block) / BLOCK * arm.train.eval_every)


def main() -> None:
    show_every_letter()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2.5)
    parser.add_argument("--profile", default="cpu")
    options = parser.parse_args()
    os.environ["NANOKIMI_LIVE"] = "1"
    comm.create_comm = PackedComm
    if choose_device("auto").type == "cpu":
        keep_freed_memory()
    shares = asyncio.run(measure(options.profile, options.minutes))
    quarter = statistics.quantiles(shares, n=4)
    print(f"profile {options.profile}, {len(shares)} rounds of {BLOCK} steps each, in turns")
    print(
        f"the panel adds {quarter[1]:.2%} of training time (quartiles {quarter[0]:.2%} .. {quarter[2]:.2%})"
    )
    sample = asyncio.run(sample_share(options.profile))
    print(f"a sample at each evaluation adds {sample:.2%} (against the steps between two evaluations)")


if __name__ == "__main__":
    main()
