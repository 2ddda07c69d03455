"""Every setting of the lab as a frozen dataclass that validates itself.

`yaml_config` reads them from presets and files; in Python they are built by name: ``MoEConfig(top_k=4)``.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, Literal

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


class ConfigError(ValueError):
    """A setting that cannot be used: one line that names the field, its value and what is allowed."""


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise ValueError(message)


def _positive(cfg: Any, *names: str) -> None:
    for name in names:
        value = getattr(cfg, name)
        _require(value is None or value > 0, f"{name}={value} must be above 0")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class GPTConfig:
    """The baseline: nanoGPT's model (learned positions, LayerNorm, GELU MLP of width 4·d_model, tied head)."""

    kind: Literal["gpt"] = "gpt"
    vocab_size: int = 2048
    max_seq_len: int = 256
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4

    @model_validator(mode="after")
    def _check(self):
        _positive(self, "vocab_size", "max_seq_len", "d_model", "n_layers", "n_heads")
        _require(
            self.d_model % self.n_heads == 0,
            f"d_model={self.d_model} must be a multiple of n_heads={self.n_heads}",
        )
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class YarnConfig:
    """YaRN: stretch a context of `original_max_seq_len` tokens by `factor` (Peng et al. 2023)."""

    factor: float = 32.0
    original_max_seq_len: int = 4096
    beta_fast: float = 1.0
    beta_slow: float = 1.0
    mscale_all_dim: float = 1.0

    @model_validator(mode="after")
    def _check(self):
        _positive(self, "original_max_seq_len", "beta_fast", "beta_slow")
        _require(self.factor > 1, f"factor={self.factor} must be above 1")
        _require(
            self.beta_fast >= self.beta_slow,
            f"beta_fast={self.beta_fast} must be at least beta_slow={self.beta_slow}",
        )
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class RopeConfig:
    """Rotary embedding: pair i of r/2 turns by base^(-2i/r) radians a token (Su et al. 2021)."""

    base: float = 10_000.0
    yarn: YarnConfig | None = None

    @model_validator(mode="after")
    def _check(self):
        _require(self.base > 1, f"base={self.base} must be above 1")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class MLAConfig:
    """Multi-head latent attention: what a head sees, and how narrow the cached latent is (DeepSeek-V2)."""

    q_lora_rank: int | None = None
    kv_lora_rank: int = 64
    qk_nope_head_dim: int = 16
    qk_rope_head_dim: int = 16
    v_head_dim: int = 32

    @model_validator(mode="after")
    def _check(self):
        _positive(self, "q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
        _require(
            self.qk_rope_head_dim % 2 == 0,
            f"qk_rope_head_dim={self.qk_rope_head_dim} must be even: it is turned in pairs",
        )
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BlockLatentConfig:
    """Block latent attention: every complete block of `block_len` tokens is summed up in `n_latents` vectors."""

    n_latents: int = 4
    block_len: int = 32

    @model_validator(mode="after")
    def _check(self):
        _positive(self, "n_latents", "block_len")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class MoEConfig:
    """A mixture of experts: `top_k` of `n_routed_experts` run for a token, the shared ones for every token.

    `routed_scaling_factor=None` derives the factor from E and K (`router.derived_scaling_factor`): 2.446 at
    64/6, 2.828 at 384/8. `n_group` > 1 keeps the experts of the best `topk_group` groups (DeepSeek-V3).
    """

    n_routed_experts: int = 16
    n_shared_experts: int = 1
    top_k: int = 2
    moe_intermediate_size: int = 128
    scoring: Literal["sigmoid", "softmax"] = "sigmoid"
    norm_topk_prob: bool = True
    routed_scaling_factor: float | None = None
    n_group: int = 1
    topk_group: int = 1

    @model_validator(mode="after")
    def _check(self):
        _positive(self, "n_routed_experts", "moe_intermediate_size", "n_group", "routed_scaling_factor")
        _require(self.n_shared_experts >= 0, f"n_shared_experts={self.n_shared_experts} must be 0 or more")
        _require(
            1 <= self.top_k <= self.n_routed_experts,
            f"top_k={self.top_k} must lie in 1..n_routed_experts={self.n_routed_experts}",
        )
        _require(
            self.n_routed_experts % self.n_group == 0,
            f"n_routed_experts={self.n_routed_experts} must be a multiple of n_group={self.n_group}",
        )
        _require(
            1 <= self.topk_group <= self.n_group,
            f"topk_group={self.topk_group} must lie in 1..n_group={self.n_group}",
        )
        group_size = self.n_routed_experts // self.n_group
        _require(
            self.n_group == 1 or group_size >= 2,
            f"n_group={self.n_group} leaves {group_size} expert a group: a group is scored by its two best",
        )
        _require(
            self.top_k <= group_size * self.topk_group,
            f"top_k={self.top_k} is more than the {group_size * self.topk_group} experts of "
            f"topk_group={self.topk_group} groups",
        )
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class KimiConfig:
    """Kimi K2's architecture at any size. `moe=None` makes every layer a dense SwiGLU.

    Layers below `first_k_dense_replace` are dense (width `intermediate_size`), the others experts.
    `attention` picks "mla" (K2's own), "mha" (ordinary heads with RoPE, a rung of the ladder) or
    "block_latent" (the learned-latent context compressor, not K2's mechanism).
    """

    kind: Literal["kimi"] = "kimi"
    vocab_size: int = 2048
    max_seq_len: int = 256
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    intermediate_size: int = 344
    first_k_dense_replace: int = 1
    norm_eps: float = 1e-6
    rope: RopeConfig = RopeConfig()
    attention: Literal["mha", "mla", "block_latent"] = "mla"
    mla: MLAConfig | None = None
    block_latent: BlockLatentConfig | None = None
    moe: MoEConfig | None = None

    @model_validator(mode="after")
    def _check(self):
        _positive(
            self,
            "vocab_size",
            "max_seq_len",
            "d_model",
            "n_layers",
            "n_heads",
            "intermediate_size",
            "norm_eps",
        )
        _require(
            0 <= self.first_k_dense_replace <= self.n_layers,
            f"first_k_dense_replace={self.first_k_dense_replace} must lie in 0..n_layers={self.n_layers}",
        )
        # A section that nothing reads would be a silent mistake, so each belongs to its attention.
        for name in ("mla", "block_latent"):
            given, needed = getattr(self, name) is not None, self.attention == name
            _require(given or not needed, f"attention={name} needs a section {name}:")
            _require(needed or not given, f"section {name}: is not used by attention={self.attention}")
        if self.attention != "mla":
            _require(
                self.d_model % (2 * self.n_heads) == 0,
                f"d_model={self.d_model} must be a multiple of 2·n_heads={2 * self.n_heads}: "
                "heads are turned in pairs",
            )
        return self

    def is_dense(self, layer: int) -> bool:
        """Whether layer `layer` (from 0) is a dense SwiGLU rather than a mixture of experts."""
        return self.moe is None or layer < self.first_k_dense_replace


ModelConfig = GPTConfig | KimiConfig


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class OptimConfig:
    """AdamW for everything, or Muon for the matrices and AdamW for the rest (embeddings, head, norms, biases).

    With `optimizer="muon"` both rates are the same `lr`: the update of a matrix is scaled to AdamW's
    root mean square (`0.2·sqrt(max(A, B))`, Moonlight), so one rate and one decay fit both.
    """

    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = 3e-3
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    muon_momentum: float = 0.95
    ns_steps: int = 5

    @model_validator(mode="after")
    def _check(self):
        _positive(self, "lr", "ns_steps")
        _require(self.weight_decay >= 0, f"weight_decay={self.weight_decay} must be 0 or more")
        for name in ("beta1", "beta2", "muon_momentum"):
            value = getattr(self, name)
            _require(0 <= value < 1, f"{name}={value} must lie in 0..1, 1 left out")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BalanceConfig:
    """What keeps the experts evenly used; a coefficient of 0 switches a term off.

    `switch_coef`: load-balance loss on softmax probabilities (1e-2 in Switch). `sequence_coef`: the
    sequence-wise loss (1e-4 in DeepSeek-V3, 1e-3 in K2). `z_coef`: z-loss (1e-3). `bias_update_rate`: the
    auxiliary-loss-free bias update (1e-3).
    """

    switch_coef: float = 0.0
    sequence_coef: float = 0.0
    z_coef: float = 0.0
    bias_update_rate: float = 0.0

    @model_validator(mode="after")
    def _check(self):
        for field in fields(self):
            value = getattr(self, field.name)
            _require(value >= 0, f"{field.name}={value} must be 0 or more")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainConfig:
    """How a model is trained. One optimizer step sees `batch_size · grad_accum` windows of `seq_len` tokens.

    `schedule`: "cosine" falls to `min_lr_ratio·lr` at the end; "wsd" stays at lr and falls linearly to it
    over the last `decay_fraction` of the steps. `qk_clip_tau`: QK-clip's threshold (100 in K2), None for off.
    `dtype`: "auto" is float32 on a CPU and bfloat16 autocast on CUDA.
    """

    steps: int = 300
    batch_size: int = 16
    seq_len: int = 256
    grad_accum: int = 1
    warmup_steps: int = 20
    schedule: Literal["cosine", "wsd"] = "cosine"
    min_lr_ratio: float = 0.1
    decay_fraction: float = 0.2
    grad_clip: float = 1.0
    eval_every: int = 50
    eval_windows: int = 64
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    optim: OptimConfig = OptimConfig()
    balance: BalanceConfig = BalanceConfig()
    qk_clip_tau: float | None = None

    @model_validator(mode="after")
    def _check(self):
        _positive(
            self,
            "steps",
            "batch_size",
            "seq_len",
            "grad_accum",
            "grad_clip",
            "eval_every",
            "eval_windows",
            "qk_clip_tau",
        )
        _require(
            0 <= self.warmup_steps < self.steps,
            f"warmup_steps={self.warmup_steps} must lie in 0..steps-1={self.steps - 1}",
        )
        for name in ("min_lr_ratio", "decay_fraction"):
            value = getattr(self, name)
            _require(0 <= value <= 1, f"{name}={value} must lie in 0..1")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DataConfig:
    """Which text, cut into which tokens.

    `source` is "storyworld" (the embedded corpus; n_characters, n_stories and seed are its), "tinystories"
    (downloaded once), or the path of a UTF-8 text file or a folder of them.
    """

    source: str = "storyworld"
    tokenizer: Literal["bpe", "gpt2", "char"] = "bpe"
    vocab_size: int = 2048
    n_characters: int = 400
    n_stories: int = 20_000
    seed: int = 0
    cache_dir: str | None = None

    @model_validator(mode="after")
    def _check(self):
        _positive(self, "n_characters", "n_stories")
        _require(bool(self.source.strip()), "source is empty: name storyworld, tinystories or a path")
        _require(
            self.tokenizer != "bpe" or self.vocab_size > 256,
            f"vocab_size={self.vocab_size} must be at least 257: 256 bytes and <|endoftext|>",
        )
        return self


def to_dict(cfg: Any) -> dict[str, Any]:
    """Plain data, as in the YAML files; `yaml_config.build` of it gives an equal configuration."""
    return asdict(cfg)
