"""First weights: a layer built alone draws its own, and a model's are the same numbers for a seed, for ever."""

import importlib
import math
import pkgutil
import sys

import pytest
import torch
from torch import nn

import nanokimi
from nanokimi.attention import CausalSelfAttention
from nanokimi.block_latent import BlockLatentAttention
from nanokimi.config import BlockLatentConfig, KDAConfig, MLAConfig, MoEConfig, RopeConfig
from nanokimi.experts import ExpertBank, SwiGLU
from nanokimi.first_weights import draw_weight
from nanokimi.gpt import GPT, GPTBlock
from nanokimi.kda import KimiDeltaAttention
from nanokimi.kimi import Kimi, KimiBlock
from nanokimi.mla import MultiHeadLatentAttention
from nanokimi.model import build_model
from nanokimi.moe import MoE
from nanokimi.norm import RMSNorm
from nanokimi.output import build_embedding
from nanokimi.presets.yaml_config import load_model_config
from tests import tiny

BUILD = {
    RMSNorm: lambda: RMSNorm(6, 1e-6),
    SwiGLU: lambda: SwiGLU(6, 5),
    ExpertBank: lambda: ExpertBank(3, 6, 5),
    MoE: lambda: MoE(6, MoEConfig(n_routed_experts=4, moe_intermediate_size=5)),
    CausalSelfAttention: lambda: CausalSelfAttention(8, 2),
    MultiHeadLatentAttention: lambda: MultiHeadLatentAttention(8, 2, MLAConfig(q_lora_rank=4), RopeConfig()),
    BlockLatentAttention: lambda: BlockLatentAttention(8, 2, BlockLatentConfig()),
    KimiDeltaAttention: lambda: KimiDeltaAttention(8, 2, KDAConfig(head_dim=3), 1e-6),
    KimiBlock: lambda: KimiBlock(tiny.kimi(), 1),
    GPTBlock: lambda: GPTBlock(tiny.gpt()),
    Kimi: lambda: Kimi(tiny.kimi()),
    GPT: lambda: GPT(tiny.gpt()),
    nn.Embedding: lambda: build_embedding(5, 8),
}


@pytest.fixture(autouse=True)
def poisoned_memory():
    """Memory that nobody has written to holds NaN, not by chance a zero or an old weight."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(1).isnan()
    yield
    torch.use_deterministic_algorithms(False)


def test_every_layer_of_the_core_is_looked_at():
    for module in pkgutil.walk_packages(nanokimi.__path__, "nanokimi."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    layers, todo = set(), [nn.Module]
    while todo:
        todo += (found := todo.pop().__subclasses__())
        layers |= {cls for cls in found if cls.__module__.startswith("nanokimi.")}
    # Altered copies that other tests have made carry the same names.
    layers = {cls for cls in layers if cls is getattr(sys.modules[cls.__module__], cls.__name__)}
    assert layers == set(BUILD) - {nn.Embedding}


@pytest.mark.parametrize("cls", BUILD, ids=lambda c: c.__name__)
def test_a_layer_built_alone_draws_its_weights(cls):
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(BUILD[cls]().state_dict())
    for name, first in made[0].items():
        assert first.isfinite().all(), name
        assert torch.equal(first, made[1][name]), name
        if first.ndim > 1:
            assert first.unique().numel() > 0.9 * first.numel(), name
            # A model draws from its own seed, a layer from torch's.
            assert torch.equal(first, made[2][name]) == (cls in (Kimi, GPT)), name


def test_a_weight_is_drawn_as_a_linear_layers_is():
    """U(-1/sqrt(n), 1/sqrt(n)) has the standard deviation 1/sqrt(3·n)."""
    weight = draw_weight(4, 100, 25)
    assert weight.requires_grad
    assert weight.abs().max().item() == pytest.approx(1 / 5, rel=1e-3)
    assert weight.std().item() == pytest.approx(1 / math.sqrt(75), rel=0.03)
    assert weight.mean().item() == pytest.approx(0, abs=0.01)


NO_MLA = ["mla=null", "attention=block_latent", "block_latent.n_latents=2", "block_latent.block_len=8"]


@pytest.mark.parametrize(
    ("name", "overrides", "first", "last"),
    [
        ("gpt-smoke", [], [-0.00153289, 0.00719763, -0.01564034], [0.01029168, -0.00670284, -0.00335647]),
        ("kimi-smoke", [], [-0.00153289, 0.00719763, -0.01564034], [0.01217049, 0.01947344, -0.02391264]),
        ("kimi-smoke", NO_MLA, [-0.00153289, 0.00719763, -0.01564034], [0.02459100, 0.00966667, -0.03292188]),
    ],
    ids=["gpt", "kimi", "kimi with block latents"],
)
def test_a_models_weights_never_change_for_a_seed(name, overrides, first, last):
    """Written down once. Every matrix is drawn after the others, so the last one depends on all sizes before it."""
    model = build_model(load_model_config(name, overrides), seed=3)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    assert matrices[0].flatten()[:3].tolist() == pytest.approx(first, abs=1e-7)
    assert matrices[-1].flatten()[-3:].tolist() == pytest.approx(last, abs=1e-7)


@pytest.mark.parametrize("name", tiny.MODELS)
def test_a_models_weights_are_one_stream_of_normal_numbers(name):
    """Drawn again here, in the order of the parameters, from a generator with the same seed.

    What Kimi Delta Attention has besides comes behind them (`test_kda`).
    """
    model = build_model(tiny.model_config(name), seed=5)
    generator = torch.Generator().manual_seed(5)
    small = 0.02 / math.sqrt(2 * model.cfg.n_layers)
    for path, parameter in model.named_parameters():
        owner = path.removesuffix(".weight").rpartition(".")[2]
        if owner in ("A_log", "dt_bias"):
            continue
        if owner == "conv_weight":
            torch.empty(parameter.shape).normal_(generator=generator)
            continue
        if path.endswith(".bias"):
            expected = torch.zeros_like(parameter)
        elif parameter.ndim == 1:
            expected = torch.ones_like(parameter)
        else:
            std = small if owner in ("o_proj", "down_proj") else 0.02
            expected = torch.zeros(parameter.shape).normal_(0.0, std, generator=generator)
        assert torch.equal(parameter, expected), path
    for path, buffer in model.named_buffers():
        assert not buffer.any(), path


def test_on_the_meta_device_nothing_is_drawn():
    """A trillion parameters take no memory, and torch's generator stays where it was."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = build_model(load_model_config("kimi-k2"))
    assert torch.rand(1) == torch.rand(1, generator=torch.Generator().manual_seed(0))
    assert all(p.is_meta for p in model.parameters())
