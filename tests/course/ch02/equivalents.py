"""For the exercises of notebook 02."""

import torch

from nanokimi.attention import join_heads, split_heads
from nanokimi.mask import causal_mask
from nanokimi.norm import RMSNorm
from nanokimi.rope import apply_rope, rope_frequencies
from tests.course.equivalents import after, name_mutants
from tests.course.mutants import mutants


def norm(change) -> type:
    """The core's norm with another forward."""
    return type(
        "NormChanged", (RMSNorm,), {"forward": lambda self, x: change(self, x, RMSNorm.forward(self, x))}
    )


EXTRA = {
    "causal_mask": (
        after(causal_mask, lambda m, q, k, d: m.T.contiguous()),
        after(causal_mask, lambda m, q, k, d: m.flip(0)),
        after(causal_mask, lambda m, q, k, d: m.flip(1)),
        after(causal_mask, lambda m, q, k, d: m.float()),
        after(causal_mask, lambda m, q, k, d: torch.ones_like(m)),
        after(causal_mask, lambda m, q, k, d: torch.zeros_like(m)),
        after(causal_mask, lambda m, q, k, d: m & (torch.arange(k) > 0)),
        after(causal_mask, lambda m, q, k, d: m & m.flip(1)),
        after(causal_mask, lambda m, q, k, d: m.roll(1, dims=1)),
        after(causal_mask, lambda m, q, k, d: m | m.flip(1)),
    ),
    "split_heads": (
        after(split_heads, lambda r, x, n: -r),
        after(split_heads, lambda r, x, n: r.flip(-1)),
        after(split_heads, lambda r, x, n: r.flip(2)),
        after(split_heads, lambda r, x, n: r.transpose(-1, -2)),
        after(split_heads, lambda r, x, n: r.flatten(0, 1)),
        after(split_heads, lambda r, x, n: r.roll(1, dims=2)),
        after(split_heads, lambda r, x, n: r / n**0.5),
        after(split_heads, lambda r, x, n: r[:, :1].expand_as(r)),
        after(split_heads, lambda r, x, n: r.float() * 1.01),
    ),
    "join_heads": (
        after(join_heads, lambda r, x: -r),
        after(join_heads, lambda r, x: r.flip(-1)),
        after(join_heads, lambda r, x: r.flip(1)),
        after(join_heads, lambda r, x: r / x.shape[1]),
        after(join_heads, lambda r, x: r[None]),
        after(join_heads, lambda r, x: r.transpose(1, 2)),
    ),
    "rope_frequencies": (
        after(rope_frequencies, lambda t, r, cfg: -t),
        after(rope_frequencies, lambda t, r, cfg: t.flip(0)),
        after(rope_frequencies, lambda t, r, cfg: t * 2 * torch.pi),
        after(rope_frequencies, lambda t, r, cfg: t.double()),
        after(rope_frequencies, lambda t, r, cfg: t.repeat_interleave(2)),
        after(rope_frequencies, lambda t, r, cfg: t / 2),
    ),
    "apply_rope": (
        after(apply_rope, lambda y, x, turn: -y),
        after(apply_rope, lambda y, x, turn: apply_rope(x, turn**2)),
        after(apply_rope, lambda y, x, turn: apply_rope(x, turn.flip(0))),
        after(apply_rope, lambda y, x, turn: apply_rope(x, turn.flip(1))),
        after(apply_rope, lambda y, x, turn: x + y),
        after(apply_rope, lambda y, x, turn: y.detach()),
        after(apply_rope, lambda y, x, turn: apply_rope(x.flip(-1), turn)),
        after(apply_rope, lambda y, x, turn: y.float()),
        after(apply_rope, lambda y, x, turn: apply_rope(y, turn)),
    ),
    "RMSNorm": (
        norm(lambda self, x, y: -y),
        norm(lambda self, x, y: y + x),
        norm(lambda self, x, y: y.detach() + 0 * x),
        norm(lambda self, x, y: y.float()),
        norm(lambda self, x, y: y * self.weight),
        norm(lambda self, x, y: y / 2),
        norm(lambda self, x, y: y.flip(-1)),
        norm(lambda self, x, y: y + self.eps),
        norm(
            lambda self, x, y: torch.nn.functional.layer_norm(x.to(self.weight.dtype), x.shape[-1:]).to(
                x.dtype
            )
        ),
        norm(
            lambda self, x, y: (x / x.abs().amax(-1, keepdim=True).clamp(min=1e-6) * self.weight).to(x.dtype)
        ),
    ),
}

EQUIVALENT = {
    "attend": name_mutants(
        "if visible is None and n_queries > 1:",
        ("> 1", ">= 1", "a single query sees every key: its mask is all True"),
        ("> 1", "> 0", "a single query sees every key: its mask is all True"),
    ),
    "split_heads": name_mutants(
        "return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)",
        ("(1, 2)", "(2, 1)", "two axes exchanged have no order"),
    ),
    "join_heads": name_mutants(
        "return x.transpose(1, 2).flatten(2)", ("(1, 2)", "(2, 1)", "two axes exchanged have no order")
    ),
    "rope_frequencies": name_mutants(
        "pair = torch.arange(rope_dim // 2, dtype=torch.float64)",
        (", dtype=torch.float64", "", "float32 differs by less than the check's tolerance"),
    )
    | {
        change: "YaRN is no part of the exercise; test_rope.py holds it"
        for change, _ in mutants(rope_frequencies)
        if "yarn." in change or "ramp" in change
    },
    "apply_rope": name_mutants(
        "pairs = torch.view_as_complex("
        "full.clone(memory_format=torch.contiguous_format).unflatten(-1, (-1, 2)))",
        (
            "full.clone(memory_format=torch.contiguous_format)",
            "_unchanged(full)",
            "the check's tensors begin at an even place; test_rope.py has one that does not",
        ),
        ("memory_format=torch.contiguous_format", "", "the check's tensors are contiguous"),
    )
    | name_mutants(
        "return (torch.view_as_real(pairs * rotation).flatten(-2) * 1.0).to(x.dtype)",
        ("flatten(-2) * 1.0", "flatten(-2) / 1.0", "the factor is 1"),
    ),
    "RMSNorm": name_mutants(
        "full = x if x.dtype in (torch.float32, torch.float64) else x.float()",
        (
            "x if x.dtype in (torch.float32, torch.float64) else x.float()",
            "x.float() if x.dtype in (torch.float32, torch.float64) else x",
            "float32 differs by less than the check's tolerance, and torch's rms_norm widens bfloat16 itself",
        ),
        ("x.float()", "_unchanged(x)", "torch's rms_norm widens bfloat16 itself"),
    ),
}
