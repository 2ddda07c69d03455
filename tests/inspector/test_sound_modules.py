"""Sound modules, the core's and a reader's own, pass every probe that applies to them."""

import pytest
import torch

from lab_utils.inspector.inspect_model import inspect_model
from nanokimi.config import MoEConfig
from nanokimi.kimi import build_attention
from nanokimi.model import build_model
from nanokimi.moe import MoE
from tests import tiny
from tests.inspector.invariants import (
    ABSORBED,
    CACHE_SIZE,
    CACHED,
    CAUSALITY,
    LEARN,
    PREFIX,
    ROUTING,
    inspect_harsh,
    names_that_apply,
)
from tests.inspector.reader_modules import Attention, D, Experts, Latent, Plain
from tests.tiny import harsh_


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("gpt", ROUTING | {ABSORBED}),
        ("kimi-mha", {ABSORBED}),
        ("kimi-mla", set()),
        ("kimi-block_latent", {ABSORBED}),
        ("kimi-kda", {ABSORBED}),
        ("kimi-hybrid", set()),
    ],
)
def test_the_core_passes_all_that_applies(name, missing):
    inspection = inspect_model(harsh_(build_model(tiny.model_config(name))))
    assert inspection.failed == ()
    assert {f.name for f in inspection.findings if f.passed is None} == missing


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("attention", tiny.ATTENTIONS)
def test_one_attention_layer_of_the_core(attention, seed):
    inspection = inspect_model(harsh_(build_attention(tiny.kimi(attention)), seed))
    expected = {CAUSALITY, PREFIX, CACHED, LEARN}
    extra = {"mha": set(), "mla": {ABSORBED, CACHE_SIZE}, "block_latent": {CACHE_SIZE}, "kda": {CACHE_SIZE}}
    expected |= extra[attention]
    assert (inspection.failed, names_that_apply(inspection)) == ((), expected)


@pytest.mark.parametrize(
    "cfg",
    [
        MoEConfig(n_routed_experts=4, top_k=2, moe_intermediate_size=8),
        MoEConfig(n_routed_experts=4, top_k=4, moe_intermediate_size=8),
        MoEConfig(
            n_routed_experts=5,
            top_k=1,
            moe_intermediate_size=8,
            scoring="softmax",
            n_shared_experts=0,
            norm_topk_prob=False,
        ),
        MoEConfig(n_routed_experts=8, top_k=2, moe_intermediate_size=8, n_group=4, topk_group=2),
    ],
    ids=["2 of 4", "K = E", "1 of 5, softmax", "groups"],
)
def test_a_moe_layer_of_the_core(cfg):
    inspection = inspect_harsh(MoE(16, cfg))
    assert (inspection.failed, names_that_apply(inspection)) == ((), {CAUSALITY, PREFIX, LEARN} | ROUTING)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (Attention, {CAUSALITY, PREFIX, CACHED, CACHE_SIZE, LEARN}),
        (Plain, {CAUSALITY, PREFIX, LEARN}),
        (Latent, {CAUSALITY, PREFIX, CACHED, ABSORBED, CACHE_SIZE, LEARN}),
        (Experts, {CAUSALITY, PREFIX, LEARN} | ROUTING),
    ],
)
def test_the_readers_own(module, expected):
    formula = {Attention: lambda n: 2 * D * n, Latent: lambda n: 3 * n}.get(module)
    inspection = inspect_harsh(module(), cache_elements=formula)
    assert (inspection.failed, names_that_apply(inspection)) == ((), expected)


def test_a_plain_function():
    assert names_that_apply(inspect_model(lambda x: x.cumsum(1), d_model=3)) == {CAUSALITY, PREFIX}
    assert inspect_model(lambda x: x.cumsum(1), d_model=3).passed


def test_tokens_without_an_embedding_module_are_followed_by_replacing_them():
    table = torch.randn(11, 6, generator=torch.Generator().manual_seed(0))
    sound = inspect_model(lambda tokens: table[tokens].cumsum(1), vocab_size=11)
    assert sound.passed
    assert "by replacing a token" in sound[CAUSALITY].evidence
    leaky = inspect_model(lambda tokens: table[tokens].flip(1).cumsum(1), vocab_size=11)
    assert leaky.failed == (CAUSALITY, PREFIX)
