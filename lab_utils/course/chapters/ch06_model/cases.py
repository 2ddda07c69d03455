"""What the answers to the exercises of notebook 06 are tried on, and how they are looked at."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lab_utils.course.exercise import REFUSED, Case, Parts, Problem, copy_weights, harsh_
from lab_utils.show.words import kind_of, plural
from nanokimi.cache import SequenceCache
from nanokimi.config import KimiConfig, MLAConfig, MoEConfig, RopeConfig
from nanokimi.kimi import Kimi, KimiBlock
from nanokimi.moe import MoE
from nanokimi.output import ModelOutput
from nanokimi.rope import rotations
from nanokimi.router import RouterStats


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def _routing_parts(stats: RouterStats | None) -> Parts:
    """What the choice was made from, and the choice without its order: every expert's weight, 0 where not chosen."""
    if stats is None:
        return {}
    return {
        "router logits": stats.logits.detach(),
        "router scores": stats.scores.detach(),
        "weights by expert": torch.zeros_like(stats.scores)
        .scatter(-1, stats.expert_idx, stats.weights)
        .detach(),
    }


def _values(returned: Any, kind: type, n: int, says: str) -> tuple:
    """What a forward returned, if it is `n` values in a `kind`; a `Problem` that says what they should be if not."""
    if not isinstance(returned, kind) or len(returned) != n:
        if isinstance(returned, tuple):
            found = plural(len(returned), "value")
        else:
            found = "nothing" if returned is None else kind_of(returned)
        raise Problem(f"forward returns {found}; it should return {says}.")
    return returned


def _send_gradients(output: Tensor, *routing: RouterStats | None) -> None:
    """Gradients from the output, and from what balancing reads of the router; every entry has another weight."""
    facts = [t for stats in routing if isinstance(stats, RouterStats) for t in (stats.logits, stats.scores)]
    sums = [(t * torch.arange(t.numel()).view_as(t).sin()).sum() for t in (output, *facts)]
    total = torch.stack(sums).sum()
    if total.requires_grad:
        total.backward()


def _gradients(**leaves: Tensor) -> Parts:
    return {
        f"gradient of {name}": torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        for name, leaf in leaves.items()
    }


def _check_untouched(x: Tensor, before: Tensor) -> None:
    if not torch.equal(x, before):
        raise Problem("forward writes into its argument x, which belongs to the caller.")


# ---------------------------------------------------------------- MoE


MOE_RETURNS = "two: y and the router's stats"


def moe_config(**changes: Any) -> MoEConfig:
    return replace(
        MoEConfig(n_routed_experts=4, top_k=2, moe_intermediate_size=3, routed_scaling_factor=2.5), **changes
    )


def observe_moe(implementation: type, d_model: int, cfg: MoEConfig, x: Tensor, under_autocast: bool) -> Parts:
    made = implementation(d_model, cfg)
    fresh = sum(float(buffer.abs().sum()) for buffer in made.buffers())
    module = copy_weights(harsh_(MoE(d_model, cfg)), made)
    parts: Parts = {"bias at the start": fresh}
    if under_autocast:  # of `y`, which is rounded there, nothing is said
        return parts | _routing_parts(_route_under_autocast(module, x))
    leaf = x.clone().requires_grad_()
    y, stats = _values(module(given := leaf.clone()), tuple, 2, MOE_RETURNS)
    _check_untouched(given, leaf)
    _send_gradients(y, stats)
    parts = {"y": y.detach()} | parts | _routing_parts(stats)
    return parts | _gradients(x=leaf, **dict(module.named_parameters()))


def _route_under_autocast(module: nn.Module, x: Tensor) -> RouterStats:
    with torch.autocast("cpu", torch.bfloat16):
        try:
            return _values(module(x), tuple, 2, MOE_RETURNS)[1]
        except RuntimeError:  # `forward` need not run there: `index_add` wants one number format
            return module.route(x)


def moe_cases() -> list[Case]:
    plain = moe_config()
    return [
        Case("one token", (4, plain, numbers(1, 1, 4), False)),
        Case("a batch", (4, plain, numbers(2, 5, 4), False)),
        Case("without a shared expert", (4, replace(plain, n_shared_experts=0), numbers(2, 3, 4), False)),
        Case("two shared experts", (4, replace(plain, n_shared_experts=2), numbers(1, 4, 4), False)),
        Case(
            "softmax scores, K = 1", (6, replace(plain, scoring="softmax", top_k=1), numbers(1, 6, 6), False)
        ),
        Case("large numbers", (4, plain, 30 * numbers(1, 2, 4), False)),
        Case("all experts chosen", (4, replace(plain, top_k=4), numbers(1, 3, 4), False)),
        Case(
            "six experts, of another width",
            (4, replace(plain, n_routed_experts=6, moe_intermediate_size=5), numbers(1, 5, 4), False),
        ),
        Case("under bfloat16 autocast: the router stays in float32", (4, plain, numbers(1, 9, 4), True)),
    ]


# ---------------------------------------------------------------- KimiBlock and Kimi


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
    cache: tuple[int, ...] = (),
) -> Parts:
    """The stream for x, whole with all gradients or in pieces of the lengths `cache`, with a cache."""
    module = copy_weights(harsh_(KimiBlock(cfg, layer)), implementation(cfg, layer))
    rope_dim = cfg.mla.qk_rope_head_dim if cfg.mla else cfg.d_model // cfg.n_heads
    rotation = rotations(torch.arange(x.shape[1]), rope_dim, cfg.rope)
    # By the configuration: the reader's block may hold a MoE of the reader's own.
    has_experts, with_max = cfg.moe is not None and not cfg.is_dense(layer), with_max_qk_logit
    if cache:
        kept, before = SequenceCache(), x.clone()
        with torch.no_grad():
            outs = [
                _block_values(module(part, turn, kept, with_max), has_experts, with_max)
                for part, turn in zip(x.split(list(cache), 1), rotation.split(list(cache)))
            ]
        _check_untouched(x, before)
        parts = {"x": torch.cat([out[0] for out in outs], dim=1)}
        parts |= {"numbers in the cache": sum(t.numel() for t in kept.entries())}
        return parts | _routing_parts(outs[-1][1]) | ({"largest logit": outs[-1][2]} if with_max else {})
    x = x.clone().requires_grad_()
    y, stats, largest = _block_values(
        module(given := x.clone(), rotation, None, with_max), has_experts, with_max
    )
    _check_untouched(given, x)
    _send_gradients(y, stats)
    parts = {"x": y.detach()} | _routing_parts(stats) | _gradients(x=x, **dict(module.named_parameters()))
    if largest is not None:
        parts["largest logit"] = largest
        module.clip_qk_(largest, 0.5)
        parts["after QK-clip"] = module(x.detach(), rotation, None, True)[2].detach()
    return parts


def _block_values(returned: Any, has_experts: bool, with_max: bool) -> tuple:
    """What a block's forward returned, if each of the three is of the right kind; a `Problem` that says it if not."""
    says = "three: x, the router's stats or None, the largest logits or None"
    y, stats, largest = _values(returned, tuple, 3, says)
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
    """With a stream a hundred times larger what a part adds hardly grows, for it reads a normed vector."""
    return x.abs().max() < 50 or (parts["x"] - x).abs().max() < 0.5 * x.abs().max()


def observe_kimi(
    implementation: type, cfg: KimiConfig, tokens: Tensor, cache: tuple[int, ...], seed: int | None = None
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
    pieces = cache or (tokens.shape[1],)
    kept = model.new_cache() if len(pieces) > 1 else None
    if tokens.shape[1] > cfg.max_seq_len:
        ends = _how_it_ends(model, tokens.split(list(pieces), 1), kept)
        return parts | {"more tokens than max_seq_len": ends}

    def run(part: Tensor, *more: Any) -> ModelOutput:
        values = "ModelOutput(logits, routing, max_qk_logit)"
        return _values(model(part, *more), ModelOutput, 3, values)

    with torch.set_grad_enabled(kept is None):
        outs = [run(part, kept, True) for part in tokens.split(list(pieces), 1)]
        parts["logits"] = logits = torch.cat([out.logits for out in outs], dim=1)
        parts["largest logits"] = outs[-1].max_qk_logit
    if kept is None:
        _send_gradients(logits, *outs[-1].routing)
        parts |= _gradients(**dict(model.named_parameters()))
    with torch.no_grad():
        parts["largest logits by default"] = str(run(tokens[:, :1]).max_qk_logit)
    routing = outs[-1].routing
    return parts | {
        "routing": [type(stats).__name__ for stats in routing],
        "logits, scores and weights by expert, layer by layer": [
            part
            for stats in routing
            if isinstance(stats, RouterStats)
            for part in _routing_parts(stats).values()
        ],
    }


def _how_it_ends(model: nn.Module, texts: tuple[Tensor, ...], cache: list | None) -> str:
    """Whether the last of these texts, the first with which there are too many tokens, is refused."""
    with torch.no_grad():
        for text in texts[:-1]:
            model(text, cache)
        try:
            model(texts[-1], cache)
        except (ValueError, AssertionError) as error:
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
        Case("ordinary heads", (_config(**HEADS), tokens(1, 4), ())),
        Case("one layer, with a cache", (_config(n_layers=1), tokens(1, 4), (2, 1, 1))),
        Case("two hundred words", (_config(vocab_size=200, n_layers=1), torch.arange(180, 192)[None], ())),
        Case("another seed", (_config(), tokens(1, 2), (), 3)),
        Case("one token more than the context", (_config(), tokens(1, 13), ()), aside=True),
        Case("one token more than a context of five", (_OTHER, tokens(1, 6) % 7, ()), aside=True),
        Case("more than the context, with a cache", (_config(), tokens(1, 13), (1, 12)), aside=True),
        Case("a batch with more tokens than the context", (_config(), tokens(3, 5), ())),
    ]
