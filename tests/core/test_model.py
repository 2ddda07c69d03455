"""From a configuration to a model: a wrong argument and a size beyond the machine are refused before it is built."""

import time
from dataclasses import replace

import pytest
import torch

from nanokimi import model as model_module
from nanokimi.config import ConfigError, GPTConfig, KimiConfig, MLAConfig, MoEConfig
from nanokimi.count import count_parameters
from nanokimi.experts import SwiGLU
from nanokimi.gpt import GPT
from nanokimi.kimi import Kimi
from nanokimi.model import build_model
from nanokimi.presets.yaml_config import load_model_config
from nanokimi.system.memory import memory_limit

LARGE = 10**6
LARGEST = [
    GPTConfig(d_model=LARGE, vocab_size=LARGE, max_seq_len=10**9, n_layers=1000, n_heads=1),
    KimiConfig(
        d_model=LARGE,
        n_heads=LARGE,
        n_layers=1000,
        intermediate_size=LARGE,
        mla=MLAConfig(
            q_lora_rank=LARGE,
            kv_lora_rank=LARGE,
            qk_nope_head_dim=LARGE,
            qk_rope_head_dim=LARGE,
            v_head_dim=LARGE,
        ),
        moe=MoEConfig(n_routed_experts=LARGE, n_shared_experts=LARGE, moe_intermediate_size=LARGE),
    ),
    KimiConfig(d_model=LARGE, n_heads=1, attention="mha", moe=MoEConfig(n_routed_experts=LARGE)),
    load_model_config("kimi-k2"),
]


@pytest.mark.parametrize("cfg", LARGEST, ids=lambda cfg: cfg.kind)
def test_a_size_beyond_this_machine_is_refused_at_once(cfg):
    started = time.perf_counter()
    with pytest.raises(ConfigError, match=r"this model's weights take [\d,.]+ GB and this process may use "):
        build_model(cfg)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("n_layers", [0, 1001, 10**6, 10**18])
def test_more_layers_than_any_model_has_are_no_setting(n_layers):
    """A million layers take a minute and gigabytes even where they are only counted."""
    with pytest.raises(ConfigError, match=r"n_layers=.* must be "):
        KimiConfig(n_layers=n_layers)


@pytest.mark.parametrize("name", ["gpt-smoke", "kimi-smoke", "kimi-smoke-dense", "moonlight-16b"])
def test_the_limit_is_that_of_all_weights(name, monkeypatch):
    """The count of whole models as an oracle; the layers of a kind are counted once."""
    cfg = load_model_config(name)
    variants = (
        [cfg, replace(cfg, n_layers=1)] if cfg.kind == "gpt" else [cfg, replace(cfg, first_k_dense_replace=0)]
    )
    for cfg in variants:
        n_bytes = 4 * count_parameters(cfg).total
        monkeypatch.setattr(model_module, "memory_limit", lambda n=n_bytes: n - 1)
        with pytest.raises(ConfigError, match="this model's weights take"):
            build_model(cfg)
        if n_bytes < 1e8:
            monkeypatch.setattr(model_module, "memory_limit", lambda n=n_bytes: n)
            assert sum(p.nbytes for p in build_model(cfg).parameters()) == n_bytes


def test_shapes_alone_have_any_size():
    with torch.device("meta"):
        assert build_model(load_model_config("kimi-k2")).lm_head.weight.numel() == 7168 * 163840
    assert memory_limit() is None or memory_limit() < 4e12, "the test needs a machine below 4 TB"


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: build_model("kimi-tiny"), "build_model: cfg='kimi-tiny' must be GPTConfig or KimiConfig"),
        (lambda: build_model(None), "build_model: cfg=None must be GPTConfig or KimiConfig"),
        (lambda: build_model(GPTConfig(), "0"), "build_model: seed='0' must be a whole number"),
        (
            lambda: build_model(GPTConfig(), 2**64),
            "build_model: seed=18446744073709551616 must be below 2^64",
        ),
        (lambda: Kimi(GPTConfig()), "must be KimiConfig"),
        (lambda: GPT(KimiConfig()), "must be GPTConfig"),
        (lambda: GPT(GPTConfig(), seed=1.5), "GPT: seed=1.5 must be a whole number"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line(call, line):
    with pytest.raises(ConfigError) as refused:
        call()
    assert str(refused.value).endswith(line)


def test_a_layer_without_width_is_refused():
    with pytest.raises(ValueError, match="a weight of 0 x 8 numbers is empty: every size must be 1 or more"):
        SwiGLU(8, 0)
