"""The exercises of notebook 06: the mixture layer, the block, the model, and what balancing adds to the loss."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lab_utils.bugs import model as bugs
from lab_utils.exercise import Case, Exercise, Parts, Property, call_with_gradients, verdict, with_weights_of
from lab_utils.mistakes import model as mistakes
from nanokimi.config import BalanceConfig, KimiConfig, MLAConfig, MoEConfig, RopeConfig
from nanokimi.kimi import Kimi, KimiBlock
from nanokimi.moe import MoE, dispatch
from nanokimi.rope import rotations
from nanokimi.router import RouterStats
from nanokimi.train import balance_term


@torch.no_grad()
def _harsh(module: nn.Module) -> nn.Module:
    """Weights at which a mistake moves the output by units: N(0, 0.4²), gains and biases 1 ± 0.3 and ± 0.3."""
    generator = torch.Generator().manual_seed(7)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        mean = 1.0 if "norm" in name else 0.0
        tensor.normal_(mean, 0.4 if tensor.ndim > 1 else 0.3, generator=generator)
    return module


def _numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def _routing_parts(stats: RouterStats | None) -> Parts:
    """The choice without its order: the weight of every expert, 0 where it was not chosen."""
    if stats is None:
        return {}
    return {
        "weights by expert": torch.zeros_like(stats.scores)
        .scatter(-1, stats.expert_idx, stats.weights)
        .detach()
    }


# ---------------------------------------------------------------- MoE


def _moe_config(**changes: Any) -> MoEConfig:
    return replace(
        MoEConfig(n_routed_experts=4, top_k=2, moe_intermediate_size=3, routed_scaling_factor=2.5), **changes
    )


def _observe_moe(
    implementation: type, d_model: int, cfg: MoEConfig, x: Tensor, under_autocast: bool
) -> Parts:
    made = implementation(d_model, cfg)
    fresh = sum(float(buffer.abs().sum()) for buffer in made.buffers())
    module = with_weights_of(made, _harsh(MoE(d_model, cfg)))
    with torch.autocast("cpu", torch.bfloat16, enabled=under_autocast):
        y, stats = module(x)
        logits = stats.logits
    y.float().sum().backward()
    parts = {"y": y.detach(), "bias at the start": fresh, "router logits": logits.detach()} | _routing_parts(
        stats
    )
    return parts | {
        f"gradient of {n}": torch.zeros_like(p) if p.grad is None else p.grad
        for n, p in module.named_parameters()
    }


def _moe_cases() -> list[Case]:
    plain = _moe_config()
    return [
        Case("one token", (4, plain, _numbers(1, 1, 4), False)),
        Case("a batch", (4, plain, _numbers(2, 5, 4), False)),
        Case("without a shared expert", (4, replace(plain, n_shared_experts=0), _numbers(2, 3, 4), False)),
        Case("two shared experts", (4, replace(plain, n_shared_experts=2), _numbers(1, 4, 4), False)),
        Case(
            "softmax scores, K = 1", (6, replace(plain, scoring="softmax", top_k=1), _numbers(1, 6, 6), False)
        ),
        Case("all experts chosen", (4, replace(plain, top_k=4), _numbers(1, 3, 4), False)),
        Case("under bfloat16 autocast: the router stays in float32", (4, plain, _numbers(1, 9, 4), True)),
    ]


# ---------------------------------------------------------------- KimiBlock and Kimi


def _config(**changes: Any) -> KimiConfig:
    return replace(
        KimiConfig(
            vocab_size=13, max_seq_len=12, d_model=8, n_layers=2, n_heads=2, intermediate_size=6, norm_eps=1e-3,
            rope=RopeConfig(base=50.0),
            mla=MLAConfig(kv_lora_rank=6, qk_nope_head_dim=2, qk_rope_head_dim=4, v_head_dim=3),
            moe=_moe_config(),
        ),
        **changes,
    )  # fmt: skip


HEADS = dict(attention="mha", mla=None)


def _observe_block(implementation: type, cfg: KimiConfig, layer: int, x: Tensor, with_max: bool) -> Parts:
    module = with_weights_of(implementation(cfg, layer), _harsh(KimiBlock(cfg, layer)))
    rope_dim = cfg.mla.qk_rope_head_dim if cfg.mla else cfg.d_model // cfg.n_heads
    rotation = rotations(torch.arange(x.shape[1]), rope_dim, cfg.rope)
    x = x.clone().requires_grad_()
    y, stats, largest = module(x, rotation, None, with_max)
    (y * torch.arange(y.numel()).view_as(y).sin()).sum().backward()
    parts = {"x": y.detach(), "gradient of x": x.grad} | _routing_parts(stats)
    if largest is not None:
        parts["largest logit"] = largest
        module.clip_qk_(largest, 0.5)
        parts["after QK-clip"] = module(x.detach(), rotation, None, True)[2].detach()
    return parts


def _block_cases() -> list[Case]:
    return [
        Case("a dense layer, one token", (_config(), 0, _numbers(1, 1, 8), False)),
        Case("a dense layer", (_config(), 0, _numbers(2, 4, 8), False)),
        Case("a layer of experts", (_config(), 1, _numbers(2, 4, 8), False)),
        Case("ordinary heads", (_config(**HEADS), 1, _numbers(1, 5, 8), False)),
        Case("the largest logits asked for", (_config(), 1, _numbers(2, 5, 8), True)),
        Case("large numbers in the stream", (_config(), 1, 100 * _numbers(1, 4, 8), False)),
    ]


def _observe_kimi(implementation: type, cfg: KimiConfig, tokens: Tensor, pieces: tuple[int, ...]) -> Parts:
    """Weights at the start, then logits with harsh weights: whole (no pieces) or piece by piece with a cache."""
    made = implementation(cfg)
    parts: Parts = {
        "weights at the start": [float(p.detach().double().square().sum()) for p in made.parameters()]
    }
    with torch.device("meta"):
        parts["parameters on the meta device"] = sum(p.numel() for p in implementation(cfg).parameters())
    model = with_weights_of(made, _harsh(Kimi(cfg)))
    parts |= {"layers of experts": len(model.moe_layers()), "layers with a cache": len(model.new_cache())}
    try:
        with torch.no_grad():
            cache = model.new_cache() if pieces else None
            outs = [
                model(part, cache, True) for part in (tokens.split(list(pieces), 1) if pieces else [tokens])
            ]
    except ValueError:
        return parts | {"logits": "ValueError"}
    parts["logits"] = torch.cat([out.logits for out in outs], dim=1)
    parts["largest logits"] = outs[-1].max_qk_logit
    with torch.no_grad():
        parts["largest logits that nobody asked for"] = str(model(tokens[:, :1]).max_qk_logit)
    return parts | (_routing_parts(outs[-1].routing[0]) if outs[-1].routing else {})


def _kimi_cases() -> list[Case]:
    def tokens(*shape: int) -> Tensor:
        return torch.randint(13, shape, generator=torch.Generator().manual_seed(sum(shape)))

    return [
        Case("one token", (_config(), tokens(1, 1), ())),
        Case("a batch", (_config(), tokens(2, 6), ())),
        Case("with a cache, piece by piece", (_config(), tokens(2, 7), (4, 1, 2))),
        Case("ordinary heads, with a cache", (_config(**HEADS), tokens(1, 5), (3, 1, 1))),
        Case("dense layers only, as long as the context", (_config(moe=None), tokens(1, 12), ())),
        Case("one token more than the context", (_config(), tokens(1, 13), ())),
        Case("more than the context, with a cache", (_config(), tokens(1, 13), (12, 1))),
    ]


# ---------------------------------------------------------------- balance_term


def _terms(implementation: Any, logits: tuple[Tensor, ...], top_k: int, cfg: BalanceConfig) -> Parts:
    """The term and its gradient for the logits of every layer."""

    def of_logits(*layers: Tensor) -> Tensor:
        routing = []
        for each in layers:
            scores = each.sigmoid()
            idx = scores.topk(top_k, dim=-1).indices
            routing.append(RouterStats(each, scores, idx, scores.gather(-1, idx)))
        return implementation(tuple(routing), cfg)

    return call_with_gradients(of_logits, *logits)


def _balance_cases() -> list[Case]:
    one, other = 2 * _numbers(2, 5, 4), 2 * _numbers(2, 6, 4)
    return [
        Case("nothing switched on", ((one,), 2, BalanceConfig())),
        Case("a dense model", ((), 2, BalanceConfig(switch_coef=1.0))),
        Case("the load-balance loss, one layer", ((one,), 2, BalanceConfig(switch_coef=0.5))),
        Case("the sequence loss, one layer", ((one,), 2, BalanceConfig(sequence_coef=0.5))),
        Case("the z-loss, two layers", ((one, other), 2, BalanceConfig(z_coef=0.1))),
        Case(
            "all three, two layers",
            ((one, other), 1, BalanceConfig(switch_coef=0.3, sequence_coef=0.2, z_coef=0.1)),
        ),
        Case("the bias update is no loss", ((one, other), 2, BalanceConfig(bias_update_rate=0.1))),
    ]


# ---------------------------------------------------------------- find the bug


def test_sound_block(make_block) -> None:
    """Two calls with one input must agree: a weight drawn anew in every call belongs to nobody's optimizer."""
    block = make_block(8)
    x = torch.linspace(-1, 1, 8)[None]
    assert torch.allclose(block(x), block(x))


class BlockWithBothProjections(nn.Module):
    """A sound block: both of its matrices are made once."""

    def __init__(self, d_model: int):
        super().__init__()
        self.up = nn.Linear(d_model, 2 * d_model)
        self.down = nn.Linear(2 * d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(x)))


class BlockWithBilinearGate(nn.Module):
    """Another sound block, without biases and with a gate."""

    def __init__(self, d_model: int):
        super().__init__()
        self.gate_up = nn.Parameter(torch.eye(d_model).repeat(2, 1))

    def forward(self, x: Tensor) -> Tensor:
        gate, up = (x @ self.gate_up.T).chunk(2, dim=-1)
        return x + gate * up


class _BlockOfZeros(BlockWithBothProjections):
    def forward(self, x):
        return 0 * x


class _BlockOfHalf(BlockWithBothProjections):
    def forward(self, x):
        return x[..., :4]


class _BlockWithoutWeights(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()

    def forward(self, x):
        return x + torch.relu(x)


def test_sound_moe(moe_class) -> None:
    """Silence the routed experts: what is left must be the shared expert, whatever the weights are."""
    moe = _harsh(moe_class(4, _moe_config()))
    with torch.no_grad():
        moe.experts.down_proj.zero_()
        x = _numbers(1, 5, 4)
        assert torch.allclose(moe(x)[0], moe.shared_experts(x), atol=1e-5)


class MoETokenByToken(MoE):
    """A sound layer that runs one expert for all tokens that chose it, expert after expert."""

    def forward(self, x: Tensor) -> tuple[Tensor, RouterStats]:
        stats = self.route(x)
        y = self.shared_experts(x)
        for e in range(self.cfg.n_routed_experts):
            weight = (stats.weights * (stats.expert_idx == e)).sum(dim=-1, keepdim=True)
            idx = torch.full((x.shape[0] * x.shape[1], 1), e)
            y = y + weight * dispatch(x.flatten(0, 1), idx, torch.ones(idx.shape), self.experts).view_as(x)
        return y, stats


class _MoEOfZeros(MoE):
    def forward(self, x):
        return 0 * x, self.route(x)


class _MoEWithoutRouted(MoE):
    def forward(self, x):
        return self.shared_experts(x), self.route(x)


class _MoEOfSums(MoE):
    def forward(self, x):
        return super().forward(x)[0].sum(dim=-1, keepdim=True), self.route(x)


def _stays_small(parts: Parts, cfg: KimiConfig, layer: int, x: Tensor, with_max: bool) -> bool:
    """With a stream a hundred times larger what a part adds hardly grows, for it reads a normed vector."""
    return x.abs().max() < 50 or (parts["x"] - x).abs().max() < 0.5 * x.abs().max()


EXERCISES = (
    Exercise(
        name="MoE",
        notebook="06",
        core=MoE,
        cases=_moe_cases,
        observe=_observe_moe,
        mistakes=mistakes.MOE,
        tolerance=1e-4,
        hints=(
            "Two sums: the chosen experts with their weights, and the shared experts, which every token goes through.",
            "dispatch wants (tokens, ...): flatten batch and sequence of x, expert_idx and weights, and undo it after.",
            "y = dispatch(x.flatten(0, 1), stats.expert_idx.flatten(0, 1), stats.weights.flatten(0, 1), self.experts)",
        ),
        moral="The scaling factor belongs to the routed sum alone: it makes the sum as loud as the shared expert.",
    ),
    Exercise(
        name="KimiBlock",
        notebook="06",
        core=KimiBlock,
        cases=_block_cases,
        observe=_observe_block,
        mistakes=mistakes.BLOCK,
        tolerance=1e-4,
        properties=(
            Property("a part reads the normed stream, so what it adds does not grow with it", _stays_small),
        ),
        hints=(
            "Two lines, each x = x + part(norm(x)); the second starts from the x of the first.",
            "self.self_attn returns an AttentionOutput: its .out is added, its .max_qk_logit handed on.",
            "Only a mixture of experts returns (y, stats): test isinstance(self.mlp, MoE); a dense layer has no stats.",
        ),
        moral="The stream itself is never normed inside the model: every part adds to it, and gradients flow through.",
    ),
    Exercise(
        name="Kimi",
        notebook="06",
        core=Kimi,
        cases=_kimi_cases,
        observe=_observe_kimi,
        mistakes=mistakes.KIMI,
        tolerance=1e-4,
        hints=(
            "Embed, run every layer, norm, head. What remains is the positions, and handing each layer its cache.",
            "With a cache the new tokens begin at position cache[0].length; rotations(positions, ...) turns them.",
            "Collect stats of the layers that have them in a tuple; torch.stack the largest logits where asked for.",
        ),
        moral="A model is its layers in a row. All knowledge of positions comes in through one rotation.",
    ),
    Exercise(
        name="balance_term",
        notebook="06",
        core=balance_term,
        cases=_balance_cases,
        observe=_terms,
        mistakes=mistakes.BALANCE_TERM,
        hints=(
            "Three losses, each with its coefficient; a coefficient of 0 leaves its loss out.",
            "Mean over layers: add all weighted terms up and divide by the number of layers.",
            "No term and no layer: torch.zeros(()). Otherwise torch.stack(terms).sum() / len(routing).",
        ),
        moral="The layers report, the training decides: what is switched off costs nothing, not even a product.",
    ),
    Exercise(
        name="test_sound_block",
        notebook="06",
        core=test_sound_block,
        cases=lambda: [
            Case("the broken piece", (bugs.BlockWithProjection,)),
            Case("a sound block", (BlockWithBothProjections,)),
            Case("another sound block", (BlockWithBilinearGate,)),
            Case("a block that gives zeros", (_BlockOfZeros,), judged=False),
            Case("a block of another shape", (_BlockOfHalf,), judged=False),
            Case("a block that has no weights", (_BlockWithoutWeights,), judged=False),
        ],
        observe=verdict,
        mistakes=mistakes.BLOCK_TESTS,
        hints=(
            "Where is each matrix made, and how often?",
            "What the optimizer can train is in block.parameters(). What changes from call to call is not.",
            "Call the block twice with the same input and compare.",
        ),
        moral="A layer made in forward is random in every call and never trained; the loss falls by what is around it.",
    ),
    Exercise(
        name="test_sound_moe",
        notebook="06",
        core=test_sound_moe,
        cases=lambda: [
            Case("the broken piece", (bugs.MoEOfAColleague,)),
            Case("the core's MoE", (MoE,)),
            Case("a sound layer, expert after expert", (MoETokenByToken,)),
            Case("a layer that gives zeros", (_MoEOfZeros,), judged=False),
            Case("a layer without its routed experts", (_MoEWithoutRouted,), judged=False),
            Case("a layer of another shape", (_MoEOfSums,), judged=False),
        ],
        observe=verdict,
        mistakes=mistakes.MOE_TESTS,
        hints=(
            "Which experts does the weight of the router belong to, and which are there for every token?",
            "Make one of the two sums vanish, and you know what the other must be.",
            "With experts.down_proj zero, moe(x)[0] must equal moe.shared_experts(x).",
        ),
        moral="Shared experts carry no weight. Scaled with the rest they are 2.8 times too loud at K2's size.",
    ),
)
