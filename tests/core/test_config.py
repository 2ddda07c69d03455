"""Configurations refuse what cannot work, in one line that names the field, its value and what is allowed."""

import ast
import pickle
from dataclasses import FrozenInstanceError, asdict, fields, replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import nanokimi
from nanokimi.config import (
    BalanceConfig,
    BlockLatentConfig,
    ConfigError,
    DataConfig,
    GPTConfig,
    KDAConfig,
    KimiConfig,
    MLAConfig,
    MoEConfig,
    OptimConfig,
    RopeConfig,
    TrainConfig,
    YarnConfig,
    to_dict,
)
from nanokimi.presets.yaml_config import build

CONFIGS = (
    GPTConfig,
    KDAConfig,
    YarnConfig,
    RopeConfig,
    MLAConfig,
    BlockLatentConfig,
    MoEConfig,
    KimiConfig,
    OptimConfig,
    BalanceConfig,
    TrainConfig,
    DataConfig,
)
MLA = {"attention": "mla", "mla": {}}

REFUSED = [
    (GPTConfig, {"d_model": 130}, "d_model=130 must be a multiple of n_heads=4"),
    (GPTConfig, {"n_heads": 0}, "n_heads=0 must be 1 or more"),
    (GPTConfig, {"kind": "kimi"}, "kind='kimi' must be 'gpt'"),
    (YarnConfig, {"factor": 1.0}, "factor=1.0 must be above 1"),
    (
        YarnConfig,
        {"beta_fast": 1.0, "beta_slow": 2.0},
        "beta_fast=1.0 must be at least beta_slow=2.0",
    ),
    (RopeConfig, {"base": 1.0}, "base=1.0 must be above 1"),
    (RopeConfig, {"yarn": {"factor": 0.5}}, "yarn.factor=0.5 must be above 1"),
    (MLAConfig, {"q_lora_rank": 0}, "q_lora_rank=0 must be 1 or more"),
    (MLAConfig, {"qk_rope_head_dim": 7}, "qk_rope_head_dim=7 must be a multiple of 2"),
    (BlockLatentConfig, {"block_len": 0}, "block_len=0 must be 1 or more"),
    (MoEConfig, {"n_shared_experts": -1}, "n_shared_experts=-1 must be 0 or more"),
    (MoEConfig, {"top_k": 17}, "top_k=17 must lie in 1..n_routed_experts=16"),
    (MoEConfig, {"top_k": 0}, "top_k=0 must lie in 1..n_routed_experts=16"),
    (MoEConfig, {"n_group": 3}, "n_routed_experts=16 must be a multiple of n_group=3"),
    (MoEConfig, {"n_group": 4, "topk_group": 5}, "topk_group=5 must lie in 1..n_group=4"),
    (MoEConfig, {"topk_group": 0}, "topk_group=0 must lie in 1..n_group=1"),
    (
        MoEConfig,
        {"n_group": 16, "topk_group": 4},
        "n_group=16 leaves one expert per group: each needs two",
    ),
    (
        MoEConfig,
        {"n_group": 4, "topk_group": 1, "top_k": 5},
        "top_k=5 is more than the 4 experts of topk_group=1 groups",
    ),
    (MoEConfig, {"routed_scaling_factor": 0.0}, "routed_scaling_factor=0.0 must be above 0"),
    (MoEConfig, {"scoring": "relu"}, "scoring='relu' must be 'sigmoid' or 'softmax'"),
    (KimiConfig, {"attention": "mha", "mla": {}}, "section mla: is not used by attention=mha"),
    (KimiConfig, {**MLA, "block_latent": {}}, "section block_latent: is not used by attention=mla"),
    (
        KimiConfig,
        {**MLA, "first_k_dense_replace": 5},
        "first_k_dense_replace=5 must lie in 0..n_layers=4",
    ),
    (
        KimiConfig,
        {"attention": "mha", "d_model": 36, "n_heads": 4},
        "d_model=36 must be a multiple of 2·n_heads=8: heads are turned in pairs",
    ),
    (
        KimiConfig,
        {**MLA, "attention": "linear"},
        "attention='linear' must be 'mha', 'mla', 'block_latent' or 'kda'; "
        "for one of your own call register_attention first",
    ),
    (KimiConfig, {**MLA, "moe": {"top_k": 99}}, "moe: top_k=99 must lie in 1..n_routed_experts=16"),
    (OptimConfig, {"beta2": 1.0}, "beta2=1.0 must be below 1"),
    (OptimConfig, {"muon_momentum": -0.1}, "muon_momentum=-0.1 must be 0 or more"),
    (OptimConfig, {"weight_decay": -1.0}, "weight_decay=-1.0 must be 0 or more"),
    (OptimConfig, {"optimizer": "sgd"}, "optimizer='sgd' must be 'adamw' or 'muon'"),
    (BalanceConfig, {"z_coef": -1e-3}, "z_coef=-0.001 must be 0 or more"),
    (TrainConfig, {"steps": 20, "warmup_steps": 20}, "warmup_steps=20 must lie in 0..steps-1=19"),
    (TrainConfig, {"seed": 2**64}, "seed=18446744073709551616 must be below 2^64"),
    (
        TrainConfig,
        {"seed": 10**5000},
        "seed=a number of thousands of digits must be below 2^64",
    ),
    (TrainConfig, {"eval_every": True}, "eval_every=True must be a whole number, not a yes or no"),
    (OptimConfig, {"lr": True}, "lr=True must be a number, not a yes or no"),
    (OptimConfig, {"lr": 10**5000}, "lr=a number of thousands of digits must be below 1e308"),
    (GPTConfig, {"vocab_size": 10**12}, "vocab_size=1000000000000 must be 1,000,000 or less"),
    (GPTConfig, {"d_model": None}, "d_model=None must be a whole number"),
    (GPTConfig, {"d_model": 1.5}, "d_model=1.5 must be a whole number"),
    (TrainConfig, {"warmup_steps": -1}, "warmup_steps=-1 must lie in 0..steps-1=299"),
    (TrainConfig, {"min_lr_ratio": 1.5}, "min_lr_ratio=1.5 must be 1 or less"),
    (TrainConfig, {"decay_fraction": -0.1}, "decay_fraction=-0.1 must be 0 or more"),
    (TrainConfig, {"qk_clip_tau": 0.0}, "qk_clip_tau=0.0 must be above 0"),
    (TrainConfig, {"device": "tpu"}, "device='tpu' must be 'auto', 'cpu', 'cuda' or 'mps'"),
    (TrainConfig, {"optim": {"lr": 0.0}}, "optim.lr=0.0 must be above 0"),
    (TrainConfig, {"balance": {"z_coef": -1.0}}, "balance.z_coef=-1.0 must be 0 or more"),
    (DataConfig, {"source": "  "}, "source is empty: name storyworld, almanac, tinystories or a path"),
    (
        DataConfig,
        {"vocab_size": 256},
        "vocab_size=256 must be at least 257: 256 bytes and <|endoftext|>",
    ),
    (
        DataConfig,
        {"tokenizer": "words"},
        "tokenizer='words' must be 'bpe', 'gpt2' or 'char'",
    ),
]

ALLOWED = [
    (MoEConfig, {"n_routed_experts": 1, "top_k": 1}),
    (MoEConfig, {"top_k": 16}),
    (MoEConfig, {"n_group": 8, "topk_group": 2, "top_k": 4}),
    (MoEConfig, {"n_shared_experts": 0}),
    (KimiConfig, {**MLA, "first_k_dense_replace": 0}),
    (KimiConfig, {**MLA, "first_k_dense_replace": 4}),
    (KimiConfig, {}),
    (KimiConfig, {"attention": "block_latent"}),
    (KimiConfig, {"attention": "mha"}),
    (KimiConfig, {**MLA, "d_model": 35}),  # MLA's heads have widths of their own
    (KimiConfig, {"attention": "block_latent", "block_latent": {"n_latents": 1, "block_len": 1}}),
    (TrainConfig, {"steps": 21}),
    (TrainConfig, {"steps": 1}),
    (TrainConfig, {"steps": 10**18}),
    (TrainConfig, {"min_lr_ratio": 0.0, "decay_fraction": 1.0}),
    (OptimConfig, {"beta1": 0.0, "weight_decay": 0.0}),
    (DataConfig, {"vocab_size": 257}),
    (DataConfig, {"vocab_size": 1, "tokenizer": "char"}),
]


@pytest.mark.parametrize(
    ("cls", "settings", "message"), REFUSED, ids=lambda x: None if isinstance(x, dict) else str(x)
)
def test_refused_in_one_line_that_says_why(cls, settings, message):
    with pytest.raises(ConfigError) as refused:
        build(cls, settings)  # as from YAML, where nobody writes None
    assert str(refused.value) == message.replace("=None must", " is empty: it must")
    with pytest.raises(ConfigError) as refused:
        cls(**settings)
    assert str(refused.value) == message


@pytest.mark.parametrize(("cls", "settings"), ALLOWED)
def test_the_edge_of_what_is_allowed_is_allowed(cls, settings):
    cfg = build(cls, settings)
    assert {name: getattr(cfg, name) for name, value in settings.items() if not isinstance(value, dict)} == {
        name: value for name, value in settings.items() if not isinstance(value, dict)
    }


def number_fields(cls: type) -> list[str]:
    return [name for name, hint in get_type_hints(cls).items() if {int, float} & {hint, *get_args(hint)}]


# Of either sign.
FREE = {"seed", "mscale_all_dim"}


@pytest.mark.parametrize(
    ("cls", "name"), [(cls, name) for cls in CONFIGS for name in number_fields(cls) if name not in FREE]
)
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "many", True])
def test_no_number_goes_unchecked(cls, name, value):
    with pytest.raises(ConfigError) as refused:
        cls(**{name: value})
    line = str(refused.value)
    assert name in line and "\n" not in line


@pytest.mark.parametrize("cls", CONFIGS)
def test_configurations_are_frozen_and_take_names_only(cls):
    cfg = cls()
    name = fields(cls)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(cfg, name, getattr(cfg, name))
    with pytest.raises(ConfigError, match=f"{cls.__name__} takes its settings by name"):
        cls(1)
    with pytest.raises(ConfigError, match="nonsense is not a setting"):
        cls(nonsense=1)
    assert pickle.loads(pickle.dumps(cfg)) == cfg
    assert hash(cfg) == hash(replace(cfg))
    # As it was written before there was more; `test_attention_config` and `test_quantile_balance` have the rest.
    later = {"own_attention": None, "kda": None, "use_nope": False, "output_gate": "none", "method": "sign"}
    later = {} if cls is KDAConfig else later
    data = asdict(cfg)
    for part in (data, data.get("mla") or {}, data.get("balance") or {}):
        for name in later.keys() & part.keys():
            assert part.pop(name) == later[name]
    assert to_dict(cfg) == data


def test_replacing_a_field_validates_again():
    with pytest.raises(ValueError, match="top_k=20"):
        replace(MoEConfig(), top_k=20)


@pytest.mark.parametrize(
    ("first_k", "moe", "dense"),
    [(1, MoEConfig(), [True, False, False]), (0, MoEConfig(), [False] * 3), (1, None, [True] * 3)],
)
def test_layers_below_first_k_are_dense_and_all_without_experts(first_k, moe, dense):
    cfg = KimiConfig(n_layers=3, first_k_dense_replace=first_k, mla=MLAConfig(), moe=moe)
    assert [cfg.is_dense(i) for i in range(3)] == dense


def test_every_field_is_read_by_the_core():
    """A setting that nothing reads would be a silent mistake of whoever sets it."""
    read = {"kind"}  # which class a file describes: settled before there is one

    class Reader(ast.NodeVisitor):
        def visit_FunctionDef(self, node):
            if node.name != "_check":  # validating a field is not reading it
                self.generic_visit(node)

        def visit_Attribute(self, node):
            read.add(node.attr)
            self.generic_visit(node)

    for path in Path(nanokimi.__file__).parent.rglob("*.py"):
        Reader().visit(ast.parse(path.read_text()))
    assert {f.name for cls in CONFIGS for f in fields(cls)} - read == set()
