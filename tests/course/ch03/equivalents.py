"""For the exercises of notebook 03."""

import torch
import torch.nn.functional as F

from nanokimi.experts import ExpertBank, swiglu
from tests.course.equivalents import name_mutants


def gated(activation):
    """A SwiGLU with something else in its middle."""

    def wrong(x, gate_up, down):
        return F.linear(activation(*F.linear(x, gate_up).chunk(2, dim=-1)), down)

    return wrong


SWIGLU = (
    gated(lambda g, u: F.silu(g)),
    gated(lambda g, u: F.silu(u)),
    gated(lambda g, u: F.silu(g) * F.silu(u)),
    gated(lambda g, u: F.silu(-g) * u),
    gated(lambda g, u: F.silu(g) - u),
    gated(lambda g, u: F.silu(g) * u * g),
    gated(lambda g, u: F.silu(g).detach() * u),
    gated(lambda g, u: F.silu(g) * u.detach()),
    gated(lambda g, u: torch.relu(g) * u),
    gated(lambda g, u: torch.tanh(g) * u),
    gated(lambda g, u: F.silu(1.702 * g) * u),
    gated(lambda g, u: g.softmax(-1) * u),
)


def bank(forward) -> type:
    return type(forward.__name__, (ExpertBank,), {"forward": forward})


def expert(self, rows, e):
    return swiglu(rows, self.gate_up_proj[e], self.down_proj[e])


def runs(rows, counts):
    return list(enumerate(rows.split(list(counts))))


def adds_the_rows(self, rows, counts):
    return rows + torch.cat([expert(self, run, e) for e, run in runs(rows, counts)])


def next_expert(self, rows, counts):
    return torch.cat([expert(self, run, (e + 1) % len(counts)) for e, run in runs(rows, counts)])


def last_expert_twice(self, rows, counts):
    return torch.cat([expert(self, run, min(e + 1, len(counts) - 1)) for e, run in runs(rows, counts)])


def without_gate(self, rows, counts):
    width = self.down_proj.shape[2]
    return torch.cat(
        [run @ self.gate_up_proj[e, width:].T @ self.down_proj[e].T for e, run in runs(rows, counts)]
    )


def detached(self, rows, counts):
    return torch.cat([expert(self, run, e) for e, run in runs(rows, counts)]).detach()


def detached_down(self, rows, counts):
    return torch.cat(
        [swiglu(run, self.gate_up_proj[e], self.down_proj[e].detach()) for e, run in runs(rows, counts)]
    )


def results_backwards(self, rows, counts):
    return torch.cat([expert(self, run, e) for e, run in runs(rows, counts)]).flip(0)


def runs_backwards(self, rows, counts):
    return torch.cat([expert(self, run, e) for e, run in runs(rows, counts)][::-1])


def mean_of_all(self, rows, counts):
    return sum(expert(self, rows, e) for e in range(len(counts))) / len(counts)


def half(self, rows, counts):
    return torch.cat([expert(self, run, e) for e, run in runs(rows, counts)]) / 2


def drops_a_row(self, rows, counts):
    out = torch.cat([expert(self, run, e) for e, run in runs(rows, counts)])
    return torch.cat([out[:-1], 0 * out[-1:]])


EXTRA = {
    "swiglu": SWIGLU,
    "ExpertBank": tuple(
        bank(f)
        for f in (
            adds_the_rows,
            next_expert,
            last_expert_twice,
            without_gate,
            detached,
            detached_down,
            results_backwards,
            runs_backwards,
            mean_of_all,
            half,
            drops_a_row,
        )
    ),
}

LIST = "the check gives the counts as a list, which is what the exercise asks for"

EQUIVALENT = {
    "ExpertBank": name_mutants(
        "ends = counts.cumsum(0, dtype=torch.int32)",
        (", dtype=torch.int32", "", LIST),
        ("counts.cumsum(0, dtype=torch.int32)", "_unchanged(counts)", LIST),
        ("cumsum(0", "cumsum(1", LIST),
    )
    | name_mutants(
        "elif sum(counts) == len(rows) and len(counts) == len(self.down_proj):",
        (" and ", " or ", "each of the two alone is refused by split or by zip"),
    )
}
