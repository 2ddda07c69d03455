"""The known wrong answers to build_optimizers, of notebook 07."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi import optim
from nanokimi.optim import FUSED_ROWS, TABLES


def group_parameters(
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
    "Muon takes the embeddings and the head too. They are tables, whose rows are used one by one: AdamW takes them.",
    "Which matrices does the docstring leave out?",
)
def optimizers_with_tables_under_muon(model, cfg):
    return group_parameters(model, cfg, is_table=lambda name, p: False)


@mistake(
    "The head is under Muon. It is a table like the embedding, with a row for every token.",
    "TABLES holds more than the embeddings.",
)
def optimizers_with_the_head_under_muon(model, cfg):
    return group_parameters(model, cfg, is_table=lambda name, p: "embed" in name or "latents" in name)


@mistake(
    "Only parameters of two dimensions count as matrices here, so AdamW gets the banks of experts: "
    "most of the model.",
    "What is the shape of a bank of E experts?",
)
def optimizers_with_banks_under_adamw(model, cfg):
    tables = set(TABLES)
    return group_parameters(
        model, cfg, is_table=lambda name, p: p.ndim > 2 or bool(set(name.split(".")) & tables)
    )


@mistake(
    "Norms and biases decay. A gain of 1 that is pulled to 0 switches its channel off.",
    "What is the weight decay of the group with the parameters of one dimension?",
)
def optimizers_that_decay_norms(model, cfg):
    return group_parameters(model, cfg, decay_free=cfg.weight_decay)


@mistake(
    "Fused matrices are not told apart: no group has `fused_rows` above 1.",
    "gate_up_proj holds two matrices in its rows, qkv_proj three. How does Muon know?",
)
def optimizers_without_fused_rows(model, cfg):
    return group_parameters(model, cfg, fused={})


@mistake(
    "Gate and up are told apart, but query, key and value are not.",
    "Which names does FUSED_ROWS hold, and where is one in `layers.0.qkv_proj.weight`?",
)
def optimizers_without_fused_qkv(model, cfg):
    return group_parameters(model, cfg, fused={"gate_up_proj": 2})


@mistake(
    "`cfg.optimizer` is not read: Muon is used although the configuration asks for AdamW alone.",
    "What should come back for OptimConfig(optimizer='adamw')?",
)
def optimizers_always_with_muon(model, cfg):
    class Always:
        optimizer = "muon"

        def __getattr__(self, name):
            return getattr(cfg, name)

    return group_parameters(model, Always())


@mistake(
    "Muon's own defaults are used where the configuration says otherwise (momentum, number of steps).",
    "Which fields of OptimConfig do you never read?",
)
def optimizers_with_defaults(model, cfg):
    return group_parameters(model, cfg, momentum=0.95, ns_steps=5)


@mistake(
    "Some parameters are in no optimizer: the norms and biases. They would never learn.",
    "Count the parameters of all groups together, and those of the model.",
)
def optimizers_that_forget_norms(model, cfg):
    found = group_parameters(model, cfg)
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
