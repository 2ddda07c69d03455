"""Wrong answers to the exercises of notebook 07: which parameter goes to which optimizer, and the learning rate."""

import math

import torch

from lab_utils.course.exercise import mistake
from nanokimi import optim
from nanokimi.optim import FUSED_ROWS, TABLES

# ---------------------------------------------------------------- build_optimizers


def grouped(
    model, cfg, is_table=None, is_free=lambda name, p: p.ndim < 2, fused=FUSED_ROWS, decay_free=0.0, **muon
):
    """Written out, with the places where a mistake goes."""
    is_table = is_table or (lambda name, p: bool(set(name.split(".")) & set(TABLES)))
    parts: dict[int, list] = {}
    decayed, free = [], []
    for name, p in model.named_parameters():
        if is_free(name, p):
            free.append(p)
        elif cfg.optimizer == "muon" and not is_table(name, p):
            n = next((fused[part] for part in name.split(".") if part in fused), 1)
            parts.setdefault(n, []).append(p)
        else:
            decayed.append(p)
    found = []
    if parts:
        settings = dict(
            lr=cfg.lr,
            weight_decay=cfg.weight_decay,
            momentum=cfg.muon_momentum,
            ns_steps=cfg.ns_steps,
            ns_dtype=torch.float32,
        )
        groups = [{"params": params, "fused_rows": n} for n, params in parts.items()]
        found.append(optim.Muon(groups, **settings | muon))
    groups = [{"params": decayed}, {"params": free, "weight_decay": decay_free}]
    groups = [g for g in groups if g["params"]]
    betas = (cfg.beta1, cfg.beta2)
    return [*found, torch.optim.AdamW(groups, lr=cfg.lr, betas=betas, weight_decay=cfg.weight_decay)]


@mistake(
    "Muon takes the embeddings and the head too. They are tables: a row is used by itself, and AdamW takes them.",
    "Which matrices does the docstring leave out?",
)
def optimizers_with_tables_under_muon(model, cfg):
    return grouped(model, cfg, is_table=lambda name, p: False)


@mistake(
    "The head is under Muon. It is a table as the embedding is, a row for every token.",
    "TABLES holds more than the embeddings.",
)
def optimizers_with_the_head_under_muon(model, cfg):
    return grouped(model, cfg, is_table=lambda name, p: "embed" in name or "latents" in name)


@mistake(
    "Only parameters of two dimensions are taken for matrices, so AdamW gets the banks of experts: "
    "most of the model.",
    "Which shape has the bank of E experts?",
)
def optimizers_with_banks_under_adamw(model, cfg):
    tables = set(TABLES)
    return grouped(model, cfg, is_table=lambda name, p: p.ndim > 2 or bool(set(name.split(".")) & tables))


@mistake(
    "Norms and biases decay. A gain of 1 that is pulled to 0 switches its channel off.",
    "Which weight decay has the group of the parameters of one dimension?",
)
def optimizers_that_decay_norms(model, cfg):
    return grouped(model, cfg, decay_free=cfg.weight_decay)


@mistake(
    "Fused matrices are not told apart: no group has `fused_rows` above 1.",
    "gate_up_proj holds two matrices in its rows, qkv_proj three. Who tells Muon?",
)
def optimizers_without_fused_rows(model, cfg):
    return grouped(model, cfg, fused={})


@mistake(
    "Gate and up are told apart, but query, key and value are not.",
    "Which names does FUSED_ROWS hold, and where does one stand in `layers.0.qkv_proj.weight`?",
)
def optimizers_without_fused_qkv(model, cfg):
    return grouped(model, cfg, fused={"gate_up_proj": 2})


@mistake(
    "`cfg.optimizer` is not read: Muon is used where AdamW alone was asked for.",
    "What should come back for OptimConfig(optimizer='adamw')?",
)
def optimizers_always_with_muon(model, cfg):
    class Always:
        optimizer = "muon"

        def __getattr__(self, name):
            return getattr(cfg, name)

    return grouped(model, Always())


@mistake(
    "Muon's own defaults are used where the configuration says otherwise (momentum, number of steps).",
    "Which fields of OptimConfig do you never read?",
)
def optimizers_with_defaults(model, cfg):
    return grouped(model, cfg, momentum=0.95, ns_steps=5)


@mistake(
    "Some parameters are in no optimizer: the norms and biases. They would never learn.",
    "Count the parameters of all groups together, and those of the model.",
)
def optimizers_that_forget_norms(model, cfg):
    found = grouped(model, cfg)
    found[-1].param_groups[:] = [g for g in found[-1].param_groups if g["params"][0].ndim > 1]
    return found


BUILD_OPTIMIZERS = (
    optimizers_with_tables_under_muon,
    optimizers_with_the_head_under_muon,
    optimizers_with_banks_under_adamw,
    optimizers_that_decay_norms,
    optimizers_without_fused_rows,
    optimizers_without_fused_qkv,
    optimizers_always_with_muon,
    optimizers_with_defaults,
    optimizers_that_forget_norms,
)

# ---------------------------------------------------------------- lr_at


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
    "The cosine begins at step 0, under the warm-up. It should begin where the warm-up ends.",
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
    "`min_lr_ratio` is taken for the floor itself. It is a share of the peak.",
    "A ratio of 0.1 and a peak of 0.02: what is the floor?",
)
def lr_with_an_absolute_floor(step, cfg):
    return rate(step, cfg, floor=cfg.min_lr_ratio)


@mistake(
    "The cosine schedule falls in a straight line.",
    "Half of the way is right in both. And a quarter?",
)
def lr_linear(step, cfg):
    return rate(step, cfg, shape=lambda x: 1 - x)


@mistake(
    "This is a quarter of a cosine, cos(pi/2·x): it arrives at the floor with full slope.",
    "Which value has the cosine half of the way down?",
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
