"""A MoE layer whose experts are dealt to ranks: tokens travel to their experts and back (GShard, Lepikhin et al. 2020).

Rank r of n holds the experts r·m to r·m + m - 1, m = E/n, and its own tokens. Two all-to-alls move rows: out, to the
rank that holds the chosen expert, and back; gradients go the same ways in the other direction. The results are those of
`moe.dispatch` on one rank with the tokens of all ranks, rank after rank: outputs and every gradient, to the last bit
where rows fill whole lines of memory (widths of a multiple of 16 in float32; elsewhere products may round differently).

No model of the lab needs it; notebook 11 explains it.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from nanokimi.config import ConfigError
from nanokimi.experts import ExpertBank, swiglu
from nanokimi.router import expert_load


def experts_of_rank(bank: ExpertBank, rank: int, n_ranks: int) -> ExpertBank:
    """A bank with the experts that this rank holds, copied from the whole `bank`.

    Raises `ConfigError` where the experts cannot be dealt evenly, and for a rank that does not exist.
    """
    n_experts, d_model, width = bank.down_proj.shape
    if n_ranks < 1 or n_experts % n_ranks:
        raise ConfigError(f"n_ranks={n_ranks} must divide the {n_experts} experts: each rank holds as many")
    if not 0 <= rank < n_ranks:
        raise ConfigError(f"rank={rank} must lie in 0..{n_ranks - 1}")
    share = n_experts // n_ranks
    own = slice(rank * share, (rank + 1) * share)
    mine = ExpertBank(share, d_model, width).to(bank.down_proj)
    with torch.no_grad():
        mine.gate_up_proj.copy_(bank.gate_up_proj[own])
        mine.down_proj.copy_(bank.down_proj[own])
    return mine


def send_counts(
    expert_idx: Int[Tensor, "tokens top_k"], n_experts: int, n_ranks: int
) -> Int[Tensor, "n_ranks experts_per_rank"]:
    """How many rows go to each rank and each of its experts: entry [r, e] counts rows for expert r·E/n + e.

    The counts sum to tokens·K; those of rank r, its row, are what the all-to-all sends there.
    """
    return expert_load(expert_idx, n_experts).unflatten(0, (n_ranks, -1))


def regroup(
    received: Int[Tensor, "n_ranks experts_per_rank"],
) -> tuple[Int[Tensor, " rows"], Int[Tensor, " rows"]]:
    """The order that puts arrived rows together by expert, and the order that undoes it for the way back.

    `received[s, e]` rows came from rank s for expert e of this rank. They lie by sender, and of each sender by expert.
    With the first order they lie by expert, and of each expert by sender: as on one rank that has all tokens.
    """
    n_ranks, n_experts = received.shape
    expert = torch.arange(n_experts, device=received.device).repeat(n_ranks)
    order = expert.repeat_interleave(received.flatten()).argsort(stable=True)
    return order, order.argsort()


class _Exchange(torch.autograd.Function):
    """One all-to-all of rows, as many to and from each rank as the two lists say.

    torch's own `all_to_all_single_autograd` does the same, and its first call loads the compiler: five seconds of every
    process.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, leaving: list[int], arriving: list[int], group: dist.ProcessGroup
    ) -> Tensor:
        ctx.way_back = arriving, leaving, group
        received = rows.new_empty(sum(arriving), rows.shape[1])
        dist.all_to_all_single(received, rows.contiguous(), arriving, leaving, group)
        return received

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _Exchange.apply(gradient, *ctx.way_back), None, None, None


def parallel_dispatch(
    x: Float[Tensor, "tokens d_model"],
    expert_idx: Int[Tensor, "tokens top_k"],
    weights: Float[Tensor, "tokens top_k"],
    bank: ExpertBank,
    group: dist.ProcessGroup,
) -> Float[Tensor, "tokens d_model"]:
    """What `moe.dispatch` gives for this rank's tokens, with the experts of all ranks of `group`.

    `x`, `expert_idx` and `weights` are this rank's tokens, as many as it has, also none; `expert_idx` counts the
    experts of all ranks. `bank` has this rank's experts, as `experts_of_rank` gives them. Every rank of the group must
    call it, and then `backward`, as each waits for the others.
    """
    n_ranks, top_k = dist.get_world_size(group), expert_idx.shape[1]
    # As in `moe.dispatch`: by expert, and so by rank too.
    order = expert_idx.flatten().argsort(stable=True)
    sent = send_counts(expert_idx, n_ranks * len(bank.down_proj), n_ranks)
    # Who receives has to know how much, and for which expert: the counts travel first.
    received = torch.empty_like(sent)
    dist.all_to_all_single(received, sent, group=group)
    leaving, arriving = sent.sum(dim=1).tolist(), received.sum(dim=1).tolist()
    rows = _Exchange.apply(x.index_select(0, order // top_k), leaving, arriving, group)
    by_expert, by_sender = regroup(received)
    outs = _run(bank, rows.index_select(0, by_expert), received.sum(dim=0).tolist())
    rows = _Exchange.apply(outs.index_select(0, by_sender), arriving, leaving, group)
    place = order.argsort().view_as(expert_idx)
    return F.embedding_bag(place, rows, per_sample_weights=weights.to(rows.dtype), mode="sum")


def _run(
    bank: ExpertBank, rows: Float[Tensor, "rows d_model"], counts: list[int]
) -> Float[Tensor, "rows d_model"]:
    """What the rank's experts make of its rows, which lie by expert."""
    # A rank without rows runs an expert on none of them: its weights get gradients of 0, and its backward takes part in
    # the all-to-alls for which the other ranks wait.
    return bank(rows, counts) if len(rows) else swiglu(rows, bank.gate_up_proj[0], bank.down_proj[0])
