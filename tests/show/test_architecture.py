"""The architecture as drawn: every part of the model is in it, numbers are those of the configuration, texts fit."""

import re
from dataclasses import replace

import pytest
import torch

from lab_utils.show.architecture import PARTS, architecture, count_layers, describe, draw_whole
from nanokimi.config import KimiConfig, MLAConfig, MoEConfig, RopeConfig, YarnConfig
from nanokimi.model import build_model
from nanokimi.presets.yaml_config import load_model_config
from tests.show.drawn import assert_readable, texts

PRESETS = (
    "kimi-tiny",
    "kimi-tiny-mla",
    "kimi-tiny-dense",
    "kimi-small",
    "moonlight-16b",
    "deepseek-v3",
    "kimi-k2",
)
MODELS = {name: load_model_config(name) for name in PRESETS} | {
    "block": KimiConfig(attention="block_latent", moe=MoEConfig(n_shared_experts=0)),
    "softmax": KimiConfig(first_k_dense_replace=0, moe=MoEConfig(scoring="softmax", n_group=4, topk_group=2)),
    "low rank": KimiConfig(mla=MLAConfig(q_lora_rank=24), first_k_dense_replace=4, moe=MoEConfig()),
    "yarn": KimiConfig(rope=RopeConfig(base=5e4, yarn=YarnConfig(factor=8.0))),
}


@pytest.fixture(params=MODELS)
def cfg(request):
    return MODELS[request.param]


def weights(cfg: KimiConfig) -> set[str]:
    """The names of the weights and buffers of a model, without the layer that they stand in."""
    with torch.device("meta"):
        model = build_model(replace(cfg, n_layers=min(cfg.n_layers, cfg.first_k_dense_replace + 1)))
    names = [name for name, _ in (*model.named_parameters(), *model.named_buffers())]
    return {re.sub(r"layers\.\d+\.|self_attn\.|mlp\.|\.weight", "", name) for name in names}


def shown_code(cfg: KimiConfig) -> str:
    return ", ".join(text.text for text in texts(draw_whole({"m": cfg})) if text.look == "quiet")


def test_every_weight_of_the_model_is_named_in_the_drawing(cfg):
    told = set(shown_code(cfg).replace(" .down_proj", " experts.down_proj").split(", "))
    for name in weights(cfg):
        assert name in told or name.partition(".")[0] in told, name


def test_no_part_is_drawn_that_the_model_does_not_have(cfg):
    has = weights(cfg)
    for part in describe(cfg):
        first = PARTS[part][1].partition(",")[0]
        is_function = first in ("", "rotations", "SequenceCache", "BlockLatentCache", "attend", "topk_route")
        assert is_function or any(name.startswith(first) for name in has), part


@pytest.mark.parametrize("name", ["kimi-tiny", "kimi-k2"])
def test_the_numbers_are_the_shapes_of_the_weights(name):
    cfg, told = MODELS[name], describe(MODELS[name])
    with torch.device("meta"):
        layer = build_model(replace(cfg, n_layers=2)).layers[1]

    def product(text: str) -> int:
        return eval(text.replace("·", "*").replace(",", ""))

    _, *rows = told["low_query" if cfg.mla.q_lora_rank else "query"].split(" → ")
    wide = layer.self_attn.q_b_proj if cfg.mla.q_lora_rank else layer.self_attn.q_proj
    assert product(rows[-1]) == wide.weight.shape[0]
    assert product(told["expand"].split(" → ")[1]) == layer.self_attn.kv_b_proj.weight.shape[0]
    assert product(told["output"].split(" → ")[0]) == layer.self_attn.o_proj.weight.shape[1]
    assert product(told["cache"].split(" = ")[1]) == layer.self_attn.kv_a_proj.weight.shape[0]
    assert product(told["router"].split(" → ")[1].split(",")[0]) == layer.mlp.gate.shape[0]
    experts, sizes = told["experts"].split(" · ")
    d, width, _ = map(product, sizes.strip("()").split(" → "))
    assert (product(experts), 2 * width, d) == tuple(layer.mlp.experts.gate_up_proj.shape)


def test_landmarks_of_k2():
    told = describe(MODELS["kimi-k2"])
    assert told["cache"] == "512 + 64 = 576"
    assert told["choice"] == "8 of 384, × 2.827"
    assert told["rotation"] == "base 50,000, YaRN × 32"
    assert count_layers(MODELS["kimi-k2"]) == "1 dense, 60 with experts"
    assert describe(MODELS["softmax"])["choice"].endswith("from 2 of 4 groups")
    assert count_layers(MODELS["low rank"]) == "4 dense"


@pytest.mark.parametrize(
    "field", ["vocab_size", "max_seq_len", "d_model", "n_heads", "intermediate_size", "n_layers"]
)
def test_another_number_in_the_configuration_is_another_number_in_the_drawing(field):
    cfg = MODELS["kimi-tiny"]
    other = replace(cfg, **{field: 2 * getattr(cfg, field)})
    assert [t.text for t in texts(draw_whole({"m": cfg}))] != [
        t.text for t in texts(draw_whole({"m": other}))
    ]


def test_texts_fit_where_they_stand(cfg):
    assert_readable(draw_whole({"this one": cfg, "Kimi K2": MODELS["kimi-k2"]}))
    assert_readable(draw_whole({"this one": cfg}))
    for here in ("", "attention", "experts", "model", "optimizer"):
        assert_readable(architecture(cfg, here))


def test_a_model_of_largest_numbers_still_fits_its_boxes():
    huge = replace(MODELS["kimi-k2"], vocab_size=1_000_000, n_layers=1000, max_seq_len=2**20)
    assert_readable(draw_whole({"a": huge, "b": huge}), smallest=6)
    assert_readable(architecture(huge, "router"), smallest=4)


def test_the_words_for_those_who_cannot_see_it_have_every_part_and_number(cfg):
    alt = draw_whole({"this one": cfg}).alt
    assert all(PARTS[part][0] in alt and number in alt for part, number in describe(cfg).items())
    assert architecture(cfg, "attention").alt.endswith("You are here: attention.")


def test_you_are_here_marks_the_part_and_nothing_without_it():
    cfg = MODELS["kimi-tiny"]
    for here in (
        "tokens",
        "embedding",
        "latents",
        "attention",
        "router",
        "experts",
        "head",
        "model",
        "optimizer",
    ):
        marks = [text for text in texts(architecture(cfg, here)) if text.look == "here"]
        words = [f"you are here: {here}", *(["here"] if here != "model" else [])]
        assert [mark.text for mark in marks] == words
        assert marks[0].right < 300, "a narrow screen shows it without scrolling"
    assert 'class="marked"' not in architecture(cfg).svg


def test_a_part_that_the_model_does_not_have_is_refused_in_one_line():
    with pytest.raises(
        ValueError, match="here='router' is no part of this model; known: tokens, embedding"
    ) as error:
        architecture(MODELS["kimi-tiny-dense"], "router")
    assert "\n" not in str(error.value)
