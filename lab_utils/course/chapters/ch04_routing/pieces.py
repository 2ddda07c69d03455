"""The pieces that every answer to the bug hunts of notebook 04 is tried on."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.chapters.ch04_routing import bugs, hunts
from lab_utils.course.doubles import changing, turn_last_digits, with_more_calls, with_other_last_digits
from lab_utils.course.exercise import Case, give_nothing, plainly_wrong
from lab_utils.course.probes import shifted, wavering, widened
from nanokimi.config import MoEConfig
from nanokimi.experts import ExpertBank
from nanokimi.moe import dispatch
from nanokimi.router import RouterStats, load_balance_loss, topk_route


def _asking_for_shapes(cases: list[Case], explain: Callable[..., str]) -> list[Case]:
    """The pieces, each of which says what it takes where a test gives it tensors of other shapes."""

    def asking(piece: Callable) -> Callable:
        def asked(*args: Any) -> Any:
            if says := explain(*args):
                raise ValueError(says)
            return piece(*args)

        return asked

    return [replace(case, args=(asking(case.args[0]),)) for case in cases]


def router_cases() -> list[Case]:
    return _asking_for_shapes(_router_cases(), _explain_logits)


def _explain_logits(logits: Tensor, *_: Any) -> str:
    if logits.ndim == 3:
        return ""
    return f"logits of the shape {tuple(logits.shape)}, where a router takes (batch, seq, n_experts)"


def _router_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.route_of_a_colleague,)),
        Case("a hidden piece with the same fault, which also knows groups", (bugs.route_with_late_weights,)),
        *with_other_last_digits(
            [
                Case("the core's topk_route", (topk_route,)),
                Case(
                    "a sound piece that names the chosen experts in the reverse order",
                    (hunts.route_in_a_loop,),
                ),
                Case("a sound piece that computes in float64", (hunts.route_in_float64,)),
                Case("a sound piece that takes the last of equal experts", (hunts.route_the_last_of_equals,)),
            ],
            changing(hunts.turn_weights),
        ),
        *[Case(says, (_route_with(of),), judged=False) for says, of in ROUTES.items()],
        Case(
            "a piece that names a token's experts in the order of their numbers",
            (_route_in_order,),
            judged=False,
        ),
        Case("a piece that chooses without the bias", (_route_without_bias,), judged=False),
        Case("a piece that does not normalise", (_route_without_normalising,), judged=False),
        Case("a piece whose scores hold the bias", (_route_with_biased_scores,), judged=False),
        Case("a piece without the scaling factor", (_route_without_scaling,), judged=False),
        Case("a piece that gives nothing", (give_nothing,), judged=False),
    ]


ROUTES = {
    "a piece that gives weights of zero": lambda w: 0 * w,
    "a piece that gives negative weights": lambda w: -w,
    "a piece that gives weights of nan": lambda w: torch.nan * w,
    "a piece without weights": lambda w: w[..., :0],
    "a piece that weighs all alike": lambda w: (w.sum(dim=-1, keepdim=True) / w.shape[-1]).expand_as(w),
    "a piece with weights twice as large": lambda w: 2 * w,
    "a piece without gradients": lambda w: w.detach(),
}


def _route_with(of: Any) -> Any:
    """A router that is right but for its weights."""

    def piece(logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> RouterStats:
        found = topk_route(logits, expert_bias, cfg)
        return found._replace(weights=of(found.weights))

    return piece


def _route_in_order(logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> RouterStats:
    found = topk_route(logits, expert_bias, cfg)
    idx, order = found.expert_idx.sort(dim=-1)
    return found._replace(expert_idx=idx, weights=found.weights.gather(-1, order))


def _route_without_bias(logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> RouterStats:
    return topk_route(logits, torch.zeros_like(expert_bias), cfg)


def _route_without_normalising(logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> RouterStats:
    return topk_route(logits, expert_bias, replace(cfg, norm_topk_prob=False))


def _route_with_biased_scores(logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> RouterStats:
    found = topk_route(logits, expert_bias, cfg)
    return found._replace(scores=found.scores + expert_bias)


def _route_without_scaling(logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> RouterStats:
    return topk_route(logits, expert_bias, replace(cfg, routed_scaling_factor=1.0))


# ---------------------------------------------------------------- test_sound_loss


def loss_cases() -> list[Case]:
    return _asking_for_shapes(_loss_cases(), _explain_stats)


def _explain_stats(stats: RouterStats) -> str:
    logits, idx = tuple(stats.logits.shape), tuple(stats.expert_idx.shape)
    if len(logits) == len(idx) == 3 and logits[:2] == idx[:2]:
        return ""
    return (
        f"logits of the shape {logits} with an expert_idx of {idx}, where (batch, seq, n_experts) and (batch, seq, "
        "top_k) belong"
    )


def _loss_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.balance_loss_of_a_colleague,)),
        Case("a hidden piece with the same fault, expert by expert", (bugs.balance_loss_by_expert,)),
        *with_other_last_digits(
            [
                Case("the core's load_balance_loss", (load_balance_loss,)),
                Case("a sound piece that goes expert by expert", (hunts.loss_in_a_loop,)),
                Case("a sound piece that writes the choices as zeros and ones", (hunts.loss_by_one_hot,)),
            ],
            changing(functools.partial(turn_last_digits, but_exact=True)),
        ),
        *[Case(says, (_loss_with(of),), judged=False) for says, of in LOSSES.items()],
        Case("a piece that takes P from sigmoids", (_loss_of_sigmoids,), judged=False),
        Case("a piece that counts first choices only", (_loss_of_first_choices,), judged=False),
        Case("a piece that measures each sequence by itself", (_loss_by_sequence,), judged=False),
        Case("a piece that counts K times as much", (_loss_of_shares_of_tokens,), judged=False),
        Case("a piece without the factor E", (_loss_without_factor,), judged=False),
        Case("a piece that gives less where experts are idle", (_loss_by_the_busy,), judged=False),
        Case("a piece that gives nothing", (give_nothing,), judged=False),
        *plainly_wrong(load_balance_loss),
        # Ten times as much, so that it is beyond E each time.
        wavering(lambda stats: 10 * load_balance_loss(stats)),
    ]


LOSSES = {
    "a piece that gives zero": lambda loss: 0 * loss,
    # Other numbers in it, for torch.allclose would spread one.
    "a piece of another shape": lambda loss: torch.stack([loss, loss + 1, loss + 2]),
    "half the loss": lambda loss: loss / 2,
    "a loss that is 2 % too small": lambda loss: 0.98 * loss,
    "a piece that says 1 to every router": lambda loss: 0 * loss + 1,
    "a loss without a gradient": lambda loss: loss.detach(),
    "a loss whose gradient has the other sign": lambda loss: 2 * loss.detach() - loss,
}


def _loss_with(of: Any) -> Any:
    return lambda stats: of(load_balance_loss(stats))


def _loss_of_sigmoids(stats: RouterStats) -> Tensor:
    n_experts = stats.logits.shape[-1]
    f = torch.stack([(stats.expert_idx == e).float().mean() for e in range(n_experts)])
    return n_experts * f @ stats.logits.sigmoid().flatten(0, -2).mean(dim=0)


def _loss_of_first_choices(stats: RouterStats) -> Tensor:
    return load_balance_loss(stats._replace(expert_idx=stats.expert_idx[..., :1]))


def _loss_by_sequence(stats: RouterStats) -> Tensor:
    every = zip(*(part.split(1) for part in stats), strict=True)
    return torch.stack([load_balance_loss(RouterStats(*each)) for each in every]).mean()


def _loss_of_shares_of_tokens(stats: RouterStats) -> Tensor:
    return load_balance_loss(stats) * stats.expert_idx.shape[-1]


def _loss_by_the_busy(stats: RouterStats) -> Tensor:
    return load_balance_loss(stats) * len(stats.expert_idx.unique()) / stats.logits.shape[-1]


def _loss_without_factor(stats: RouterStats) -> Tensor:
    return load_balance_loss(stats) / stats.logits.shape[-1]


# ---------------------------------------------------------------- test_sound_capacity


def capacity_cases() -> list[Case]:
    return _asking_for_shapes(_capacity_cases(), _explain_tokens)


def _explain_tokens(x: Tensor, expert_idx: Tensor, weights: Tensor, bank: ExpertBank) -> str:
    if x.ndim == 2 and expert_idx.ndim == 2 and expert_idx.shape == weights.shape:
        return ""
    given = ", ".join(str(tuple(each.shape)) for each in (x, expert_idx, weights))
    return (
        f"x, expert_idx and weights of the shapes {given}, where (tokens, d_model), (tokens, top_k) and "
        "(tokens, top_k) belong"
    )


def _capacity_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.dispatch_of_a_colleague,)),
        Case("a hidden piece with the same fault, token by token", (bugs.dispatch_until_full,)),
        *with_more_calls(
            with_other_last_digits(
                [
                    Case("the core's dispatch", (dispatch,)),
                    Case("a sound piece that calls the bank token by token", (hunts.dispatch_by_token,)),
                    Case("a sound piece that calls the bank expert by expert", (hunts.dispatch_by_expert,)),
                ]
            ),
            _call_with_no_rows,
        ),
        Case("a piece that gives zeros", (lambda *args: 0 * dispatch(*args),), judged=False),
        Case("a piece that serves the first token only", (_dispatch_of_the_first,), judged=False),
        Case(
            "a piece that serves the first half of the tokens", (_dispatch_of_the_first_half,), judged=False
        ),
        Case("a piece that serves the last token only", (_dispatch_of_the_last,), judged=False),
        Case("a piece that doubles the weights", (_dispatch_with_double_weights,), judged=False),
        Case("a piece that runs everything twice", (_dispatch_twice,), judged=False),
        Case("a piece without gradients", (lambda *args: dispatch(*args).detach(),), judged=False),
        Case("a piece that gives nothing", (give_nothing,), judged=False),
        *plainly_wrong(dispatch),
        widened(dispatch),
        shifted(dispatch),
        wavering(dispatch),
    ]


def _call_with_no_rows(x: Tensor, expert_idx: Tensor, weights: Tensor, bank: ExpertBank) -> None:
    bank(x[:0], [0] * bank.down_proj.shape[0])


def _dispatch_of_the_first(*args: Any) -> Tensor:
    out = dispatch(*args)
    return torch.cat([out[:1], 0 * out[1:]])


def _dispatch_of_the_first_half(*args: Any) -> Tensor:
    out = dispatch(*args)
    half = (len(out) + 1) // 2
    return torch.cat([out[:half], 0 * out[half:]])


def _dispatch_of_the_last(*args: Any) -> Tensor:
    out = dispatch(*args)
    return torch.cat([0 * out[:-1], out[-1:]])


def _dispatch_with_double_weights(x: Tensor, expert_idx: Tensor, weights: Tensor, bank: ExpertBank) -> Tensor:
    return dispatch(x, expert_idx, 2 * weights, bank)


def _dispatch_twice(*args: Any) -> Tensor:
    return (dispatch(*args) + dispatch(*args)) / 2
