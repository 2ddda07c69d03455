"""The numbers behind the planner, and its widget."""

import json
from dataclasses import replace

import pytest

from lab_utils.course import planner as module
from lab_utils.course.forecast import fit_machine
from lab_utils.course.planner import SLIDERS, apply_sliders, planner, size_table, sizes
from nanokimi.config import ConfigError
from nanokimi.presets.yaml_config import load_model_config
from tests.course.test_forecast import made_up


def test_k2s_numbers():
    found = sizes(load_model_config("kimi-k2"))
    assert found.total == pytest.approx(1026.4e9, rel=1e-4)
    assert found.active == pytest.approx(32.86e9, rel=1e-3)
    assert found.cache_per_token == 35_136
    assert found.weight_bytes == 2 * found.total
    assert found.cache_bytes == 2 * 35_136 * load_model_config("kimi-k2").max_seq_len


def test_the_sliders_reach_the_configuration():
    values = dict(zip([label for label, *_ in SLIDERS], (256, 8, 32, 4, 64, 32), strict=True))
    cfg = apply_sliders(load_model_config("kimi-tiny"), values)
    assert (cfg.d_model, cfg.n_layers, cfg.mla.kv_lora_rank) == (256, 8, 32)
    assert (cfg.moe.n_routed_experts, cfg.moe.top_k, cfg.moe.moe_intermediate_size) == (32, 4, 64)
    with pytest.raises(ValueError, match="top_k=8 must lie in"):
        apply_sliders(cfg, values | {"experts per token": 8, "experts per layer": 4})


def test_the_table_for_a_page_and_the_sliders_for_a_person(monkeypatch, tmp_path):
    cfg = load_model_config("kimi-tiny")
    measured = tmp_path / "scaling-mine.json"
    measured.write_text(json.dumps(made_up()))
    table = size_table({"your model": cfg}, fit_machine(made_up()))
    assert str(planner(cfg, measured=measured)) == str(table)
    monkeypatch.setenv("NANOKIMI_LIVE", "1")
    *sliders, shown, _ = planner(cfg, measured=measured).children
    assert "jp-RenderedHTMLCommon" in shown._dom_classes  # else heads and numbers run together
    assert all(slider.description for slider in sliders)
    before = shown.value
    assert table._repr_html_() in before  # the sliders begin at its own sizes
    sliders[2].value = 64
    assert shown.value != before
    sliders[3].value, sliders[2].value = 8, 4
    assert "do not go together: top_k=8 must lie in 1..n_routed_experts=4" in shown.value


def test_the_table_tells_the_cost_of_a_step():
    """As the made-up machine charges: by hand, of a step of 16 windows of 256 tokens."""
    cfg, machine = load_model_config("kimi-tiny"), fit_machine(made_up())
    seconds, n_bytes = machine.forecast(cfg, 16, 256)
    table = size_table({"tiny": cfg}, machine)
    assert [cell for (cell,) in table.cells[0]][-2:] == [f"{seconds:.2f}", f"{n_bytes / 1e6:.0f} MB"]
    assert "Made up" in table.caption
    silent = fit_machine(made_up(memory=None))
    assert size_table({"tiny": cfg}, silent).cells[0][-1] == ("unknown",)


def test_without_a_measurement_the_table_tells_sizes_only(monkeypatch, tmp_path):
    """A wheel has no records."""
    monkeypatch.setattr(module, "MEASURED", tmp_path / "none.json")
    cfg = load_model_config("kimi-tiny")
    assert str(planner(cfg)) == str(size_table({"your model": cfg}))


@pytest.mark.parametrize("wrong", ["kimi-tiny", None, load_model_config("gpt-tiny")])
def test_what_is_no_kimi_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"planner: cfg=.* must be KimiConfig"):
        planner(wrong)


@pytest.mark.parametrize(
    "changes", [{"moe": None}, {"attention": "mha", "mla": None}, {"attention": ["kda", "mla"]}]
)
def test_a_model_without_what_the_sliders_change_is_refused(changes):
    with pytest.raises(ConfigError, match="planner: cfg needs experts and latent attention"):
        planner(replace(load_model_config("kimi-tiny"), **changes))
