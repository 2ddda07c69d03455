"""The bug hunts of notebook 07: a test that finds each bug, and the pieces that every answer is tried on."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from lab_utils.course.chapters.ch07_muon import bugs, probes
from lab_utils.course.chapters.ch07_muon.cases.muon import newton_schulz_written_out
from lab_utils.course.chapters.ch07_muon.cases.qk_clip import small_attention
from lab_utils.course.chapters.ch07_muon.mistakes.muon import MuonByParameter
from lab_utils.course.chapters.ch07_muon.probes import orthogonal_by_svd
from lab_utils.course.doubles import turn_last_digits, with_other_last_digits
from lab_utils.course.exercise import Case, Parts, Problem, run_test
from nanokimi.mla import MultiHeadLatentAttention
from nanokimi.optim import Muon, newton_schulz


def test_sound_newton_schulz(newton_schulz) -> None:
    """Two different matrices in one bank: each must come out with singular values near 1."""
    bank = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    s = torch.linalg.svdvals(newton_schulz(bank, 5, torch.float32))
    assert s.min() > 0.6 and s.max() < 1.3


def test_sound_muon(optimizer) -> None:
    """One step from zero: all singular values of what was added must be about the same."""
    p = nn.Parameter(torch.zeros(6, 8))
    p.grad = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    optimizer([{"params": [p]}], lr=0.1, weight_decay=0.0, ns_dtype=torch.float32).step()
    s = torch.linalg.svdvals(p.detach())
    assert s.max() < 2 * s.min()


def test_sound_clip(clip_qk_, layer, largest_logits) -> None:
    """A tau between the heads' logits: those above must come down to it exactly, the others must stay."""
    before = largest_logits()
    tau = before.mean().item()
    clip_qk_(layer, before, tau)
    assert torch.allclose(largest_logits(), before.clamp(max=tau), rtol=1e-4)


def newton_schulz_one_by_one(g, steps=5, dtype=torch.bfloat16):
    """The core's, a matrix of the bank after another."""
    matrices = g.reshape(-1, *g.shape[-2:])
    return torch.stack([newton_schulz(each, steps, dtype) for each in matrices]).view(g.shape)


class MuonBySVD(MuonByParameter):
    """Muon with exact singular values, a parameter at a time."""

    def orthogonal(self, matrices, group):
        return orthogonal_by_svd(matrices, dtype=matrices.dtype)


@torch.no_grad()
def clip_qk_head_by_head(self, max_qk_logit, tau):
    """QK-clip in a loop over the heads."""
    n, r, v = self.cfg.qk_nope_head_dim, self.cfg.qk_rope_head_dim, self.cfg.v_head_dim
    q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
    for h, largest in enumerate(max_qk_logit.double().tolist()):
        g = min(1.0, tau / largest) if largest > 0 else 1.0
        q_proj.weight[h * (n + r) : h * (n + r) + n] *= g**0.5
        q_proj.weight[h * (n + r) + n : (h + 1) * (n + r)] *= g
        self.kv_b_proj.weight[h * (n + v) : h * (n + v) + n] *= g**0.5


@torch.no_grad()
def clip_qk_by_rows(self, max_qk_logit, tau):
    """QK-clip with one factor per row of a weight."""
    n, r, v = self.cfg.qk_nope_head_dim, self.cfg.qk_rope_head_dim, self.cfg.v_head_dim
    g = tau / max_qk_logit.clamp(min=tau)
    q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
    nope, one = g.sqrt()[:, None].expand(-1, n), torch.ones(len(g), v)
    q_proj.weight.mul_(torch.cat([nope, g[:, None].expand(-1, r)], dim=1).reshape(-1, 1))
    self.kv_b_proj.weight.mul_(torch.cat([nope, one], dim=1).reshape(-1, 1))


def run_clip_test(test: Callable, candidate: Callable) -> Parts:
    """As `run_test`, for a test that also gets a layer, and the function that measures its largest logits."""
    layer, largest_logits = small_attention()
    return run_test(lambda clip: test(clip, layer, largest_logits), candidate)


def run_seeded_test(test: Callable, candidate: Callable) -> Parts:
    """As `run_test`. A test that draws from torch's own generator without giving it a seed has a problem."""
    torch.manual_seed(seed := torch.initial_seed() + 2**40)  # no seed that a learner chooses
    before = torch.get_rng_state()
    parts = run_test(test, candidate)
    if torch.initial_seed() == seed and not torch.equal(torch.get_rng_state(), before):
        raise Problem(
            "Your test draws numbers without a seed, so it may say something else the next time. "
            "Give torch.randn a generator: torch.Generator().manual_seed(0)."
        )
    return parts


def newton_schulz_in_another_order(g, steps=5, dtype=torch.bfloat16):
    """The core's numbers but for rounding: a bank by singular value decomposition, a matrix by products."""
    return newton_schulz_written_out(g, steps, dtype) if g.ndim > 2 else newton_schulz(g, steps, dtype)


@contextlib.contextmanager
def _turning(weights: Iterable[Tensor]) -> Iterator[None]:
    """Afterwards the numbers that have changed meanwhile have other last digits."""
    before = [(weight, weight.detach().clone()) for weight in weights]
    yield
    with torch.no_grad():
        for weight, old in before:
            weight.copy_(torch.where(weight == old, weight, turn_last_digits(weight)))


def turned_optimizer(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """An optimizer after whose step the parameters have other last digits."""

    def step(self, closure=None):
        with _turning(p for group in self.param_groups for p in group["params"]):
            kind.step(self, closure)

    return type(kind.__name__, (kind,), {"step": step})


def turned_clip(clip: Callable) -> Callable:
    """A clip after which the weights of clipped heads have other last digits."""

    @functools.wraps(clip)
    def turned(layer, max_qk_logit, tau):
        with _turning(layer.parameters()):
            clip(layer, max_qk_logit, tau)

    return turned


def newton_schulz_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.newton_schulz_of_a_colleague,)),
        Case(
            "a hidden piece with the same fault, by singular value decomposition",
            (bugs.orthogonal_of_the_pile,),
        ),
        *with_other_last_digits(
            [
                Case("the core's newton_schulz", (newton_schulz,)),
                Case("a sound piece by singular value decomposition, which is exact", (orthogonal_by_svd,)),
                Case("a sound piece that takes one matrix after another", (newton_schulz_one_by_one,)),
                Case(
                    "a sound piece that adds in another order for a bank", (newton_schulz_in_another_order,)
                ),
            ]
        ),
        *probes.newton_schulz_probes(),
    ]


def muon_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.MuonOfAColleague,)),
        Case("a hidden piece with the same fault, by signs", (bugs.MuonOfSigns,)),
        Case("a hidden piece with the same fault, by softened signs", (bugs.MuonOfSoftSigns,)),
        *with_other_last_digits(
            [
                Case("the core's Muon", (Muon,)),
                Case("a sound piece by singular value decomposition, which is exact", (MuonBySVD,)),
                Case("a sound piece that takes one parameter after another", (MuonByParameter,)),
            ],
            turned_optimizer,
        ),
        *probes.muon_probes(),
    ]


def clip_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.clip_qk_of_a_colleague,)),
        Case("a hidden piece with the same fault, head by head", (bugs.clip_qk_row_by_row,)),
        *with_other_last_digits(
            [
                Case("the core's clip_qk_", (MultiHeadLatentAttention.clip_qk_,)),
                Case("a sound piece that goes head by head", (clip_qk_head_by_head,)),
                Case("a sound piece with one factor per row", (clip_qk_by_rows,)),
            ],
            turned_clip,
        ),
        *probes.clip_probes(),
    ]
