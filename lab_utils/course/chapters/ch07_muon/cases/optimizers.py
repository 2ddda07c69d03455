"""Notebook 07: what answers about optimizers and learning rates are tried on, and how they are looked at."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lab_utils.course.exercise import Case, Parts, Problem
from lab_utils.show.words import kind_of
from nanokimi.config import (
    BlockLatentConfig,
    GPTConfig,
    KimiConfig,
    MLAConfig,
    MoEConfig,
    OptimConfig,
    TrainConfig,
)
from nanokimi.model import build_model


def models() -> dict[str, GPTConfig | KimiConfig]:
    """The models of the cases, by the name that a learner is told."""
    small = dict(vocab_size=12, max_seq_len=8, d_model=8, n_layers=2, n_heads=2)
    moe = MoEConfig(n_routed_experts=2, top_k=1, moe_intermediate_size=4)
    mla = MLAConfig(q_lora_rank=4, kv_lora_rank=4, qk_nope_head_dim=2, qk_rope_head_dim=2, v_head_dim=4)
    latents = BlockLatentConfig(n_latents=2, block_len=4)
    return {
        "GPT": GPTConfig(**small),
        "Kimi with experts": KimiConfig(**small, intermediate_size=8, mla=mla, moe=moe),
        "Kimi with block latents": KimiConfig(
            **small, intermediate_size=8, attention="block_latent", block_latent=latents
        ),
    }


class ByHand(nn.Module):
    """A model of our own: a tied head with a bias, a frozen matrix, names that only resemble, names deeper inside."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens, self.lm_head = nn.Embedding(5, 4), nn.Linear(4, 5)
        self.lm_head.weight = self.embed_tokens.weight
        self.latents_to_keys, self.qkv_projection = nn.Linear(4, 4), nn.Linear(4, 6, bias=False)
        self.frozen = nn.Linear(4, 3, bias=False).requires_grad_(False)
        self.latents = nn.Linear(4, 3, bias=False)
        self.dense = nn.ModuleDict({"gate_up_proj": nn.Linear(4, 6, bias=False)})
        self.inner = nn.ModuleDict({"embed_tokens": nn.Embedding(3, 4)})
        self.inner.gate_up_proj = nn.Parameter(torch.zeros(6, 4))


def build_optimizers_cases() -> list[Case]:
    muon = OptimConfig(optimizer="muon", lr=0.02, weight_decay=0.2)
    other = OptimConfig(optimizer="muon", beta1=0.8, beta2=0.9, muon_momentum=0.7, ns_steps=3)
    return [
        Case("GPT under AdamW alone", ("GPT", OptimConfig(weight_decay=0.3))),
        Case("GPT under Muon", ("GPT", muon)),
        Case("Kimi with experts under Muon", ("Kimi with experts", muon)),
        Case("Kimi with block latents under Muon", ("Kimi with block latents", muon)),
        Case("Muon with settings of its own", ("Kimi with experts", other)),
        Case(
            "a model by hand under Muon: its head is its embedding and has a bias, a matrix is frozen, some names "
            "resemble others, and some stand deeper inside",
            ("a model by hand", muon),
            aside=True,
        ),
    ]


def observe_build_optimizers(
    answer: Callable, model: str | GPTConfig | KimiConfig, cfg: OptimConfig
) -> Parts:
    """For every parameter by name: which optimizer has it, with which settings."""
    if model == "a model by hand":
        built: nn.Module = ByHand()
    else:
        built = build_model(models()[model] if isinstance(model, str) else model)
    optimizers = answer(built, cfg)
    if not isinstance(optimizers, list):
        raise Problem(f"It returns {kind_of(optimizers)}; it should be a list of optimizers.")
    names = {p: name for name, p in built.named_parameters()}
    found: dict[str, list[str]] = {name: [] for name in names.values()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p not in names:
                    raise Problem("One of the groups holds a tensor that is no parameter of the model.")
                found[names[p]].append(_group_in_words(optimizer, group, cfg))
    return {name: " and ".join(groups) or "in no optimizer" for name, groups in found.items()}


def _group_in_words(optimizer: torch.optim.Optimizer, group: dict, cfg: OptimConfig) -> str:
    """The optimizer and the settings of a group, as `AdamW, lr 0.02, ...`."""
    is_adamw = "betas" in group
    right: dict[str, Any] = {"lr": cfg.lr}
    right |= {"betas": (cfg.beta1, cfg.beta2), "eps": 1e-8} if is_adamw else {}
    right |= {} if is_adamw else {"momentum": cfg.muon_momentum, "ns_steps": cfg.ns_steps}
    ns_dtype = getattr(optimizer, "ns_dtype", torch.float32)
    words = [f"{type(optimizer).__name__}{'' if is_adamw else f' in {ns_dtype}'.replace('torch.', '')}"]
    # A tuple and a list of the same numbers are one setting, and so are 1 and 1.0.
    words += [
        f"{key} {value if (found := group.get(key, value)) == value else found}"
        for key, value in right.items()
    ]
    words += [f"fused_rows {group['fused_rows']}"] if group.get("fused_rows") is not None else []
    decay = group.get("weight_decay")
    words += (
        [f"weight_decay {float(decay) if isinstance(decay, int) else decay}"] if decay is not None else []
    )
    return ", ".join(words)


def lr_at_cases() -> list[Case]:
    def schedule(says: str, lr: float = 2.0, **changes: Any) -> Case:
        return Case(says, (TrainConfig(optim=OptimConfig(lr=lr), **changes),))

    return [
        schedule("cosine without warm-up, five steps", steps=5, warmup_steps=0, min_lr_ratio=0.0),
        schedule("cosine with two steps of warm-up", lr=5.0, steps=15, warmup_steps=2, min_lr_ratio=0.1),
        schedule("cosine, the warm-up fills all but the last step", steps=4, warmup_steps=3),
        schedule("cosine, all but the last two", lr=0.3, steps=4, warmup_steps=2, min_lr_ratio=0.5),
        schedule("wsd with four steps of warm-up", steps=10, warmup_steps=4, schedule="wsd",
                 decay_fraction=0.4, min_lr_ratio=0.2),
        schedule("wsd, a decay of 2.7 steps", steps=10, warmup_steps=1, schedule="wsd", decay_fraction=0.27),
        schedule("wsd, a decay of 2.3 steps", steps=10, warmup_steps=1, schedule="wsd", decay_fraction=0.23),
        schedule("wsd, a decay of 2.5 steps", steps=10, warmup_steps=1, schedule="wsd", decay_fraction=0.25),
        schedule("wsd, a decay of six steps", steps=10, warmup_steps=1, schedule="wsd", decay_fraction=0.6),
        schedule("wsd, a decay that begins before the warm-up ends", steps=10, warmup_steps=8, schedule="wsd",
                 decay_fraction=0.5),
        schedule("wsd without a decay, a floor above 1", lr=3.0, steps=5, warmup_steps=0, schedule="wsd",
                 decay_fraction=0.0, min_lr_ratio=0.5),
        schedule("wsd, one step", steps=1, warmup_steps=0, schedule="wsd", decay_fraction=0.6),
        schedule("wsd, a long run", lr=0.02, steps=200, warmup_steps=20, schedule="wsd"),
    ]  # fmt: skip


def observe_lr_at(answer: Callable, cfg: TrainConfig) -> Parts:
    """The rate of every step."""
    rates = [answer(step, cfg) for step in range(cfg.steps)]
    for step, each in enumerate(rates):
        if isinstance(each, bool) or not isinstance(each, int | float):
            raise Problem(f"For step {step} it returns {kind_of(each)}; it should be a number.")
    return {"the rate of every step": torch.tensor(rates, dtype=torch.float64)}


def ends_at_the_floor(parts: Parts, cfg: TrainConfig) -> bool:
    if cfg.warmup_steps == cfg.steps - 1 and cfg.schedule == "cosine":
        return True  # the one step after the warm-up is both the peak and the end
    last = parts["the rate of every step"][-1].item()
    return abs(last - cfg.optim.lr * cfg.min_lr_ratio) < 1e-5 * cfg.optim.lr


def below_the_peak(parts: Parts, cfg: TrainConfig) -> bool:
    return bool((parts["the rate of every step"] <= cfg.optim.lr * (1 + 1e-5)).all())
