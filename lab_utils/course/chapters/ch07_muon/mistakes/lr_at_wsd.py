"""The known wrong answers to lr_at, of notebook 07, about the schedule wsd."""

import math
from dataclasses import replace

from lab_utils.course.chapters.ch07_muon.mistakes.lr_at import rate
from lab_utils.course.exercise import mistake


@mistake(
    "The wsd schedule decays from the end of the warm-up on: nothing is stable.",
    "wsd is warm-up, stable, decay. How long is the last part?",
)
def lr_without_a_stable_part(step, cfg):
    return rate(step, cfg, wsd_begin=cfg.warmup_steps)


@mistake(
    "The decay of wsd ends one step too late: the last step is number steps-1, and there the floor must be reached.",
    "Steps count from 0. Which number has the last one?",
)
def lr_whose_decay_ends_late(step, cfg):
    return rate(step, cfg, last=cfg.steps if cfg.schedule == "wsd" else None)


@mistake(
    "The decay of wsd falls to 0: `min_lr_ratio` makes no difference there.",
    "Which rate should the last step have?",
)
def lr_whose_decay_falls_to_zero(step, cfg):
    return rate(step, cfg, floor=0.0 if cfg.schedule == "wsd" else None)


@mistake(
    "The length of the decay is rounded down. The docstring asks for the nearest whole number.",
    "A share of 0.27 of ten steps: how many steps?",
)
def lr_rounding_down(step, cfg):
    n = max(1, int(cfg.decay_fraction * cfg.steps))
    return rate(step, cfg, wsd_begin=cfg.steps - 1 - n)


@mistake(
    "The length of the decay is rounded up. The docstring asks for the nearest whole number.",
    "A share of 0.23 of ten steps: how many steps?",
)
def lr_rounding_up(step, cfg):
    n = max(1, math.ceil(cfg.decay_fraction * cfg.steps))
    return rate(step, cfg, wsd_begin=cfg.steps - 1 - n)


@mistake(
    "A decay of 2.5 steps is rounded up. The docstring's `round` goes to the even number where two are equally near.",
    "What is round(2.5) in Python, and what does your function make of it?",
)
def lr_rounding_half_up(step, cfg):
    n = max(1, int(cfg.decay_fraction * cfg.steps + 0.5))
    return rate(step, cfg, wsd_begin=cfg.steps - 1 - n)


@mistake(
    "A decay that would begin during the warm-up is made shorter. Its line keeps n steps, and the warm-up covers some.",
    "Ten steps, a warm-up of 8, n = 5: which rate has the line at step 8?",
)
def lr_whose_decay_waits_for_the_warmup(step, cfg):
    n = max(1, round(cfg.decay_fraction * cfg.steps))
    return rate(step, cfg, wsd_begin=max(cfg.warmup_steps, cfg.steps - 1 - n))


@mistake(
    "wsd decays along 1 - sqrt, fast at first. Its decay is a straight line.",
    "Which rate is a quarter of the way through the decay?",
)
def lr_decaying_by_a_root(step, cfg):
    n = max(1, round(cfg.decay_fraction * cfg.steps))
    if step < cfg.warmup_steps or cfg.schedule == "cosine":
        return rate(step, cfg)
    progress = max(0, step - (cfg.steps - 1 - n)) / n
    return cfg.optim.lr * (1 + (cfg.min_lr_ratio - 1) * math.sqrt(progress))


@mistake(
    "The length of the decay is not rounded. The docstring asks for the nearest whole number.",
    "A share of 0.27 of ten steps: how many steps?",
)
def lr_without_rounding(step, cfg):
    n = max(1, cfg.decay_fraction * cfg.steps)
    return rate(step, cfg, wsd_begin=cfg.steps - 1 - n)


def dividing_by(n, nothing, step, cfg):
    """The rate with a decay of n steps, which may be none; `nothing` is 0 or 0.0: Python's error differs."""
    if step < cfg.warmup_steps or cfg.schedule == "cosine":
        return rate(step, cfg)
    progress = max(nothing, step - (cfg.steps - 1 - n)) / n
    return cfg.optim.lr * (1 + (cfg.min_lr_ratio - 1) * progress)


NONE_AT_ALL = ("A decay of no steps is divided by: n is at least 1.", "What is n for decay_fraction = 0?")
ROUNDED_TO_NONE = (
    "The length of the decay is rounded down, and may be 0. The docstring asks for the nearest whole number, and for "
    "1 at least.",
    "A share of 0.27 of ten steps: how many steps? And a share of 0?",
)


@mistake(*NONE_AT_ALL)
def lr_dividing_by_zero(step, cfg):
    return dividing_by(round(cfg.decay_fraction * cfg.steps), 0, step, cfg)


@mistake(*ROUNDED_TO_NONE)
def lr_rounding_down_and_dividing(step, cfg):
    return dividing_by(int(cfg.decay_fraction * cfg.steps), 0, step, cfg)


@mistake(*ROUNDED_TO_NONE)
def lr_rounding_down_to_none(step, cfg):
    n = int(cfg.decay_fraction * cfg.steps)
    if cfg.schedule == "wsd" and n == 0 and step >= cfg.warmup_steps:
        return cfg.optim.lr
    return rate(step, cfg, wsd_begin=cfg.steps - 1 - n)


@mistake(
    "The length of the decay is not rounded, and may be 0. The docstring asks for the nearest whole number, and for 1 "
    "at least.",
    "A share of 0.27 of ten steps: how many steps? And a share of 0?",
)
def lr_without_rounding_or_a_least(step, cfg):
    return dividing_by(cfg.decay_fraction * cfg.steps, 0.0, step, cfg)


@mistake(
    "The length of the decay is rounded up, and may be 0. The docstring asks for the nearest whole number, and for 1 "
    "at least.",
    "A share of 0.23 of ten steps: how many steps? And a share of 0?",
)
def lr_rounding_up_and_dividing(step, cfg):
    return dividing_by(math.ceil(cfg.decay_fraction * cfg.steps), 0, step, cfg)


@mistake(
    "The stable part of wsd is not at the peak: the line of the decay goes on backwards, above the peak.",
    "Which rate should wsd have right after the warm-up?",
)
def lr_above_the_peak(step, cfg):
    if step < cfg.warmup_steps or cfg.schedule == "cosine":
        return rate(step, cfg)
    n = max(1, round(cfg.decay_fraction * cfg.steps))
    return cfg.optim.lr * (1 + (cfg.min_lr_ratio - 1) * (step - (cfg.steps - 1 - n)) / n)


@mistake(
    "wsd never decays: it stays at the peak.",
    "Which rate should the last step have?",
)
def lr_that_never_decays(step, cfg):
    return (
        rate(step, cfg)
        if cfg.schedule == "cosine"
        else min(cfg.optim.lr, rate(step, cfg, floor=cfg.optim.lr))
    )


@mistake(
    "wsd decays along a cosine. Its decay is a straight line.",
    "Which rate is a quarter of the way through the decay?",
)
def lr_decaying_along_a_cosine(step, cfg):
    n = max(1, round(cfg.decay_fraction * cfg.steps))
    if step < cfg.warmup_steps or cfg.schedule == "cosine" or step <= cfg.steps - 1 - n:
        return rate(step, cfg)
    return rate(step, replace(cfg, warmup_steps=0, schedule="cosine"), begin=cfg.steps - 1 - n)


@mistake(
    "The share of the decay is taken of the steps after the warm-up. The docstring takes it of all steps.",
    "Of which number does the docstring take decay_fraction?",
)
def lr_with_a_share_of_the_rest(step, cfg):
    n = max(1, round(cfg.decay_fraction * (cfg.steps - cfg.warmup_steps)))
    return rate(step, cfg, wsd_begin=cfg.steps - 1 - n)


@mistake(
    "The decay begins a step too late: the last step of the peak is n steps before the last one.",
    "With n = 2 and steps 0 to 9: which is the last step at the peak?",
)
def lr_decaying_a_step_late(step, cfg):
    n = max(1, round(cfg.decay_fraction * cfg.steps))
    return rate(step, cfg, wsd_begin=min(cfg.steps - 2, cfg.steps - n))


@mistake(
    "`cfg.schedule` makes no difference: the rate is always a cosine.",
    'Where does your function ask for "wsd"?',
)
def lr_always_cosine(step, cfg):
    return rate(step, replace(cfg, schedule="cosine"))


@mistake(
    "The line of the decay goes to 0, and is cut off at the floor. It is straight from the peak to the floor.",
    "Which rate is half of the way through the decay?",
)
def lr_whose_decay_is_cut_off_at_the_floor(step, cfg):
    line = rate(step, cfg, floor=0.0 if cfg.schedule == "wsd" else None)
    is_decay = cfg.schedule == "wsd" and step >= cfg.warmup_steps
    return max(line, cfg.optim.lr * cfg.min_lr_ratio) if is_decay else line


LR_AT_WSD = (
    lr_without_a_stable_part,
    lr_whose_decay_ends_late,
    lr_whose_decay_falls_to_zero,
    lr_rounding_down,
    lr_rounding_up,
    lr_rounding_half_up,
    lr_whose_decay_waits_for_the_warmup,
    lr_decaying_by_a_root,
    lr_without_rounding,
    lr_dividing_by_zero,
    lr_rounding_down_and_dividing,
    lr_rounding_down_to_none,
    lr_without_rounding_or_a_least,
    lr_rounding_up_and_dividing,
    lr_above_the_peak,
    lr_that_never_decays,
    lr_decaying_along_a_cosine,
    lr_with_a_share_of_the_rest,
    lr_decaying_a_step_late,
    lr_always_cosine,
    lr_whose_decay_is_cut_off_at_the_floor,
)
