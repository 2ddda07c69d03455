"""The tables of docs/results.md that come from the studies of arms: Muon, QK-clip, balancing and sparsity."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from lab_utils.study.arms_found import ArmsFound, step_ratio
from lab_utils.study.logged import RANKS
from lab_utils.study.tokens import find_reached
from lab_utils.study.trainings import Trained, final_losses

NONE = "–"


def muon_table(found: ArmsFound) -> str:
    """A row per arm at its best rate, by the tokens that it is trained on."""
    heads = ["tokens", "arm", "learning rate, of those tried", "validation loss, nats per token",
             "tokens to AdamW's loss", "seconds to it", "seconds of the training, by the clock"]  # fmt: skip
    rows = []
    for each in find_reached(found):
        tried = sorted(one.lr for one in found.trained if one.arm == each.arm and one.run.seed == 0)
        rows.append(
            [
                f"{each.tokens / 1e6:.1f} M",
                each.arm.partition("-")[0],
                f"{each.seeds[0].lr:g} of {', '.join(f'{lr:g}' for lr in tried)}",
                _write_losses(each.seeds),
                _write(each.share_of_tokens, ".0%"),
                _write(each.share_of_seconds, ".0%"),
                f"{fmean(one.run.train_seconds for one in each.seeds):,.0f}",
            ]
        )
    return _as_table(heads, rows)


def clip_table(found: ArmsFound) -> str:
    """A row per rate, arm and seed: how large logits became, and what it ended at."""
    heads = ["learning rate", "QK-clip", "seed", "largest logit", "in the first tenth", "in the last tenth",
             "validation loss, nats per token"]  # fmt: skip
    rows = []
    order = list(dict.fromkeys(each.arm for each in found.trained))
    for each in sorted(found.trained, key=lambda one: (one.lr, order.index(one.arm), one.run.seed)):
        logits = found.log_of(each).largest_logit or ()
        tenth = max(1, round(len(logits) / 10))
        ended = (
            f"{each.run.final.loss:.3f}" if each.run.complete else f"diverged at step {each.run.diverged_at}"
        )
        largest = [
            f"{max(some):,.0f}" if some else NONE for some in (logits, logits[:tenth], logits[-tenth:])
        ]
        rows.append([f"{each.lr:g}", each.arm, str(each.run.seed), *largest, ended])
    return _as_table(heads, rows)


def balance_table(found: ArmsFound) -> str:
    """A row per arm at its best rate, means over the seeds."""
    heads = ["balancing", "validation loss, nats per token", "MaxVio at the end", "dead experts per layer",
             *(f"waiting, {n} ranks" for n in RANKS), "seeds"]  # fmt: skip
    rows = []
    for arm, seeds in found.best().items():
        logs = [found.log_of(each) for each in seeds]
        waits = [f"{fmean(log.waiting[n] for log in logs):.0%}" for n in RANKS]
        rows.append(
            [
                arm,
                _write_losses(seeds),
                f"{fmean(log.max_vio[-1] for log in logs):.2f}",
                f"{fmean(log.dead for log in logs):.1f}",
                *waits,
                str(len(seeds)),
            ]
        )
    return _as_table(heads, rows)


def sparsity_table(found: ArmsFound) -> str:
    """A row per arm at its best rate."""
    heads = ["experts", "per token", "active parameters", "parameters", "validation loss, nats per token",
             "step, vs dense", "seeds"]  # fmt: skip
    best = found.best()
    first = next(iter(best))
    rows = []
    for arm, seeds in best.items():
        experts = found.experts.get(arm)
        rows.append(
            [
                str(experts.n) if experts else "dense",
                str(experts.top_k) if experts else NONE,
                f"{seeds[0].body_active:,}",
                f"{seeds[0].body_total:,}",
                _write_losses(seeds),
                _write(step_ratio(found, arm, first), ".2f"),
                str(len(seeds)),
            ]
        )
    return _as_table(heads, rows)


def _write_losses(seeds: Sequence[Trained]) -> str:
    losses = final_losses(seeds)
    spread = f" ({min(losses):.3f}..{max(losses):.3f})" if len(losses) > 1 else ""
    return f"{fmean(losses):.3f}{spread}"


def _write(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)


def _as_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(
        f"| {' | '.join(row)} |" if row else "|---" * len(heads) + "|" for row in (heads, [], *rows)
    )
