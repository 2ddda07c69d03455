"""Broken pieces of notebook 07."""

import torch


def newton_schulz_of_a_colleague(g, steps=5, dtype=torch.bfloat16):
    """Newton-Schulz for single matrices and for banks of experts; what is wrong?"""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.to(dtype, copy=True).reshape(-1, g.shape[-1])
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).reshape(g.shape)


class MuonOfAColleague(torch.optim.Optimizer):
    """Momentum, decay, an update with an RMS of 0.2; it trains well. What is wrong?"""

    def __init__(self, groups, lr, weight_decay=0.1, momentum=0.95, ns_steps=5, ns_dtype=torch.bfloat16):
        super().__init__(groups, dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                buffer = state.setdefault("buffer", torch.zeros_like(p))
                scale = state.setdefault("scale", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                scale.lerp_(p.grad.square(), 1 - group["momentum"])
                update = buffer / (scale.sqrt() + 1e-8)
                update *= 0.2 / update.square().mean().sqrt().clamp(min=1e-8)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(update, alpha=group["lr"])


@torch.no_grad()
def clip_qk_of_a_colleague(self, max_qk_logit, tau):
    """QK-clip; heads below tau stay, those above come down. What is wrong?"""
    nope = self.cfg.qk_nope_head_dim
    root = (tau / max_qk_logit.clamp(min=tau)).sqrt()[:, None, None]
    q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
    q_proj.weight.unflatten(0, (self.n_heads, -1)).mul_(root)
    self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1))[:, :nope].mul_(root)


def orthogonal_of_the_pile(g, steps=5, dtype=torch.bfloat16):
    """The same fault, by a singular value decomposition."""
    u, _, vt = torch.linalg.svd(g.float().reshape(-1, g.shape[-1]), full_matrices=False)
    return (u @ vt).reshape(g.shape).to(dtype)


class MuonOfSigns(torch.optim.Optimizer):
    """The same fault, by the signs of the momentum."""

    def __init__(self, groups, lr, weight_decay=0.1, momentum=0.95, ns_steps=5, ns_dtype=torch.bfloat16):
        super().__init__(groups, dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                buffer = self.state[p].setdefault("buffer", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(buffer.sign(), alpha=0.2 * group["lr"])


class MuonOfSoftSigns(torch.optim.Optimizer):
    """The same fault, with signs that are softened where an entry is small."""

    def __init__(self, groups, lr, weight_decay=0.1, momentum=0.95, ns_steps=5, ns_dtype=torch.bfloat16):
        super().__init__(groups, dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                buffer = self.state[p].setdefault("buffer", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = buffer / (buffer.abs() + buffer.abs().mean() + 1e-12)
                update *= 0.2 / update.square().mean().sqrt().clamp(min=1e-8)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(update, alpha=group["lr"])


@torch.no_grad()
def clip_qk_row_by_row(self, max_qk_logit, tau):
    """The same fault, in a loop over the heads."""
    n, r, v = self.cfg.qk_nope_head_dim, self.cfg.qk_rope_head_dim, self.cfg.v_head_dim
    q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
    for h, largest in enumerate(max_qk_logit.double().tolist()):
        root = (tau / max(tau, largest)) ** 0.5
        q_proj.weight[h * (n + r) : (h + 1) * (n + r)] *= root
        self.kv_b_proj.weight[h * (n + v) : h * (n + v) + n] *= root
