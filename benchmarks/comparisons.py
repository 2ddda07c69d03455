"""What `benchmarks.perf` compares: training steps, expert layers, whole models, and decoding.

Every function gives candidates by name, each a function that does its work once. The first one is what the others are
divided by.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from nanokimi.config import KimiConfig, OptimConfig
from nanokimi.experts import SwiGLU
from nanokimi.generate import generate
from nanokimi.hub import to_hub_weights
from nanokimi.hub.hub_config import to_hub_config
from nanokimi.kimi import Kimi
from nanokimi.loss import next_token_loss
from nanokimi.model import Model, build_model
from nanokimi.moe import MoE
from nanokimi.optim import build_optimizers
from nanokimi.presets.yaml_config import load_model_config
from nanokimi.router import expert_load

Candidates = dict[str, Callable[[], object]]


def training_step(size: str, device: torch.device) -> Candidates:
    """A whole optimizer step of GPT and Kimi with equal active parameters, and the cost of QK-clip and Muon."""
    batch_size, seq_len = {"tiny": (16, 256), "small": (64, 512)}[size]

    def step(name: str, optimizer: str, with_max: bool) -> Callable[[], None]:
        model = build_model(load_model_config(name)).to(device)
        tokens = _tokens(model.cfg.vocab_size, batch_size, seq_len + 1, device)
        optimizers = build_optimizers(model, OptimConfig(optimizer=optimizer))

        def run() -> None:
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                out = model(tokens[:, :-1], with_max_qk_logit=with_max)
                loss = next_token_loss(out.logits, tokens[:, 1:])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for each in optimizers:
                each.step()
                each.zero_grad()

        return run

    return {
        "GPT, AdamW": step(f"gpt-{size}", "adamw", False),
        "Kimi dense, AdamW": step(f"kimi-{size}-dense", "adamw", False),
        "Kimi MLA dense, AdamW": step(f"kimi-{size}-mla", "adamw", False),
        "Kimi, AdamW": step(f"kimi-{size}", "adamw", False),
        "Kimi, AdamW, largest logits": step(f"kimi-{size}", "adamw", True),
        "Kimi, Muon, largest logits": step(f"kimi-{size}", "muon", True),
        "GPT, Muon": step(f"gpt-{size}", "muon", False),
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
    grouped = cfg.d_model % 4 == cfg.moe.moe_intermediate_size % 4 == 0
    theirs = {
        f"transformers MoE, {name}": _transformers_moe(cfg, moe, name).to(device)
        for name in ("eager", "grouped_mm")
        if name == "eager" or grouped
    }
    for layer in (dense, moe):
        layer.to(device)

    def both_ways(forward: Callable[[Tensor], Tensor], layer: torch.nn.Module) -> Callable[[], None]:
        grad = torch.ones_like(x)

        def run() -> None:
            forward(x.clone().requires_grad_()).backward(grad)
            layer.zero_grad()

        return run

    return {
        "dense SwiGLU": both_ways(dense, dense),
        "MoE, its products alone": _products(moe, x),
        "MoE": both_ways(lambda t: moe(t)[0], moe),
    } | {name: both_ways(layer, layer) for name, layer in theirs.items()}


@torch.no_grad()
def _products(moe: MoE, x: Tensor) -> Callable[[], None]:
    """Two products forward and four backward for every expert and the shared one, on random numbers."""
    load = expert_load(moe.route(x).expert_idx, moe.cfg.n_routed_experts).tolist()
    mlps = [*zip(load, moe.experts.gate_up_proj, moe.experts.down_proj, strict=True)]
    mlps.append((x[..., 0].numel(), moe.shared_experts.gate_up_proj, moe.shared_experts.down_proj))
    operands = []
    for rows, gate_up, down in mlps:
        d_model, width = down.shape
        outer, inner, hidden = (torch.randn(rows, n, device=x.device) for n in (d_model, width, 2 * width))
        operands.append((outer, inner, hidden, gate_up, down))

    @torch.no_grad()
    def run() -> None:
        for outer, inner, hidden, gate_up, down in operands:
            outer @ gate_up.T, inner @ down.T  # forward
            outer @ down, outer.T @ inner, hidden @ gate_up, hidden.T @ outer  # backward

    return run


def against_transformers(device: torch.device) -> Candidates:
    """Forward and backward of the same model with the same weights: ours, and transformers' DeepseekV3."""
    # 128 wide experts in place of 122, for transformers' grouped products.
    ours = build_model(load_model_config("kimi-tiny", ["moe_intermediate_size=128"])).to(device)
    theirs = _transformers_model(ours).to(device)
    tokens = _tokens(ours.cfg.vocab_size, 16, 257, device)

    def run(model: torch.nn.Module) -> None:
        next_token_loss(model(tokens[:, :-1]).logits, tokens[:, 1:]).backward()
        model.zero_grad()

    return {"nanokimi": lambda: run(ours), "transformers": lambda: run(theirs)}


def decoding(device: torch.device) -> Candidates:
    """200 greedy tokens after a prompt of 50: GPT and Kimi with their caches, and transformers with its own."""
    gpt = build_model(load_model_config("gpt-tiny")).to(device).eval()
    kimi = build_model(load_model_config("kimi-tiny", ["moe_intermediate_size=128"])).to(device).eval()
    theirs = _transformers_model(kimi).to(device).eval()
    prompt = _tokens(2048, 1, 50, device)

    def ours(model: Model) -> Callable[[], object]:
        return lambda: list(generate(model, prompt[0].tolist(), 200, temperature=0))

    def transformers_generate() -> object:
        return theirs.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=200, min_new_tokens=200,
            do_sample=False, pad_token_id=0,
        )  # fmt: skip

    return {"Kimi": ours(kimi), "GPT": ours(gpt), "transformers, same Kimi": transformers_generate}


def _tokens(vocab_size: int, rows: int, columns: int, device: torch.device) -> Tensor:
    return torch.randint(vocab_size, (rows, columns), generator=torch.Generator().manual_seed(0)).to(device)


def _transformers_model(model: Kimi) -> torch.nn.Module:
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    theirs = DeepseekV3ForCausalLM(DeepseekV3Config(**to_hub_config(model.cfg)))
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

    config = DeepseekV3Config(**to_hub_config(cfg), experts_implementation=experts_implementation)
    theirs = DeepseekV3MoE(config)
    gate, up = moe.shared_experts.gate_up_proj.chunk(2)
    with torch.no_grad():
        theirs.gate.weight.copy_(moe.gate)
        theirs.experts.gate_up_proj.copy_(moe.experts.gate_up_proj)
        theirs.experts.down_proj.copy_(moe.experts.down_proj)
        theirs.shared_experts.gate_proj.weight.copy_(gate)
        theirs.shared_experts.up_proj.weight.copy_(up)
        theirs.shared_experts.down_proj.weight.copy_(moe.shared_experts.down_proj)
    return theirs


COMPARISONS: dict[str, Callable[[torch.device], Candidates]] = {
    "training step, tiny": partial(training_step, "tiny"),
    "training step, small": partial(training_step, "small"),
    "MoE layer of kimi-tiny, 4,096 tokens": partial(moe_layer, "kimi-tiny"),
    "MoE layer 192 wide, 4,096 tokens": partial(
        moe_layer, "kimi-tiny", overrides=["d_model=192", "moe_intermediate_size=192"]
    ),
    "MoE layer of kimi-small, 4,096 tokens": partial(moe_layer, "kimi-small"),
    "forward and backward, kimi-tiny": against_transformers,
    "decoding, 200 tokens": decoding,
}
ONLY_ON_CUDA = {"training step, small"}
