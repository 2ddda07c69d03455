"""Every setting of the lab, as frozen dataclasses that check themselves.

In Python they are built by name: ``MoEConfig(top_k=4)``. `yaml_config` reads them from presets and files. The type of a
setting gives its range, `_check` holds what two settings demand of each other; what is wrong is told in one line.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from pydantic import Field, Strict
from pydantic import model_validator as validator

from nanokimi.attention_config import Attention, fit_pattern, leave_out_later, name_at, names_of, tell
from nanokimi.attention_config import BlockLatentConfig as BlockLatentConfig
from nanokimi.attention_config import KDAConfig as KDAConfig
from nanokimi.attention_config import MLAConfig as MLAConfig
from nanokimi.attention_config import RopeConfig as RopeConfig
from nanokimi.attention_config import YarnConfig as YarnConfig
from nanokimi.expert_config import BalanceConfig as BalanceConfig
from nanokimi.expert_config import MoEConfig as MoEConfig
from nanokimi.own import table
from nanokimi.system.checked import settings
from nanokimi.system.paths import FolderText, PathText
from nanokimi.system.real_numbers import Decay, Positive, PositiveOrZero, Share
from nanokimi.system.refusals import ConfigError as ConfigError
from nanokimi.system.refusals import require, require_within
from nanokimi.system.whole_numbers import Count, Layers, Length, Seed, Size, Whole


@settings
class GPTConfig:
    """The baseline, nanoGPT's model: learned positions, LayerNorm, a GELU MLP of width 4·d_model, a tied head.

    vocab_size: how many tokens there are. max_seq_len: how many of them the model reads at once.
    d_model: the width, a multiple of n_heads. n_layers: number of layers. n_heads: heads per layer.
    kind: tells the models apart in files. Raises `ConfigError` for a setting out of range.

    >>> from nanokimi import GPTConfig
    >>> GPTConfig(d_model=64, n_heads=2).n_layers
    4
    """

    kind: Literal["gpt"] = "gpt"
    vocab_size: Size = 2048
    max_seq_len: Length = 256
    d_model: Size = 128
    n_layers: Layers = 4
    n_heads: Size = 4

    @validator(mode="after")
    def _check(self):
        d, heads = self.d_model, self.n_heads
        require(d % heads == 0, f"d_model={d} must be a multiple of n_heads={heads}")
        return self


@settings
class KimiConfig:
    """Kimi K2's architecture at any size.

    kind, vocab_size, max_seq_len, d_model, n_layers, n_heads: as in `GPTConfig`.
    first_k_dense_replace: how many first layers are a dense SwiGLU of width intermediate_size; the rest have experts.
    norm_eps: RMSNorm's. rope: how positions turn queries and keys. moe: the experts, None makes every layer dense.
    attention: "mla" (K2's own), "mha" (ordinary heads with RoPE), "block_latent" (learned latents compress the context;
        not K2's), "kda" (Kimi Linear's) or a name from `register_attention`. A pattern such as [kda, kda, kda, mla] is
        repeated over the layers, and the last layer has its last name. The section mla, block_latent, kda or
        own_attention belongs to its attention, and has its defaults where it is left out.
    Raises `ConfigError` for a setting out of range, and for sections that do not fit the attention.

    >>> from nanokimi import KimiConfig
    >>> from nanokimi.config import MLAConfig, MoEConfig
    >>> cfg = KimiConfig(n_layers=3, mla=MLAConfig(kv_lora_rank=32), moe=MoEConfig(n_routed_experts=8))
    >>> [cfg.is_dense(layer) for layer in range(3)]
    [True, False, False]
    """

    kind: Literal["kimi"] = "kimi"
    vocab_size: Size = 2048
    max_seq_len: Length = 256
    d_model: Size = 128
    n_layers: Layers = 4
    n_heads: Size = 4
    intermediate_size: Size = 344
    first_k_dense_replace: Whole = 1
    norm_eps: Positive = 1e-6
    rope: RopeConfig = RopeConfig()
    attention: Attention = "mla"
    mla: MLAConfig | None = None
    block_latent: BlockLatentConfig | None = None
    kda: KDAConfig | None = None
    own_attention: Any = None
    moe: MoEConfig | None = None

    @validator(mode="after")
    def _check(self):
        require_within(self, "first_k_dense_replace", 0, "n_layers")
        object.__setattr__(self, "attention", fit_pattern(self.attention, self.n_layers))
        names, told = names_of(self.attention), tell(self.attention)
        if isinstance(self.attention, str):
            object.__setattr__(self, "own_attention", table.fit(self.attention, self.own_attention))
        else:
            require(self.own_attention is None, f"section own_attention: is not used by {told}")
        # A section that nothing reads would be a silent mistake, so each belongs to its attention.
        for name, section in (("mla", MLAConfig), ("block_latent", BlockLatentConfig), ("kda", KDAConfig)):
            given, needed = getattr(self, name) is not None, name in names
            require(needed or not given, f"section {name}: is not used by {told}")
            if needed and not given:
                object.__setattr__(self, name, section())
        d, two_heads = self.d_model, 2 * self.n_heads
        require(
            set(names) <= {"mla", "kda"} or d % two_heads == 0,
            f"d_model={d} must be a multiple of 2·n_heads={two_heads}: heads are turned in pairs",
        )
        turned = self.mla is None or not self.mla.use_nope
        require(turned or self.rope.yarn is None, "section rope.yarn: is not used by mla.use_nope=true")
        return self

    def attention_of(self, layer: int) -> str:
        """The attention of layer `layer`, from 0."""
        return name_at(self.attention, layer, self.n_layers)

    def alike(self) -> dict[int, list[int]]:
        """The layers in groups of one kind: the first layer of each group, and all that are like it."""
        found: dict[tuple[bool, str], list[int]] = {}
        for layer in range(self.n_layers):
            found.setdefault((self.is_dense(layer), self.attention_of(layer)), []).append(layer)
        return {layers[0]: layers for layers in found.values()}

    def only(self, layer: int) -> KimiConfig:
        """A model of one layer, which is like layer `layer` of this one."""
        name = self.attention_of(layer)
        sections: dict[str, Any] = {s: None for s in ("mla", "block_latent", "kda") if s != name}
        return replace(
            self, n_layers=1, first_k_dense_replace=int(self.is_dense(layer)), attention=name, **sections
        )

    def is_dense(self, layer: int) -> bool:
        """Whether layer `layer` (from 0) is a dense SwiGLU rather than a mixture of experts."""
        return self.moe is None or layer < self.first_k_dense_replace


ModelConfig = GPTConfig | KimiConfig


@settings
class OptimConfig:
    """AdamW for everything, or Muon for the matrices and AdamW for the rest (embeddings, head, norms, biases).

    With `optimizer="muon"` both rates are the same `lr`: the update of a matrix is scaled to AdamW's
    root mean square (`0.2·sqrt(max(A, B))`, Moonlight), so one rate and one decay fit both.
    """

    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: Positive = 3e-3
    weight_decay: PositiveOrZero = 0.1
    beta1: Decay = 0.9
    beta2: Decay = 0.95
    muon_momentum: Decay = 0.95
    ns_steps: Annotated[Whole, Field(ge=1, le=100)] = 5


@settings
class TrainConfig:
    """How a model is trained. One step of the optimizer sees batch_size · grad_accum windows of seq_len tokens.

    steps: how many; the first warmup_steps of them (20, or all but the last) raise the rate from 0 to optim.lr.
    schedule: "cosine" falls to min_lr_ratio·lr at the end; "wsd" stays at lr and falls linearly to
        min_lr_ratio·lr over the last decay_fraction of the steps.
    grad_clip: the largest norm of the gradient. seed: fixes the order of the batches.
    eval_every: a measurement every so many steps, on the first eval_windows windows of the validation text.
    device: "auto" is CUDA, else Apple's GPU ("mps"), else the CPU. dtype: "auto" is bfloat16 autocast on a CUDA
        device that computes in it, and float32 elsewhere. compile: the step, before the first; "auto" is on for CUDA.
    recompute: keep no activations of a block, but compute them again for the gradient: slower, and less memory.
    optim, balance: sections of their own. qk_clip_tau: QK-clip's threshold (100 in K2), None for off.
    Raises `ConfigError` for a setting out of range.

    >>> from nanokimi import TrainConfig
    >>> from nanokimi.config import OptimConfig
    >>> TrainConfig(steps=100, warmup_steps=10, optim=OptimConfig(lr=1e-3)).optim.lr
    0.001
    """

    steps: Count = 300
    batch_size: Size = 16
    seq_len: Length = 256
    grad_accum: Size = 1
    warmup_steps: Whole = Field(
        kw_only=True, default_factory=lambda given: min(20, given.get("steps", 300) - 1)
    )
    schedule: Literal["cosine", "wsd"] = "cosine"
    min_lr_ratio: Share = 0.1
    decay_fraction: Share = 0.2
    grad_clip: Positive = 1.0
    eval_every: Count = 50
    eval_windows: Count = 64
    seed: Seed = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    recompute: Annotated[bool, Strict()] = False
    optim: OptimConfig = OptimConfig()
    balance: BalanceConfig = BalanceConfig()
    qk_clip_tau: Positive | None = None

    @validator(mode="after")
    def _check(self):
        warmup, last = self.warmup_steps, self.steps - 1
        require(0 <= warmup <= last, f"warmup_steps={warmup} must lie in 0..steps-1={last}")
        return self


@settings
class DataConfig:
    """Which text, cut into which tokens.

    source: "storyworld" (stories that are made on this machine: n_characters, n_stories and seed are theirs),
        "almanac" (the facts of the same characters, one per sentence; each is told n_exposures times on average),
        "tinystories" (downloaded once), or the path of a UTF-8 text file or of a folder of them.
    tokenizer: "bpe" is trained on the text and has vocab_size tokens, "gpt2" is ready-made, "char" has characters.
    cache_dir: where the tokens are kept; None is the user's cache.
    Raises `ConfigError` for a setting out of range.

    >>> from nanokimi import DataConfig
    >>> DataConfig(source="my/notes.txt", tokenizer="char").n_stories
    20000
    """

    source: PathText = "storyworld"
    tokenizer: Literal["bpe", "gpt2", "char"] = "bpe"
    vocab_size: Size = 2048
    n_characters: Size = 400
    n_stories: Length = 20_000
    n_exposures: Size = 100
    seed: Seed = 0
    cache_dir: FolderText | None = None

    @validator(mode="after")
    def _check(self):
        require(bool(self.source.strip()), "source is empty: name storyworld, almanac, tinystories or a path")
        require(
            self.tokenizer != "bpe" or self.vocab_size > 256,
            f"vocab_size={self.vocab_size} must be at least 257: 256 bytes and <|endoftext|>",
        )
        return self


def to_dict(cfg: Any) -> dict[str, Any]:
    """Plain data, as in the YAML files; `yaml_config.build` of it gives an equal configuration."""
    data: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(cfg).items()
    }
    for section in ("mla", "balance"):
        if data.get(section):
            data[section] = leave_out_later(data[section])
    return leave_out_later(data)
