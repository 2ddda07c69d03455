"""The known wrong answers to build_optimizers, of notebook 07, about names, and about who is left out."""

from lab_utils.course.chapters.ch07_muon.mistakes.build_optimizers import group_parameters
from lab_utils.course.exercise import mistake
from nanokimi.optim import FUSED_ROWS, TABLES


def resembles_a_table(name, p):
    return any(table in name for table in TABLES)


def matrices_of_what_resembles(name, p):
    return next((n for part, n in FUSED_ROWS.items() if part in name), 1)


@mistake(
    "A name counts as a table's if it only holds the letters of one, as `latents_to_keys` does. A whole part of "
    "name.split('.') must be in TABLES.",
    "What does `in` ask of two texts, and what of a text and a list?",
)
def optimizers_with_tables_by_letters(model, cfg):
    return group_parameters(model, cfg, is_table=resembles_a_table)


@mistake(
    "A name counts as fused if it only holds the letters of one, as `qkv_projection` does. A whole part of "
    "name.split('.') must be in FUSED_ROWS.",
    "What does `in` ask of two texts, and what of a text and a list?",
)
def optimizers_with_fused_by_letters(model, cfg):
    return group_parameters(model, cfg, n_matrices=matrices_of_what_resembles)


@mistake(
    "Names are looked up by their letters: `latents_to_keys` counts as a table, `qkv_projection` as fused. A whole "
    "part of name.split('.') must be in TABLES, or in FUSED_ROWS.",
    "What does `in` ask of two texts, and what of a text and a list?",
)
def optimizers_by_letters(model, cfg):
    return group_parameters(model, cfg, is_table=resembles_a_table, n_matrices=matrices_of_what_resembles)


@mistake(
    "Parameters with requires_grad=False are left out. The docstring asks for every parameter: who is frozen today may "
    "be thawed tomorrow.",
    "Which parameters does your function skip?",
)
def optimizers_without_the_frozen(model, cfg):
    return group_parameters(model, cfg, keep=lambda name, p: p.requires_grad)


@mistake(
    "Parameters of one dimension are found by `norm` and `bias` in their names. Other names have one dimension too.",
    "Which property does the docstring name, the name or the number of dimensions?",
)
def optimizers_with_norms_and_biases_by_name(model, cfg):
    return group_parameters(model, cfg, is_free=lambda name, p: "norm" in name or name.endswith("bias"))


@mistake(
    "A bank of experts is never said to be fused: `fused_rows` is set for parameters of two dimensions only.",
    "Gate and up lie in the rows of each expert: how many matrices is that?",
)
def optimizers_with_fused_matrices_of_two_dimensions(model, cfg):
    def n_matrices(name, p):
        return next((FUSED_ROWS[x] for x in name.split(".") if x in FUSED_ROWS), 1) if p.ndim == 2 else 1

    return group_parameters(model, cfg, n_matrices=n_matrices)


@mistake(
    "The first of AdamW's betas is Muon's momentum. It has a field of its own, beta1.",
    "Which settings of OptimConfig should reach each optimizer, and each of its groups? Follow each one.",
)
def optimizers_with_muons_momentum_for_beta1(model, cfg):
    return group_parameters(model, cfg, adamw={"betas": (cfg.muon_momentum, cfg.beta2)})


@mistake(
    "Under Muon the tables do not decay. Only parameters of one dimension are free of decay.",
    "Which weight decay does the docstring give to the tables?",
)
def optimizers_that_spare_tables_under_muon(model, cfg):
    tables = set(TABLES)

    def is_free(name, p):
        return p.ndim < 2 or (cfg.optimizer == "muon" and bool(set(name.split(".")) & tables))

    return group_parameters(model, cfg, is_free=is_free)


@mistake(
    "The embeddings are under Muon. TABLES holds more than the head.",
    "Which names does TABLES hold?",
)
def optimizers_with_embeddings_under_muon(model, cfg):
    return group_parameters(model, cfg, is_table=lambda name, p: "lm_head" in name.split("."))


@mistake(
    "The embeddings are under Muon. TABLES holds more than the head and the latents.",
    "Which names does TABLES hold?",
)
def optimizers_with_only_the_embeddings_under_muon(model, cfg):
    return group_parameters(
        model, cfg, is_table=lambda name, p: bool({"lm_head", "latents"} & set(name.split(".")))
    )


@mistake(
    "Without Muon the matrices are in no optimizer: AdamW should have them then.",
    "Count the parameters of all groups for OptimConfig(optimizer='adamw'), and those of the model.",
)
def optimizers_that_forget_matrices(model, cfg):
    tables = set(TABLES)

    def keep(name, p):
        return cfg.optimizer == "muon" or p.ndim < 2 or bool(set(name.split(".")) & tables)

    return group_parameters(model, cfg, keep=keep)


@mistake(
    "A parameter that the model has under two names is in two places, and would be changed twice.",
    "Which parameters does model.named_parameters(remove_duplicate=False), or a walk over the modules, give twice?",
)
def optimizers_with_tied_weights_twice(model, cfg):
    found = group_parameters(model, cfg)
    held = [p for group in found[-1].param_groups for p in group["params"]]
    names = [
        name for name, p in model.named_parameters(remove_duplicate=False) if any(p is each for each in held)
    ]
    unique = [name for name, p in model.named_parameters() if any(p is each for each in held)]
    every = dict(model.named_parameters(remove_duplicate=False))
    found[-1].param_groups[0]["params"] += [every[name] for name in names if name not in unique]
    return found


@mistake(
    "Parameters of one dimension decay where a part of their name is in TABLES, as the bias of a head. One dimension "
    "comes first in the docstring's list: no decay, whatever the name.",
    "Which question does your loop ask first, and what is the answer for `lm_head.bias`?",
)
def optimizers_asking_for_the_name_first(model, cfg):
    tables = set(TABLES)
    return group_parameters(
        model, cfg, is_free=lambda name, p: p.ndim < 2 and not tables & set(name.split("."))
    )


def a_part(number):
    """Whether one part of a name is a table's."""
    return lambda name, p: name.split(".")[number] in TABLES


ANY_PART = (
    "Split `layers.0.self_attn.latents` and `inner.embed_tokens.weight`: where do the tables' names stand?"
)


@mistake(
    "A table is found only by the beginning of its name. The part that is in TABLES may stand at any place.",
    ANY_PART,
)
def optimizers_with_tables_by_the_first_part(model, cfg):
    return group_parameters(model, cfg, is_table=a_part(0))


@mistake(
    "A table is found only by the last part of its name but one. The part that is in TABLES may stand at any place.",
    ANY_PART,
)
def optimizers_with_tables_by_the_last_part_but_one(model, cfg):
    return group_parameters(model, cfg, is_table=a_part(-2))


@mistake(
    "A table is found only by the last part of its name. The part that is in TABLES may stand at any place.",
    ANY_PART,
)
def optimizers_with_tables_by_the_last_part(model, cfg):
    return group_parameters(model, cfg, is_table=a_part(-1))


@mistake(
    "`fused_rows` is found only by the last part of the name but one. The part that is in FUSED_ROWS may stand at any "
    "place: in a bank of experts it is the last one.",
    "Split `layers.0.qkv_proj.weight` and `layers.1.mlp.experts.gate_up_proj`: at which places do the names stand?",
)
def optimizers_with_fused_by_the_last_part_but_one(model, cfg):
    return group_parameters(model, cfg, n_matrices=lambda name, p: FUSED_ROWS.get(name.split(".")[-2], 1))


@mistake(
    "Muon gets only what FUSED_ROWS names. It takes every matrix that is no table; FUSED_ROWS says how many matrices "
    "lie in the rows of some of them.",
    "Which optimizer should have o_proj, and which group of Muon's?",
)
def optimizers_with_only_the_fused_under_muon(model, cfg):
    return group_parameters(model, cfg, is_table=lambda name, p: not set(name.split(".")) & set(FUSED_ROWS))


@mistake(
    "Of all matrices Muon gets only those of the queries, keys and values. It takes every matrix that is no table.",
    "Which optimizer should have o_proj, and the matrices of the experts?",
)
def optimizers_with_only_qkv_under_muon(model, cfg):
    return group_parameters(model, cfg, is_table=lambda name, p: "qkv_proj" not in name.split("."))


OPTIMIZER_NAMES = (
    optimizers_asking_for_the_name_first,
    optimizers_with_tables_by_the_first_part,
    optimizers_with_tables_by_the_last_part_but_one,
    optimizers_with_tables_by_the_last_part,
    optimizers_with_fused_by_the_last_part_but_one,
    optimizers_with_tables_by_letters,
    optimizers_with_fused_by_letters,
    optimizers_by_letters,
    optimizers_without_the_frozen,
    optimizers_with_norms_and_biases_by_name,
    optimizers_with_fused_matrices_of_two_dimensions,
    optimizers_with_muons_momentum_for_beta1,
    optimizers_that_spare_tables_under_muon,
    optimizers_with_embeddings_under_muon,
    optimizers_with_only_the_embeddings_under_muon,
    optimizers_that_forget_matrices,
    optimizers_with_tied_weights_twice,
    optimizers_with_only_the_fused_under_muon,
    optimizers_with_only_qkv_under_muon,
)
