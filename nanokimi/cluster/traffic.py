"""Expert parallelism in numbers: who waits how long, how many machines a token goes to, and the bytes that travel."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from nanokimi.config import KimiConfig


def waiting_seconds(
    load: Float[Tensor, " n_experts"], n_ranks: int, seconds_per_row: float
) -> Float[Tensor, " n_ranks"]:
    """How long each rank waits for the slowest one, when its experts are done with their rows.

    `load`: the rows of every expert; rank r of n holds the experts r·E/n to (r + 1)·E/n - 1. The mean over the ranks is
    MaxVio of the ranks' loads times the seconds of an even load.
    """
    busy = seconds_per_row * load.unflatten(0, (n_ranks, -1)).sum(dim=1)
    return busy.max() - busy


def nodes_visited(
    expert_idx: Int[Tensor, "tokens top_k"], n_experts: int, n_nodes: int
) -> Int[Tensor, " tokens"]:
    """On how many nodes each token's experts are. A token travels to a node once, and is handed on within it.

    A node is a machine with several ranks; node i of n holds the experts i·E/n to (i + 1)·E/n - 1. The groups of
    `n_group` are such nodes, and `topk_group` bounds this number (DeepSeek-V3, sec. 2.1.2).
    """
    node = expert_idx // (n_experts // n_nodes)
    return F.one_hot(node, n_nodes).amax(dim=1).sum(dim=1)


def traffic_per_token(cfg: KimiConfig, n_ranks: int, bytes_per_number: int) -> float:
    """Bytes that a token's rows travel between ranks in one training step, all layers, when the load is even.

    K rows leave for each layer with experts and K come back, and so do their gradients. One in `n_ranks` finds its
    expert on its own rank. 0 for a model without experts. Landmark: 27.1 MB for K2 on 64 ranks in 16 bits.
    """
    if cfg.moe is None:
        return 0.0
    n_layers = cfg.n_layers - cfg.first_k_dense_replace
    rows = 4 * n_layers * cfg.moe.top_k * (n_ranks - 1) / n_ranks
    return rows * cfg.d_model * bytes_per_number
