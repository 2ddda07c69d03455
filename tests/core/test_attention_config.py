"""Patterns of attention over the layers, and the settings that came later."""

import json

import pytest

from nanokimi.config import (
    ConfigError,
    DataConfig,
    KDAConfig,
    KimiConfig,
    MLAConfig,
    RopeConfig,
    TrainConfig,
    YarnConfig,
    to_dict,
)
from nanokimi.presets.idle import idle_settings
from nanokimi.presets.plain_yaml import dump, parse
from nanokimi.presets.yaml_config import build
from tests import tiny

HYBRID = ["kda", "kda", "kda", "mla"]
# As published: Kimi Linear's config.json counts its layers of full attention from 1; K3's report says 69 and 24.
KIMI_LINEAR = [4, 8, 12, 16, 20, 24, 27]


def names(cfg: KimiConfig) -> list[str]:
    return [cfg.attention_of(layer) for layer in range(cfg.n_layers)]


def test_the_hybrid_of_kimi_linear_and_k3():
    linear = names(KimiConfig(n_layers=27, attention=HYBRID))
    assert [i + 1 for i, name in enumerate(linear) if name == "mla"] == KIMI_LINEAR
    k3 = names(KimiConfig(n_layers=93, attention=HYBRID))
    assert (k3.count("kda"), k3.count("mla"), k3[-2:]) == (69, 24, ["mla", "mla"])


@pytest.mark.parametrize(
    ("pattern", "n_layers", "wanted"),
    [
        (["kda", "mla"], 2, "kda mla"),
        (["kda", "mla"], 3, "kda mla mla"),
        (["mla", "kda"], 4, "mla kda mla kda"),
        (["mla", "kda"], 3, "mla kda kda"),
        (HYBRID, 2, "kda mla"),  # the last layer is the pattern's last, however few there are
        (["kda", "mha"], 5, "kda mha kda mha mha"),
        ("mla", 3, "mla mla mla"),
        (["kda", "kda"], 2, "kda kda"),
    ],
    ids=str,
)
def test_a_pattern_by_hand(pattern, n_layers, wanted):
    cfg = KimiConfig(n_layers=n_layers, attention=pattern)
    assert " ".join(names(cfg)) == wanted


def test_a_pattern_of_one_name_is_the_name():
    assert KimiConfig(attention=["mla", "mla"]) == KimiConfig()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"attention": []}, "attention=[] is empty"),
        ({"attention": ["kda", "mla", "mha"]}, "a pattern has 'kda' and one other attention"),
        ({"attention": ["mha", "mla"]}, "a pattern has 'kda' and one other attention"),
        ({"attention": ["kda", "sliding"]}, "beside 'kda' stands one of the lab's own, 'mha' or 'mla' or"),
        ({"attention": ["kda", "mla"], "n_layers": 1}, "with n_layers=1 no layer is 'kda'"),
        ({"attention": ["kda", 3]}, "attention=['kda', 3] must be a name, or a list of names"),
        ({"attention": ["kda", "mla"], "block_latent": {}}, "section block_latent: is not used by attention=[kda"),
        ({"attention": ["kda", "mla"], "own_attention": 3}, "section own_attention: is not used by attention=[kda"),
        ({"kda": {}}, "section kda: is not used by attention=mla"),
        ({"attention": "kda", "mla": {}}, "section mla: is not used by attention=kda"),
        ({"attention": "kda", "kda": {"decay": "exp"}}, "kda.decay='exp' must be 'softplus' or 'bounded'"),
        ({"mla": {"use_nope": 1}}, "mla.use_nope=1 must be true or false"),
        ({"mla": {"use_nope": True}, "rope": {"yarn": {}}}, "section rope.yarn: is not used by mla.use_nope=true"),
        ({"attention": ["kda", "mha"], "d_model": 36}, "d_model=36 must be a multiple of 2·n_heads=8"),
    ],
    ids=str,
)  # fmt: skip
def test_what_fits_no_model_is_refused_in_one_line(settings, says):
    with pytest.raises(ConfigError) as caught:
        build(KimiConfig, settings)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_kda_alone_needs_no_even_heads():
    assert KimiConfig(attention="kda", d_model=35, n_heads=3).kda == KDAConfig()


@pytest.mark.parametrize("name", ["kimi-kda", "kimi-hybrid"])
def test_as_json_and_yaml_and_back(name):
    cfg = tiny.model_config(name)
    data = to_dict(cfg)
    assert json.loads(json.dumps(data)) == data and parse(dump(data), "") == data
    assert build(KimiConfig, data) == cfg


def test_what_a_model_does_not_use_of_it_is_not_written():
    assert not {"kda", "own_attention"} & to_dict(KimiConfig()).keys()
    assert not {"use_nope", "output_gate"} & to_dict(KimiConfig())["mla"].keys()
    used = to_dict(KimiConfig(mla=MLAConfig(use_nope=True, output_gate="full_rank")))["mla"]
    assert (used["use_nope"], used["output_gate"]) == (True, "full_rank")


@pytest.mark.parametrize("n_layers", [2, 5])
def test_layers_of_one_kind_are_found_together(n_layers):
    cfg = tiny.kimi("hybrid", n_layers=n_layers)
    groups = cfg.alike()
    assert sorted(layer for layers in groups.values() for layer in layers) == list(range(n_layers))
    for first, layers in groups.items():
        one = cfg.only(first)
        assert {cfg.attention_of(layer) for layer in layers} == {one.attention_of(0)}
        assert {cfg.is_dense(layer) for layer in layers} == {one.is_dense(0)}
        assert (one.n_layers, one.kda or one.mla) == (1, cfg.kda if one.attention == "kda" else cfg.mla)


def test_yarn_stays_where_something_is_turned():
    yarn = RopeConfig(yarn=YarnConfig())
    assert KimiConfig(attention=["kda", "mha"], rope=yarn).rope == yarn


@pytest.mark.parametrize(
    "model", [{"attention": "kda"}, {"attention": ["kda", "mla"], "mla": MLAConfig(use_nope=True)}], ids=str
)
def test_rotations_that_no_layer_reads_are_named(model):
    cfg = KimiConfig(**model, rope=RopeConfig(base=50.0))
    lines = idle_settings(DataConfig(), cfg, TrainConfig())
    assert lines == ["model.rope.base=50.0 does nothing: no layer turns queries and keys by their positions"]
