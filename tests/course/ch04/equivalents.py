"""For the exercises of notebook 04."""

import torch

from nanokimi.moe import dispatch
from nanokimi.router import expert_load, max_violation, topk_route
from tests.course.equivalents import after, name_mutants


def bias(step):
    """A bias update with another step."""

    @torch.no_grad()
    def changed(expert_bias, load, rate):
        expert_bias += rate * step(load.float(), expert_bias)

    return changed


EXTRA = {
    "topk_route": (
        after(topk_route, lambda r, z, b, cfg: r._replace(weights=r.weights + 0.1)),
        after(topk_route, lambda r, z, b, cfg: r._replace(weights=r.weights**2)),
        after(topk_route, lambda r, z, b, cfg: r._replace(weights=r.weights.roll(1, -1))),
        after(topk_route, lambda r, z, b, cfg: r._replace(weights=r.weights.clamp(max=0.5))),
        after(topk_route, lambda r, z, b, cfg: r._replace(scores=r.scores.sqrt())),
        after(topk_route, lambda r, z, b, cfg: r._replace(scores=r.scores.flip(-1))),
        after(topk_route, lambda r, z, b, cfg: r._replace(logits=-r.logits)),
        after(topk_route, lambda r, z, b, cfg: topk_route(z / 2, b, cfg)),
        after(topk_route, lambda r, z, b, cfg: topk_route(z, b / 2, cfg)),
    ),
    "expert_load": (
        after(expert_load, lambda r, idx, n: r + 1),
        after(expert_load, lambda r, idx, n: r.flip(0)),
        after(expert_load, lambda r, idx, n: 2 * r),
        after(expert_load, lambda r, idx, n: r.float()),
        after(expert_load, lambda r, idx, n: r.sort().values),
        after(expert_load, lambda r, idx, n: r.roll(1)),
        after(expert_load, lambda r, idx, n: r.cumsum(0)),
        after(expert_load, lambda r, idx, n: r.clamp(max=2)),
        after(expert_load, lambda r, idx, n: r[None]),
        after(expert_load, lambda r, idx, n: r - r.min()),
        after(expert_load, lambda r, idx, n: r.clamp(min=1)),
        after(expert_load, lambda r, idx, n: r // 2),
        after(expert_load, lambda r, idx, n: r.tolist()),
        after(expert_load, lambda r, idx, n: torch.bincount(idx[0].flatten(), minlength=n)),
    ),
    "max_violation": (
        after(max_violation, lambda r, load: -r),
        after(max_violation, lambda r, load: r + 1e-3),
        after(max_violation, lambda r, load: r / len(load)),
        after(max_violation, lambda r, load: torch.tensor(r)),
        after(max_violation, lambda r, load: r**2),
        after(max_violation, lambda r, load: load.max().item() - load.mean().item()),
        after(max_violation, lambda r, load: (load.max() / load.median() - 1).item()),
        after(max_violation, lambda r, load: int(r)),
        after(max_violation, lambda r, load: (load - load.mean()).abs().sum().item()),
    ),
    "update_expert_bias_": (
        bias(lambda load, b: (load.mean() - load).sign() / 2),
        bias(lambda load, b: -load),
        bias(lambda load, b: (load.median() - load).sign()),
        bias(lambda load, b: (load.mean() - load).sign().clamp(min=0)),
        bias(lambda load, b: (load.mean() - load) / load.mean()),
        bias(lambda load, b: (load.mean() - load).tanh()),
        bias(lambda load, b: (load < load.mean()).float() - 0.5),
        bias(lambda load, b: (load.max() - load).sign()),
        bias(lambda load, b: (load.mean() - load).sign() - b),
        bias(lambda load, b: torch.zeros_like(load)),
        bias(lambda load, b: (s := (load.mean() - load).sign()) - s.sum()),
    ),
    "dispatch": (
        after(dispatch, lambda y, x, idx, w, bank: y + x),
        after(dispatch, lambda y, x, idx, w, bank: y.detach() + 0 * x),
        after(dispatch, lambda y, x, idx, w, bank: -y),
        after(dispatch, lambda y, x, idx, w, bank: y / w.sum(-1, keepdim=True)),
        after(dispatch, lambda y, x, idx, w, bank: 2 * y),
        after(dispatch, lambda y, x, idx, w, bank: y.roll(1, 0)),
        after(dispatch, lambda y, x, idx, w, bank: y.T),
        after(dispatch, lambda y, x, idx, w, bank: y * w[:, :1]),
        after(dispatch, lambda y, x, idx, w, bank: dispatch(x, idx, w.detach(), bank)),
        after(dispatch, lambda y, x, idx, w, bank: dispatch(x.detach(), idx, w, bank)),
        after(dispatch, lambda y, x, idx, w, bank: dispatch(x, idx.flip(1), w, bank)),
    ),
}

NO_GRADIENT = "the choice is made of whole numbers and has no gradient"
LAST = "the last dimension is what is meant without a word"
IN_A_TENSOR = "the bank takes counts in a tensor too"
ORDER = "experts are compared as sets"
UNDERFLOW = "read only where all scores underflow, which a learner's formula need not foresee"
NO_TOKEN = "without a token nothing is uneven, which a learner's formula need not foresee"
EQUIVALENT = {
    "topk_route": name_mutants(
        "choice = _keep_best_groups(scores.detach() + expert_bias, cfg)",
        ("scores.detach()", "_unchanged(scores)", NO_GRADIENT),
    )
    | name_mutants(
        "expert_idx = choice.topk(cfg.top_k, dim=-1, sorted=False).indices",
        (", dim=-1", "", LAST),
        (", sorted=False", "", ORDER),
        ("sorted=False", "sorted=True", ORDER),
    )
    | name_mutants(
        "weights = _to_shares(weights, F.logsigmoid(chosen) if cfg.scoring == 'sigmoid' else chosen)",
        ("== 'sigmoid'", "!= 'sigmoid'", UNDERFLOW),
        (
            "F.logsigmoid(chosen) if cfg.scoring == 'sigmoid' else chosen",
            "chosen if cfg.scoring == 'sigmoid' else F.logsigmoid(chosen)",
            UNDERFLOW,
        ),
    ),
    "max_violation": name_mutants(
        "return (load.max() / load.mean() - 1).nan_to_num(nan=0.0).item()",
        ("nan=0.0", "", NO_TOKEN),
        (
            "(load.max() / load.mean() - 1).nan_to_num(nan=0.0)",
            "_unchanged(load.max() / load.mean() - 1)",
            NO_TOKEN,
        ),
    ),
    "derived_scaling_factor": name_mutants(
        "def derived_scaling_factor(n_experts: int, top_k: int, n_samples: int=20000) -> float:",
        ("20000", "19999", "draws come in thousands"),
    )
    | name_mutants("p = scores.topk(top_k, dim=-1).values", (", dim=-1", "", LAST))
    | name_mutants(
        "MoEConfig(n_routed_experts=n_experts, top_k=top_k)",
        ("n_routed_experts=n_experts, ", "", "the exercise asks for no refusal"),
    ),
    "sequence_balance_loss": name_mutants(
        "chosen = stats.scores.topk(top_k, dim=-1, sorted=False).indices",
        (", dim=-1", "", LAST),
        (", sorted=False", "", ORDER),
        ("sorted=False", "sorted=True", ORDER),
    ),
    "expert_load": name_mutants(
        "chosen = expert_idx.flatten().long()",
        ("expert_idx.flatten().long()", "_unchanged(expert_idx.flatten())", "a router's choices are int64"),
    ),
    "dispatch": name_mutants(
        "order = expert_idx.flatten().argsort(stable=True)",
        ("stable=True", "", "any order within an expert gives the same sums"),
        ("stable=True", "stable=False", "any order within an expert gives the same sums"),
    )
    | name_mutants(
        "rows = bank(x.index_select(0, order // top_k), "
        "counts if can_group(x, bank.down_proj) else counts.tolist())",
        ("x, bank.down_proj", "bank.down_proj, x", "on a CPU no experts are grouped"),
        (
            "counts if can_group(x, bank.down_proj) else counts.tolist()",
            "counts.tolist() if can_group(x, bank.down_proj) else counts",
            IN_A_TENSOR,
        ),
        ("counts.tolist()", "_unchanged(counts)", IN_A_TENSOR),
    )
    | name_mutants(
        "place[order] = torch.arange(order.numel(), device=order.device)",
        (", device=order.device", "", "the check runs on the CPU"),
    )
    | name_mutants(
        "return F.embedding_bag(place.view_as(expert_idx), rows, "
        "per_sample_weights=weights.to(rows.dtype), mode='sum')",
        (
            "place.view_as(expert_idx), rows",
            "rows, place.view_as(expert_idx)",
            "torch takes the two in either order",
        ),
        ("weights.to(rows.dtype)", "_unchanged(weights)", "the check's numbers are of one type"),
    ),
}
