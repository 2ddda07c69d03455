"""config.json of the KimiLinear format: the published file, and what it cannot mean."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoConfig

from nanokimi.config import KDAConfig, KimiConfig, MLAConfig
from nanokimi.hub import HubError, from_hub_config, to_hub_config
from nanokimi.presets.yaml_config import load_model_config
from tests.hub.test_kimi_linear import BASE, NOPE

FULL = [4, 8, 12, 16, 20, 24, 27]
# What the repository of the published model has in its config.json, in its own words.
PUBLISHED = {
    "model_type": "kimi_linear",
    "bos_token_id": 163584,
    "eos_token_id": 163586,
    "first_k_dense_replace": 1,
    "head_dim": 72,
    "hidden_act": "silu",
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "kv_lora_rank": 512,
    "linear_attn_config": {
        "full_attn_layers": FULL,
        "head_dim": 128,
        "kda_layers": [layer for layer in range(1, 28) if layer not in FULL],
        "num_heads": 32,
        "short_conv_kernel_size": 4,
    },
    "mla_use_nope": True,
    "model_max_length": 1048576,
    "moe_intermediate_size": 1024,
    "moe_layer_freq": 1,
    "moe_renormalize": True,
    "moe_router_activation_func": "sigmoid",
    "num_attention_heads": 32,
    "num_expert_group": 1,
    "num_experts": 256,
    "num_experts_per_token": 8,
    "num_hidden_layers": 27,
    "num_key_value_heads": 32,
    "num_nextn_predict_layers": 0,
    "num_shared_experts": 1,
    "q_lora_rank": None,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "routed_scaling_factor": 2.446,
    "tie_word_embeddings": False,
    "topk_group": 1,
    "use_grouped_topk": True,
    "v_head_dim": 128,
    "vocab_size": 163840,
}


def written() -> dict:
    return to_hub_config(BASE, 5)


def test_the_published_file_has_the_hybrid_of_27_layers():
    cfg = from_hub_config(PUBLISHED)
    assert cfg.attention == ("kda", "kda", "kda", "mla")
    assert [layer + 1 for layer in range(27) if cfg.attention_of(layer) == "mla"] == FULL
    assert (cfg.kda, cfg.n_heads) == (KDAConfig(head_dim=128), 32)
    assert cfg.mla == MLAConfig(
        kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, use_nope=True
    )


def test_the_published_file_is_the_preset():
    assert from_hub_config(PUBLISHED) == load_model_config("kimi-linear-48b")


def test_transformers_reads_both_forms_alike(tmp_path: Path):
    """What it reads from the published words, and saves in its own, is the same model to us."""
    # Rotations, which it does not have, it would warn of.
    plain = {name: value for name, value in PUBLISHED.items() if not name.startswith("rope_")}
    (tmp_path / "config.json").write_text(json.dumps(plain))
    AutoConfig.from_pretrained(tmp_path).save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert from_hub_config(saved) == from_hub_config(PUBLISHED)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_act": "gelu"}, "hidden_act='gelu' must be 'silu'"),
        ({"mla_use_nope": False}, "mla_use_nope=False must be True"),
        ({"moe_router_activation_func": "softmax"}, "moe_router_activation_func='softmax' must be 'sigmoid'"),
        ({"linear_num_heads": 3}, "linear_num_heads=3 must be 2"),
        ({"num_key_value_heads": 1}, "num_key_value_heads=1 must be 2"),
        ({"layer_types": None}, "layer_types is missing"),
        ({"layer_types": ["linear_attention"] * 3}, "layer_types names 3 layers, and num_hidden_layers=4"),
        ({"layer_types": ["sliding"] * 4}, "layer_types must be linear_attention or full_attention for every layer"),
        ({"layer_types": [["full_attention"]] * 4}, "layer_types must be linear_attention or full_attention"),
        ({"num_hidden_layers": 4.5}, "layer_types names 4 layers, and num_hidden_layers=4.5"),
        ({"mlp_layer_types": ["sparse", "dense", "sparse", "sparse"]}, "mlp_layer_types must be dense for the first"),
        ({"mlp_layer_types": 3}, "mlp_layer_types must be dense for the first"),
        ({"linear_attn_config": 3}, "linear_attn_config=3 must hold named values"),
        ({"linear_attn_config": {"num_heads": 3}}, "linear_num_heads=3 must be 2"),
        (
            {"layer_types": None, "linear_attn_config": {"kda_layers": [[1]], "full_attn_layers": [2]}},
            "linear_attn_config must hold lists of layers",
        ),
        ({"linear_head_dim": 0}, "linear_head_dim=0 must be 1 or more"),
        ({"num_experts": 1, "num_experts_per_token": 1}, "num_experts=1 must be 2 or more"),
        ({"num_experts_per_token": 9}, "num_experts_per_token=9 must lie in"),
        ({"model_max_length": 0}, "model_max_length=0 must be 1 or more"),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_file_cannot_mean_is_one_line(changes, says):
    with pytest.raises(HubError) as caught:
        from_hub_config(written() | changes)
    told = str(caught.value)
    assert says in told and told.startswith("config.json: ") and "\n" not in told


@pytest.mark.parametrize(
    "name", ["kv_lora_rank", "linear_conv_kernel_dim", "num_experts", "model_max_length"]
)
def test_what_is_missing_is_named(name):
    data = written()
    del data[name]
    with pytest.raises(HubError, match=f"^config.json: {name} is missing$"):
        from_hub_config(data)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mla": replace(NOPE, use_nope=False)}, "use_nope=False cannot be exported"),
        ({"mla": replace(NOPE, output_gate="full_rank")}, "mla.output_gate=full_rank cannot be exported"),
        ({"kda": KDAConfig(decay="bounded")}, "decay=bounded cannot be exported"),
        ({"kda": KDAConfig(output_gate="full_rank")}, "kda.output_gate=full_rank cannot be exported"),
        ({"moe": replace(BASE.moe, scoring="softmax")}, "the KimiLinear format has sigmoid only"),
        ({"attention": ("kda", "mha"), "mla": None}, "attention=[kda, mha] cannot be exported"),
    ],
    ids=str,
)
def test_what_the_format_cannot_express_is_one_line(changes, says):
    with pytest.raises(HubError) as caught:
        to_hub_config(replace(BASE, **changes))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_the_gate_of_k3_goes_into_no_format():
    with pytest.raises(HubError, match=r"^output_gate=full_rank cannot be exported: no format has it$"):
        to_hub_config(KimiConfig(mla=MLAConfig(output_gate="full_rank")))
