"""Whether answers that pass their checks one by one also make a whole: a small Kimi of them against the core's."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import tiktoken
import torch
from torch import Tensor

from lab_utils.course.assembly import Assembly, place_of
from lab_utils.course.exercise import harsh_
from lab_utils.course.saved_work import Answer
from lab_utils.course.usual_state import functions_kept, usual_state
from nanokimi.config import (
    BalanceConfig,
    BlockLatentConfig,
    KimiConfig,
    MLAConfig,
    MoEConfig,
    OptimConfig,
    TrainConfig,
)
from nanokimi.kimi import Kimi
from nanokimi.steering import Steering
from nanokimi.system.deadline import call_within
from nanokimi.system.printable import one_line
from nanokimi.text.corpus import Corpus, Split

SECONDS = 60.0  # the core's takes less than one
_LATENT = KimiConfig(
    vocab_size=61,
    max_seq_len=40,
    d_model=16,
    n_layers=2,
    n_heads=2,
    intermediate_size=24,
    mla=MLAConfig(kv_lora_rank=8, qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=6),
    moe=MoEConfig(n_routed_experts=4, top_k=2, moe_intermediate_size=8),
)
SMALL = (
    _LATENT,
    replace(
        _LATENT, attention="block_latent", mla=None, block_latent=BlockLatentConfig(n_latents=2, block_len=6)
    ),
)
TRAINING = TrainConfig(
    steps=4,
    warmup_steps=1,
    batch_size=2,
    seq_len=20,
    eval_windows=3,
    optim=OptimConfig(optimizer="muon", lr=0.01),
    balance=BalanceConfig(switch_coef=0.01, sequence_coef=0.01, z_coef=0.001, bias_update_rate=0.01),
    qk_clip_tau=1.0,  # so low that it acts
)


def assemble(answers: Mapping[str, Answer]) -> tuple[Assembly, dict[str, str]]:
    """An assembly of the answers that fit together, and why each other one does not fit.

    Where all of them together give another Kimi than the core's, each is tried with those before it that fit.
    """
    placed = {name: answer for name, answer in answers.items() if place_of(answer.exercise)}
    whole = Assembly(placed.values())
    if not placed or not find_misfit(whole):
        return whole, {}
    fits, misfits = list[Answer](), dict[str, str]()
    for name, answer in placed.items():
        if why := find_misfit(Assembly([*fits, answer])):
            misfits[name] = f"it passes its check, but in a whole Kimi {why}"
        else:
            fits.append(answer)
    return Assembly(fits), misfits


def find_misfit(assembly: Assembly, seconds: float = SECONDS) -> str:
    """What is wrong with a Kimi of this assembly, in a few words; empty where it is as the core's.

    A small one computes, decodes, writes, and learns for two steps.
    """
    try:
        with usual_state(), functions_kept():
            return call_within(seconds, lambda: _find_difference(assembly), interrupt=True)
    except TimeoutError:
        return f"it does not come to an end within {seconds:g} s"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the reader's code raises, sys.exit() included
        return one_line(f"it raises {type(error).__name__}: {error}", 300)


def _find_difference(assembly: Assembly) -> str:
    for number, cfg in enumerate(SMALL):
        found = _numbers(assembly.module, cfg)
        for (what, tolerance), right in _core_numbers(number).items():
            allowed = tolerance * max(1.0, right.abs().max().item())
            given = found[what, tolerance]
            if given.shape != right.shape or not (given - right).abs().max() <= allowed:
                return f"its {what} are not those of the lab's"
    return ""


@cache
def _core_numbers(number: int) -> dict[tuple[str, float], Tensor]:
    return _numbers(importlib.import_module, SMALL[number])


def _numbers(module: Callable[[str], Any], cfg: KimiConfig) -> dict[tuple[str, float], Tensor]:
    """What a small Kimi made with these modules gives, by what it is and how near another must come to it."""
    kimi = module("nanokimi.kimi").Kimi(cfg, seed=0)
    kimi.load_state_dict(harsh_(Kimi(cfg)).state_dict())
    tokens = torch.arange(2 * 20).reshape(2, 20) ** 2 % cfg.vocab_size
    cached, store = [], kimi.new_cache()
    with torch.no_grad():
        plain = kimi(tokens).logits
        for piece in tokens.split([11, 1, 1, 7], dim=1):
            cached.append(kimi(piece, store).logits)
    written = list(
        module("nanokimi.generate").generate(kimi, [3, 1, 4], 45, temperature=0.7, top_k=7, top_p=0.9)
    )
    optimizers = module("nanokimi.optim").build_optimizers(kimi, TRAINING.optim)
    steering, stay = Steering.from_config(TRAINING), lambda: None
    facts = [
        module("nanokimi.step").take_step(
            kimi, optimizers, _corpus(cfg), TRAINING, steering, step, torch.float32, stay
        )
        for step in range(2)
    ]
    measured = [[f.lr, f.loss, f.balance_loss, f.grad_norm, *f.max_vio] for f in facts]
    loss = module("nanokimi.evaluate").evaluate(kimi, _corpus(cfg), TRAINING).loss
    return {
        ("logits", 2e-5): plain,
        ("logits with a cache", 2e-5): torch.cat(cached, dim=1),
        ("tokens", 0.0): torch.tensor(written),
        ("numbers in training", 1e-3): torch.tensor(measured),
        ("losses after training", 1e-3): torch.tensor([loss]),
    }


def _corpus(cfg: KimiConfig) -> Corpus:
    """A text without words: numbers of tokens that repeat in no simple way."""
    single_bytes = {bytes([number]): number for number in range(59)}
    split = Split(tokens=(np.arange(400) ** 2 % 59).astype(np.uint16))
    return Corpus(
        train=split,
        val=split,
        tokenizer=tiktoken.Encoding("numbers", pat_str=".", mergeable_ranks=single_bytes, special_tokens={}),
        token_bytes=torch.ones(cfg.vocab_size, dtype=torch.int64),
        fingerprint="",
        name="numbers",
        floor=None,
    )
