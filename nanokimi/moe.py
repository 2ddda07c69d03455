"""The mixture-of-experts layer: route every token, run only the chosen experts, add the shared ones (DeepSeekMoE).

y = sum over the K chosen experts of w · expert(x)  +  shared(x)
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from nanokimi.config import MoEConfig
from nanokimi.experts import ExpertBank, SwiGLU, can_group
from nanokimi.first_weights import draw_weight
from nanokimi.router import RouterStats, expert_load, topk_route


def dispatch(
    x: Float[Tensor, "tokens d_model"],
    expert_idx: Int[Tensor, "tokens top_k"],
    weights: Float[Tensor, "tokens top_k"],
    bank: ExpertBank,
) -> Float[Tensor, "tokens d_model"]:
    """For every token the sum over k of weights[:, k] · expert[expert_idx[:, k]](x). No token is dropped.

    The (token, choice) pairs are sorted by expert, so that every expert's rows lie together. The experts run on their
    rows, and every token gets the weighted sum of its K rows. `embedding_bag` is that sum in one pass over memory:
    a bag is a token, its entries are the places of its rows in the sorted order.
    """
    top_k = expert_idx.shape[1]
    # Stable, so that equal experts keep the tokens' order and a run reads memory forwards.
    order = expert_idx.flatten().argsort(stable=True)
    counts = expert_load(expert_idx, bank.down_proj.shape[0])
    # To read the counts is to wait for the device; only where experts run in turn they are needed as numbers.
    rows = bank(
        x.index_select(0, order // top_k), counts if can_group(x, bank.down_proj) else counts.tolist()
    )
    place = torch.empty_like(order)
    place[order] = torch.arange(order.numel(), device=order.device)
    return F.embedding_bag(
        place.view_as(expert_idx), rows, per_sample_weights=weights.to(rows.dtype), mode="sum"
    )


def mix_few(
    x: Float[Tensor, "tokens d_model"],
    expert_idx: Int[Tensor, "tokens top_k"],
    weights: Float[Tensor, "tokens top_k"],
    bank: ExpertBank,
) -> Float[Tensor, "tokens d_model"]:
    """What `dispatch` gives, for the few tokens of decoding: each pair's expert is gathered, and nothing is sorted."""
    gate, up = (bank.gate_up_proj[expert_idx] @ x[:, None, :, None]).squeeze(-1).chunk(2, dim=-1)
    out = (bank.down_proj[expert_idx] @ (F.silu(gate) * up).unsqueeze(-1)).squeeze(-1)
    return (weights.unsqueeze(1) @ out).squeeze(1)


def mix(
    x: Float[Tensor, "tokens d_model"],
    expert_idx: Int[Tensor, "tokens top_k"],
    weights: Float[Tensor, "tokens top_k"],
    bank: ExpertBank,
) -> Float[Tensor, "tokens d_model"]:
    """`dispatch`, or in decoding `mix_few`, where no more experts are asked for than there are: both give the same.

    A compiled step of decoding always gathers: its compiler reads the experts' weights where they lie.
    """
    if torch.compiler.is_compiling():
        is_few = not torch.is_grad_enabled()
    else:
        is_few = torch.is_inference_mode_enabled() and expert_idx.numel() <= len(bank.down_proj)
    return (mix_few if is_few else dispatch)(x, expert_idx, weights, bank)


class MoE(nn.Module):
    """Router, routed experts and shared experts: the output, and what the router decided.

    `expert_bias` is a float32 buffer that steers the choice. No gradient moves it; `update_expert_bias_` does.
    """

    expert_bias: Tensor

    def __init__(self, d_model: int, cfg: MoEConfig):
        super().__init__()
        self.cfg = cfg
        self.gate = draw_weight(cfg.n_routed_experts, d_model)
        self.register_buffer("expert_bias", torch.zeros(cfg.n_routed_experts))
        self.experts = ExpertBank(cfg.n_routed_experts, d_model, cfg.moe_intermediate_size)
        self.shared_experts = (
            SwiGLU(d_model, cfg.n_shared_experts * cfg.moe_intermediate_size)
            if cfg.n_shared_experts
            else None
        )

    def route(self, x: Float[Tensor, "batch seq d_model"]) -> RouterStats:
        """What the router decides. In float32 even under autocast: rounded scores would flip experts at random."""
        with torch.autocast(x.device.type, enabled=False):
            return topk_route(F.linear(x.float(), self.gate.float()), self.expert_bias, self.cfg)

    def forward(
        self, x: Float[Tensor, "batch seq d_model"]
    ) -> tuple[Float[Tensor, "batch seq d_model"], RouterStats]:
        stats = self.route(x)
        y = mix(
            x.flatten(0, 1), stats.expert_idx.flatten(0, 1), stats.weights.flatten(0, 1), self.experts
        ).view_as(x)
        if self.shared_experts is not None:
            y = y + self.shared_experts(x)
        return y, stats
