"""Folders of the DeepseekV3 format both ways, held against transformers itself."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiktoken
import torch
from safetensors.torch import load_file, save_file

from nanokimi import hub
from nanokimi.config import BlockLatentConfig, GPTConfig, MoEConfig
from nanokimi.generate import generate
from nanokimi.gpt import GPT
from nanokimi.hub.hub_config import HubError
from nanokimi.kimi import Kimi
from tests.hub.hub_models import (
    assert_close,
    load_in_transformers,
    make_config,
    make_encoding,
    make_kimi,
    make_tokens,
)
from tests.tiny import harsh_


@pytest.fixture(scope="module")
def encoding() -> tiktoken.Encoding:
    return make_encoding()


@pytest.fixture(scope="module")
def model() -> Kimi:
    return make_kimi()


@pytest.fixture(scope="module")
def folder(model, encoding, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "deep" / "kimi"
    hub.save_pretrained(model, encoding, path)
    return path


def test_export_is_loaded_by_transformers_and_continues_with_the_same_tokens(model, encoding, folder):
    theirs = load_in_transformers(folder)
    tokens = make_tokens(model)
    with torch.no_grad():
        assert_close(theirs(tokens).logits, model(tokens).logits)
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
    theirs = load_in_transformers(folder)
    theirs.save_pretrained(tmp_path / "one")
    saved, written = (
        load_file(tmp_path / "one" / "model.safetensors"),
        load_file(folder / "model.safetensors"),
    )
    assert saved.keys() == written.keys()
    assert all(torch.equal(saved[name], written[name]) for name in saved)
    harsh_(theirs, seed=1, std=0.15)
    theirs.save_pretrained(tmp_path / "several", max_shard_size="40KB")
    assert len(list((tmp_path / "several").glob("*.safetensors"))) > 1
    tokens = make_tokens(model)
    with torch.no_grad():
        assert_close(hub.from_pretrained(tmp_path / "one")(tokens).logits, model(tokens).logits)
        assert_close(hub.from_pretrained(tmp_path / "several")(tokens).logits, theirs(tokens).logits)


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
    dense = make_kimi(moe=None)
    hub.save_pretrained(dense, encoding, tmp_path / "dense")
    tokens = make_tokens(dense)
    with torch.no_grad():
        assert_close(load_in_transformers(tmp_path / "dense")(tokens).logits, dense(tokens).logits)
        assert_close(hub.from_pretrained(tmp_path / "dense")(tokens).logits, dense(tokens).logits)


def test_bfloat16_keeps_the_bias_in_float32(encoding, tmp_path):
    model = make_kimi()
    bias = model.moe_layers()[0].expert_bias.clone()
    model.to(torch.bfloat16)
    model.moe_layers()[0].expert_bias = bias
    hub.save_pretrained(model, encoding, tmp_path / "half")
    theirs = load_in_transformers(tmp_path / "half")
    assert theirs.dtype == torch.bfloat16
    assert torch.equal(theirs.model.layers[1].mlp.gate.e_score_correction_bias, bias)
    assert torch.equal(hub.from_pretrained(tmp_path / "half").moe_layers()[0].expert_bias, bias)


@pytest.mark.parametrize("empty", [True, False])
def test_an_existing_folder_must_be_empty(model, encoding, tmp_path, empty):
    target = tmp_path / "there"
    target.mkdir()
    if not empty:
        (target / "thesis.txt").write_text("mine")
        with pytest.raises(HubError, match=r"there' exists and is not an empty folder: name a new one"):
            hub.save_pretrained(model, encoding, target)
        assert [p.name for p in target.iterdir()] == ["thesis.txt"]
    else:
        hub.save_pretrained(model, encoding, target)
        assert hub.from_pretrained(target).cfg.n_layers == 3
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


def test_a_failed_export_leaves_nothing(model, encoding, tmp_path, monkeypatch):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nanokimi.hub.folder.save_file", full_disk)
    with pytest.raises(HubError, match=r"kimi' cannot be written: No space left on device$"):
        hub.save_pretrained(model, encoding, tmp_path / "kimi")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("most_bytes", [500, 2_000, 100_000])
def test_a_full_disk_is_one_line_and_leaves_nothing(model, encoding, tmp_path, most_bytes):
    """A limit on the size of files stands for the disk; each of the folder's larger files meets one."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, limits[1]))
    try:
        with pytest.raises(HubError) as error:
            hub.save_pretrained(model, encoding, tmp_path / "deep" / "kimi")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(error.value).startswith(f"'{tmp_path}/deep/kimi' cannot be written: ")
    assert "File too large" in str(error.value) and "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["thesis.txt/kimi", "thesis.txt/deep/kimi"])
def test_a_file_in_the_way_is_one_line(model, encoding, tmp_path, below):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(HubError, match="kimi' cannot be written: a file or a link is in the way"):
        hub.save_pretrained(model, encoding, tmp_path / below)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["layers.1.mlp.gate", "layers.2.mlp.expert_bias", "lm_head.weight"])
def test_a_model_that_diverged_is_not_exported(encoding, tmp_path, name, number):
    model = make_kimi()
    with torch.no_grad():
        model.state_dict()[name].view(-1)[-1] = number
    with pytest.raises(HubError, match=f"the weight {name} is not finite: a model that diverged"):
        hub.save_pretrained(model, encoding, tmp_path / "kimi")
    assert list(tmp_path.iterdir()) == []


def test_the_current_folder_and_a_link_are_refused(model, encoding, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to("here")
    with pytest.raises(HubError, match="link' cannot be written: a file or a link is in the way"):
        hub.save_pretrained(model, encoding, tmp_path / "link")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(HubError, match=r"'\.' is the current folder: name a new one"):
        hub.save_pretrained(model, encoding, ".")
    assert list(Path(".").iterdir()) == []


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": "mha", "mla": None}, "attention=mha cannot be exported"),
        (
            {"attention": "block_latent", "mla": None, "block_latent": BlockLatentConfig()},
            "attention=block_latent",
        ),
        ({"moe": MoEConfig(scoring="softmax")}, "scoring=softmax cannot be exported"),
        ({"moe": MoEConfig(n_routed_experts=1, top_k=1)}, "n_routed_experts=1 cannot be exported"),
    ],
)
def test_what_the_format_cannot_express_is_one_line(changes, message, encoding, tmp_path):
    model = Kimi(make_config(encoding.n_vocab, **changes))
    with pytest.raises(HubError, match=message):
        hub.save_pretrained(model, encoding, tmp_path / "kimi")
    assert list(tmp_path.iterdir()) == []


def test_a_gpt_and_a_foreign_tokenizer_are_refused(model, encoding, tmp_path):
    with pytest.raises(HubError, match="a GPT cannot be exported"):
        hub.save_pretrained(GPT(GPTConfig(vocab_size=300)), encoding, tmp_path / "gpt")
    with pytest.raises(HubError, match="vocab_size=299 is less than the tokenizer's 300 tokens"):
        hub.save_pretrained(Kimi(make_config(299)), encoding, tmp_path / "kimi")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json does not exist"),
        (lambda f: (f / "model.safetensors").unlink(), "'model.safetensors' is missing"),
        (lambda f: (f / "config.json").write_text("{"), "is damaged: line 1 is no JSON"),
        (lambda f: (f / "config.json").write_text("[1]"), "config.json must hold the fields"),
        (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "is UTF-16 text"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\0" * 100), "'model.safetensors' is damaged: "),
        (lambda f: save_file({}, f / "model.safetensors"), "weights: model.embed_tokens.weight is missing"),
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
    with pytest.raises(HubError, match=r"nowhere/config\.json does not exist"):
        hub.from_pretrained(tmp_path / "nowhere")


# ---------------------------------------------------------------- weights


def test_in_memory_banks_and_single_experts_are_both_read(model, folder):
    single = hub.to_hub_weights(model)
    banks = load_in_transformers(folder).state_dict()
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
        ({"model.layers.1.self_attn.q_proj.weight": torch.ones(2)}, "layers.1.self_attn.q_proj.weight' has no place"),
        ({"model.layers.1.mlp.gate.weight_scale_inv": torch.ones(2)}, "weight_scale_inv' has no place"),
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
