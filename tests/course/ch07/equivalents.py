"""For the exercises of notebook 07."""

import inspect

import torch

from nanokimi import optim
from tests.course.mutants import compile_source, mutants


def name_mutants(line: str, *pairs: tuple[str, str, str]) -> dict[str, str]:
    """The mutants of one line, with why they are the same."""
    return {f"{line}  ->  {line.replace(old, new)}": why for old, new, why in pairs}


OTHER_GRAM = "x·xᵀ·x is also x·(xᵀ·x): only the size of the gram matrix changes"
NO_COPY = "the division by the norm makes a new tensor anyway"
NO_ORDER = "the larger or smaller of two has no order"
AS_MANY = "all have the same number of entries"
FLOAT32 = "the check gives float32, which stays"
TALL = "tall = g.shape[-2] > g.shape[-1]"
COPIED = "x = g.to(dtype, copy=True).flatten(0, -3) if g.ndim > 2 else g.to(dtype, copy=True)[None]"
BANK, SINGLE = COPIED.split(" if g.ndim > 2 ")
UPDATE = "(run.mT if m.shape[1] > m.shape[2] else run).reshape(p.shape)"
UPDATES = f"return [{UPDATE}.to(p.dtype) for m, run, p in zip(matrices, runs, params, strict=True)]"
ADAMW = (
    "optimizers.append(torch.optim.AdamW([g for g in groups if g['params']], lr=cfg.lr, "
    "betas=(cfg.beta1, cfg.beta2), weight_decay=cfg.weight_decay, fused=True))"
)
FULL = "rows, full = (_queries_at_once(q, n_keys), torch.promote_types(q.dtype, torch.float32))"
LOGITS = "logits = torch.bmm(matrices_q[:, start:stop].to(full), matrices_k[:, :seen].to(full).mT)"

EQUIVALENT = {
    "newton_schulz": name_mutants(
        TALL,
        (">", ">=", OTHER_GRAM),
        (">", "<", OTHER_GRAM),
        ("g.shape[-2]", "g.shape[-1]", OTHER_GRAM),
        ("> g.shape[-1]", "> g.shape[-2]", OTHER_GRAM),
        ("> g.shape[-1]", "> g.shape[-0]", OTHER_GRAM),
    )
    | {
        f"{COPIED}  ->  {bank} if g.ndim > 2 {single}": NO_COPY
        for bank, single in (
            (BANK.replace(", copy=True", ""), SINGLE),
            (BANK.replace("copy=True", "copy=False"), SINGLE),
            (BANK, SINGLE.replace(", copy=True", "")),
            (BANK, SINGLE.replace("copy=True", "copy=False")),
        )
    },
    "Muon": name_mutants(
        "for p, update in zip(params, self._with_momentum(params, group['momentum']), strict=True):",
        (", strict=True", "", AS_MANY),
        ("strict=True", "strict=False", AS_MANY),
    )
    | name_mutants(
        "params, matrices = zip(*same, strict=True)",
        (", strict=True", "", AS_MANY),
        ("strict=True", "strict=False", AS_MANY),
    )
    | name_mutants(
        UPDATES,
        (", strict=True", "", AS_MANY),
        ("strict=True", "strict=False", AS_MANY),
        (f"{UPDATE}.to(p.dtype)", f"_unchanged({UPDATE})", "adding in place casts to the parameter's format"),
    ),
    "build_optimizers": name_mutants(
        ADAMW,
        (", fused=True", "", "one kernel or many, the same update"),
        ("fused=True", "fused=False", "one kernel or many, the same update"),
    ),
    "lr_at": name_mutants(
        "progress = (step - cfg.warmup_steps) / max(1, cfg.steps - 1 - cfg.warmup_steps)",
        ("1, cfg.steps - 1 - cfg.warmup_steps", "cfg.steps - 1 - cfg.warmup_steps, 1", NO_ORDER),
    )
    | name_mutants(
        "decay_steps = max(1, round(cfg.decay_fraction * cfg.steps))",
        ("1, round(cfg.decay_fraction * cfg.steps)", "round(cfg.decay_fraction * cfg.steps), 1", NO_ORDER),
    )
    | name_mutants(
        "progress = max(0, step - (cfg.steps - 1 - decay_steps)) / decay_steps",
        (
            "0, step - (cfg.steps - 1 - decay_steps)",
            "step - (cfg.steps - 1 - decay_steps), 0",
            NO_ORDER,
        ),
    ),
    "max_logit": name_mutants(
        FULL, ("q.dtype, torch.float32", "torch.float32, q.dtype", "the wider of two formats has no order")
    )
    | name_mutants(
        "stop = min(start + rows, n_queries)",
        ("start + rows, n_queries", "n_queries, start + rows", NO_ORDER),
    )
    | name_mutants(
        LOGITS,
        ("matrices_q[:, start:stop].to(full)", "_unchanged(matrices_q[:, start:stop])", FLOAT32),
        ("matrices_k[:, :seen].to(full)", "_unchanged(matrices_k[:, :seen])", FLOAT32),
    ),
}


def clipping(change):
    """A QK-clip that does `change(q_nope, q_rope, k_nope, v, g)` to a layer's rows; g is one factor a head."""

    @torch.no_grad()
    def wrong(self, max_qk_logit, tau):
        g = (tau / max_qk_logit.clamp(min=tau))[:, None, None]
        q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
        n = self.cfg.qk_nope_head_dim
        q = q_proj.weight.unflatten(0, (self.n_heads, -1))
        kv = self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1))
        change(q[:, :n], q[:, n:], kv[:, :n], kv[:, n:], g)

    wrong.__name__ = change.__name__
    return wrong


def _key_takes_all(q_nope, q_rope, k_nope, v, g):
    q_rope.mul_(g)
    k_nope.mul_(g)


def _values_for_keys(q_nope, q_rope, k_nope, v, g):
    q_nope.mul_(g.sqrt())
    q_rope.mul_(g)
    v.mul_(g.sqrt())


def _heads_in_reverse(q_nope, q_rope, k_nope, v, g):
    q_nope.mul_(g.flip(0).sqrt())
    q_rope.mul_(g.flip(0))
    k_nope.mul_(g.flip(0).sqrt())


def _query_of_one_head_keys_of_the_next(q_nope, q_rope, k_nope, v, g):
    q_nope.mul_(g.sqrt())
    q_rope.mul_(g)
    k_nope.mul_(g.roll(1, 0).sqrt())


def _key_of_one_part_query_of_the_other(q_nope, q_rope, k_nope, v, g):
    q_rope.mul_(g)
    k_nope.mul_(g.square())


def _grows(q_nope, q_rope, k_nope, v, g):
    q_nope.div_(g.sqrt())
    q_rope.div_(g)
    k_nope.div_(g.sqrt())


def _cube_root(q_nope, q_rope, k_nope, v, g):
    q_nope.mul_(g ** (1 / 3))
    q_rope.mul_(g)
    k_nope.mul_(g ** (1 / 3))


def _mean_of_heads(q_nope, q_rope, k_nope, v, g):
    q_nope.mul_(g.mean().sqrt())
    q_rope.mul_(g.mean())
    k_nope.mul_(g.mean().sqrt())


def sorting():
    """The core's build_optimizers with each mutant of `group_parameters`, which it calls."""
    for number, (_, wrong) in enumerate(mutants(optim.group_parameters)):
        source = inspect.getsource(optim.build_optimizers)
        built = compile_source(source, optim.build_optimizers, group_parameters=wrong)
        built.__name__ = f"sorting_{number}"
        yield built


EXTRA = {
    "build_optimizers": tuple(sorting()),
    "clip_qk_": tuple(
        map(
            clipping,
            (
                _key_takes_all,
                _values_for_keys,
                _heads_in_reverse,
                _query_of_one_head_keys_of_the_next,
                _key_of_one_part_query_of_the_other,
                _grows,
                _cube_root,
                _mean_of_heads,
            ),
        )
    ),
}
