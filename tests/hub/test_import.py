"""Models that transformers builds and saves, of random settings: read with equal logits, or refused in one line."""

import json
import random

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM

from nanokimi import hub
from nanokimi.config import KimiConfig
from nanokimi.hub.hub_config import HubError
from nanokimi.text import tokenizer
from tests.tiny import harsh_

# torch's word for the shared experts' matrices of width 0.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op"),
]


def draw_settings(draw: random.Random) -> dict:
    """Small sizes, odd and even, with what else a DeepseekV3Config can say, at its edges too."""
    groups, size = draw.choice((1, 1, 2, 4)), draw.choice((2, 3, 4))
    kept, layers, heads = draw.randint(1, groups), draw.randint(1, 4), draw.choice((1, 2, 3))
    return {
        "vocab_size": draw.choice((40, 64, 300)),
        "hidden_size": draw.choice((6, 16, 30, 32)),
        "intermediate_size": draw.choice((1, 24, 40)),
        "moe_intermediate_size": draw.choice((1, 7, 12, 14)),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": draw.choice((heads, heads, None)),
        "n_shared_experts": draw.choice((0, 1, 1, 2)),
        "n_routed_experts": groups * size,
        "n_group": groups,
        "topk_group": kept,
        "num_experts_per_tok": draw.randint(1, min(kept * size, 4)),
        "routed_scaling_factor": draw.choice((1.0, 2.5, 0.3)),
        "norm_topk_prob": draw.choice((True, False)),
        "q_lora_rank": draw.choice((None, None, 1, 12)),
        "kv_lora_rank": draw.choice((1, 8, 20)),
        "qk_nope_head_dim": draw.choice((1, 4, 10)),
        "qk_rope_head_dim": draw.choice((2, 4, 8, 16)),
        "v_head_dim": draw.choice((1, 6, 8)),
        "first_k_dense_replace": draw.choice((0, 0, 1, layers, layers + 3, -1)),
        "rms_norm_eps": draw.choice((1e-6, 1e-5, 1e-2)),
        "max_position_embeddings": draw.choice((16, 64, 2048)),
        "num_mtp_layers": draw.choice((0, 1, 2)),
        "tie_word_embeddings": draw.random() < 0.03,
        "attention_bias": draw.random() < 0.03,
        "rope_interleave": draw.random() > 0.03,
        "pad_token_id": draw.choice((None, 0)),
    }


def draw_rope(draw: random.Random) -> dict:
    """Rotations as transformers 5 and as older files say them."""
    base = draw.choice((10.0, 100.0, 10_000.0, 50_000))
    m = draw.choice((1.0, 0.7, 1))
    yarn = {
        "factor": draw.choice((1.5, 4.0, 32.0, 4)),
        "original_max_position_embeddings": draw.choice((4, 16, 64, 4096)),
        "beta_fast": draw.choice((1.0, 8.0, 32)),
        "beta_slow": 1.0,
    }
    yarn |= draw.choice(
        [{"mscale": m, "mscale_all_dim": m}] * 4
        + [{"attention_factor": 1.0}, {"attention_factor": 1.0, "mscale_all_dim": m}, {}]
    )
    if draw.random() < 0.3:
        yarn["beta_slow"] = yarn["beta_fast"]
    for name in ("beta_fast", "beta_slow", "original_max_position_embeddings"):
        if draw.random() < 0.1:
            del yarn[name]
    return draw.choice(
        [
            {},
            {"rope_theta": base},
            {"rope_parameters": {"rope_type": "default", "rope_theta": base}},
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": base} | yarn},
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": base} | yarn},
            {"rope_theta": base, "rope_scaling": {"type": "yarn"} | yarn},
        ]
    )


@pytest.mark.parametrize("seed", range(5))
def test_random_models_of_transformers_are_read_or_refused(seed, tmp_path):
    draw, equal, refused = random.Random(seed), 0, []
    for number in range(16):
        folder = tmp_path / f"{number}"
        settings, rope = draw_settings(draw), draw_rope(draw)
        model = harsh_(DeepseekV3ForCausalLM(DeepseekV3Config(**settings, **rope)), seed=number, std=0.2)
        model.to(draw.choice((torch.float32, torch.float32, torch.bfloat16, torch.float16)))
        model.save_pretrained(folder, max_shard_size=draw.choice(("5GB", "10KB")))
        if "rope_scaling" in rope and draw.random() < 0.7:  # as transformers 4 wrote it
            path = folder / "config.json"
            data = json.loads(path.read_text()) | rope
            del data["rope_parameters"]
            path.write_text(json.dumps(data))
        print(number, settings, rope)  # which one it was, where the test fails
        try:
            ours = hub.from_pretrained(folder)
        except HubError as error:
            assert str(folder) in str(error) and "\n" not in str(error)
            refused.append(str(error).removeprefix(f"'{folder}': config.json: "))
            continue
        # What is written again is what both read.
        hub.save_pretrained(ours, tokenizer.char(["abc "]), tmp_path / "again")
        tokens = torch.randint(40, (2, 12), generator=torch.Generator().manual_seed(number))
        theirs = [load(folder), load(tmp_path / "again"), ours, hub.from_pretrained(tmp_path / "again")]
        with torch.no_grad():
            expected, *others = [each(tokens).logits for each in theirs]
        for logits in others:
            atol = 3e-5 * max(1.0, expected.abs().max().item())
            torch.testing.assert_close(logits, expected, atol=atol, rtol=0)
        (tmp_path / "again").rename(tmp_path / f"again-{number}")
        equal += 1
    reasons = ("tie_word_embeddings=True", "attention_bias=True", "rope_interleave=False", "mscale=")
    assert [line for line in refused if not line.startswith(reasons)] == []
    assert equal >= 10


def load(folder):
    """The model as transformers loads it, in float32 and without a complaint."""
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, experts_implementation="eager", output_loading_info=True
    )
    assert not any(info.values()), info
    return model


def test_a_model_without_shared_experts_goes_through(tmp_path):
    """Its shared matrices have the width 0 in the format, and do not exist here."""
    settings = draw_settings(random.Random(0)) | {
        "n_shared_experts": 0,
        "first_k_dense_replace": 0,
        "attention_bias": False,
        "tie_word_embeddings": False,
        "rope_interleave": True,
    }
    theirs = harsh_(DeepseekV3ForCausalLM(DeepseekV3Config(**settings)), std=0.2)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = hub.from_pretrained(tmp_path / "theirs")
    assert isinstance(ours.cfg, KimiConfig) and ours.cfg.moe is not None
    assert ours.cfg.moe.n_shared_experts == 0 and not any("shared" in name for name in ours.state_dict())
    assert hub.to_hub_weights(ours).keys() == load_file(tmp_path / "theirs" / "model.safetensors").keys()
