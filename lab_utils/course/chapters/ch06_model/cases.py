"""What the answers to KimiBlock and Kimi, of notebook 06, are tried on, and how they are looked at."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lab_utils.course.chapters.ch06_model.looks import (
    check_untouched,
    gradients_of,
    moe_config,
    numbers,
    routing_parts,
    send_gradients,
    values_of,
)
from lab_utils.course.exercise import REFUSED, Case, Parts, Problem, copy_weights, harsh_
from lab_utils.show.words import kind_of
from nanokimi.cache import SequenceCache
from nanokimi.config import KimiConfig, MLAConfig, RopeConfig
from nanokimi.kimi import Kimi, KimiBlock
from nanokimi.output import ModelOutput
from nanokimi.rope import rotations
from nanokimi.router import RouterStats


def _config(**changes: Any) -> KimiConfig:
    return replace(
        KimiConfig(
            vocab_size=13, max_seq_len=12, d_model=8, n_layers=2, n_heads=2, intermediate_size=6, norm_eps=1e-3,
            rope=RopeConfig(base=50.0),
            mla=MLAConfig(kv_lora_rank=6, qk_nope_head_dim=2, qk_rope_head_dim=4, v_head_dim=3),
            moe=moe_config(),
        ),
        **changes,
    )  # fmt: skip


HEADS = dict(attention="mha", mla=None)
_OTHER = KimiConfig(
    vocab_size=7, max_seq_len=5, d_model=12, n_layers=3, n_heads=3, intermediate_size=5, norm_eps=0.1,
    rope=RopeConfig(base=10.0),
    mla=MLAConfig(kv_lora_rank=4, qk_nope_head_dim=3, qk_rope_head_dim=6, v_head_dim=2),
    moe=moe_config(n_routed_experts=3, moe_intermediate_size=2),
)  # fmt: skip


def observe_block(
    implementation: type,
    cfg: KimiConfig,
    layer: int,
    x: Tensor,
    with_max_qk_logit: bool,
    cached_pieces: tuple[int, ...] = (),
) -> Parts:
    """The stream for x, whole with all gradients or in pieces of the lengths `cached_pieces`, with a cache."""
    module = copy_weights(harsh_(KimiBlock(cfg, layer)), implementation(cfg, layer))
    rope_dim = cfg.mla.qk_rope_head_dim if cfg.mla else cfg.d_model // cfg.n_heads
    rotation = rotations(torch.arange(x.shape[1]), rope_dim, cfg.rope)
    # By the configuration: the reader's block may hold a MoE of the reader's own.
    has_experts, with_max = cfg.moe is not None and not cfg.is_dense(layer), with_max_qk_logit
    runs = _count_runs(module)
    if cached_pieces:
        kept, before = SequenceCache(), x.clone()
        with torch.no_grad():
            outs = [
                _block_values(module(part, turn, kept, with_max), has_experts, with_max)
                for part, turn in zip(x.split(list(cached_pieces), 1), rotation.split(list(cached_pieces)))
            ]
        check_untouched(x, before)
        parts = {"x": torch.cat([out[0] for out in outs], dim=1)}
        parts |= {"numbers in the cache": sum(t.numel() for t in kept.entries())}
        return parts | routing_parts(outs[-1][1]) | ({"largest logit": outs[-1][2]} if with_max else {})
    x = x.clone().requires_grad_()
    y, stats, largest = _block_values(
        module(given := x.clone(), rotation, None, with_max), has_experts, with_max
    )
    check_untouched(given, x)
    # A part may be called without its hooks, as self.mlp.forward(h): that is no fault.
    n_runs = {f"runs of {name}": max(1, sum(found)) for name, found in runs.items()}
    send_gradients(y, stats)
    parts = {"x": y.detach()} | routing_parts(stats) | gradients_of(x=x, **dict(module.named_parameters()))
    if largest is not None:
        parts["largest logit"] = largest
        module.clip_qk_(largest, 0.5)
        parts["after QK-clip"] = module(x.detach(), rotation, None, True)[2].detach()
    return parts | n_runs


def _count_runs(block: nn.Module) -> dict[str, list[int]]:
    """A list for each part of the block, which grows by a 1 each time that the part runs."""
    runs: dict[str, list[int]] = {"self.self_attn": [], "self.mlp": []}
    for name, found in runs.items():
        part = block.get_submodule(name.removeprefix("self."))
        part.register_forward_pre_hook(lambda module, args, found=found: found.append(1))
    return runs


def _block_values(returned: Any, has_experts: bool, with_max: bool) -> tuple:
    """What a block's forward returned, if each of the three is of the right kind; a `Problem` that says it if not."""
    says = "three: x, the router's stats or None, the largest logits or None"
    y, stats, largest = values_of(returned, tuple, 3, says)
    largest_is = "the largest logit of each head"
    for place, value, kind, name, there, otherwise in (
        ("second", stats, RouterStats, "the router's stats", has_experts, "None in a dense layer"),
        ("third", largest, Tensor, largest_is, with_max, f"None: nobody asks for {largest_is}"),
    ):
        if not isinstance(value, kind if there else type(None)):
            found, should = "nothing" if value is None else kind_of(value), name if there else otherwise
            raise Problem(f"The {place} value that forward returns is {found}; it should be {should}.")
    return y, stats, largest


def block_cases() -> list[Case]:
    return [
        Case("a dense layer, one token", (_config(), 0, numbers(1, 1, 8), False)),
        Case("a dense layer", (_config(), 0, numbers(2, 4, 8), False)),
        Case("a layer of experts", (_config(), 1, numbers(2, 4, 8), False)),
        Case("ordinary heads", (_config(**HEADS), 1, numbers(1, 5, 8), False)),
        Case("with the largest logits", (_config(), 1, numbers(2, 5, 8), True)),
        Case("large numbers in the stream", (_config(), 1, 100 * numbers(1, 4, 8), False)),
        Case("a dense layer of other sizes", (_OTHER, 0, numbers(1, 3, 12), False)),
        Case("experts of other sizes", (_OTHER, 1, numbers(1, 3, 12), False)),
        Case(
            "with a cache, two tokens and then one at a time",
            (_config(), 1, numbers(1, 4, 8), True, (2, 1, 1)),
        ),
        Case("ordinary heads, with a cache", (_config(**HEADS), 0, numbers(2, 3, 8), False, (2, 1))),
    ]


def stays_small(parts: Parts, cfg: KimiConfig, layer: int, x: Tensor, *_: Any) -> bool:
    """With a stream a hundred times larger what a part adds hardly grows, for it reads a normed vector.

    Who leaves out the stream itself, or adds it twice, may still read it normed.
    """
    added = min((parts["x"] - times * x).abs().max() for times in (0, 1, 2))
    return bool(x.abs().max() < 50 or added < 0.5 * x.abs().max())


def observe_kimi(
    implementation: type,
    cfg: KimiConfig,
    tokens: Tensor,
    cached_pieces: tuple[int, ...],
    seed: int | None = None,
) -> Parts:
    """Weights at the start, then logits with harsh weights: whole with all gradients, or in pieces with a cache."""
    made = implementation(cfg) if seed is None else implementation(cfg, seed)
    parts: Parts = {
        "weights at the start": [float(p.detach().double().square().sum()) for p in made.parameters()]
    }
    with torch.device("meta"):
        parts["parameters on the meta device"] = sum(p.numel() for p in implementation(cfg).parameters())
    model = copy_weights(harsh_(Kimi(cfg)), made)
    parts |= {"layers of experts": len(model.moe_layers()), "layers with a cache": len(model.new_cache())}
    pieces = cached_pieces or (tokens.shape[1],)
    kept = model.new_cache() if len(pieces) > 1 else None
    if tokens.shape[1] > cfg.max_seq_len:
        ends = _how_it_ends(model, tokens.split(list(pieces), 1), kept)
        return parts | {"more tokens than max_seq_len": ends}

    def run(part: Tensor, *more: Any) -> ModelOutput:
        values = "ModelOutput(logits, routing, max_qk_logit)"
        return values_of(model(part, *more), ModelOutput, 3, values)

    with torch.set_grad_enabled(kept is None):
        outs = [run(part, kept, True) for part in tokens.split(list(pieces), 1)]
        parts["logits"] = logits = torch.cat([out.logits for out in outs], dim=1)
        parts["largest logits"] = outs[-1].max_qk_logit
    if kept is None:
        send_gradients(logits, *outs[-1].routing)
        parts |= gradients_of(**dict(model.named_parameters()))
    with torch.no_grad():
        parts["largest logits by default"] = str(run(tokens[:, :1]).max_qk_logit)
    routing = outs[-1].routing
    return parts | {
        "routing": [type(stats).__name__ for stats in routing],
        "logits, scores and weights by expert, layer by layer": [
            part
            for stats in routing
            if isinstance(stats, RouterStats)
            for part in routing_parts(stats).values()
        ],
    }


def _how_it_ends(model: nn.Module, texts: tuple[Tensor, ...], cache: list | None) -> str:
    """Whether the last of these texts, the first with which there are too many tokens, is refused."""
    with torch.no_grad():
        for text in texts[:-1]:
            model(text, cache)
        before = [each.length for each in cache or ()]
        try:
            model(texts[-1], cache)
        except (ValueError, AssertionError) as error:
            if before != [each.length for each in cache or ()]:
                return f"{REFUSED}, but too late: the cache has grown already"
            return REFUSED if isinstance(error, ValueError) else "refused with an AssertionError"
    return "let through"


def kimi_cases() -> list[Case]:
    def tokens(*shape: int) -> Tensor:
        return torch.randint(13, shape, generator=torch.Generator().manual_seed(sum(shape)))

    return [
        Case("one token", (_config(), tokens(1, 1), ())),
        Case("a batch", (_config(), tokens(2, 6), ())),
        Case("with a cache, piece by piece", (_config(), tokens(2, 7), (4, 1, 2))),
        Case("ordinary heads, with a cache", (_config(**HEADS), tokens(1, 5), (3, 1, 1))),
        Case("dense layers only, as long as the context", (_config(moe=None), tokens(1, 12), ())),
        Case("a model of other sizes", (_OTHER, tokens(1, 5) % 7, ())),
        # Room for more, so that nothing is refused where all layers fill one cache.
        Case("three layers, with a cache", (replace(_OTHER, max_seq_len=20), tokens(2, 5) % 7, (2, 1, 2))),
        Case("ordinary heads", (_config(**HEADS), tokens(1, 4), ())),
        Case("one layer, with a cache", (_config(n_layers=1), tokens(1, 4), (2, 1, 1))),
        Case("two hundred words", (_config(vocab_size=200, n_layers=1), torch.arange(180, 192)[None], ())),
        Case("another seed", (_config(), tokens(1, 2), (), 3)),
        Case("one token more than the context", (_config(), tokens(1, 13), ()), aside=True),
        Case("one token more than a context of five", (_OTHER, tokens(1, 6) % 7, ()), aside=True),
        Case("more than the context, with a cache", (_config(), tokens(1, 13), (1, 12)), aside=True),
        Case("a batch with more tokens than the context", (_config(), tokens(3, 5), ())),
    ]
