"""Muon for matrices and banks of experts, AdamW for the rest, and the learning-rate schedules.

Muon (Jordan et al. 2024) replaces the momentum of a weight matrix by the nearest orthogonal matrix, so that every
direction of the matrix is updated by the same amount, however small its gradient. With QK-clip, which `step` applies
after the update, it is Kimi K2's MuonClip.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nanokimi import ranks
from nanokimi.config import OptimConfig, TrainConfig

# Matrices stored as one tensor but acting as several: Muon orthogonalises each by itself.
FUSED_ROWS = {"gate_up_proj": 2, "qkv_proj": 3}
# Look-up tables, not maps between spaces: their rows are used one at a time, so AdamW updates them.
TABLES = ("embed_tokens", "embed_positions", "lm_head", "latents")


def newton_schulz(
    g: Float[Tensor, "*batch rows cols"], steps: int = 5, dtype: torch.dtype = torch.bfloat16
) -> Float[Tensor, "*batch rows cols"]:
    """Approximately U·Vᵀ for each matrix with the singular value decomposition U·S·Vᵀ, by matrix products alone.

    Every index of the leading dimensions is a matrix of its own. Five steps of x ← a·x + (b·xxᵀ + c·(xxᵀ)²)·x take
    singular values of 0.01..1 to 0.68..1.14. The result has the format `dtype`: bfloat16 is exact enough, float32 is
    faster on a CPU without native bfloat16. The coefficients are those of Jordan et al. 2024.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[-2] > g.shape[-1]
    x = g.to(dtype, copy=True).flatten(0, -3) if g.ndim > 2 else g.to(dtype, copy=True)[None]
    # The gram matrix is then the smaller of the two.
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).reshape(g.shape)


class Muon(torch.optim.Optimizer):
    """The rule of `torch.optim.Muon` with Nesterov momentum and `match_rms_adamw`, for banks and fused matrices too.

    groups: parameters of shape (..., rows, cols), and `fused_rows`, the number of equal matrices that their rows are
        made of. Every leading index and each of those parts is a matrix of its own.
    lr, weight_decay: those of AdamW carry over, because the update is scaled by 0.2·sqrt(max(rows, cols)) to the root
        mean square that AdamW's updates typically have (Moonlight, eq. 4).
    ns_steps, ns_dtype: see `newton_schulz`.

    Matrices of one shape, in the whole model, are orthogonalised in one batch.
    """

    def __init__(
        self,
        groups: Iterable[dict],
        lr: float,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        ns_dtype: torch.dtype = torch.bfloat16,
    ):
        defaults = dict(lr=lr, weight_decay=weight_decay, momentum=momentum, ns_steps=ns_steps, fused_rows=1)
        super().__init__(groups, defaults)
        self.ns_dtype = ns_dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        batches: dict[tuple, list[tuple[nn.Parameter, Tensor]]] = {}
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            # `_foreach_` does for a list of tensors what its name says: on a GPU one launch, not one a tensor.
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            for p, update in zip(params, self._with_momentum(params, group["momentum"]), strict=True):
                matrices = update.unflatten(-2, (group["fused_rows"], -1)).flatten(0, -3)
                key = (*sorted(matrices.shape[1:]), group["ns_steps"], group["lr"])
                batches.setdefault(key, []).append((p, matrices))
        for (_, longer_side, ns_steps, lr), same in batches.items():
            params, matrices = zip(*same, strict=True)
            updates = self._orthogonal(matrices, params, ns_steps)
            torch._foreach_add_(params, updates, alpha=-lr * 0.2 * math.sqrt(longer_side))

    def _with_momentum(self, params: list[nn.Parameter], momentum: float) -> Sequence[Tensor]:
        """Every parameter's update before it is made orthogonal; the momentum takes the gradient in."""
        grads = [p.grad for p in params if p.grad is not None]
        for p in params:
            if "momentum_buffer" not in self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        buffers = [self.state[p]["momentum_buffer"] for p in params]
        torch._foreach_lerp_(buffers, grads, 1 - momentum)
        return torch._foreach_lerp(grads, buffers, momentum)

    def _orthogonal(
        self, matrices: Sequence[Tensor], params: Sequence[Tensor], ns_steps: int
    ) -> list[Tensor]:
        """The orthogonal updates of some parameters, whose matrices have one shape, in the parameters' own shapes."""
        # A tall matrix joins the batch of the wide ones of its shape: transposing changes nothing.
        wide = [m.mT if m.shape[1] > m.shape[2] else m for m in matrices]
        runs = newton_schulz(torch.cat(wide), ns_steps, self.ns_dtype).split([len(m) for m in wide])
        return [
            (run.mT if m.shape[1] > m.shape[2] else run).reshape(p.shape).to(p.dtype)
            for m, run, p in zip(matrices, runs, params, strict=True)
        ]


class ShardedMuon(Muon):
    """Muon for a model whose weights are dealt to several ranks (`ranks.shard`): the same updates.

    Momenta are dealt as the weights are. A bank stays where its experts are. Any other matrix is put together once in
    a step, and every rank keeps its rows of the update.
    """

    def _with_momentum(self, params: list[nn.Parameter], momentum: float) -> Sequence[Tensor]:
        updates = super()._with_momentum(params, momentum)
        return [ranks.own(update) if update.ndim > 2 else ranks.whole(update) for update in updates]

    def _orthogonal(
        self, matrices: Sequence[Tensor], params: Sequence[Tensor], ns_steps: int
    ) -> list[Tensor]:
        shapes = [ranks.own(p) if p.ndim > 2 else p for p in params]
        found = super()._orthogonal(matrices, shapes, ns_steps)
        dealt = [torch.empty_like(p) for p in params]
        for update, p in zip(found, dealt, strict=True):
            ranks.own(p).copy_(update if p.ndim > 2 else ranks.part(update, p))
        return dealt


def group_parameters(
    model: nn.Module, cfg: OptimConfig
) -> tuple[dict[int, list[nn.Parameter]], list[nn.Parameter], list[nn.Parameter]]:
    """The parameters for Muon, by `fused_rows`; those for AdamW with weight decay; those for AdamW without."""
    muon: dict[int, list[nn.Parameter]] = {}
    decayed, free = [], []
    for name, p in model.named_parameters():
        parts = name.split(".")
        if p.ndim < 2:
            free.append(p)
        elif cfg.optimizer == "muon" and not set(parts) & set(TABLES):
            fused_rows = next((FUSED_ROWS[part] for part in parts if part in FUSED_ROWS), 1)
            muon.setdefault(fused_rows, []).append(p)
        else:
            decayed.append(p)
    return muon, decayed, free


def build_optimizers(model: nn.Module, cfg: OptimConfig) -> list[torch.optim.Optimizer]:
    """AdamW alone, or Muon and AdamW, as `cfg.optimizer` says; every parameter of `model` is in exactly one group.

    Muon takes matrices and banks of experts. Weight decay acts on matrices and tables, not on norms and biases, as in
    nanoGPT.
    """
    muon, decayed, free = group_parameters(model, cfg)
    optimizers: list[torch.optim.Optimizer] = []
    if muon:
        first = next(model.parameters())
        optimizers.append(
            (ShardedMuon if ranks.is_part(first) else Muon)(
                [{"params": params, "fused_rows": n} for n, params in muon.items()],
                lr=cfg.lr,
                weight_decay=cfg.weight_decay,
                momentum=cfg.muon_momentum,
                ns_steps=cfg.ns_steps,
                ns_dtype=torch.bfloat16 if first.is_cuda else torch.float32,
            )
        )
    groups = [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
    optimizers.append(
        torch.optim.AdamW(
            [g for g in groups if g["params"]],
            lr=cfg.lr,
            betas=(cfg.beta1, cfg.beta2),
            weight_decay=cfg.weight_decay,
            fused=True,
        )
    )
    return optimizers


def lr_at(step: int, cfg: TrainConfig) -> float:
    """The learning rate of optimizer step `step` (counted from 0).

    It rises linearly to `cfg.optim.lr`, which step `warmup_steps - 1` has, and falls to `min_lr_ratio` times that at
    the last step: along a half cosine, or ("wsd") in a straight line over the last `decay_fraction` of the steps.
    """
    peak, floor = cfg.optim.lr, cfg.optim.lr * cfg.min_lr_ratio
    if step < cfg.warmup_steps:
        return peak * (step + 1) / cfg.warmup_steps
    if cfg.schedule == "cosine":
        progress = (step - cfg.warmup_steps) / max(1, cfg.steps - 1 - cfg.warmup_steps)
        return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    decay_steps = max(1, round(cfg.decay_fraction * cfg.steps))
    progress = max(0, step - (cfg.steps - 1 - decay_steps)) / decay_steps
    return peak + (floor - peak) * progress
