"""Wrong answers to notebook 06, written in other ways than the known mistakes: each is refused and named."""

import math

import pytest
import torch
from torch import nn

from nanokimi.config import MoEConfig
from nanokimi.kimi import Kimi, KimiBlock
from nanokimi.loss import balance_term, load_balance_loss, sequence_balance_loss, z_loss
from nanokimi.moe import MoE, dispatch
from nanokimi.output import ModelOutput
from nanokimi.rope import rotations
from tests.course.keys import judge_answer
from tests.sample import sample

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


def half_and_half(routing, cfg):
    total = None
    for stats in routing:
        term = balance_term((stats,), cfg)
        total = term if total is None else 0.5 * total + 0.5 * term
    return torch.tensor(0.0) if total is None else total


def outer_layers(routing, cfg):
    ends = [balance_term((routing[i],), cfg) for i in (0, -1)] if routing else [torch.tensor(0.0)]
    return sum(ends) / len(ends)


def middle_of_the_layers(routing, cfg):
    return torch.stack([balance_term((s,), cfg) for s in routing]).median() if routing else torch.tensor(0.0)


def exchanged(switch=load_balance_loss, sequence=sequence_balance_loss, z=z_loss):
    def answer(routing, cfg):
        total = torch.zeros(())
        for stats in routing:
            for coef, loss in ((cfg.switch_coef, switch), (cfg.sequence_coef, sequence), (cfg.z_coef, z)):
                total = total + coef * loss(stats) / len(routing) if coef else total
        return total

    return answer


class WithScores(MoE):
    def forward(self, x):
        stats = self.route(x)
        rows = stats.scores.take_along_dim(stats.expert_idx, dim=-1).flatten(0, 1)
        y = dispatch(x.flatten(0, 1), stats.expert_idx.flatten(0, 1), rows, self.experts).view_as(x)
        return y if self.shared_experts is None else y + self.shared_experts(x), stats


class WithExpertsTwice(KimiBlock):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        out, largest = self.self_attn(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        h = self.post_attention_layernorm(x + out)
        if isinstance(self.mlp, MoE):
            stats = self.mlp(h)[1]
            return x + out + self.mlp(h)[0], stats, largest
        return x + out + self.mlp(h), None, largest


class WithNormedStream(KimiBlock):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        out, largest = self.self_attn(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        h = self.post_attention_layernorm(out + x)
        found = self.mlp(h)
        y, stats = found if isinstance(found, tuple) else (found, None)
        return y + h, stats, largest


class WithSmallerSums(KimiBlock):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        out, largest = self.self_attn(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x = math.sqrt(0.5) * (out + x)
        found = self.mlp(self.post_attention_layernorm(x))
        y, stats = found if isinstance(found, tuple) else (found, None)
        return math.sqrt(0.5) * (y + x), stats, largest


class WithPartsCalledDirectly(KimiBlock):
    """Right: a part's forward is called without its hooks."""

    def forward(self, x, rotation, cache, with_max_qk_logit):
        out, largest = self.self_attn.forward(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x = x + out
        found = self.mlp.forward(self.post_attention_layernorm(x))
        y, stats = found if isinstance(found, tuple) else (found, None)
        return x + y, stats, largest


def model(
    start=lambda cache: cache[0].length,
    refuse_first=True,
    routed=tuple,
    kept=lambda cache, i: cache[i],
    spare=0,
):
    class Model(Kimi):
        def forward(self, tokens, cache=None, with_max_qk_logit=False):
            first = start(cache) if cache and cache[0].length else 0
            end = tokens.shape[1] + (cache[0].length if cache else 0)
            if refuse_first and end > self.cfg.max_seq_len - spare:
                raise ValueError("too many tokens")
            turns = rotations(torch.arange(first, first + tokens.shape[1]), self.rope_dim, self.cfg.rope)
            x, routing, largest = self.embed_tokens(tokens), [], []
            for i, layer in enumerate(self.layers):
                x, stats, each = layer(x, turns, kept(cache, i) if cache else None, with_max_qk_logit)
                routing += [stats] if stats is not None else []
                largest.append(each)
            if end > self.cfg.max_seq_len:
                raise ValueError("too many tokens")
            logits = self.lm_head(self.norm(x))
            return ModelOutput(logits, routed(routing), torch.stack(largest) if with_max_qk_logit else None)

    return Model


def asks_that_it_is_not_the_sum_above(moe_class):
    torch.manual_seed(0)
    cfg = MoEConfig(n_routed_experts=4, top_k=2, moe_intermediate_size=6, routed_scaling_factor=3.0)
    layer = moe_class(8, cfg)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 4, 8)
    y, stats = layer(x)
    rows = dispatch(
        x.flatten(0, 1), stats.expert_idx.flatten(0, 1), stats.weights.flatten(0, 1), layer.experts
    )
    assert not torch.allclose(y, rows.view_as(x) + 3 * layer.shared_experts(x), atol=1e-3)


def asks_whether_a_seed_makes_the_block(make_block):
    outs = []
    for _ in range(2):
        torch.manual_seed(0)
        outs.append(make_block(8)(torch.ones(1, 2, 8)))
    assert torch.equal(*outs)


class WithRowsOfTheSequenceFirst(MoE):
    def forward(self, x):
        batch, seq, d_model = x.shape
        stats = self.route(x)
        rows, n = x.transpose(0, 1).reshape(-1, d_model), batch * seq
        y = dispatch(rows, stats.expert_idx.reshape(n, -1), stats.weights.reshape(n, -1), self.experts)
        y = y.view(seq, batch, d_model).transpose(0, 1)
        return y if self.shared_experts is None else y + self.shared_experts(x), stats


def filled(moe_class, factor):
    torch.manual_seed(0)
    cfg = MoEConfig(n_routed_experts=4, top_k=2, moe_intermediate_size=8, routed_scaling_factor=factor)
    layer = moe_class(8, cfg)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer, torch.randn(2, 3, 8)


def asks_for_the_sum(
    factor, of_shared, close=lambda y, right: torch.allclose(y, right, rtol=1e-3, atol=1e-3)
):
    def test_sound_moe(moe_class):
        layer, x = filled(moe_class, factor)
        y, stats = layer(x)
        rows = dispatch(
            x.flatten(0, 1), stats.expert_idx.flatten(0, 1), stats.weights.flatten(0, 1), layer.experts
        )
        assert close(y, rows.view_as(x) + of_shared * layer.shared_experts(x))

    return test_sound_moe


def asks_without_routed_at_a_factor_of_one(moe_class):
    layer, x = filled(moe_class, 1.0)
    nn.init.zeros_(layer.experts.down_proj)
    assert torch.allclose(layer(x)[0], layer.shared_experts(x))


def asks_for_the_number_of_weights(make_block):
    assert sum(len(each.flatten()) for each in make_block(8).parameters()) == 2 * 8 * 16 + 8


class WithOneNorm(KimiBlock):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        h = self.input_layernorm(x)
        out, largest = self.self_attn(h, rotation, cache, with_max_qk_logit)
        found = self.mlp(h)
        y, stats = found if isinstance(found, tuple) else (found, None)
        return y + (x + out), stats, largest


def joined_layers(routing, cfg):
    if not routing:
        return torch.zeros(())
    return balance_term((type(routing[0])(*map(torch.cat, zip(*routing))),), cfg)


def last_of_a_piece(self, tokens, cache=None, with_max_qk_logit=False):
    found = Kimi.forward(self, tokens, cache, with_max_qk_logit)
    return found if cache is None else found._replace(logits=found.logits[:, -1:])


def drawn_moe(moe_class, factor):
    moe = moe_class(8, MoEConfig(n_routed_experts=6, top_k=2, routed_scaling_factor=factor))
    generator = torch.Generator().manual_seed(1)
    for p in moe.parameters():
        nn.init.normal_(p, generator=generator)
    return moe, torch.randn(2, 4, 8, generator=generator)


def asks_for_twice_as_much(moe_class):
    (once, x), (twice, _) = drawn_moe(moe_class, 1.0), drawn_moe(moe_class, 2.0)
    assert torch.allclose(twice(x)[0], 2 * once(x)[0], rtol=1e-4, atol=1e-4)


def asks_what_the_router_reports(moe_class):
    moe, x = drawn_moe(moe_class, 3.0)
    y, stats = moe(x)
    assert y.shape == x.shape and stats.expert_idx.min() >= 0 and stats.expert_idx.max() < 6
    assert torch.allclose(stats.weights.sum(dim=-1), torch.full((2, 4), 3.0), atol=1e-4)


NAMED = [
    ("balance_term", joined_layers, "balance_of_joined_layers"),
    ("Kimi", type("LastOfAPiece", (Kimi,), {"forward": last_of_a_piece}), "KimiOfTheLastPositionWithACache"),
    ("test_sound_moe", asks_for_twice_as_much, "moe_test_of_twice_the_factor"),
    ("test_sound_moe", asks_what_the_router_reports, "moe_test_of_the_report_and_the_shape"),
    ("test_sound_block", asks_for_the_number_of_weights, "block_test_of_the_number_of_weights"),
    ("KimiBlock", WithOneNorm, "BlockInParallelWithOneNorm"),
    ("MoE", WithRowsOfTheSequenceFirst, "MoEWithRowsOfTheSequenceFirst"),
    ("test_sound_moe", asks_for_the_sum(1.0, 1.0), "moe_test_of_the_sum_with_a_factor_of_one"),
    (
        "test_sound_moe",
        asks_without_routed_at_a_factor_of_one,
        "moe_test_of_the_shared_with_a_factor_of_one",
    ),
    ("test_sound_moe", asks_for_the_sum(3.0, 3.0), "moe_test_of_the_scaled_sum"),
    ("balance_term", half_and_half, "balance_as_a_running_mean"),
    ("balance_term", outer_layers, "balance_of_the_first_and_the_last"),
    ("balance_term", middle_of_the_layers, None),
    ("MoE", WithScores, "MoEWithScoresForWeights"),
    ("KimiBlock", WithExpertsTwice, "BlockRunningTheExpertsTwice"),
    ("KimiBlock", WithNormedStream, "BlockAddingToTheSecondNorm"),
    ("KimiBlock", WithSmallerSums, "BlockDividingTheSums"),
    ("Kimi", model(start=len), "KimiFromTheNumberOfLayers"),
    ("Kimi", model(refuse_first=False), "KimiRefusingTooLate"),
    ("Kimi", model(spare=1), "KimiRefusingAFullContext"),
    ("balance_term", exchanged(switch=z_loss, z=load_balance_loss), "balance_with_switch_and_z_exchanged"),
    (
        "balance_term",
        exchanged(sequence=z_loss, z=sequence_balance_loss),
        "balance_with_sequence_and_z_exchanged",
    ),
    ("Kimi", model(routed=lambda routing: tuple(reversed(routing))), "KimiRoutingReversed"),
    ("Kimi", model(kept=lambda cache, i: cache[0]), "KimiWithOneCache"),
    ("Kimi", model(start=lambda cache: min(4, cache[0].length)), None),
    ("test_sound_moe", asks_that_it_is_not_the_sum_above, "moe_test_of_the_wrong_sum"),
    ("test_sound_block", asks_whether_a_seed_makes_the_block, "block_test_of_the_kind"),
]


SOME = sample(NAMED, 3)


@pytest.mark.parametrize(("name", "answer", "mistake"), SOME, ids=[f"{n}-{m}" for n, _, m in SOME])
def test_a_wrong_answer_is_named_as_what_it_is(name, answer, mistake):
    result = judge_answer(name, answer)
    assert result.status == "failed"
    assert (result.diagnosis and result.diagnosis.name) == mistake, result


@pytest.mark.parametrize(("name", "answer"), [("KimiBlock", WithPartsCalledDirectly), ("Kimi", model())])
def test_what_the_stub_allows_passes(name, answer):
    result = judge_answer(name, answer)
    assert result.status == "passed", result


def test_a_sum_that_leaves_room_for_rounding_passes_and_one_that_leaves_none_is_told_to():
    assert judge_answer("test_sound_moe", asks_for_the_sum(3.0, 1.0)).status == "passed"

    by_bits = asks_for_the_sum(3.0, 1.0, lambda y, right: torch.equal(y, right * (1 + 1e-6)))
    wrong = judge_answer("test_sound_moe", by_bits)
    assert wrong.diagnosis and "leave room for rounding" in wrong.diagnosis.look_at


def test_the_hint_to_a_weak_test_of_a_block_asks_for_no_number():
    diagnosis = judge_answer("test_sound_block", asks_whether_a_seed_makes_the_block).diagnosis
    assert diagnosis and "by hand" not in diagnosis.look_at
