"""The known wrong answers to lr_at, of notebook 07."""

import math

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
    "There is no warm-up.",
    "Which field of the configuration do you never read?",
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
    "The floor is 0: `min_lr_ratio` is not used.",
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
    "The wsd schedule decays from the end of the warm-up on: nothing is stable.",
    "wsd is warm-up, stable, decay. How long is the last part?",
)
def lr_without_a_stable_part(step, cfg):
    return rate(step, cfg, wsd_begin=cfg.warmup_steps)


LR_AT = (
    lr_from_zero,
    lr_without_warmup,
    lr_with_cosine_from_the_start,
    lr_that_ends_a_step_late,
    lr_down_to_zero,
    lr_with_an_absolute_floor,
    lr_linear,
    lr_quarter_cosine,
    lr_without_a_stable_part,
)
