"""The bug hunts of notebook 03: a test that finds each bug, and the pieces that every answer is tried on."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from lab_utils.course.chapters.ch03_experts import bugs
from lab_utils.course.doubles import with_other_last_digits
from lab_utils.course.exercise import Case, give_nothing, plainly_wrong
from lab_utils.course.probes import shifted, wavering, widened
from nanokimi.experts import ExpertBank, swiglu
from nanokimi.moe import dispatch


def swiglu_row_by_row(x, gate_up, down):
    """A sound version with its sums written out."""
    width = down.shape[1]
    gate = torch.stack([(x * row).sum(-1) for row in gate_up[:width]], dim=-1)
    up = torch.stack([(x * row).sum(-1) for row in gate_up[width:]], dim=-1)
    return (gate / (1 + (-gate).exp()) * up) @ down.T


def swiglu_by_slices(x, gate_up, down):
    """A sound version of the piece in the notebook: one product, cut in two."""
    hidden = x @ gate_up.T
    gate, up = hidden[..., : hidden.shape[-1] // 2], hidden[..., hidden.shape[-1] // 2 :]
    return F.silu(gate) * up @ down.T


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


def dispatch_by_expert(x, expert_idx, weights, bank):
    """A sound version: expert after expert, each with the rows that chose it."""
    n_experts, y = bank.down_proj.shape[0], torch.zeros_like(x)
    for e in range(n_experts):
        token, slot = (expert_idx == e).nonzero().unbind(dim=1)
        out = bank(x[token], [len(token) if i == e else 0 for i in range(n_experts)])
        y = y.index_add(0, token, weights[token, slot, None] * out)
    return y


def gated_by(act):
    """A piece that is right but for its activation."""

    def piece(x, gate_up, down):
        gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
        return F.linear(act(gate) * up, down)

    return piece


def _dispatch_of_all_in_one_call(x, expert_idx, weights, bank):
    """Right, but every expert gets every token, all of them in one call of the bank."""
    n_experts = bank.down_proj.shape[0]
    out = bank(x.repeat(n_experts, 1), [len(x)] * n_experts).unflatten(0, (n_experts, -1))
    chosen = (expert_idx[..., None] == torch.arange(n_experts)) * weights[..., None]
    return torch.einsum("te,etd->td", chosen.sum(dim=1), out)


def _dispatch_of_zeros(x, expert_idx, weights, bank):
    return 0 * dispatch(x, expert_idx, weights, bank)


def _dispatch_often(x, expert_idx, weights, bank):
    return sum(dispatch(x, expert_idx, weights, bank) for _ in range(16)) / 16


def _dispatch_with_a_leak(x, expert_idx, weights, bank):
    return dispatch(x, expert_idx, weights, bank) + 1e-2 * sum(p.sum() for p in bank.parameters())


def _dispatch_to_the_first_choice(x, expert_idx, weights, bank):
    return dispatch(x, expert_idx[:, :1], weights[:, :1], bank)


def _dispatch_without_weightless_choices(x, expert_idx, weights, bank):
    """Right, but an expert whose weight is 0 for a token does not get it."""
    n_experts, y = bank.down_proj.shape[0], torch.zeros_like(x)
    for e in range(n_experts):
        token, slot = ((expert_idx == e) & (weights != 0)).nonzero().unbind(dim=1)
        out = bank(x[token], [len(token) if i == e else 0 for i in range(n_experts)])
        y = y.index_add(0, token, weights[token, slot, None] * out)
    return y


def swiglu_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.swiglu_by_columns,)),
        Case("a hidden piece with the same fault, which multiplies twice", (bugs.swiglu_in_halves,)),
        *with_other_last_digits(
            [
                Case("the core's swiglu", (swiglu,)),
                Case("a sound piece that writes its sums out", (swiglu_row_by_row,)),
                Case("a sound piece that multiplies once and cuts the result in two", (swiglu_by_slices,)),
            ]
        ),
        Case("a piece that gives ones", (lambda *args: 0 * swiglu(*args) + 1,), judged=False),
        Case("a piece that gives zeros", (lambda *args: 0 * swiglu(*args),), judged=False),
        Case("a piece that gates with a sigmoid", (gated_by(torch.sigmoid),), judged=False),
        Case("a piece that gates with GELU", (gated_by(F.gelu),), judged=False),
        Case("a piece that gates with ReLU", (gated_by(F.relu),), judged=False),
        Case("a piece without gradients", (lambda *args: swiglu(*args).detach(),), judged=False),
        Case("a piece that gives nothing", (give_nothing,), judged=False, aside=True),
        *plainly_wrong(swiglu),
        replace(widened(swiglu), aside=True),
        wavering(swiglu),
        shifted(swiglu),
    ]


def dispatch_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.run_experts_masked,)),
        Case("a hidden piece with the same fault, token by token", (bugs.run_every_token_everywhere,)),
        *with_other_last_digits(
            [
                Case("the core's dispatch", (dispatch,)),
                Case("a sound piece that calls the bank token by token", (dispatch_by_token,)),
                Case("a sound piece that calls the bank expert by expert", (dispatch_by_expert,)),
            ]
        ),
        Case("a piece that gives zeros", (_dispatch_of_zeros,), judged=False),
        Case(
            "a piece that runs every expert on every token in one call",
            (_dispatch_of_all_in_one_call,),
            judged=False,
        ),
        Case("a piece that runs everything sixteen times", (_dispatch_often,), judged=False),
        Case(
            "a piece that runs the first choice alone",
            (_dispatch_to_the_first_choice,),
            judged=False,
            aside=True,
        ),
        Case(
            "a piece that leaves out choices with a weight of 0",
            (_dispatch_without_weightless_choices,),
            judged=False,
        ),
        Case("a piece in which idle experts count a little", (_dispatch_with_a_leak,), judged=False),
        Case("a piece without gradients", (lambda *a: dispatch(*a).detach(),), judged=False),
        Case("a piece that gives nothing", (give_nothing,), judged=False, aside=True),
        *plainly_wrong(dispatch),
        replace(widened(dispatch), aside=True),
        wavering(dispatch),
        shifted(dispatch),
    ]
