"""The smallest models, text and training settings that still have every part: what the slower tests are run on.

Everything is made from seeds. `harsh_` draws weights at which a mistake moves the output by units, not by
rounding: with a model's own first weights (N(0, 0.02²)) most wrong formulas give almost the right logits.
"""

import random
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from nanokimi.config import (
    BalanceConfig,
    BlockLatentConfig,
    GPTConfig,
    KDAConfig,
    KimiConfig,
    MLAConfig,
    MoEConfig,
    OptimConfig,
    TrainConfig,
)
from nanokimi.text import tokenizer
from nanokimi.text.corpus import Corpus, Split
from nanokimi.text.tokenizer import END_OF_TEXT

VOCAB, CONTEXT = 24, 16
ATTENTIONS = ("mha", "mla", "block_latent", "kda")
MODELS = ("gpt", *(f"kimi-{attention}" for attention in ATTENTIONS), "kimi-hybrid")


def gpt(**changes) -> GPTConfig:
    return replace(
        GPTConfig(vocab_size=VOCAB, max_seq_len=CONTEXT, d_model=16, n_layers=2, n_heads=2), **changes
    )


def kimi(attention: str = "mla", **changes) -> KimiConfig:
    """A dense layer and a layer of four experts with a shared one; "hybrid" is a layer of KDA and one of MLA."""
    cfg = KimiConfig(
        vocab_size=VOCAB,
        max_seq_len=CONTEXT,
        d_model=16,
        n_layers=2,
        n_heads=2,
        intermediate_size=24,
        attention=["kda", "mla"] if attention == "hybrid" else attention,
        mla=MLAConfig(kv_lora_rank=8, qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=8)
        if attention in ("mla", "hybrid")
        else None,
        block_latent=BlockLatentConfig(n_latents=2, block_len=4) if attention == "block_latent" else None,
        kda=KDAConfig(head_dim=6) if attention in ("kda", "hybrid") else None,
        moe=MoEConfig(n_routed_experts=4, top_k=2, moe_intermediate_size=8),
    )
    return replace(cfg, **changes)


def model_config(name: str) -> GPTConfig | KimiConfig:
    """The configuration behind one of `MODELS`."""
    return gpt() if name == "gpt" else kimi(name.removeprefix("kimi-"))


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Numbers from N(0, 1)."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@torch.no_grad()
def harsh_(model: nn.Module, seed: int = 0, std: float = 0.3) -> nn.Module:
    """Weights from N(0, std²), gains 1 ± 0.3, biases (the experts' too) ± 0.3, in place; returns the model."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if name.endswith("inv_freq"):  # the angles of transformers' models, which are no weights
            continue
        if tensor.ndim > 1:
            tensor.normal_(0.0, std, generator=generator)
        else:
            tensor.normal_(0.0 if name.endswith("bias") else 1.0, 0.3, generator=generator)
    return model


def train_config(**changes) -> TrainConfig:
    """Six steps of 4 x 8 tokens on the CPU, with a warm-up and an evaluation every third step."""
    cfg = TrainConfig(
        steps=6,
        batch_size=4,
        seq_len=8,
        warmup_steps=2,
        eval_every=3,
        eval_windows=5,
        seed=3,
        device="cpu",
        optim=OptimConfig(lr=1e-2),
    )
    return replace(cfg, **changes)


def muon_clip(**changes) -> TrainConfig:
    """As `train_config`, with Muon, bias balancing and a QK-clip so low that it always acts."""
    return train_config(
        optim=OptimConfig(optimizer="muon", lr=1e-2),
        balance=BalanceConfig(bias_update_rate=1e-3),
        qk_clip_tau=1e-3,
        **changes,
    )


def corpus(annotated: bool = False, seed: int = 0) -> Corpus:
    """Sentences of six words, by characters. `annotated` gives the validation split roles and exact bits."""
    draw = random.Random(seed)
    words = ("a", "kimi", "cat", "sat", "on", "the", "né", "雨")  # characters of one, two and three bytes
    sentences = [" ".join(draw.choices(words, k=6)) + "." for _ in range(60)]
    encoding = tokenizer.char(sentences)
    end = encoding.encode(END_OF_TEXT, allowed_special="all")
    ids = [token for text in sentences for token in encoding.encode_ordinary(text) + end]
    tokens = np.array(ids, dtype=np.uint16)
    cut = int(0.8 * len(tokens))
    val = tokens[cut:]
    facts = {}
    if annotated:
        numbers = np.random.default_rng(seed)
        text = val != end[0]
        facts["roles"] = np.where(text, numbers.integers(0, 4, len(val)), 0).astype(np.uint8)
        facts["bits"] = np.where(text, numbers.random(len(val)), 0).astype(np.float32)
    return Corpus(
        train=Split(tokens=tokens[:cut]),
        val=Split(tokens=val, **facts),
        tokenizer=encoding,
        token_bytes=torch.from_numpy(tokenizer.token_bytes(encoding)),
        fingerprint=f"tiny-{seed}",
        name="tiny",
        floor=None,
    )
