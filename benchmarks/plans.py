"""The tables of docs/many-machines.md: trainings on 1, 8, 64 and 512 cards, on paper.

`python -m benchmarks.plans` prints them from `nanokimi.cluster`, and a test compares the document. Nothing is measured.
"""

import math
from collections.abc import Callable

from nanokimi.cluster.plan import Asked, Layout, ask
from nanokimi.cluster.seconds import estimate_time
from nanokimi.config import OptimConfig, TrainConfig
from nanokimi.presets.yaml_config import load_model_config, load_train_config

N_RANKS = (1, 8, 64, 512)
PLANS: tuple[tuple[str, str, Layout], ...] = (
    ("gpt-small", "adamw", "replicated"),
    ("gpt-small", "adamw", "sharded"),
    ("kimi-small-dense", "adamw", "replicated"),
    ("kimi-small-dense", "adamw", "sharded"),
    ("kimi-small-mla", "adamw", "replicated"),
    ("kimi-small-mla", "adamw", "sharded"),
    ("kimi-small", "muon", "replicated"),
    ("kimi-small", "muon", "sharded"),
    ("kimi-small", "muon", "experts"),
    ("kimi-k2", "muon", "replicated"),
    ("kimi-k2", "muon", "sharded"),
    ("kimi-k2", "muon", "experts"),
)
K2_WINDOWS = 16384  # of 4,096 tokens: the 67 million of a step in K2's report


def make_training(model: str, optimizer: str, n_ranks: int) -> TrainConfig:
    """The step that is planned: K2's by single windows, or that of `train-small` by one micro-batch per rank."""
    if model == "kimi-k2":
        optim = OptimConfig(optimizer="muon")
        return TrainConfig(batch_size=1, seq_len=4096, grad_accum=K2_WINDOWS, optim=optim)
    windows = load_train_config("train-small").batch_size
    share = [f"batch_size={max(1, windows // n_ranks)}", f"grad_accum={n_ranks}"]
    return load_train_config("train-small", [*share, f"optim.optimizer={optimizer}"])


def make_plan(model: str, optimizer: str, layout: Layout, n_ranks: int) -> Asked:
    """What a step asks of each rank. K2's experts are on 16 ranks and its layers in 16 stages, or in fewer on fewer."""
    expert_ranks = min(16, n_ranks) if layout == "experts" else 1
    n_stages = min(16, n_ranks // expert_ranks) if layout == "experts" and model == "kimi-k2" else 1
    training = make_training(model, optimizer, n_ranks)
    return ask(load_model_config(model), training, n_ranks, layout, n_stages, expert_ranks)


def write_two_digits(x: float) -> str:
    """The number with two significant digits, and no more: 0.023, 1.5, 160, 12,000."""
    if not x:
        return "0"
    rounded = float(f"{x:.1e}")
    return f"{rounded:,.{max(0, 1 - math.floor(math.log10(rounded)))}f}"


def tell_held(asked: Asked, n_ranks: int) -> str:
    return write_two_digits(asked.held / 1e9)


def tell_sent(asked: Asked, n_ranks: int) -> str:
    return write_two_digits(asked.sent / 1e9)


def tell_time(asked: Asked, n_ranks: int) -> str:
    time = estimate_time(asked, n_ranks)
    return f"{write_two_digits(time.total)} ({time.sending / time.total:.0%})"


COLUMNS: dict[str, Callable[[Asked, int], str]] = {
    "held per card, GB": tell_held,
    "sent per card and step, GB": tell_sent,
    "a step, seconds (part that is sending)": tell_time,
}


def tables() -> list[str]:
    """A table for each of `COLUMNS`: a row per plan, and a column per number of cards."""
    asked = {plan: [make_plan(*plan, n) for n in N_RANKS] for plan in PLANS}
    found = []
    for title, tell in COLUMNS.items():
        lines = [f"| {title} | {' | '.join(map(str, N_RANKS))} |", "|---" * (1 + len(N_RANKS)) + "|"]
        for (model, _, layout), each in asked.items():
            cells = (tell(one, n) for one, n in zip(each, N_RANKS, strict=True))
            lines.append(f"| {model}, {layout} | {' | '.join(cells)} |")
        found.append("\n".join(lines))
    return found


if __name__ == "__main__":
    print("\n\n".join(tables()))
