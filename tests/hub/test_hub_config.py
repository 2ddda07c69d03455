"""config.json of the DeepseekV3 format both ways, held against transformers and the published files."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from nanokimi import hub
from nanokimi.config import RopeConfig, YarnConfig
from nanokimi.hub import hub_config
from nanokimi.kimi import Kimi
from nanokimi.presets.yaml_config import load_model_config
from nanokimi.rope import rope_frequencies
from tests.hub.hub_models import assert_close, make_config, make_tokens
from tests.tiny import harsh_

# What the repositories of the published models have in their config.json, in its own words.
PUBLISHED_K2 = {
    "model_type": "kimi_k2",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 163584,
    "eos_token_id": 163585,
    "ep_size": 1,
    "first_k_dense_replace": 1,
    "hidden_act": "silu",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "max_position_embeddings": 131072,
    "moe_intermediate_size": 2048,
    "moe_layer_freq": 1,
    "n_group": 1,
    "n_routed_experts": 384,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_attention_heads": 64,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 64,
    "num_nextn_predict_layers": 0,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "rms_norm_eps": 1e-06,
    "rope_scaling": {
        "beta_fast": 1.0,
        "beta_slow": 1.0,
        "factor": 32.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096,
        "type": "yarn",
    },
    "rope_theta": 50000.0,
    "routed_scaling_factor": 2.827,
    "scoring_func": "sigmoid",
    "tie_word_embeddings": False,
    "topk_group": 1,
    "topk_method": "noaux_tc",
    "v_head_dim": 128,
    "vocab_size": 163840,
}

K2_ROPE = PUBLISHED_K2["rope_scaling"]


def test_published_config_of_k2_is_the_preset():
    assert hub_config.from_hub_config(PUBLISHED_K2) == load_model_config("kimi-k2")


@pytest.mark.parametrize("name", ["kimi-k2", "deepseek-v3", "moonlight-16b", "kimi-tiny"])
def test_config_survives_transformers(name, tmp_path):
    """Ours to theirs, saved by them, read by us: the same, but for the derived factor that is a number then."""
    cfg = load_model_config(name)
    (tmp_path / "config.json").write_text(json.dumps(hub_config.to_hub_config(cfg, 5)))
    AutoConfig.from_pretrained(tmp_path).save_pretrained(tmp_path / "saved")
    again = hub_config.from_hub_config(json.loads((tmp_path / "saved" / "config.json").read_text()))
    factor = again.moe.routed_scaling_factor
    assert again == replace(cfg, moe=replace(cfg.moe, routed_scaling_factor=factor))
    assert factor == pytest.approx(
        {"kimi-k2": 2.827, "deepseek-v3": 2.5, "moonlight-16b": 2.446, "kimi-tiny": 1.412}[name], abs=5e-3
    )


@pytest.mark.parametrize("mscale", [0.0, 0.7])
def test_any_mscale_survives_and_means_the_same_there(mscale):
    cfg = make_config(
        rope=RopeConfig(
            base=100.0, yarn=YarnConfig(factor=8.0, original_max_seq_len=64, mscale_all_dim=mscale)
        )
    )
    data = hub_config.to_hub_config(cfg)
    assert hub_config.from_hub_config(data).rope == cfg.rope
    theirs = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(**data), attn_implementation="eager", experts_implementation="eager"
    )
    harsh_(theirs, std=0.15)
    ours = Kimi(cfg)
    ours.load_state_dict(hub.from_hub_weights(theirs.state_dict(), cfg))
    with torch.no_grad():
        assert_close(ours(make_tokens(ours)).logits, theirs(make_tokens(ours)).logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "llama"}, "model_type='llama' must be deepseek_v3, kimi_k2 or kimi_linear"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu' must be 'silu'"),
        ({"attention_bias": True}, "attention_bias=True must be False"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings=True must be False"),
        ({"rope_interleave": False}, "rope_interleave=False must be True"),
        ({"scoring_func": "softmax"}, "scoring_func='softmax' must be 'sigmoid'"),
        ({"topk_method": "greedy"}, "topk_method='greedy' must be 'noaux_tc'"),
        ({"moe_layer_freq": 2}, "moe_layer_freq=2 must be 1"),
        ({"num_key_value_heads": 8}, "num_key_value_heads=8 must be 64"),
        ({"rope_scaling": K2_ROPE | {"mscale": 0.7}}, "mscale=0.7 and mscale_all_dim=1.0 must be equal"),
        ({"rope_scaling": K2_ROPE | {"mscale_all_dim": 0}}, "mscale=1.0 and mscale_all_dim=0 must be equal"),
        ({"rope_scaling": K2_ROPE | {"attention_factor": 1.3}}, "or attention_factor be 1"),
        ({"rope_scaling": K2_ROPE | {"type": "linear"}}, "rope_type='linear' must be"),
        ({"rope_scaling": K2_ROPE | {"truncate": False}}, "truncate=False must be True"),
        ({"rope_scaling": {"type": "yarn", "mscale": 1, "mscale_all_dim": 1}}, "factor is missing"),
        ({"hidden_size": ...}, "hidden_size is missing"),
        ({"num_experts_per_tok": ...}, "num_experts_per_tok is missing"),
        ({"rope_theta": ...}, "rope_theta is missing"),
        (
            {"rope_theta": ..., "rope_parameters": {"rope_theta": 1e4}},
            "rope_theta is missing in rope_scaling, which counts before rope_parameters",
        ),
        ({"norm_topk_prob": "no"}, "norm_topk_prob='no' must be true or false"),
        ({"norm_topk_prob": 0}, "norm_topk_prob=0 must be true or false"),
        ({"hidden_size": "128"}, "hidden_size='128' must be a whole number"),
        ({"rms_norm_eps": "1e-2"}, "rms_norm_eps='1e-2' must be a number"),
        ({"qk_rope_head_dim": float("nan")}, "qk_rope_head_dim=nan must be a finite number"),
        ({"rope_scaling": K2_ROPE | {"beta_fast": 1e308}}, "beta_fast=1e+308 must be 1,000,000 or less"),
        ({"rope_scaling": K2_ROPE | {"beta_slow": 1e-320}}, "beta_slow=1e-320 must be 1e-06 or more"),
        ({"rope_scaling": K2_ROPE | {"mscale": 1e308, "mscale_all_dim": 1e308}}, "must be 100 or less"),
        ({"hidden_size": 0}, "config.json: hidden_size=0 must be 1 or more"),
        ({"num_attention_heads": ...}, "num_attention_heads is missing"),
        ({"rope_theta": 0.5}, "config.json: rope_theta=0.5 must be above 1"),
        ({"rope_interleave": None}, "rope_interleave=None must be True"),
        ({"is_causal": None}, "is_causal=None must be True"),
        ({"head_dim": 128}, "head_dim=128 must be 64"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5 must be 1.0"),
        ({"rope_scaling": K2_ROPE | {"truncate": None}}, "truncate=None must be True"),
        ({"rope_scaling": K2_ROPE | {"partial_rotary_factor": 0.5}}, "partial_rotary_factor=0.5 must be 1.0"),
        ({"original_max_position_embeddings": 64}, "original_max_position_embeddings=4096 must be 64"),
        ({"rope_scaling": [1]}, "rope_parameters=[1] must hold named values"),
        ({"n_routed_experts": 1, "num_experts_per_tok": 1}, "config.json: n_routed_experts=1 must be 2 or more: "),
        ({"num_experts_per_tok": 1000}, "config.json: num_experts_per_tok=1000 must lie in 1..n_routed_experts=384"),
    ],
)  # fmt: skip
def test_what_a_config_cannot_mean_is_one_line(change, message):
    data = {k: v for k, v in (PUBLISHED_K2 | change).items() if v is not ...}
    with pytest.raises(ValueError) as error:
        hub_config.from_hub_config(data)
    assert message in str(error.value)
    assert str(error.value).startswith("config.json: ")
    assert "\n" not in str(error.value)


def test_defaults_of_yarn_are_those_of_transformers(tmp_path):
    """What a config.json leaves out: beta_fast 32, beta_slow 1, the original context is the whole."""
    data = hub_config.to_hub_config(make_config())
    data["rope_parameters"] = {
        "rope_type": "yarn",
        "rope_theta": 100.0,
        "factor": 4.0,
        "mscale": 1,
        "mscale_all_dim": 1,
    }
    rope = hub_config.from_hub_config(data).rope
    assert rope.yarn == YarnConfig(factor=4.0, original_max_seq_len=64, beta_fast=32.0, beta_slow=1.0)
    theirs = AutoModelForCausalLM.from_config(AutoConfig.for_model(**data)).model.rotary_emb
    torch.testing.assert_close(rope_frequencies(8, rope), theirs.inv_freq)
