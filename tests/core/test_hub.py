"""The DeepseekV3 format both ways, held against transformers itself."""

import json
from dataclasses import replace

import pytest
import tiktoken
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from nanokimi import hub, hub_config
from nanokimi.config import (
    BlockLatentConfig,
    GPTConfig,
    KimiConfig,
    MLAConfig,
    MoEConfig,
    RopeConfig,
    YarnConfig,
)
from nanokimi.generate import generate
from nanokimi.gpt import GPT
from nanokimi.hub_config import HubError
from nanokimi.kimi import Kimi
from nanokimi.rope import rope_frequencies
from nanokimi.text import tokenizer
from nanokimi.yaml_config import load_model_config
from tests.harsh_weights import draw_

TEXT = "Once upon a time a little fox lost its red kite. It wasn't sad: it had 12 others!\n\n   The end.  "
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


@pytest.fixture(scope="module")
def encoding() -> tiktoken.Encoding:
    return tokenizer.train_bpe([TEXT] * 20, 300)


def config(vocab_size: int = 300, **changes) -> KimiConfig:
    return (
        KimiConfig(
            vocab_size=vocab_size,
            max_seq_len=64,
            d_model=32,
            n_layers=3,
            n_heads=2,
            intermediate_size=24,
            norm_eps=1e-5,
            rope=RopeConfig(base=100.0, yarn=YarnConfig(factor=4.0, original_max_seq_len=16)),
            mla=MLAConfig(
                q_lora_rank=12, kv_lora_rank=20, qk_nope_head_dim=10, qk_rope_head_dim=8, v_head_dim=6
            ),
            moe=MoEConfig(n_routed_experts=8, top_k=3, moe_intermediate_size=14, n_group=4, topk_group=2),
        )
        if not changes
        else replace(config(vocab_size), **changes)
    )


@pytest.fixture(scope="module")
def model(encoding) -> Kimi:
    return draw_(Kimi(config(encoding.n_vocab)))


@pytest.fixture(scope="module")
def folder(model, encoding, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "deep" / "kimi"
    hub.save_pretrained(model, encoding, path)
    return path


def load_theirs(folder):
    theirs, info = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", experts_implementation="eager", output_loading_info=True
    )
    assert not any(info.values()), info
    return theirs


def tokens_of(model, seq_len=24):
    return torch.randint(model.cfg.vocab_size, (2, seq_len), generator=torch.Generator().manual_seed(3))


def close(a, b):
    torch.testing.assert_close(a, b, atol=2e-5, rtol=0)


# ---------------------------------------------------------------- folders


def test_export_is_loaded_by_transformers_and_continues_with_the_same_tokens(model, encoding, folder):
    theirs = load_theirs(folder)
    tokens = tokens_of(model)
    with torch.no_grad():
        close(theirs(tokens).logits, model(tokens).logits)
    prompt = encoding.encode_ordinary("Once upon a time")
    end = encoding.n_vocab - 1
    assert (theirs.config.eos_token_id, theirs.config.bos_token_id) == (end, end)
    ours = list(generate(model, prompt, 40, temperature=0.0))
    reference = theirs.generate(
        torch.tensor([prompt]), max_new_tokens=40, do_sample=False, eos_token_id=-1, pad_token_id=end
    )
    assert len(set(ours)) > 5  # no two tokens in turn, on which any two models would agree
    assert ours == reference[0, len(prompt) :].tolist()


def test_what_transformers_saves_is_read_back(model, folder, tmp_path):
    """The same names and numbers as ours, in one file or in several, and after training there."""
    theirs = load_theirs(folder)
    theirs.save_pretrained(tmp_path / "one")
    saved, written = (
        load_file(tmp_path / "one" / "model.safetensors"),
        load_file(folder / "model.safetensors"),
    )
    assert saved.keys() == written.keys()
    assert all(torch.equal(saved[name], written[name]) for name in saved)
    draw_(theirs, seed=1)
    theirs.save_pretrained(tmp_path / "several", max_shard_size="40KB")
    assert len(list((tmp_path / "several").glob("*.safetensors"))) > 1
    tokens = tokens_of(model)
    with torch.no_grad():
        close(hub.from_pretrained(tmp_path / "one")(tokens).logits, model(tokens).logits)
        close(hub.from_pretrained(tmp_path / "several")(tokens).logits, theirs(tokens).logits)


def test_own_export_is_read_back_whole(model, folder):
    again = hub.from_pretrained(folder)
    state = again.state_dict()
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
    # The factor is a number now; everything else is as it was.
    assert again.cfg == replace(
        model.cfg, moe=replace(model.cfg.moe, routed_scaling_factor=again.cfg.moe.routed_scaling_factor)
    )
    assert again.cfg.moe.routed_scaling_factor == pytest.approx(1.7176, abs=1e-3)


def test_a_dense_model_goes_through(encoding, tmp_path):
    dense = draw_(Kimi(config(encoding.n_vocab, moe=None)))
    hub.save_pretrained(dense, encoding, tmp_path / "dense")
    tokens = tokens_of(dense)
    with torch.no_grad():
        close(load_theirs(tmp_path / "dense")(tokens).logits, dense(tokens).logits)
        close(hub.from_pretrained(tmp_path / "dense")(tokens).logits, dense(tokens).logits)


def test_bfloat16_keeps_the_bias_in_float32(encoding, tmp_path):
    model = draw_(Kimi(config(encoding.n_vocab)))
    bias = model.moe_layers()[0].expert_bias.clone()
    model.to(torch.bfloat16)
    model.moe_layers()[0].expert_bias = bias
    hub.save_pretrained(model, encoding, tmp_path / "half")
    theirs = load_theirs(tmp_path / "half")
    assert theirs.dtype == torch.bfloat16
    assert torch.equal(theirs.model.layers[1].mlp.gate.e_score_correction_bias, bias)
    assert torch.equal(hub.from_pretrained(tmp_path / "half").moe_layers()[0].expert_bias, bias)


@pytest.mark.parametrize("empty", [True, False])
def test_an_existing_folder_must_be_empty(model, encoding, tmp_path, empty):
    target = tmp_path / "there"
    target.mkdir()
    if not empty:
        (target / "thesis.txt").write_text("mine")
        with pytest.raises(HubError, match=r"there exists and is not an empty folder: name a new one"):
            hub.save_pretrained(model, encoding, target)
        assert [p.name for p in target.iterdir()] == ["thesis.txt"]
    else:
        hub.save_pretrained(model, encoding, target)
        assert hub.from_pretrained(target).cfg.n_layers == 3
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


def test_a_failed_export_leaves_nothing(model, encoding, tmp_path, monkeypatch):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hub, "save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        hub.save_pretrained(model, encoding, tmp_path / "kimi")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- tokenizers


def char_encoding():
    return tokenizer.char([TEXT + "é☃\n"])


@pytest.fixture(scope="module")
def loaded(encoding, folder):
    """transformers' tokenizers and ours, by name."""
    return {
        "bpe": (AutoTokenizer.from_pretrained(folder), encoding),
        "char": (tokenizer.to_transformers(char_encoding()), char_encoding()),
    }


def ids(theirs, text):
    return theirs.encode(text, add_special_tokens=False)


def test_auto_tokenizer_gives_the_same_ids_and_text(loaded):
    theirs, encoding = loaded["bpe"]
    assert theirs.eos_token_id == theirs.bos_token_id == encoding.n_vocab - 1 == len(theirs) - 1
    assert theirs(TEXT)["input_ids"] == encoding.encode_ordinary(TEXT)
    assert len(encoding.encode_ordinary(TEXT)) < len(TEXT.encode()) - 30  # merges are at work
    assert theirs.decode(theirs(TEXT)["input_ids"]) == TEXT
    assert theirs("<|endoftext|>")["input_ids"] == [encoding.n_vocab - 1]


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(st.sampled_from("Once upn a tim'sdl\n\t 12!é☃\u00a0\u200b\r漢"), max_size=40)
    | st.text(max_size=20)
)
def test_any_text_has_the_same_ids(loaded, text):
    # The separator written out is one token there and thirteen ordinary bytes in our corpora.
    assume("<|endoftext|>" not in text)
    theirs, encoding = loaded["bpe"]
    assert ids(theirs, text) == encoding.encode_ordinary(text)


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.sampled_from(sorted(set(TEXT + "é☃\n"))), max_size=40))
def test_characters_have_the_same_ids(loaded, text):
    theirs, encoding = loaded["char"]
    assert theirs.encode(text).ids == encoding.encode_ordinary(text)
    assert theirs.decode(theirs.encode(text).ids) == text


def test_merges_that_compete_have_the_same_ids():
    """Words of three letters at random: a token can be joined at many places, in many orders, and the rank decides."""
    generator = torch.Generator().manual_seed(0)
    words = [
        "".join("abc"[i] for i in torch.randint(3, (30,), generator=generator).tolist()) for _ in range(600)
    ]
    encoding = tokenizer.train_bpe(words[:300], 400)
    theirs = tokenizer.to_transformers(encoding)
    for word in [*words[300:], "a" * 50, "ab" * 30]:
        assert theirs.encode(word).ids == encoding.encode_ordinary(word)


def test_gpt2_tokenizer_has_the_same_ids(real_text, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(real_text / "gpt2" / "tiktoken_cache"))
    encoding = tokenizer.gpt2()
    theirs = tokenizer.to_transformers(encoding)
    story = TEXT * 3 + "Antidisestablishmentarianism, 3.14159 \t\n\n\n naïve café 漢字 ☃☃ I'll we've"
    assert theirs.encode(story).ids == encoding.encode_ordinary(story)
    assert theirs.get_vocab_size() == 50257


# ---------------------------------------------------------------- configurations


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
    cfg = config(
        rope=RopeConfig(
            base=100.0, yarn=YarnConfig(factor=8.0, original_max_seq_len=64, mscale_all_dim=mscale)
        )
    )
    data = hub_config.to_hub_config(cfg)
    assert hub_config.from_hub_config(data).rope == cfg.rope
    theirs = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(**data), attn_implementation="eager", experts_implementation="eager"
    )
    draw_(theirs)
    ours = Kimi(cfg)
    ours.load_state_dict(hub.from_hub_weights(theirs.state_dict(), cfg))
    with torch.no_grad():
        close(ours(tokens_of(ours)).logits, theirs(tokens_of(ours)).logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "llama"}, "model_type='llama' must be deepseek_v3 or kimi_k2"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu' must be 'silu'"),
        ({"attention_bias": True}, "attention_bias=True must be False"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings=True must be False"),
        ({"rope_interleave": False}, "rope_interleave=False must be True"),
        ({"scoring_func": "softmax"}, "scoring_func='softmax' must be 'sigmoid'"),
        ({"topk_method": "greedy"}, "topk_method='greedy' must be 'noaux_tc'"),
        ({"moe_layer_freq": 2}, "moe_layer_freq=2 must be 1"),
        ({"num_key_value_heads": 8}, "num_key_value_heads=8 must be 64"),
        ({"rope_scaling": K2_ROPE | {"mscale": 0.7}}, "mscale=0.7 must equal mscale_all_dim=1.0"),
        ({"rope_scaling": K2_ROPE | {"mscale_all_dim": 0}}, "mscale=1.0 must equal"),
        ({"rope_scaling": K2_ROPE | {"attention_factor": 1.3}}, "attention_factor be 1 or missing"),
        ({"rope_scaling": K2_ROPE | {"type": "linear"}}, "rope_type='linear' must be"),
        ({"rope_scaling": K2_ROPE | {"truncate": False}}, "truncate=False must be True"),
        ({"rope_scaling": {"type": "yarn", "mscale": 1, "mscale_all_dim": 1}}, "factor is missing"),
        ({"hidden_size": ...}, "hidden_size is missing"),
        ({"num_experts_per_tok": ...}, "num_experts_per_tok is missing"),
        ({"rope_theta": ...}, "rope_theta is missing"),
        ({"num_experts_per_tok": 1000}, "top_k=1000 must lie in 1..n_routed_experts=384"),
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
    data = hub_config.to_hub_config(config())
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": "mha", "mla": None}, "attention=mha cannot be exported"),
        (
            {"attention": "block_latent", "mla": None, "block_latent": BlockLatentConfig()},
            "attention=block_latent",
        ),
        ({"moe": MoEConfig(scoring="softmax")}, "scoring=softmax cannot be exported"),
        ({"moe": MoEConfig(n_shared_experts=0)}, "n_shared_experts=0 cannot be exported"),
        ({"moe": MoEConfig(n_routed_experts=1, top_k=1)}, "n_routed_experts=1 cannot be exported"),
    ],
)
def test_what_the_format_cannot_express_is_one_line(changes, message, encoding, tmp_path):
    model = Kimi(config(encoding.n_vocab, **changes))
    with pytest.raises(HubError, match=message):
        hub.save_pretrained(model, encoding, tmp_path / "kimi")
    assert list(tmp_path.iterdir()) == []


def test_a_gpt_and_a_foreign_tokenizer_are_refused(model, encoding, tmp_path):
    with pytest.raises(HubError, match="a GPT cannot be exported"):
        hub.save_pretrained(GPT(GPTConfig(vocab_size=300)), encoding, tmp_path / "gpt")
    with pytest.raises(HubError, match="vocab_size=299 is less than the tokenizer's 300 tokens"):
        hub.save_pretrained(Kimi(config(299)), encoding, tmp_path / "kimi")


# ---------------------------------------------------------------- weights


def test_in_memory_banks_and_single_experts_are_both_read(model, folder):
    single = hub.to_hub_weights(model)
    banks = load_theirs(folder).state_dict()
    assert "model.layers.1.mlp.experts.gate_up_proj" in banks
    assert "model.layers.1.mlp.experts.7.up_proj.weight" in single
    for weights in (single, banks):
        state = hub.from_hub_weights(weights, model.cfg)
        assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())


def test_layers_past_the_last_are_left_out(model):
    extra = {
        "model.layers.3.eh_proj.weight": torch.ones(2),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2),
    }
    state = hub.from_hub_weights(hub.to_hub_weights(model) | extra, model.cfg)
    assert state.keys() == model.state_dict().keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.layers.2.mlp.experts.5.up_proj.weight": None}, "experts.5.up_proj.weight is missing"),
        ({"lm_head.weight": None}, "lm_head.weight is missing"),
        ({"model.layers.1.self_attn.q_proj.weight": torch.ones(2)}, "layers.1.self_attn.q_proj.weight has no place"),
        ({"model.layers.1.mlp.gate.weight_scale_inv": torch.ones(2)}, "weight_scale_inv has no place"),
        (
            {"model.layers.1.mlp.experts.0.gate_proj.weight": torch.ones(13, 32)},
            r"gate_proj.weight has shape \(13, 32\), config.json asks for \(14, 32\)",
        ),
    ],
)  # fmt: skip
def test_wrong_weights_are_one_line(model, change, message):
    weights = {k: t for k, t in (hub.to_hub_weights(model) | change).items() if t is not None}
    with pytest.raises(HubError, match=message):
        hub.from_hub_weights(weights, model.cfg)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "config.json").write_text("{"), "is damaged: Expecting property name"),
        (lambda f: (f / "config.json").write_text("[1]"), "is damaged: "),
        (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "is damaged: 'utf-8'"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\0" * 100), "is damaged: "),
        (lambda f: save_file({}, f / "model.safetensors"), "weights: model.embed_tokens.weight is missing"),
        (lambda f: (f / "model.safetensors.index.json").write_text("{}"), "is damaged: 'weight_map'"),
        (
            lambda f: (f / "config.json").write_text(
                json.dumps(json.loads((f / "config.json").read_text()) | {"quantization_config": {"bits": 4}})
            ),
            "quantization_config must be missing",
        ),
    ],
)
def test_a_damaged_folder_is_one_line(model, encoding, tmp_path, damage, message):
    hub.save_pretrained(model, encoding, tmp_path / "kimi")
    damage(tmp_path / "kimi")
    with pytest.raises(HubError) as error:
        hub.from_pretrained(tmp_path / "kimi")
    assert message in str(error.value)
    assert str(tmp_path / "kimi") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(HubError, match=r"nowhere: config\.json is missing"):
        hub.from_pretrained(tmp_path / "nowhere")
