"""The known wrong answers to lr_at, of notebook 07, about where a schedule begins, where it ends, and its curve."""

import math
from dataclasses import replace

from lab_utils.course.chapters.ch07_muon.mistakes.lr_at import rate
from lab_utils.course.exercise import mistake


def decay_steps(cfg):
    return max(1, round(cfg.decay_fraction * cfg.steps))


def is_decaying(step, cfg):
    """Whether the step is one of wsd's decay, the warm-up left out."""
    return cfg.schedule == "wsd" and step >= cfg.warmup_steps and step > cfg.steps - 1 - decay_steps(cfg)


@mistake(
    "wsd falls along a curve, peak·ratio**way: each step by the same factor. Its decay is a straight line.",
    "Which rate is half of the way from a peak of 2 to a floor of 1?",
)
def lr_decaying_by_a_factor(step, cfg):
    if not is_decaying(step, cfg):
        return rate(step, cfg)
    way = (step - (cfg.steps - 1 - decay_steps(cfg))) / decay_steps(cfg)
    return cfg.optim.lr * cfg.min_lr_ratio**way


@mistake(
    "The cosine begins a step early: the first step after the warm-up is below the peak already.",
    "Which rate should step warmup_steps have?",
)
def lr_whose_cosine_begins_early(step, cfg):
    if step < cfg.warmup_steps or cfg.schedule == "wsd" or cfg.warmup_steps == cfg.steps - 1:
        return rate(step, cfg)
    way = (step - cfg.warmup_steps + 1) / (cfg.steps - cfg.warmup_steps)
    floor = cfg.optim.lr * cfg.min_lr_ratio
    return floor + (cfg.optim.lr - floor) * 0.5 * (1 + math.cos(math.pi * way))


@mistake(
    "The cosine begins a step early, with the last step of the warm-up.",
    "Which rate should step warmup_steps have?",
)
def lr_whose_cosine_begins_at_the_last_warm_step(step, cfg):
    return rate(step, cfg, begin=cfg.warmup_steps - 1)


@mistake(
    "Where the step after the warm-up is the last one, the rate is the floor. The docstring asks for the peak there.",
    "What does the docstring say if these two are the same step?",
)
def lr_at_the_floor_when_there_is_one_step(step, cfg):
    if cfg.schedule == "cosine" and step == cfg.warmup_steps == cfg.steps - 1:
        return cfg.optim.lr * cfg.min_lr_ratio
    return rate(step, cfg)


@mistake(
    "The decay acts during the warm-up too: the smaller of both rates is taken. Its own line alone counts there.",
    "Ten steps, a warm-up of 8, n = 5: which rate has step 6?",
)
def lr_of_the_smaller_line(step, cfg):
    if cfg.schedule == "wsd":
        return min(rate(step, cfg), rate(step, replace(cfg, warmup_steps=0)))
    return rate(step, cfg)


@mistake(
    "The cosine runs from step 0 to the end, and the warm-up only covers its beginning. It should begin at the peak "
    "where the warm-up ends.",
    "Which rate should the first step after the warm-up have?",
)
def lr_with_the_warmup_over_the_cosine(step, cfg):
    if cfg.warmup_steps == cfg.steps - 1:
        return rate(step, cfg)
    return rate(step, cfg, begin=0)


@mistake(
    "n may be 0, and then wsd never comes down: n is at least 1.",
    "What is n for decay_fraction = 0?",
)
def lr_without_a_last_step(step, cfg):
    if cfg.schedule == "wsd" and step >= cfg.warmup_steps and round(cfg.decay_fraction * cfg.steps) == 0:
        return cfg.optim.lr
    return rate(step, cfg)


@mistake(
    "wsd falls along the cosine that began with the end of the warm-up. Its decay is a straight line from the peak.",
    "Which rate has the first step of the decay, and which the step before it?",
)
def lr_falling_onto_the_cosine(step, cfg):
    n = round(cfg.decay_fraction * cfg.steps)
    if cfg.schedule == "wsd" and step >= cfg.warmup_steps and step > cfg.steps - 1 - n:
        return rate(step, replace(cfg, schedule="cosine"))
    return rate(step, cfg)


@mistake(
    "The decay of wsd begins a step early: n steps before the last one the rate is still the peak.",
    "With n = 2 and steps 0 to 9: which is the last step at the peak?",
)
def lr_decaying_a_step_early(step, cfg):
    return rate(step, cfg, wsd_begin=cfg.steps - 2 - decay_steps(cfg))


@mistake(
    "The decay's share is taken for that of the stable part: the fall begins after decay_fraction of all steps.",
    "A share of 0.27 of ten steps: how many steps does the fall take?",
)
def lr_with_a_stable_part_of_that_share(step, cfg):
    begin = min(cfg.steps - 2, round(cfg.decay_fraction * cfg.steps))
    return rate(step, cfg, wsd_begin=begin)


@mistake(
    "The cosine is halved as a whole, the floor too: it ends below the floor.",
    "Which rate should the last step have?",
)
def lr_with_half_of_everything(step, cfg):
    if step < cfg.warmup_steps or cfg.schedule == "wsd":
        return rate(step, cfg)
    floor = cfg.optim.lr * cfg.min_lr_ratio
    way = (step - cfg.warmup_steps) / max(1, cfg.steps - 1 - cfg.warmup_steps)
    return 0.5 * (floor + (cfg.optim.lr - floor) * (1 + math.cos(math.pi * way)))


FLOOR_ON_TOP = (
    "The cosine falls from the peak by the whole peak and the floor comes on top: it begins above the peak.",
    "Which distance does the rate fall, the peak or the peak less the floor?",
)


@mistake(*FLOOR_ON_TOP)
def lr_with_the_floor_on_top(step, cfg):
    if step < cfg.warmup_steps or cfg.schedule == "wsd":
        return rate(step, cfg)
    return cfg.optim.lr * cfg.min_lr_ratio + rate(step, cfg, floor=0.0)


@mistake(*FLOOR_ON_TOP)
def lr_with_the_floor_on_top_but_for_one_step(step, cfg):
    if step < cfg.warmup_steps or cfg.schedule == "wsd" or cfg.warmup_steps == cfg.steps - 1:
        return rate(step, cfg)
    return lr_with_the_floor_on_top.wrong(step, cfg)


LR_AT_ENDS = (
    lr_decaying_by_a_factor,
    lr_whose_cosine_begins_early,
    lr_whose_cosine_begins_at_the_last_warm_step,
    lr_at_the_floor_when_there_is_one_step,
    lr_of_the_smaller_line,
    lr_with_the_warmup_over_the_cosine,
    lr_without_a_last_step,
    lr_falling_onto_the_cosine,
    lr_decaying_a_step_early,
    lr_with_a_stable_part_of_that_share,
    lr_with_half_of_everything,
    lr_with_the_floor_on_top,
    lr_with_the_floor_on_top_but_for_one_step,
)
