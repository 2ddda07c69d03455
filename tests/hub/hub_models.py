"""What the tests of the hub share: a small Kimi with every part of the format, and transformers' view of it."""

import functools
from dataclasses import replace
from pathlib import Path

import tiktoken
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from nanokimi.config import KimiConfig, MLAConfig, MoEConfig, RopeConfig, YarnConfig
from nanokimi.kimi import Kimi
from nanokimi.text import tokenizer
from tests.tiny import harsh_

TEXT = "Once upon a time a little fox lost its red kite. It wasn't sad: it had 12 others!\n\n   The end.  "


def make_config(vocab_size: int = 300, **changes) -> KimiConfig:
    """Small, with all that the format has: queries through a latent, YaRN, groups of experts, a dense layer."""
    cfg = KimiConfig(
        vocab_size=vocab_size,
        max_seq_len=64,
        d_model=32,
        n_layers=3,
        n_heads=2,
        intermediate_size=24,
        norm_eps=1e-5,
        rope=RopeConfig(base=100.0, yarn=YarnConfig(factor=4.0, original_max_seq_len=16)),
        mla=MLAConfig(q_lora_rank=12, kv_lora_rank=20, qk_nope_head_dim=10, qk_rope_head_dim=8, v_head_dim=6),
        moe=MoEConfig(n_routed_experts=8, top_k=3, moe_intermediate_size=14, n_group=4, topk_group=2),
    )
    return replace(cfg, **changes)


@functools.cache
def make_encoding() -> tiktoken.Encoding:
    """300 tokens, learnt from `TEXT`."""
    return tokenizer.train_bpe([TEXT] * 20, 300)


def make_kimi(**changes) -> Kimi:
    """A Kimi for that encoding, with harsh weights."""
    return harsh_(Kimi(make_config(make_encoding().n_vocab, **changes)), std=0.15)


def load_in_transformers(folder: Path):
    """The model in a folder as transformers loads it, without a single complaint."""
    theirs, info = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", experts_implementation="eager", output_loading_info=True
    )
    assert not any(info.values()), info
    return theirs


def make_tokens(model: Kimi) -> Tensor:
    """Two rows of 24 tokens."""
    return torch.randint(model.cfg.vocab_size, (2, 24), generator=torch.Generator().manual_seed(3))


def assert_close(a: Tensor, b: Tensor) -> None:
    """Equal logits, as far as float32 allows."""
    torch.testing.assert_close(a, b, atol=2e-5, rtol=0)
