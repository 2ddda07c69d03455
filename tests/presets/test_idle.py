"""Settings that train nothing are named, and only those: every field of every configuration is changed and tried.

A setting that is not named must change what a training computes; one that is named as idle must change nothing.
"""

import math
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
import torch

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
)
from nanokimi.generate import generate
from nanokimi.kimi import Kimi
from nanokimi.model import build_model
from nanokimi.presets.idle import IDLE, idle_settings
from nanokimi.text.corpus import load_corpus
from nanokimi.train import train
from tests import tiny
from tests.sample import THOROUGH, sample

ADAMW = tiny.train_config(steps=5, batch_size=2, warmup_steps=2, eval_every=2, eval_windows=4)
MUON = replace(
    ADAMW,
    optim=OptimConfig(optimizer="muon", lr=1e-2),
    balance=BalanceConfig(bias_update_rate=1e-2, switch_coef=0.1),
    qk_clip_tau=0.5,
)
MOE = MoEConfig(n_routed_experts=4, top_k=2, moe_intermediate_size=8)

# Runs in which different settings do nothing: the model and the training.
RUNS: dict[str, tuple[GPTConfig | KimiConfig, TrainConfig]] = {
    "gpt": (tiny.gpt(max_seq_len=8), ADAMW),
    "muonclip": (tiny.kimi(moe=replace(MOE, n_group=2, topk_group=1)), MUON),
    "dense": (tiny.kimi("mha", moe=None), replace(ADAMW, schedule="wsd", grad_accum=2)),
    "all dense": (tiny.kimi(first_k_dense_replace=2), ADAMW),
    "none dense": (tiny.kimi(first_k_dense_replace=0), ADAMW),
    "all experts": (tiny.kimi(moe=replace(MOE, top_k=4, scoring="softmax", routed_scaling_factor=1.5)), MUON),
    "one expert": (tiny.kimi(moe=replace(MOE, top_k=1)), ADAMW),
    "all groups": (tiny.kimi(moe=replace(MOE, n_group=2, topk_group=2)), ADAMW),
    "blocks": (tiny.kimi("block_latent"), replace(ADAMW, schedule="wsd", min_lr_ratio=1.0)),
    "yarn": (
        tiny.kimi(
            rope=RopeConfig(base=50.0, yarn=YarnConfig(factor=4.0, original_max_seq_len=100, beta_fast=4.0)),
            mla=MLAConfig(
                q_lora_rank=8, kv_lora_rank=8, qk_nope_head_dim=4, qk_rope_head_dim=8, v_head_dim=8
            ),
        ),
        replace(ADAMW, warmup_steps=4),
    ),
    "hybrid without positions": (
        tiny.kimi("hybrid", mla=replace(tiny.kimi().mla, use_nope=True, output_gate="full_rank")),
        replace(MUON, seed=6),
    ),
    "one pair": (
        tiny.kimi(mla=replace(tiny.kimi().mla, qk_rope_head_dim=2)),
        replace(MUON, warmup_steps=4, schedule="wsd"),
    ),
}

# In these every field is changed, in the others those that may do nothing.
EVERY_FIELD = ("gpt", "muonclip", "blocks", "yarn", "hybrid without positions")

# Other values of every field, none of them the default. A field that is missing here fails the test below.
OTHER: dict[str, tuple[Any, ...]] = {
    "model.vocab_size": (32,),
    "model.max_seq_len": (12,),
    "model.d_model": (24, 32),
    "model.n_layers": (3,),
    "model.n_heads": (1, 8),
    "model.intermediate_size": (20,),
    "model.first_k_dense_replace": (0, 2),
    "model.norm_eps": (0.1,),
    "model.rope.base": (100.0,),
    "model.rope.yarn": (YarnConfig(factor=4.0, original_max_seq_len=8),),
    "model.rope.yarn.factor": (9.0,),
    "model.rope.yarn.original_max_seq_len": (400,),
    "model.rope.yarn.beta_fast": (20.0,),
    "model.rope.yarn.beta_slow": (3.0,),
    "model.rope.yarn.mscale_all_dim": (0.5,),
    "model.mla.q_lora_rank": (6,),
    "model.mla.kv_lora_rank": (12,),
    "model.mla.qk_nope_head_dim": (6,),
    "model.mla.qk_rope_head_dim": (6,),
    "model.mla.v_head_dim": (4,),
    "model.mla.use_nope": (True,),
    "model.mla.output_gate": ("full_rank",),
    "model.kda.head_dim": (5,),
    "model.kda.conv_size": (1, 3),
    "model.kda.decay": ("bounded",),
    "model.kda.output_gate": ("full_rank",),
    "model.block_latent.n_latents": (3,),
    "model.block_latent.block_len": (3, 8),
    "model.moe": (MoEConfig(n_routed_experts=3, top_k=2, moe_intermediate_size=6),),
    "model.moe.n_routed_experts": (6,),
    "model.moe.n_shared_experts": (0, 2),
    "model.moe.top_k": (1, 3),
    "model.moe.moe_intermediate_size": (12,),
    "model.moe.scoring": ("softmax",),
    "model.moe.norm_topk_prob": (False,),
    "model.moe.routed_scaling_factor": (0.7,),
    "model.moe.n_group": (2,),
    "model.moe.topk_group": (2,),
    "train.steps": (4,),
    "train.batch_size": (3,),
    "train.seq_len": (4, 7),
    "train.grad_accum": (3,),
    "train.warmup_steps": (0, 1),
    "train.schedule": ("wsd",),
    "train.min_lr_ratio": (0.5, 1.0),
    "train.decay_fraction": (0.5, 0.9),
    "train.grad_clip": (1e-3,),
    "train.eval_every": (3, 9),
    "train.eval_windows": (3,),
    "train.seed": (9,),
    "train.qk_clip_tau": (1e-3,),
    "train.optim.optimizer": ("muon",),
    "train.optim.lr": (2e-2,),
    "train.optim.weight_decay": (0.5,),
    "train.optim.beta1": (0.5,),
    "train.optim.beta2": (0.5,),
    "train.optim.muon_momentum": (0.5,),
    "train.optim.ns_steps": (3,),
    "train.balance.switch_coef": (0.5,),
    "train.balance.sequence_coef": (0.5,),
    "train.balance.z_coef": (0.5,),
    "train.balance.method": ("quantile",),
    "train.balance.bias_update_rate": (0.5,),
    "data.source": ("file",),
    "data.tokenizer": ("char",),
    "data.vocab_size": (265,),
    "data.n_characters": (10,),
    "data.n_stories": (30,),
    "data.n_exposures": (3,),
    "data.seed": (4,),
}
# What a model is, or where and how it runs: no other value fits the same run, or none changes a number.
ELSEWHERE = {
    "model.kind",
    "model.attention",
    "model.mla",
    "model.block_latent",
    "model.kda",
    "model.own_attention",
    "train.device",
    "train.dtype",
    "train.compile",
    "train.recompute",
    "data.cache_dir",
}


def leaves(prefix: str, cls: type, sections: dict[str, type]) -> set[str]:
    """The full names of all fields of a configuration; sections that can be missing count as fields too."""
    found = set()
    for field in fields(cls):
        name = f"{prefix}.{field.name}"
        if field.name in sections:
            found |= leaves(name, sections[field.name], sections)
        if field.name not in ("optim", "balance", "rope"):
            found.add(name)
    return found


SECTIONS = {
    "rope": RopeConfig,
    "yarn": YarnConfig,
    "mla": MLAConfig,
    "block_latent": BlockLatentConfig,
    "kda": KDAConfig,
    "moe": MoEConfig,
    "optim": OptimConfig,
    "balance": BalanceConfig,
}


def test_no_field_is_forgotten():
    known = (
        leaves("model", KimiConfig, SECTIONS)
        | leaves("model", GPTConfig, SECTIONS)
        | leaves("train", TrainConfig, SECTIONS)
        | leaves("data", DataConfig, SECTIONS)
    )
    assert known == {*OTHER} | ELSEWHERE
    assert {name for name, *_ in IDLE} <= known


def change(settings: Any, path: list[str], value: Any) -> Any:
    """The settings with another value at the path; None where they have no such field, section or combination."""
    head, *rest = path
    inside = getattr(settings, head, None) if hasattr(settings, head) else None
    if not hasattr(settings, head) or (rest and not is_dataclass(inside)):
        return None
    if not rest and inside is None and head == "moe":
        return None
    try:
        new = change(inside, rest, value) if rest else value
        return None if new is None else replace(settings, **{head: new})
    except ConfigError:
        return None


def compute(model_cfg: GPTConfig | KimiConfig, cfg: TrainConfig, n_new: int = 0) -> list[float]:
    """Every number that a training of harsh weights gives, and `n_new` tokens of the model."""
    model = tiny.harsh_(build_model(model_cfg, cfg.seed), seed=cfg.seed)
    for layer in model.moe_layers() if isinstance(model, Kimi) else ():
        layer.expert_bias.zero_()  # as it begins; harsh ones would take part in every choice
    numbers: list[float] = []
    for record in train(model, tiny.corpus(), cfg):
        numbers += [record.loss, record.grad_norm, record.lr]
        if record.evaluation is not None:
            numbers += [record.step, record.evaluation.loss, record.evaluation.n_tokens]
    with torch.no_grad():
        numbers.append(sum(p.double().abs().sum().item() for p in model.parameters()))
    return [*numbers, *(generate(model, [1, 2], n_new) if n_new else ())]


def are_equal(a: list[float], b: list[float]) -> bool:
    return len(a) == len(b) and all(
        math.isclose(x, y, rel_tol=2e-5, abs_tol=1e-6) for x, y in zip(a, b, strict=True)
    )


def names_of(lines: list[str]) -> set[str]:
    """The settings that the lines begin with."""
    return {line.split("=")[0].split(" ")[0] for line in lines}


@pytest.mark.parametrize("name", RUNS)
def test_what_is_not_named_acts_and_what_is_idle_does_not(name):
    model, cfg = RUNS[name]
    plain, wrong, tried = compute(model, cfg), [], 0
    paths = OTHER if name in EVERY_FIELD else sorted(OTHER.keys() & {each for each, *_ in IDLE})
    for path in sample(paths, 6, begin=list(RUNS).index(name)):
        section, *rest = path.split(".")
        for value in OTHER[path]:
            changed = (
                change({"model": model, "train": cfg}.get(section), rest, value)
                if section != "data"
                else None
            )
            if changed is None or changed in (model, cfg):
                continue
            run = (changed, cfg) if section == "model" else (model, changed)
            if run[1].seq_len > run[0].max_seq_len:
                continue
            lines = idle_settings(DataConfig(), *run)
            idle = {each.split("=")[0].split(" ")[0] for each in lines if "does nothing" in each}
            is_idle = any(path == each or path.startswith(f"{each}.") for each in idle)
            # How far a model reads shows in a text that is longer.
            n_new = 40 if path == "model.max_seq_len" else 0
            after, tried = compute(*run, n_new), tried + 1
            before = compute(model, cfg, n_new) if n_new else plain
            if are_equal(before, after) and not any(path.startswith(each) for each in names_of(lines)):
                wrong.append(f"{path}={value} changes nothing and is not named")
            if is_idle and not are_equal(before, after):
                wrong.append(f"{path}={value} is named and acts: {lines}")
    assert wrong == []
    assert tried > (30 if name in EVERY_FIELD else 10) // (1 if THOROUGH else 12)


def test_every_setting_of_a_text_is_read_or_named(tmp_path):
    (tmp_path / "text.txt").write_text("Once upon a time there was a pigeon. It ate a pancake.\n\n" * 40)
    base = DataConfig(
        n_characters=8, n_stories=20, n_exposures=2, vocab_size=262, cache_dir=str(tmp_path / "cache")
    )
    own = replace(base, source=str(tmp_path / "text.txt"))
    char = replace(base, tokenizer="char")

    def read(cfg: DataConfig) -> tuple:
        found = load_corpus(cfg)
        return found.train.tokens.tolist(), found.val.tokens.tolist(), found.tokenizer.n_vocab

    for start in (base, own, char, replace(base, source="almanac")):
        before = read(start)
        for path, values in OTHER.items():
            name = path.removeprefix("data.")
            if name == path or name == "source":
                continue
            changed = replace(start, **{name: values[0]})
            lines = idle_settings(changed, tiny.gpt(max_seq_len=8), ADAMW)
            assert (path in names_of(lines)) == (read(changed) == before) or changed == start, (path, lines)
