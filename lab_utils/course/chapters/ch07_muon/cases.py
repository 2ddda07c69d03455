"""What the answers to the exercises of notebook 07 are tried on, and how they are looked at."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lab_utils.course.exercise import Case, Parts, Problem, parts_of, verdict
from nanokimi.attention import causal_mask
from nanokimi.config import (
    BlockLatentConfig,
    GPTConfig,
    KimiConfig,
    MLAConfig,
    MoEConfig,
    OptimConfig,
    RopeConfig,
    TrainConfig,
    YarnConfig,
)
from nanokimi.mla import MultiHeadLatentAttention
from nanokimi.model import build_model
from nanokimi.rope import rotations


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# ---------------------------------------------------------------- newton_schulz


def newton_schulz_cases() -> list[Case]:
    single = {"dtype": torch.float32}
    double = {"dtype": torch.float64}
    uneven = normal(3, 4, 5) * torch.tensor([1.0, 100.0, 0.01])[:, None, None]
    settings = [
        ("one number", torch.tensor([[-3.0]]), single),
        ("two singular values, one step", torch.diag(torch.tensor([4.0, 3.0])), single | {"steps": 1}),
        ("a wide matrix", normal(3, 5), single),
        ("a tall matrix", normal(5, 3), single),
        ("a matrix of zeros", torch.zeros(2, 3), single),
        ("a matrix with a norm far below 1e-7", normal(3, 4) * 1e-9, single),
        ("a matrix with large entries", normal(4, 4) * 1e4, single),
        ("a bank of three matrices of very different size", uneven, single),
        ("a tall bank in which one matrix is zero", normal(2, 6, 3) * torch.eye(2)[0][:, None, None], single),
        ("two leading dimensions, three steps", normal(2, 2, 3, 4), single | {"steps": 3}),
        ("a bank in float32, computed in float64", normal(2, 3, 2), double),
        ("float64, eight steps", normal(6, 9, dtype=torch.float64), double | {"steps": 8}),
        ("the number format that the signature promises", normal(4, 6), {}),
    ]
    return [Case(says, (g, chosen)) for says, g, chosen in settings]


def observe_newton_schulz(answer: Callable, g: Tensor, settings: dict) -> Parts:
    """The result; in bfloat16, where the order of sums shows, its format and whether it is near the right one."""
    result = answer(g, **settings)
    if isinstance(result, Tensor) and result.shape == g.shape and _runs_away(result, g):
        # The numbers themselves say nothing: each way of adding up gives others.
        raise Problem(
            "It runs away: entries pass 100 or are no numbers any more. Right ones stay below 1.21."
        )
    if "dtype" in settings or not isinstance(result, Tensor):
        return parts_of(result)
    near = result.shape == g.shape and (result.double() - newton_schulz_written_out(g)).abs().max() < 0.1
    return {"number format": str(result.dtype), "near the result in float64": bool(near)}


def _runs_away(result: Tensor, g: Tensor) -> bool:
    """Whether a matrix other than zero has become huge. Zero divided by zero is another mistake."""
    largest = result.abs().double().nan_to_num(nan=torch.inf).amax(dim=(-2, -1))
    return bool((largest[g.abs().amax(dim=(-2, -1)) > 0] > 100).any())


def newton_schulz_written_out(g: Tensor, steps: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    """The same by singular value decomposition: the quintic on the singular values."""
    u, s, vt = torch.linalg.svd(g.double(), full_matrices=False)
    s = s / s.norm(dim=-1, keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (u * s[..., None, :] @ vt).to(dtype)


def nothing_above(parts: Parts, g: Tensor, settings: dict) -> bool:
    if "result" not in parts or settings.get("steps", 5) < 5:
        return True
    return bool(torch.linalg.svdvals(parts["result"].double()).max() < 1.21)


# ---------------------------------------------------------------- Muon


def muon_cases() -> list[Case]:
    plain = dict(lr=0.1, weight_decay=0.0)
    settings: list[tuple[str, list, dict]] = [
        ("one wide matrix", [((2, 3), {})], plain),
        ("one tall matrix", [((5, 2), {})], plain),
        ("weights that decay", [((3, 4), {})], dict(lr=0.1, weight_decay=0.5)),
        ("a bank of three experts", [((3, 2, 4), {})], plain),
        ("five small experts", [((5, 2, 3), {})], plain),
        ("gate and up in one parameter", [((8, 3), {"fused_rows": 2})], plain),
        ("a bank with gate and up", [((2, 12, 4), {"fused_rows": 2})], plain),
        ("a bank with three small matrices in one", [((2, 6, 2), {"fused_rows": 3})], plain),
        (
            "two groups with settings of their own",
            [((4, 4), {"lr": 0.3, "momentum": 0.5, "weight_decay": 0.2}), ((4, 4), {"ns_steps": 2})],
            dict(lr=0.1),
        ),
        ("a schedule that halves the rate after every step", [((3, 5), {})], plain | {"halve": True}),
        ("a parameter without a gradient", [((3, 3), {"idle": True}), ((3, 3), {})], dict(lr=0.1)),
        ("tall and wide of the same sides", [((4, 7), {}), ((7, 4), {}), ((2, 7, 4), {})], plain),
        ("two heights, one width", [((4, 7), {}), ((3, 7), {})], plain),
        ("another momentum and number of steps", [((4, 6), {})], plain | dict(momentum=0.8, ns_steps=3)),
        ("float64", [((4, 6), {"dtype": torch.float64})], plain),
        (
            "ns_dtype float64, gradients too large for float32",
            [((4, 6), {"dtype": torch.float64, "size": 1e60})],
            plain | {"ns_dtype": torch.float64},
        ),
    ]
    return [Case(says, (shapes, chosen)) for says, shapes, chosen in settings]


def observe_muon(answer: Callable, shapes: list[tuple[tuple[int, ...], dict]], settings: dict) -> Parts:
    """Every parameter after each of three steps, with gradients that change."""
    settings = {"ns_dtype": torch.float32} | settings
    halve = settings.pop("halve", False)
    parameters, idle, sizes, groups = [], [], [], []
    for i, (shape, own) in enumerate(shapes):
        own = dict(own)
        p = nn.Parameter(normal(*shape, seed=i, dtype=own.pop("dtype", torch.float32)))
        idle.append(own.pop("idle", False))
        sizes.append(own.pop("size", 1.0))
        parameters.append(p)
        groups.append({"params": [p], **own})
    optimizer = answer(groups, **settings)
    seen: Parts = {}
    for step in range(3):
        for i, p in enumerate(parameters):
            if not idle[i]:
                p.grad = sizes[i] * normal(*p.shape, seed=100 * step + i + 50, dtype=p.dtype)
        before = [None if p.grad is None else p.grad.clone() for p in parameters]
        optimizer.step()
        for p, grad in zip(parameters, before, strict=True):
            if grad is not None and (p.grad is None or not torch.equal(p.grad, grad)):
                raise Problem("It changes p.grad, which others may still read.")
        for group in optimizer.param_groups:
            group["lr"] *= 0.5 if halve else 1.0
        for i, p in enumerate(parameters):
            name = "the parameter" if len(parameters) == 1 else f"parameter {i + 1}"
            seen[f"{name} after step {step + 1}"] = p.detach().clone()
    return seen


class Standstill(torch.optim.Optimizer):
    """An optimizer that leaves everything as it is."""

    def __init__(self, groups, lr, **_):
        super().__init__(groups, dict(lr=lr))

    def step(self, closure=None):
        return None


class Climber(Standstill):
    """An optimizer that goes up the plain gradient."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad, alpha=group["lr"])


class Descent(Standstill):
    """Plain gradient descent."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(p.grad, alpha=group["lr"])


# ---------------------------------------------------------------- build_optimizers


def build_optimizers_cases() -> list[Case]:
    small = dict(vocab_size=12, max_seq_len=8, d_model=8, n_layers=2, n_heads=2)
    moe = MoEConfig(n_routed_experts=2, top_k=1, moe_intermediate_size=4)
    mla = MLAConfig(q_lora_rank=4, kv_lora_rank=4, qk_nope_head_dim=2, qk_rope_head_dim=2, v_head_dim=4)
    models = {
        "GPT": GPTConfig(**small),
        "Kimi with experts": KimiConfig(**small, intermediate_size=8, mla=mla, moe=moe),
        "Kimi with block latents": KimiConfig(
            **small,
            intermediate_size=8,
            attention="block_latent",
            block_latent=BlockLatentConfig(n_latents=2, block_len=4),
        ),
    }
    muon = OptimConfig(optimizer="muon", lr=0.02, weight_decay=0.2)
    other = OptimConfig(optimizer="muon", beta1=0.8, beta2=0.9, muon_momentum=0.7, ns_steps=3)
    return [
        Case("GPT under AdamW alone", (models["GPT"], OptimConfig(weight_decay=0.3))),
        Case("GPT under Muon", (models["GPT"], muon)),
        Case("Kimi with experts under Muon", (models["Kimi with experts"], muon)),
        Case("Kimi with block latents under Muon", (models["Kimi with block latents"], muon)),
        Case("Muon with settings of its own", (models["Kimi with experts"], other)),
    ]


def observe_build_optimizers(answer: Callable, model_cfg: Any, cfg: OptimConfig) -> Parts:
    """For every parameter by name: which optimizer has it, with which settings."""
    model = build_model(model_cfg)
    optimizers = answer(model, cfg)
    if not isinstance(optimizers, list):
        raise Problem(f"It returns a {type(optimizers).__name__}; it should be a list of optimizers.")
    names = {p: name for name, p in model.named_parameters()}
    found: dict[str, list[str]] = {name: [] for name in names.values()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p not in names:
                    raise Problem("One of the groups holds a tensor that is no parameter of the model.")
                found[names[p]].append(_group_in_words(optimizer, group))
    return {name: " and ".join(groups) or "in no optimizer" for name, groups in found.items()}


def _group_in_words(optimizer: torch.optim.Optimizer, group: dict) -> str:
    words = [type(optimizer).__name__]
    for key in ("lr", "weight_decay", "betas", "momentum", "ns_steps", "fused_rows"):
        if group.get(key) is not None:
            words.append(f"{key} {group[key]}")
    if hasattr(optimizer, "ns_dtype"):
        words.append(f"ns_dtype {str(optimizer.ns_dtype).removeprefix('torch.')}")
    return ", ".join(words)


# ---------------------------------------------------------------- lr_at


def lr_at_cases() -> list[Case]:
    def schedule(says: str, lr: float = 2.0, **changes: Any) -> Case:
        return Case(says, (TrainConfig(optim=OptimConfig(lr=lr), **changes),))

    return [
        schedule("cosine without warm-up, five steps", steps=5, warmup_steps=0, min_lr_ratio=0.0),
        schedule("cosine with two steps of warm-up", steps=15, warmup_steps=2, min_lr_ratio=0.1),
        schedule("cosine, the warm-up fills all but the last step", steps=4, warmup_steps=3),
        schedule("cosine, all but the last two", lr=0.3, steps=4, warmup_steps=2, min_lr_ratio=0.5),
        schedule("wsd with four steps of warm-up", steps=10, warmup_steps=4, schedule="wsd",
                 decay_fraction=0.4, min_lr_ratio=0.2),
        schedule("wsd, a decay of 2.7 steps", steps=10, warmup_steps=1, schedule="wsd", decay_fraction=0.27),
        schedule("wsd without a decay", steps=5, warmup_steps=0, schedule="wsd", decay_fraction=0.0,
                 min_lr_ratio=0.5),
        schedule("wsd, a long run", lr=0.02, steps=200, warmup_steps=20, schedule="wsd"),
    ]  # fmt: skip


def observe_lr_at(answer: Callable, cfg: TrainConfig) -> Parts:
    """The rate of every step."""
    rates = [answer(step, cfg) for step in range(cfg.steps)]
    for step, each in enumerate(rates):
        if isinstance(each, bool) or not isinstance(each, int | float):
            raise Problem(f"For step {step} it returns a {type(each).__name__}; it should be a number.")
    return {"the rate of every step": torch.tensor(rates, dtype=torch.float64)}


def ends_at_the_floor(parts: Parts, cfg: TrainConfig) -> bool:
    if cfg.warmup_steps == cfg.steps - 1 and cfg.schedule == "cosine":
        return True  # the one step after the warm-up is both the peak and the end
    last = parts["the rate of every step"][-1].item()
    return abs(last - cfg.optim.lr * cfg.min_lr_ratio) < 1e-9


def below_the_peak(parts: Parts, cfg: TrainConfig) -> bool:
    return bool((parts["the rate of every step"] <= cfg.optim.lr * (1 + 1e-9)).all())


# ---------------------------------------------------------------- max_logit


def max_logit_cases() -> list[Case]:
    def qk(queries: int, keys: int, seed: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        return normal(2, 3, queries, 4, seed=seed, dtype=dtype), normal(
            2, 3, keys, 4, seed=seed + 1, dtype=dtype
        )

    q, k = qk(3, 3, 10)
    negative = q.abs(), -k.abs()
    every_other = torch.tensor([[True, False, False], [False, False, True], [True, False, True]])
    return [
        Case("one token", (torch.ones(1, 1, 1, 2), torch.tensor([[[[3.0, -1.0]]]]), 0.5)),
        Case("the largest product lies in the future", (*_opposed(3), 0.5)),
        Case("three tokens, two sequences, three heads", (q, k, 0.5)),
        Case("only negative logits", (*negative, 0.5)),
        Case("one new token after a cache of four", (*qk(1, 5, 20), 0.5)),
        Case("two new tokens after a cache of three", (*qk(2, 5, 30), 0.5)),
        Case("a mask of the caller's", (q, k, 0.7, every_other)),
        Case("float64", (*qk(6, 6, 40, torch.float64), 0.5)),
        Case("a long context", (*_spikes((0, 63, 64, 129), 130), 0.3)),
        Case("a long context after a cache", (*_spikes((0, 63, 64, 129), 130, cached=7), 0.3)),
        Case("a long context with a mask of the caller's", (*_spikes((0, 63, 64, 129), 130), 0.3,
             torch.ones(130, 130, dtype=torch.bool).tril() & ~torch.eye(130, dtype=torch.bool).roll(-1, 0))),
    ]  # fmt: skip


def _opposed(n: int) -> tuple[Tensor, Tensor]:
    """Queries that fall with their position and keys that rise: the first query with the last key gives most."""
    rising = torch.arange(1.0, n + 1)[None, None, :, None].repeat(1, 2, 1, 1)
    return rising.flip(2), rising


def _spikes(places: tuple[int, ...], n: int, cached: int = 0) -> tuple[Tensor, Tensor]:
    """A head for each place: there alone, where a query meets its own key, is its largest visible logit; the next
    key would give more."""
    q = torch.zeros(1, len(places), n, 2)
    k = -torch.ones(1, len(places), n + cached, 2)
    for head, place in enumerate(places):
        q[0, head, :, 1] = 1.0
        q[0, head, place, 0] = 5.0
        k[0, head, place + cached, 0] = 2.0
        k[0, head, place + cached + 1 :, 0] = 3.0
        q[0, head, place + 1 :, 0] = -1.0
    return q, k


def _visible_logits(q: Tensor, k: Tensor, scale: float, visible: Tensor | None = None) -> Tensor:
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q.double() @ k.double().mT * scale).masked_fill(~visible, -torch.inf).amax(dim=(0, 2, 3))


def none_above(parts: Parts, *args: Any) -> bool:
    return bool((_visible_logits(*args) <= parts["result"] + 1e-4).all())


def one_reaches(parts: Parts, *args: Any) -> bool:
    return bool((_visible_logits(*args) >= parts["result"] - 1e-4).all())


# ---------------------------------------------------------------- clip_qk_


def small_attention(q_lora_rank: int | None = None) -> tuple[MultiHeadLatentAttention, Callable[[], Tensor]]:
    """A latent attention with weights at which a wrong clip shows, and a function that measures its largest logits."""
    cfg = MLAConfig(
        q_lora_rank=q_lora_rank, kv_lora_rank=6, qk_nope_head_dim=5, qk_rope_head_dim=4, v_head_dim=3
    )
    rope = RopeConfig(yarn=YarnConfig(factor=4.0, original_max_seq_len=16))
    layer = MultiHeadLatentAttention(8, 4, cfg, rope)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_((0.6 if p.ndim > 1 else 0.3) * torch.randn(p.shape, generator=generator) + (p.ndim == 1))
        # Heads whose largest logits lie far apart, so that a tau between them parts them clearly.
        q_proj = layer.q_proj if q_lora_rank is None else layer.q_b_proj
        q_proj.weight.unflatten(0, (4, -1)).mul_(torch.tensor([1.0, 0.5, 2.5, 1.6])[:, None, None])
    x, turns = normal(2, 12, 8, seed=4), rotations(torch.arange(12), 4, rope)

    def largest_logits() -> Tensor:
        with torch.no_grad():
            return layer(x, turns, None, True).max_qk_logit

    return layer, largest_logits


def clip_cases() -> list[Case]:
    pairs = itertools.product((None, 6), ("none", "one", "two", "all"))
    kinds = {None: "a full query projection", 6: "a low-rank query"}
    cases = [Case(f"{kinds[rank]}, {above} of four heads above tau", (rank, above)) for rank, above in pairs]
    elsewhere = Case("the largest logits were seen in another batch", (None, "elsewhere"))
    return [*cases, elsewhere]


def observe_clip(answer: Callable, q_lora_rank: int | None, above: str) -> Parts:
    """The rows of the projections after the clip, part by part, and the largest logits."""
    layer, largest_logits = small_attention(q_lora_rank)
    before = largest_logits()
    high = before.sort(descending=True).values
    tau = {"none": 2 * high[0], "one": high[:2].mean(), "two": high[1:3].mean(), "all": high[3] / 2}
    seen = before.roll(1) + 1 if above == "elsewhere" else before
    weights = dict(layer.named_parameters())
    with torch.no_grad():
        answer(layer, seen, tau.get(above, high[1:3].mean()).item())
    for name, p in layer.named_parameters():
        if p is not weights.get(name):
            raise Problem(f"{name} is another parameter than before, and the optimizer knows the old one.")
    n, heads = layer.cfg.qk_nope_head_dim, (layer.n_heads, -1)
    q = (layer.q_proj if q_lora_rank is None else layer.q_b_proj).weight.detach().unflatten(0, heads)
    kv = layer.kv_b_proj.weight.detach().unflatten(0, heads)
    return {
        "the largest logits afterwards": largest_logits(),
        "query rows, nope": q[:, :n],
        "query rows, rope": q[:, n:],
        "kv_b_proj, nope rows": kv[:, :n],
        "kv_b_proj, value rows": kv[:, n:],
        "kv_a_proj": layer.kv_a_proj.weight.detach(),
        "o_proj": layer.o_proj.weight.detach(),
        "all other weights, summed": sum(
            p.detach().double().sum().item()
            for name, p in layer.named_parameters()
            if name.startswith(("q_a", "kv_a_layernorm"))
        ),
    }


def shared_stays(parts: Parts, q_lora_rank: int | None, above: str) -> bool:
    layer, _ = small_attention(q_lora_rank)
    values = layer.kv_b_proj.weight.unflatten(0, (layer.n_heads, -1))[:, layer.cfg.qk_nope_head_dim :]
    return torch.equal(parts["kv_a_proj"], layer.kv_a_proj.weight) and torch.equal(
        parts["kv_b_proj, value rows"], values
    )


def verdict_on_clip(test: Callable, candidate: Callable) -> Parts:
    """As `verdict`, for a test that is also given a layer and the function that measures it."""
    layer, largest_logits = small_attention()
    return verdict(lambda clip: test(clip, layer, largest_logits), candidate)


@torch.no_grad()
def clip_to_zero(layer: MultiHeadLatentAttention, max_qk_logit: Tensor, tau: float) -> None:
    """Query weights of zero: no logit is left."""
    layer.q_proj.weight.zero_()


@torch.no_grad()
def clip_the_wrong_way(layer: MultiHeadLatentAttention, max_qk_logit: Tensor, tau: float) -> None:
    """Ten times the logits."""
    layer.q_proj.weight.mul_(10)
