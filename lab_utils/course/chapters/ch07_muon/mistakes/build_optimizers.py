"""The known wrong answers to build_optimizers, of notebook 07, about who gets which parameter."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi import optim
from nanokimi.optim import FUSED_ROWS, TABLES


def group_parameters(
    model,
    cfg,
    is_table=None,
    is_free=lambda name, p: p.ndim < 2,
    fused=FUSED_ROWS,
    decay_free=0.0,
    adamw=None,
    uses_muon=lambda cfg: cfg.optimizer == "muon",
    n_matrices=None,
    keep=lambda name, p: True,
    **muon,
):
    """Written out, with the places where a mistake goes."""
    is_table = is_table or (lambda name, p: bool(set(name.split(".")) & set(TABLES)))
    parts: dict[int, list] = {}
    decayed, free = [], []
    n_matrices = n_matrices or (lambda name, p: next((fused[x] for x in name.split(".") if x in fused), 1))
    for name, p in model.named_parameters():
        if not keep(name, p):
            continue
        if is_free(name, p):
            free.append(p)
        elif uses_muon(cfg) and not is_table(name, p):
            parts.setdefault(n_matrices(name, p), []).append(p)
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
    settings = dict(lr=cfg.lr, betas=(cfg.beta1, cfg.beta2), weight_decay=cfg.weight_decay)
    return [*found, torch.optim.AdamW(groups, **settings | (adamw or {}))]


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
    "Query, key and value count as one matrix: `fused_rows` is 1 for `qkv_proj`, and should be 3.",
    "Which names does FUSED_ROWS hold, and in which part of `layers.0.qkv_proj.weight` is one of them looked for?",
)
def optimizers_without_fused_qkv(model, cfg):
    return group_parameters(model, cfg, fused={"gate_up_proj": 2})


@mistake(
    "`cfg.optimizer` makes no difference: Muon is used although the configuration asks for AdamW alone.",
    "What should come back for OptimConfig(optimizer='adamw')?",
)
def optimizers_always_with_muon(model, cfg):
    return group_parameters(model, cfg, uses_muon=lambda cfg: True)


@mistake(
    "Some parameters are in no optimizer: the norms and biases. They would never learn.",
    "Count the parameters of all groups together, and those of the model.",
)
def optimizers_that_forget_norms(model, cfg):
    found = group_parameters(model, cfg)
    found[-1].param_groups[:] = [g for g in found[-1].param_groups if g["params"][0].ndim > 1]
    return found


@mistake(
    "The learned latents are under Muon. They are a table too.",
    "Which names does TABLES hold?",
)
def optimizers_with_latents_under_muon(model, cfg):
    return group_parameters(model, cfg, is_table=lambda name, p: "embed" in name or "head" in name)


@mistake(
    "The router's gate is under AdamW. It is a matrix like others, and no table.",
    "Is the gate in TABLES?",
)
def optimizers_with_the_gate_under_adamw(model, cfg):
    tables = {*TABLES, "gate"}
    return group_parameters(model, cfg, is_table=lambda name, p: bool(set(name.split(".")) & tables))


@mistake(
    "Every fused parameter is said to hold two matrices. FUSED_ROWS gives each its number.",
    "How many matrices are in qkv_proj?",
)
def optimizers_with_two_for_all_fused(model, cfg):
    return group_parameters(model, cfg, fused=dict.fromkeys(FUSED_ROWS, 2))


@mistake(
    "The banks of experts are not told to be fused: only qkv_proj is.",
    "Which names does FUSED_ROWS hold, and where is one in `layers.1.mlp.experts.gate_up_proj`?",
)
def optimizers_without_fused_experts(model, cfg):
    return group_parameters(model, cfg, fused={"qkv_proj": 3})


@mistake(
    "Every fused parameter is said to hold three matrices. FUSED_ROWS gives each its number.",
    "Gate and up lie in the rows of each expert: how many matrices is that?",
)
def optimizers_with_three_for_all_fused(model, cfg):
    return group_parameters(model, cfg, fused=dict.fromkeys(FUSED_ROWS, 3))


@mistake(
    "Some parameters of one dimension decay: those without `norm` in their names.",
    "Which property does the docstring name, the name or the number of dimensions?",
)
def optimizers_with_norms_by_name(model, cfg):
    return group_parameters(model, cfg, is_free=lambda name, p: "norm" in name)


@mistake(
    "The tables do not decay. Only parameters of one dimension are free of decay.",
    "Which weight decay does the docstring give to the tables?",
)
def optimizers_that_spare_tables(model, cfg):
    tables = set(TABLES)
    return group_parameters(
        model, cfg, is_free=lambda name, p: p.ndim < 2 or bool(set(name.split(".")) & tables)
    )


@mistake(
    "Muon is never chosen: `cfg.optimizer` makes no difference.",
    "What should come back for OptimConfig(optimizer='muon')?",
)
def optimizers_never_with_muon(model, cfg):
    return group_parameters(model, cfg, uses_muon=lambda cfg: False)


@mistake(
    "Under Muon only Muon is returned: tables, norms and biases are in no optimizer and would never learn.",
    "How many optimizers should come back for OptimConfig(optimizer='muon')?",
)
def optimizers_without_adamw(model, cfg):
    return group_parameters(model, cfg)[:1]


@mistake(
    "Under Muon only AdamW is returned: the matrices are in no optimizer and would never learn.",
    "How many optimizers should come back for OptimConfig(optimizer='muon')?",
)
def optimizers_without_muon(model, cfg):
    return group_parameters(model, cfg)[-1:]


@mistake(
    "Some parameters are in two groups, and would be changed twice: AdamW has those of Muon too.",
    "Count the parameters of all groups together, and those of the model.",
)
def optimizers_that_overlap(model, cfg):
    found, every = group_parameters(model, cfg), group_parameters(model, cfg, uses_muon=lambda cfg: False)
    return [*found[:-1], *every]


OPTIMIZER_GROUPS = (
    optimizers_with_tables_under_muon,
    optimizers_with_the_head_under_muon,
    optimizers_with_banks_under_adamw,
    optimizers_that_decay_norms,
    optimizers_without_fused_rows,
    optimizers_without_fused_qkv,
    optimizers_always_with_muon,
    optimizers_that_forget_norms,
    optimizers_with_latents_under_muon,
    optimizers_with_the_gate_under_adamw,
    optimizers_with_two_for_all_fused,
    optimizers_without_fused_experts,
    optimizers_with_three_for_all_fused,
    optimizers_with_norms_by_name,
    optimizers_that_spare_tables,
    optimizers_never_with_muon,
    optimizers_without_adamw,
    optimizers_without_muon,
    optimizers_that_overlap,
)
