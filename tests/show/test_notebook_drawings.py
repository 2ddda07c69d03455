"""The drawings of notebooks 04 and 05: they say what the core computes, their numbers come from the configuration."""

import re
from itertools import pairwise

import pytest
import torch

from lab_utils.course.chapters.ch04_routing.figures import draw_dispatch
from lab_utils.course.chapters.ch05_latent.figures import draw_dataflow
from nanokimi.config import KimiConfig, RopeConfig, YarnConfig
from nanokimi.mla import MultiHeadLatentAttention
from nanokimi.presets.yaml_config import load_model_config
from tests.show.drawn import SVG, assert_readable, boxes, parse, texts

MODELS = {name: load_model_config(name) for name in ("kimi-tiny", "kimi-small", "deepseek-v3", "kimi-k2")} | {
    "yarn": KimiConfig(n_heads=3, rope=RopeConfig(yarn=YarnConfig()))
}


def written(drawing) -> list[str]:
    return [text.text for text in texts(drawing)]


@pytest.mark.parametrize("name", MODELS)
def test_the_dataflow_has_the_shapes_and_the_scale_of_the_layer(name):
    cfg = MODELS[name]
    with torch.device("meta"):
        layer = MultiHeadLatentAttention(cfg.d_model, cfg.n_heads, cfg.mla, cfg.rope)
    drawn = draw_dataflow(cfg)
    said = written(drawn)
    after = dict(pairwise(said))  # the line below the title of a box

    def product(text: str) -> int:
        return eval(text.replace("·", "*").replace(",", ""))

    assert f"scale {layer.scale:.6f}" in " ".join(said)
    down = after["W_DKV: down"].split(" → ")
    assert (product(down[1]), product(down[0])) == tuple(layer.kv_a_proj.weight.shape)
    ups = [after[title].split(" → ") for title in ("W_UK: up", "W_UV: up")]
    assert sum(product(up[1]) for up in ups) == layer.kv_b_proj.weight.shape[0]
    assert {product(up[0]) for up in ups} == {layer.kv_b_proj.weight.shape[1]}
    assert tuple(product(n) for n in after["W_O"].split(" → "))[::-1] == tuple(layer.o_proj.weight.shape)
    query = ["W_Q"] if cfg.mla.q_lora_rank is None else ["W_DQ: down", "W_UQ: up"]
    last = layer.q_proj if cfg.mla.q_lora_rank is None else layer.q_b_proj
    assert product(after[query[-1]].split(" → ")[1]) == last.weight.shape[0]
    assert_readable(drawn)


def test_landmarks_of_k2s_dataflow():
    drawn = draw_dataflow(MODELS["kimi-k2"])
    said = " | ".join(written(drawn))
    for landmark in (
        "512 + 64 = 576",
        "1,536 → 64 · (128 + 64)",
        "scale 0.130861",
        "64 · 128 = 8,192",
        "(64 · 512)",
    ):
        assert landmark in said
    assert "576 numbers" in drawn.alt


DOZEN = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)).topk(2, dim=-1).indices


@pytest.mark.parametrize(
    ("expert_idx", "n_experts"),
    [(DOZEN, 4), (torch.tensor([[2, 0], [0, 2], [2, 0]]), 4), (torch.tensor([[1], [0], [1]]), 2)],
    ids=["a dozen", "an expert without rows", "K = 1"],
)
def test_every_row_goes_to_its_expert_and_back(expert_idx, n_experts):
    drawn = draw_dispatch(expert_idx, n_experts)
    at = {}
    for text in texts(drawn):
        for left, top, right, bottom in boxes(drawn):
            if (
                left <= text.left
                and text.right <= right
                and top <= text.top + 1
                and text.bottom <= bottom + 1
            ):
                at[text.text] = (left, right, (top + bottom) / 2)
    pairs, top_k = expert_idx.flatten().tolist(), expert_idx.shape[1]
    curves = [node for node in parse(drawn).iter(f"{SVG}path") if "C" in node.get("d")]
    ends = {}
    for node in curves:
        numbers = [float(n) for n in re.findall(r"[\d.]+", node.get("d"))]
        ends[tuple(numbers[:2]), tuple(numbers[-2:])] = node.get("class")
    assert len(ends) == 2 * len(pairs)
    for i, expert in enumerate(pairs):
        sent, row = at[f"pair {i}: expert {expert}"], at[f"pair {i}: x {i // top_k}"]
        back = at[f"w · out of pair {i}"]
        assert ends[(sent[1], sent[2]), (row[0], row[2])] == f"s-run{expert}"
        assert ends[(row[1], row[2]), (back[0], back[2])] == f"s-run{expert}"
    order = torch.tensor(pairs).argsort(stable=True).tolist()
    rows = sorted((at[f"pair {i}: x {i // top_k}"][2], i) for i in range(len(pairs)))
    assert [i for _, i in rows] == order
    counts = torch.bincount(torch.tensor(pairs), minlength=n_experts).tolist()
    assert f"bank(rows, counts) with counts = {counts}" in written(drawn)
    assert_readable(drawn)


def test_the_words_say_who_goes_where():
    assert draw_dispatch(torch.tensor([[2, 0], [0, 2]]), 3).alt == (
        "2 tokens choose 2 of 3 experts each: "
        "expert 0 gets tokens 0, 1; expert 1 gets no token; expert 2 gets tokens 0, 1."
    )
