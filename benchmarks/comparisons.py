"""What `benchmarks.perf` compares: training steps, expert layers, whole models, and decoding.

Every function gives candidates by name, each a function that does its work once; those of `STEPS` are training steps,
which can be counted too. The first one is what the others are divided by. Products run in the number format in which
training on the device runs them.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from benchmarks.steps import StepCase
from benchmarks.turns import Candidates
from nanokimi.compiled.choice import can_compile
from nanokimi.config import KimiConfig
from nanokimi.device import autocast, choose_dtype
from nanokimi.experts import SwiGLU, can_group
from nanokimi.generate import generate
from nanokimi.hub import to_hub_weights
from nanokimi.hub.hub_config import to_hub_config
from nanokimi.kimi import Kimi
from nanokimi.loss import next_token_loss
from nanokimi.model import Model, build_model
from nanokimi.moe import MoE
from nanokimi.presets.yaml_config import load_model_config, load_train_config
from nanokimi.router import expert_load


def training_steps(size: str, device: torch.device) -> dict[str, StepCase]:
    """The whole step of GPT and Kimi with equal active parameters, and the cost of QK-clip and Muon."""

    def case(name: str, *settings: str) -> StepCase:
        train = load_train_config(f"train-{size}", [f"device={device.type}", *settings])
        return StepCase(model=load_model_config(name), train=train)

    bias, clip, muon = "balance.bias_update_rate=0.001", "qk_clip_tau=100", "optim.optimizer=muon"
    return {
        "GPT, AdamW": case(f"gpt-{size}"),
        "Kimi dense, AdamW": case(f"kimi-{size}-dense"),
        "Kimi MLA dense, AdamW": case(f"kimi-{size}-mla"),
        "Kimi, AdamW": case(f"kimi-{size}", bias),
        "Kimi, AdamW, QK-clip": case(f"kimi-{size}", bias, clip),
        "Kimi, Muon, QK-clip": case(f"kimi-{size}", bias, clip, muon),
        "GPT, Muon": case(f"gpt-{size}", muon),
    }


def moe_layer(preset: str, device: torch.device, overrides: Sequence[str] = ()) -> Candidates:
    """Forward and backward of 4,096 tokens through a dense SwiGLU of the active width, our MoE layer, transformers'.

    "Its products alone" are the matrix products of our layer, on as many rows per expert as its router sends there.
    This is the time that would be left if routing, moving rows, the nonlinearity and autograd cost nothing. The layer
    of transformers runs in two ways: its loop over the experts, and its grouped products, which need rows of a
    multiple of 16 bytes.
    """
    cfg = load_model_config(preset, overrides)
    active_width = (cfg.moe.top_k + cfg.moe.n_shared_experts) * cfg.moe.moe_intermediate_size
    generator = torch.Generator().manual_seed(0)
    dense, moe = SwiGLU(cfg.d_model, active_width), MoE(cfg.d_model, cfg.moe)
    for p in (*dense.parameters(), *moe.parameters()):
        torch.nn.init.normal_(p, std=0.02, generator=generator)
    x = torch.randn(8, 512, cfg.d_model, generator=generator).to(device)
    dtype = choose_dtype("auto", device)
    grouped = cfg.d_model % 4 == cfg.moe.moe_intermediate_size % 4 == 0
    theirs = {
        f"transformers MoE, {name}": _transformers_moe(cfg, moe, name).to(device)
        for name in ("eager", "grouped_mm")
        if name == "eager" or grouped
    }
    for layer in (dense, moe):
        layer.to(device)

    def both_ways(forward: Callable[[Tensor], Tensor], layer: torch.nn.Module) -> Callable[[], None]:
        return _forward_and_backward(forward, layer, x, dtype)

    return {
        "dense SwiGLU": both_ways(dense, dense),
        "MoE, its products alone": _products(moe, x, dtype),
        "MoE": both_ways(lambda t: moe(t)[0], moe),
    } | {name: both_ways(layer, layer) for name, layer in theirs.items()}


def _forward_and_backward(
    forward: Callable[[Tensor], Tensor], layer: torch.nn.Module, x: Tensor, dtype: torch.dtype
) -> Callable[[], None]:
    with torch.no_grad(), autocast(x.device, dtype):
        grad = torch.ones_like(forward(x))

    def run() -> None:
        with autocast(x.device, dtype):
            y = forward(x.clone().requires_grad_())
        y.backward(grad)
        layer.zero_grad()

    return run


@torch.no_grad()
def _products(moe: MoE, x: Tensor, dtype: torch.dtype) -> Callable[[], None]:
    """Two products forward and four backward for every expert and the shared one, on random numbers."""
    load = expert_load(moe.route(x).expert_idx, moe.cfg.n_routed_experts).tolist()
    mlps = [*zip(load, moe.experts.gate_up_proj, moe.experts.down_proj, strict=True)]
    mlps.append((x[..., 0].numel(), moe.shared_experts.gate_up_proj, moe.shared_experts.down_proj))
    operands = []
    for rows, *weights in mlps:
        gate_up, down = (weight.to(dtype) for weight in weights)
        d_model, width = down.shape
        widths = (d_model, width, 2 * width)
        outer, inner, hidden = (torch.randn(rows, n, device=x.device, dtype=dtype) for n in widths)
        operands.append((outer, inner, hidden, gate_up, down))

    @torch.no_grad()
    def run() -> None:
        for outer, inner, hidden, gate_up, down in operands:
            outer @ gate_up.T, inner @ down.T  # forward
            outer @ down, outer.T @ inner, hidden @ gate_up, hidden.T @ outer  # backward

    return run


def experts(preset: str, n_tokens: int, device: torch.device) -> Candidates:
    """Forward and backward of a layer's routed experts: in a loop, and where the device can, all of them grouped."""
    cfg = load_model_config(preset)
    generator = torch.Generator().manual_seed(0)
    moe = MoE(cfg.d_model, cfg.moe)
    for p in moe.parameters():
        torch.nn.init.normal_(p, std=0.02, generator=generator)
    moe.to(device)
    x = torch.randn(1, n_tokens, cfg.d_model, generator=generator).to(device)
    counts = expert_load(moe.route(x).expert_idx, cfg.moe.n_routed_experts)
    rows = x[0].repeat(cfg.moe.top_k, 1)  # which of them an expert gets changes no time
    dtype, numbers = choose_dtype("auto", device), counts.tolist()

    def both_ways(counts: list[int] | Tensor) -> Callable[[], None]:
        return _forward_and_backward(lambda t: moe.experts(t, counts), moe.experts, rows, dtype)

    found = {"in a loop": both_ways(numbers)}
    with autocast(device, dtype):
        if can_group(rows, moe.experts.down_proj):
            found["grouped"] = both_ways(counts)
    return found


def against_transformers(device: torch.device) -> Candidates:
    """Forward and backward of the same model with the same weights: ours, and transformers' DeepseekV3."""
    # 128 wide experts in place of 122, for transformers' grouped products.
    ours = build_model(load_model_config("kimi-tiny", ["moe_intermediate_size=128"])).to(device)
    theirs = _transformers_model(ours).to(device)
    tokens = _tokens(ours.cfg.vocab_size, 16, 257, device)
    dtype = choose_dtype("auto", device)

    def run(model: torch.nn.Module) -> None:
        with autocast(device, dtype):
            loss = next_token_loss(model(tokens[:, :-1]).logits, tokens[:, 1:])
        loss.backward()
        model.zero_grad()

    return {"nanokimi": lambda: run(ours), "transformers": lambda: run(theirs)}


def decoding(texts: int, device: torch.device) -> Candidates:
    """200 greedy tokens after prompts of 50: Kimi and GPT with their caches, and transformers with its own.

    Compiled too, where that can be; the rounds that are not counted compile.
    """
    gpt = build_model(load_model_config("gpt-tiny")).to(device).eval()
    kimi = build_model(load_model_config("kimi-tiny", ["moe_intermediate_size=128"])).to(device).eval()
    theirs = _transformers_model(kimi).to(device).eval()
    prompts = _tokens(2048, texts, 50, device)

    def ours(model: Model, compile: str) -> Callable[[], object]:
        prompt = prompts.tolist() if texts > 1 else prompts[0].tolist()
        return lambda: list(generate(model, prompt, 200, temperature=0.0, compile=compile))

    def transformers_generate() -> object:
        return theirs.generate(
            prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=200, min_new_tokens=200,
            do_sample=False, pad_token_id=0,
        )  # fmt: skip

    plain = {
        "Kimi": ours(kimi, "off"),
        "GPT": ours(gpt, "off"),
        "transformers, same Kimi": transformers_generate,
    }
    if not can_compile(device):
        return plain
    return plain | {"Kimi, compiled": ours(kimi, "on"), "GPT, compiled": ours(gpt, "on")}


def _tokens(vocab_size: int, rows: int, columns: int, device: torch.device) -> Tensor:
    return torch.randint(vocab_size, (rows, columns), generator=torch.Generator().manual_seed(0)).to(device)


def _transformers_model(model: Kimi) -> torch.nn.Module:
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    config = to_hub_config(model.cfg) | {"experts_implementation": "grouped_mm"}
    theirs = DeepseekV3ForCausalLM(DeepseekV3Config(**config))
    own = theirs.state_dict()
    state = to_hub_weights(model)
    # In memory transformers keeps a layer's experts in one tensor; the hub's format has a key per expert.
    for i in range(model.cfg.first_k_dense_replace, model.cfg.n_layers):
        bank, prefix = model.layers[i].mlp.experts, f"model.layers.{i}.mlp.experts."
        state = {k: v for k, v in state.items() if not re.match(re.escape(prefix) + r"\d", k)}
        state |= {f"{prefix}gate_up_proj": bank.gate_up_proj, f"{prefix}down_proj": bank.down_proj}
    theirs.load_state_dict({k: v.to(own[k].dtype) for k, v in state.items()})
    return theirs


def _transformers_moe(cfg: KimiConfig, moe: MoE, experts_implementation: str) -> torch.nn.Module:
    from transformers import DeepseekV3Config
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE

    config = to_hub_config(cfg) | {"experts_implementation": experts_implementation}
    theirs = DeepseekV3MoE(DeepseekV3Config(**config))
    gate, up = moe.shared_experts.gate_up_proj.chunk(2)
    with torch.no_grad():
        theirs.gate.weight.copy_(moe.gate)
        theirs.experts.gate_up_proj.copy_(moe.experts.gate_up_proj)
        theirs.experts.down_proj.copy_(moe.experts.down_proj)
        theirs.shared_experts.gate_proj.weight.copy_(gate)
        theirs.shared_experts.up_proj.weight.copy_(up)
        theirs.shared_experts.down_proj.weight.copy_(moe.shared_experts.down_proj)
    return theirs


STEPS: dict[str, Callable[[torch.device], dict[str, StepCase]]] = {
    f"training step, {size}": partial(training_steps, size) for size in ("smoke", "tiny", "small")
}
COMPARISONS: dict[str, Callable[[torch.device], Candidates]] = {
    "MoE layer of kimi-tiny, 4,096 tokens": partial(moe_layer, "kimi-tiny"),
    "MoE layer 192 wide, 4,096 tokens": partial(
        moe_layer, "kimi-tiny", overrides=["d_model=192", "moe_intermediate_size=192"]
    ),
    "MoE layer of kimi-small, 4,096 tokens": partial(moe_layer, "kimi-small"),
    "experts of kimi-smoke, 512 tokens": partial(experts, "kimi-smoke", 512),
    "experts of kimi-small, 32,768 tokens": partial(experts, "kimi-small", 32_768),
    "forward and backward, kimi-tiny": against_transformers,
    "decoding, 200 tokens": partial(decoding, 1),
    "decoding 16 texts, 200 tokens": partial(decoding, 16),
}
ONLY_ON_CUDA = {"training step, small", "experts of kimi-small, 32,768 tokens"}
ONLY_TO_TRY = {"training step, smoke", "experts of kimi-smoke, 512 tokens"}  # `benchmarks.one_gpu --try`


def comparison_titles(device: torch.device) -> list[str]:
    """The comparisons that `benchmarks.perf` measures on this device."""
    left_out = ONLY_TO_TRY if device.type == "cuda" else ONLY_TO_TRY | ONLY_ON_CUDA
    return [title for title in (*STEPS, *COMPARISONS) if title not in left_out]
