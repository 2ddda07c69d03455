"""The exercises of notebook 03: SwiGLU and the bank of experts."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lab_utils.course.chapters.ch03_experts import bugs
from lab_utils.course.chapters.ch03_experts.mistakes import experts as mistakes
from lab_utils.course.chapters.ch03_experts.mistakes import weak_tests as expert_tests
from lab_utils.course.exercise import (
    Case,
    Exercise,
    Property,
    call_with_gradients,
    parts_of,
    verdict,
    with_weights_of,
)
from nanokimi.experts import ExpertBank, swiglu
from nanokimi.moe import dispatch


def _numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Large enough that silu is far from a straight line."""
    return 1.5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _weights(d_model: int, width: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return _numbers(2 * width, d_model, seed=1, dtype=dtype), _numbers(d_model, width, seed=2, dtype=dtype)


def _swiglu_cases() -> list[Case]:
    one = (torch.tensor([[2.0]]), torch.tensor([[1.0], [-3.0]]), torch.tensor([[1.0]]))
    return [
        Case("one token, one channel", one),
        Case("one token", (_numbers(1, 3), *_weights(3, 4))),
        Case("a batch of sequences", (_numbers(2, 3, 4), *_weights(4, 2))),
        Case("a vector alone", (_numbers(3), *_weights(3, 5))),
        Case("float64", (_numbers(4, 3, dtype=torch.float64), *_weights(3, 4, torch.float64))),
        Case("large numbers", (20 * _numbers(3, 3), *_weights(3, 4))),
    ]


def _closed_gate_is_closed(parts: dict, x: Tensor, gate_up: Tensor, down: Tensor) -> bool:
    """Channels whose gate is far below zero count for nothing: leaving them out changes nothing."""
    gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
    kept = torch.where(gate > -30, F.silu(gate) * up, 0.0)
    return torch.allclose(F.linear(kept, down), parts["result"], atol=1e-3, rtol=1e-3)


def _run_bank(bank: type, rows: Tensor, counts: list[int], width: int) -> dict:
    """The learner's class with the weights of the core's: the output, the weights' gradients, and wasted work."""
    reference = ExpertBank(len(counts), rows.shape[1], width)
    with torch.no_grad():
        for seed, p in enumerate(reference.parameters()):
            p.copy_(_numbers(*p.shape, seed=seed))
    module = with_weights_of(bank(len(counts), rows.shape[1], width), reference)
    with FlopCounterMode(display=False) as counter:
        parts = parts_of(module(rows, counts))
    needed = len(rows) * 2 * 3 * rows.shape[1] * width
    out = parts.get("result")
    if isinstance(out, Tensor) and out.requires_grad:
        (out * torch.arange(1, out.numel() + 1).view_as(out).sin()).sum().backward()
    for name, p in module.named_parameters():
        parts[f"gradient of {name}"] = torch.zeros_like(p) if p.grad is None else p.grad
    # Sums written out by hand are not counted, so less than what is needed is no fault.
    return parts | {
        "operations beyond those of the rows' own experts": max(0, counter.get_total_flops() - needed)
    }


def _bank_cases() -> list[Case]:
    return [
        Case("one expert, one row", (_numbers(1, 2), [1], 2)),
        Case("two experts", (_numbers(3, 2), [2, 1], 2)),
        Case("an expert without rows between two others", (_numbers(5, 3), [2, 0, 3], 2)),
        Case("the first expert has no rows", (_numbers(4, 3), [0, 1, 3], 4)),
        Case("all rows to the last expert", (_numbers(6, 2), [0, 0, 0, 6], 3)),
        Case("sixteen experts", (_numbers(36, 4), [i % 6 for i in range(16)], 3)),
    ]


def swiglu_row_by_row(x, gate_up, down):
    """A sound version with its sums written out."""
    width = down.shape[1]
    gate = torch.stack([(x * row).sum(-1) for row in gate_up[:width]], dim=-1)
    up = torch.stack([(x * row).sum(-1) for row in gate_up[width:]], dim=-1)
    return (gate / (1 + (-gate).exp()) * up) @ down.T


def test_sound_swiglu(swiglu) -> None:
    """One channel, gate 1 and up 3, worked out by hand: silu(1) · 3 = 2.1932; exchanged it would be 2.8577."""
    out = swiglu(torch.ones(1, 1), torch.tensor([[1.0], [3.0]]), torch.ones(1, 1))
    assert torch.allclose(out, torch.tensor([[2.1932]]), atol=1e-3)


def test_sound_dispatch(dispatch) -> None:
    """Count operations: 8 tokens, K = 1, so the products of 8 rows, however many experts there are."""
    bank = ExpertBank(4, 2, 3)
    for p in bank.parameters():
        torch.nn.init.ones_(p)
    x, idx, weights = torch.ones(8, 2), (torch.arange(8) % 4)[:, None], torch.ones(8, 1)
    with FlopCounterMode(display=False) as counter:
        dispatch(x, idx, weights, bank)
    assert counter.get_total_flops() == 8 * 2 * (2 * 6 + 3 * 2)


def dispatch_by_token(x, expert_idx, weights, bank):
    """A sound version: token by token, only its own experts, through the bank, whose rows a test may count."""
    n_experts, out = bank.down_proj.shape[0], []
    for t, chosen in enumerate(expert_idx.tolist()):
        rows = [bank(x[t : t + 1], [int(e == i) for i in range(n_experts)]) for e in chosen]
        out.append(sum(w * row for w, row in zip(weights[t], rows, strict=True)))
    return torch.cat(out)


def _dispatch_of_zeros(x, expert_idx, weights, bank):
    return 0 * dispatch(x, expert_idx, weights, bank)


def _dispatch_of_a_number(x, expert_idx, weights, bank):
    return dispatch(x, expert_idx, weights, bank).sum()


EXERCISES = (
    Exercise(
        name="swiglu",
        notebook="03",
        core=swiglu,
        cases=_swiglu_cases,
        observe=call_with_gradients,
        mistakes=mistakes.SWIGLU,
        properties=(Property("a gate far below zero lets nothing through", _closed_gate_is_closed),),
        tolerance=2e-5,
        hints=(
            "Three steps: one product for both halves, the gated product, and down.",
            "F.linear(x, gate_up).chunk(2, dim=-1) gives gate and up, gate first.",
            "Only the gate goes through F.silu; then multiply by up, then F.linear with down.",
        ),
        moral="Two thirds of an expert's weights are gate and up, stored as one matrix so that one product makes both.",
    ),
    Exercise(
        name="ExpertBank",
        notebook="03",
        core=ExpertBank,
        cases=_bank_cases,
        observe=_run_bank,
        mistakes=mistakes.BANK,
        hints=(
            "Cut the rows into runs, give each run to its expert, put the results one behind the other.",
            "rows.split(list(counts)) makes the runs, the empty ones too; tensor.unbind() makes the experts' matrices.",
            "torch.cat([swiglu(run, gate_up, down) for run, gate_up, down in zip(runs, gate_ups, downs)])",
        ),
        moral="Two tensors hold all experts: one place to index, to save, and to hand to an optimizer.",
    ),
    Exercise(
        name="test_sound_swiglu",
        notebook="03",
        core=test_sound_swiglu,
        cases=lambda: [
            Case("the broken piece", (bugs.swiglu_by_columns,)),
            Case("the core's swiglu", (swiglu,)),
            Case("a sound version with its sums written out", (swiglu_row_by_row,)),
            Case(
                "a piece of another shape",
                (lambda x, gate_up, down: swiglu(x, gate_up, down)[:1, :1],),
                judged=False,
            ),
            Case(
                "a piece that gives ones",
                (lambda x, gate_up, down: 0 * swiglu(x, gate_up, down) + 1,),
                judged=False,
            ),
            Case(
                "a piece that gives zeros",
                (lambda x, gate_up, down: 0 * swiglu(x, gate_up, down),),
                judged=False,
            ),
        ],
        observe=verdict,
        mistakes=expert_tests.GATE_TESTS,
        hints=(
            "One token and one channel are enough: choose a gate and an up that are different numbers.",
            "With x = 1, gate_up = [[g], [u]] and down = [[1]] the answer is silu(g) · u. Which number is it?",
            "For g = 1 and u = 3 it is 2.1932, and 2.8577 if the halves are exchanged.",
        ),
        moral="The exchange trains as well as the original. It shows only when weights come from somewhere else.",
    ),
    Exercise(
        name="test_sound_dispatch",
        notebook="03",
        core=test_sound_dispatch,
        cases=lambda: [
            Case("the broken piece", (bugs.run_experts_masked,)),
            Case("the core's dispatch", (dispatch,)),
            Case("a sound version, token by token", (dispatch_by_token,)),
            Case("a piece that gives zeros", (_dispatch_of_zeros,), judged=False),
            Case("a piece that gives one number", (_dispatch_of_a_number,), judged=False),
            Case(
                "a piece without gradients",
                (lambda *a: dispatch(*a).detach().requires_grad_(),),
                judged=False,
            ),
        ],
        observe=verdict,
        mistakes=expert_tests.CHOSEN_TESTS,
        hints=(
            "The numbers are right. What is wasted? How many rows should the bank be given in all?",
            "To count: bank.register_forward_pre_hook(lambda bank, args: seen.append(len(args[0]))), then dispatch.",
            "In all there may be tokens · K rows. (Or put nan into the weights of an expert that nobody chose.)",
        ),
        moral="A mixture that runs every expert is right and slow: its time does not fall with K.",
    ),
)
