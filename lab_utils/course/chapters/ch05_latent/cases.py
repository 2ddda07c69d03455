"""What the answers to the exercises of notebook 05 are tried on, and how they are looked at."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lab_utils.course.exercise import (
    Case,
    Parts,
    Problem,
    call_with_gradients,
    copy_weights,
    harsh_,
    parts_of,
)
from lab_utils.show.words import kind_of
from nanokimi.attention import AttentionOutput
from nanokimi.block_latent import BlockLatentAttention
from nanokimi.cache import SequenceCache
from nanokimi.config import BlockLatentConfig, GPTConfig, KimiConfig, MLAConfig, RopeConfig, YarnConfig
from nanokimi.mla import MultiHeadLatentAttention
from nanokimi.rope import rotations

CPU, META = torch.device("cpu"), torch.device("meta")


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


# ---------------------------------------------------------------- expand_latent and absorb_query


def _latents(
    batch: int, seq: int, heads: int, rank: int, nope: int, rope: int, v: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    shapes = ((batch, seq, rank), (batch, seq, rope), (heads, nope, rank), (heads, v, rank))
    # One long row for all four: the same shape twice must not give the same numbers twice.
    row = normal(sum(math.prod(shape) for shape in shapes), dtype=dtype)
    parts = row.split([math.prod(shape) for shape in shapes])
    return tuple(part.view(shape) for part, shape in zip(parts, shapes, strict=True))


def expand_cases() -> list[Case]:
    settings = [
        ("one token, one head", (1, 1, 1, 3, 2, 2, 2)),
        ("two heads", (1, 3, 2, 3, 2, 2, 2)),
        ("as many heads as tokens, a batch", (2, 3, 3, 4, 3, 2, 3)),
        ("values wider than keys", (1, 4, 2, 3, 2, 2, 5)),
        ("values narrower than keys", (2, 2, 3, 5, 4, 2, 1)),
    ]
    cases = [Case(says, _latents(*sizes, torch.float32)) for says, sizes in settings]
    return [*cases, Case("float64", _latents(1, 5, 2, 6, 3, 4, 2, torch.float64))]


def observe_expand(answer: Callable, *args: Tensor) -> Parts:
    """Keys, values and gradients."""
    parts = call_with_gradients(answer, *args, names=["latent", "k_rope", "expand_k", "expand_v"])
    names = {"result 0": "keys", "result 1": "values"}
    return {names.get(name, name): each for name, each in parts.items()}


def absorb_cases() -> list[Case]:
    def case(says: str, batch: int, seq: int, heads: int, rank: int, nope: int, rope: int, **kwargs: Any):
        shapes = ((batch, heads, seq, nope + rope), (heads, nope, rank))
        return Case(says, tuple(normal(*shape, **kwargs) for shape in shapes))

    return [
        case("one token, one head", 1, 1, 1, 3, 2, 2),
        case("two heads", 1, 3, 2, 3, 2, 2),
        case("a batch, as many rope channels as nope channels", 2, 2, 3, 5, 4, 4),
        case("a latent narrower than the nope channels", 1, 4, 2, 2, 5, 2),
        case("float64", 1, 3, 2, 6, 3, 4, dtype=torch.float64),
    ]


def logits_stay(parts: Parts, q: Tensor, expand_k: Tensor) -> bool:
    """The dot product with [c ; k_rope] is that of q with the expanded key."""
    rank, nope = expand_k.shape[2], expand_k.shape[1]
    c, k_rope = normal(1, rank, dtype=q.dtype), normal(1, q.shape[-1] - nope, dtype=q.dtype)
    entry = torch.cat([c, k_rope], dim=-1)[0]
    k = torch.cat([(expand_k @ c[0]), k_rope.expand(len(expand_k), -1)], dim=-1)
    naive = (q * k[None, :, None]).sum(dim=-1)
    return torch.allclose(parts["result"] @ entry, naive, atol=1e-4)


def shares_rope_key(parts: Parts, latent: Tensor, k_rope: Tensor, *_: Tensor) -> bool:
    rope = k_rope.shape[-1]
    return bool((parts["keys"][..., -rope:] == k_rope[:, None]).all())


# ---------------------------------------------------------------- MultiHeadLatentAttention

_MLA = MLAConfig(kv_lora_rank=6, qk_nope_head_dim=2, qk_rope_head_dim=4, v_head_dim=3)
_WIDE_HEADS = MLAConfig(kv_lora_rank=8, qk_nope_head_dim=16, qk_rope_head_dim=2, v_head_dim=12)
_LOW_RANK_QUERY = replace(_MLA, q_lora_rank=4)
_ROPE = RopeConfig(base=50.0)
_YARN = RopeConfig(base=50.0, yarn=YarnConfig(factor=8.0, original_max_seq_len=16))


def observe_mla(
    implementation: type,
    n_heads: int,
    cfg: MLAConfig,
    rope: RopeConfig,
    x: Tensor,
    cached_pieces: tuple[int, ...],
) -> Parts:
    """The output for x, whole or piece by piece with a cache; gradients; largest logits; and all after QK-clip."""
    d_model = x.shape[-1]
    reference = harsh_(MultiHeadLatentAttention(d_model, n_heads, cfg, rope))
    layer = copy_weights(reference, implementation(d_model, n_heads, cfg, rope))
    rotation = rotations(torch.arange(x.shape[1]), cfg.qk_rope_head_dim, rope)
    if cached_pieces:
        cache = SequenceCache()
        with torch.no_grad():
            outs = []
            for part, turn in zip(x.split(list(cached_pieces), 1), rotation.split(list(cached_pieces))):
                with FlopCounterMode(display=False) as counter:
                    outs.append(_output(layer(part, turn, cache, True)))
        needed = _operations_of_a_step(layer, cfg, x, cached_pieces[-1])
        return {
            "output": torch.cat([out.out for out in outs], dim=1),
            "largest logits of the last step": _largest(outs[-1], n_heads),
            "numbers in the cache": sum(t.numel() for t in cache.entries()),
            "entries in the cache": torch.cat([t.flatten(2) for t in cache.entries()], dim=-1),
            "operations of the last step beyond those of the absorbed form": max(
                0, counter.get_total_flops() - needed
            ),
        }
    x = x.clone().requires_grad_()
    out, largest = _output(layer(x, rotation))
    total = (out * torch.arange(out.numel()).view_as(out).sin()).sum()
    if total.requires_grad:
        total.backward()
    parts: Parts = {
        "output": out.detach(),
        "largest logits by default": str(largest),
        "gradient of x": torch.zeros_like(x) if x.grad is None else x.grad,
    }
    parts |= {
        f"gradient of {name}": torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in layer.named_parameters()
    }
    with torch.no_grad():
        parts["largest logits"] = largest = _largest(layer(x, rotation, None, True), n_heads)
        layer.clip_qk_(largest, 0.3)
        clipped = layer(x, rotation, None, True)
    parts |= {"largest logits after QK-clip": clipped.max_qk_logit, "output after QK-clip": clipped.out}
    return parts


def _operations_of_a_step(layer: nn.Module, cfg: MLAConfig, x: Tensor, new: int) -> int:
    """Those of the absorbed form, every product written out: fewer are counted where a function of torch does two."""
    batch, n_tokens = x.shape[:2]
    projections = batch * new * sum(p.numel() for p in layer.parameters() if p.ndim == 2)
    entry = cfg.kv_lora_rank + cfg.qk_rope_head_dim
    # The weighted sum of the latents, the logits, and the logits once more for their maximum.
    attention = batch * layer.n_heads * new * n_tokens * (cfg.kv_lora_rank + 2 * entry)
    return 2 * (projections + attention)


def _output(returned: Any) -> AttentionOutput:
    if not isinstance(returned, AttentionOutput):
        found = "nothing" if returned is None else kind_of(returned)
        raise Problem(f"forward returns {found}; it should return AttentionOutput(out, max_qk_logit).")
    return returned


def _largest(out: AttentionOutput, n_heads: int) -> Tensor:
    """The largest logits where they are asked for: one number per head, or QK-clip could not use them."""
    largest = out.max_qk_logit
    if largest is None:
        raise Problem(
            "Asked for with_max_qk_logit=True, forward gives None in the place of the largest logits."
        )
    if not isinstance(largest, Tensor) or largest.shape != (n_heads,):
        found = (
            f"a tensor of shape {tuple(largest.shape)}" if isinstance(largest, Tensor) else kind_of(largest)
        )
        raise Problem(f"The largest logits are {found}; they should be a tensor of shape ({n_heads},).")
    return largest


def mla_cases() -> list[Case]:
    return [
        Case("one token", (1, _MLA, _ROPE, normal(1, 1, 6), ())),
        Case("two heads, four tokens", (2, _MLA, _ROPE, normal(1, 4, 6), ())),
        Case("a batch, a query of low rank", (2, _LOW_RANK_QUERY, _ROPE, normal(2, 5, 6), ())),
        Case("YaRN", (2, _MLA, _YARN, normal(1, 6, 6), ())),
        Case("with a cache, one token", (2, _MLA, _ROPE, normal(1, 1, 6), (1,))),
        Case("with a cache, three tokens and then one at a time", (2, _MLA, _ROPE, normal(2, 5, 6), (3, 1, 1))),
        Case("with a cache, a query of low rank", (3, _LOW_RANK_QUERY, _YARN, normal(1, 5, 6), (2, 2, 1))),
        Case("one token after forty, with a cache", (2, _WIDE_HEADS, _ROPE, normal(1, 41, 10), (40, 1))),
    ]  # fmt: skip


def cache_stays_small(
    parts: Parts, n_heads: int, cfg: MLAConfig, rope: RopeConfig, x: Tensor, cached_pieces: tuple[int, ...]
) -> bool:
    per_token = cfg.kv_lora_rank + cfg.qk_rope_head_dim
    return not cached_pieces or parts["numbers in the cache"] == x.shape[0] * x.shape[1] * per_token


# ---------------------------------------------------------------- the block form


def visibility_cases() -> list[Case]:
    return [
        Case("one token, blocks of one", (1, 1, 1, CPU)),
        Case("two blocks of two tokens, one latent each", (4, 2, 1, CPU)),
        Case("two latents a block, and a block that is not full", (7, 3, 2, CPU)),
        Case("no full block yet", (3, 4, 2, CPU)),
        Case("exactly one block", (3, 3, 2, CPU)),
        Case("a longer text", (40, 8, 3, CPU)),
        Case("on a device without numbers, `meta`", (4, 2, 1, META)),
        Case("on `meta`, blocks of one", (3, 1, 4, META)),
    ]


def observe_compress(compress: Callable, n_heads: int, n_latents: int, blocks: Tensor) -> Parts:
    """The summaries, and the gradients of the blocks and of every weight that takes part."""
    d_model, block_len = blocks.shape[-1], blocks.shape[-2]
    cfg = BlockLatentConfig(n_latents=n_latents, block_len=block_len)
    layer = harsh_(BlockLatentAttention(d_model, n_heads, cfg))
    if bool((blocks.abs() > 1000).any()):
        with torch.no_grad():  # where one token takes all of the weight, a gradient is rounding alone
            return parts_of(compress(layer, blocks))
    parts = call_with_gradients(lambda blocks: compress(layer, blocks), blocks, names=["blocks"])
    return parts | {
        f"gradient of {name}": torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in layer.named_parameters()
    }


def compress_cases() -> list[Case]:
    return [
        Case("one block of one token, one latent", (1, 1, normal(1, 1, 1, 4))),
        Case("one block of three tokens, one latent", (2, 1, 2 * normal(1, 1, 3, 4))),
        Case("two blocks, two latents", (2, 2, 2 * normal(1, 2, 3, 4))),
        Case("a batch, as many latents as tokens", (4, 3, 2 * normal(2, 2, 3, 8))),
        Case("no complete block", (2, 2, normal(2, 0, 3, 4))),
        Case("large numbers", (2, 2, 10 * normal(1, 3, 4, 4))),
        Case("scores far above 100, without gradients", (2, 2, 4000 * normal(1, 3, 4, 4))),
    ]


# ---------------------------------------------------------------- cache_elements


def element_cases() -> list[Case]:
    bare = dict(n_layers=3, d_model=12, n_heads=2, max_seq_len=64)
    mla = KimiConfig(**bare, attention="mla", mla=_MLA)
    block = KimiConfig(
        **bare, attention="block_latent", block_latent=BlockLatentConfig(n_latents=2, block_len=5)
    )
    sizes = dict(n_layers=2, d_model=16, n_heads=4, max_seq_len=32)
    other_mla = KimiConfig(
        **sizes, attention="mla", mla=replace(_MLA, kv_lora_rank=7, qk_rope_head_dim=2, v_head_dim=5)
    )
    other_block = KimiConfig(
        **sizes, attention="block_latent", block_latent=BlockLatentConfig(n_latents=1, block_len=3)
    )
    return [
        Case("ordinary heads, one token", (KimiConfig(**bare, attention="mha"), 1)),
        Case("GPT with three heads, seven tokens", (GPTConfig(**bare | {"n_heads": 3}), 7)),
        Case("MLA, one token", (mla, 1)),
        Case("MLA, seven tokens", (mla, 7)),
        Case("block latents, no block full", (block, 4)),
        Case("block latents, one block full", (block, 5)),
        Case("block latents, two blocks full and a rest", (block, 13)),
        Case("no token yet", (mla, 0)),
        Case("MLA of other sizes", (other_mla, 3)),
        Case("block latents of other sizes", (other_block, 7)),
    ]


def observe_elements(count: Callable, cfg: Any, n_tokens: int) -> Parts:
    """The count; a whole number, as the signature says."""
    found = count(cfg, n_tokens)
    if isinstance(found, float):
        raise Problem(f"It returns the float {found!r}; a number of numbers is an int. Use // and not /.")
    return parts_of(found)
