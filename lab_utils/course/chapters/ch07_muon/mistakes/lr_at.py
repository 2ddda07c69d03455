"""The known wrong answers to lr_at, of notebook 07, about the warm-up and the cosine."""

import math
from dataclasses import replace

from lab_utils.course.exercise import mistake


def rate(
    step,
    cfg,
    warm=lambda step, cfg: (step + 1) / cfg.warmup_steps,
    shape=lambda x: 0.5 * (1 + math.cos(math.pi * x)),
    floor=None,
    begin=None,
    last=None,
    wsd_begin=None,
):
    """Written out, with the places where a mistake goes."""
    peak = cfg.optim.lr
    floor = peak * cfg.min_lr_ratio if floor is None else floor
    last = cfg.steps - 1 if last is None else last
    if step < cfg.warmup_steps:
        return peak * warm(step, cfg)
    if cfg.schedule == "cosine":
        begin = cfg.warmup_steps if begin is None else begin
        return floor + (peak - floor) * shape((step - begin) / max(1, last - begin))
    n = max(1, round(cfg.decay_fraction * cfg.steps))
    begin = last - n if wsd_begin is None else wsd_begin
    return peak + (floor - peak) * max(0, step - begin) / max(1, last - begin)


@mistake(
    "The warm-up starts at 0: the first step is wasted, and the peak comes a step late.",
    "Which rate should step 0 have with a warm-up of two steps? Of one?",
)
def lr_from_zero(step, cfg):
    return rate(step, cfg, warm=lambda step, cfg: step / cfg.warmup_steps)


@mistake(
    "The warm-up starts at the floor. Its line starts at 0, a step before step 0.",
    "Which rate should step 0 have with a warm-up of two steps?",
)
def lr_warming_up_from_the_floor(step, cfg):
    low = cfg.min_lr_ratio
    return rate(step, cfg, warm=lambda step, cfg: low + (1 - low) * (step + 1) / cfg.warmup_steps)


@mistake(
    "There is no warm-up.",
    "Which field of the configuration makes no difference in your function?",
)
def lr_without_warmup(step, cfg):
    return rate(step, cfg, warm=lambda step, cfg: 1.0)


@mistake(
    "The cosine begins at step 0, during the warm-up. It should begin where the warm-up ends.",
    "Which rate should the first step after the warm-up have?",
)
def lr_with_cosine_from_the_start(step, cfg):
    return rate(step, cfg, begin=0)


@mistake(
    "The schedule ends one step too late: the last step is number steps-1, and there the floor must be reached.",
    "Steps count from 0. Which number has the last one?",
)
def lr_that_ends_a_step_late(step, cfg):
    return rate(step, cfg, last=cfg.steps)


@mistake(
    "The floor is 0: `min_lr_ratio` makes no difference.",
    "Which rate should the last step have?",
)
def lr_down_to_zero(step, cfg):
    return rate(step, cfg, floor=0.0)


@mistake(
    "`min_lr_ratio` is used as the floor itself. It is a share of the peak.",
    "A ratio of 0.1 and a peak of 0.02: what is the floor?",
)
def lr_with_an_absolute_floor(step, cfg):
    return rate(step, cfg, floor=cfg.min_lr_ratio)


@mistake(
    "The cosine schedule falls in a straight line.",
    "Both agree at half of the way. What about a quarter?",
)
def lr_linear(step, cfg):
    return rate(step, cfg, shape=lambda x: 1 - x)


@mistake(
    "This is a quarter of a cosine, cos(pi/2·x): it arrives at the floor with full slope.",
    "What is the value of the cosine half of the way down?",
)
def lr_quarter_cosine(step, cfg):
    return rate(step, cfg, shape=lambda x: math.cos(math.pi / 2 * x))


@mistake(
    "The warm-up divides by one step too many: its last step does not reach the peak.",
    "Which rate should step warmup_steps - 1 have?",
)
def lr_that_warms_up_short_of_the_peak(step, cfg):
    return rate(step, cfg, warm=lambda step, cfg: (step + 1) / (cfg.warmup_steps + 1))


@mistake(
    "There is no warm-up: the fall begins at the end of it, and before it the same formula goes on backwards.",
    "Which steps are warm-up steps, and what does your function do there?",
)
def lr_without_a_branch_for_warmup(step, cfg):
    return rate(step, replace(cfg, warmup_steps=0), begin=cfg.warmup_steps)


@mistake(
    "There is no warm-up: the fall begins at step 0.",
    "Which field of the configuration makes no difference in your function?",
)
def lr_with_warmup_ignored(step, cfg):
    return rate(step, replace(cfg, warmup_steps=0))


@mistake(
    "The warm-up is one step too long: step `warmup_steps` belongs to the schedule.",
    "Steps count from 0. Which number has the last of three warm-up steps?",
)
def lr_that_warms_up_a_step_longer(step, cfg):
    if step == cfg.warmup_steps and cfg.warmup_steps:
        return cfg.optim.lr * (step + 1) / cfg.warmup_steps
    return rate(step, cfg)


@mistake(
    "The cosine ends one step too late: the last step is number steps-1, and there the floor must be reached.",
    "Steps count from 0. Which number has the last one?",
)
def lr_whose_cosine_ends_late(step, cfg):
    return rate(step, cfg, last=cfg.steps if cfg.schedule == "cosine" else None)


@mistake(
    "The cosine falls to 0: `min_lr_ratio` makes no difference there.",
    "Which rate should the last step have?",
)
def lr_whose_cosine_falls_to_zero(step, cfg):
    return rate(step, cfg, floor=0.0 if cfg.schedule == "cosine" else None)


@mistake(
    "The cosine falls towards 0 and is cut off at the floor. It should reach the floor at the last step only.",
    "Which rate is half of the way down, with a floor of 1 and a peak of 3?",
)
def lr_cut_off_at_the_floor(step, cfg):
    if cfg.schedule == "cosine":
        return max(rate(step, cfg, floor=0.0), min(rate(step, cfg), cfg.optim.lr * cfg.min_lr_ratio))
    return rate(step, cfg)


@mistake(
    "The cosine rises: it begins at the floor and ends at the peak.",
    "What is cos(0), and which rate belongs to it?",
)
def lr_rising(step, cfg):
    return rate(step, cfg, shape=lambda x: 0.5 * (1 - math.cos(math.pi * x)))


@mistake(
    "Half is missing in the cosine: 1 + cos goes from 2 to 0, so the fall begins above the peak.",
    "How large is 1 + cos(0)?",
)
def lr_without_the_half(step, cfg):
    return rate(step, cfg, shape=lambda x: 1 + math.cos(math.pi * x))


@mistake(
    "The cosine divides by zero where the warm-up ends with the last step but one.",
    "What does the docstring say if step warmup_steps is the last step?",
)
def lr_whose_cosine_divides_by_zero(step, cfg):
    if step < cfg.warmup_steps or cfg.schedule == "wsd":
        return rate(step, cfg)
    progress = (step - cfg.warmup_steps) / (cfg.steps - 1 - cfg.warmup_steps)
    peak, floor = cfg.optim.lr, cfg.optim.lr * cfg.min_lr_ratio
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * progress))


@mistake(
    "The rate is a share of the peak: cfg.optim.lr makes no difference.",
    "Which field of the configuration makes no difference in your function?",
)
def lr_as_a_share(step, cfg):
    return rate(step, cfg) / cfg.optim.lr


LR_AT_COSINE = (
    lr_from_zero,
    lr_warming_up_from_the_floor,
    lr_without_warmup,
    lr_with_cosine_from_the_start,
    lr_that_ends_a_step_late,
    lr_down_to_zero,
    lr_with_an_absolute_floor,
    lr_linear,
    lr_quarter_cosine,
    lr_that_warms_up_short_of_the_peak,
    lr_without_a_branch_for_warmup,
    lr_with_warmup_ignored,
    lr_that_warms_up_a_step_longer,
    lr_whose_cosine_ends_late,
    lr_whose_cosine_falls_to_zero,
    lr_cut_off_at_the_floor,
    lr_rising,
    lr_without_the_half,
    lr_whose_cosine_divides_by_zero,
    lr_as_a_share,
)
