"""Right answers to notebook 06, written in other ways than the core, must pass; wrong returns get a sentence."""

import pytest
import torch
import torch.nn.functional as F

from nanokimi.config import MoEConfig
from nanokimi.kimi import Kimi, KimiBlock
from nanokimi.moe import MoE, dispatch
from nanokimi.output import ModelOutput
from nanokimi.rope import rotations
from nanokimi.router import load_balance_loss, sequence_balance_loss, z_loss
from tests.course.keys import judge_answer

# ---------------------------------------------------------------- the mixture, the block, the model


class EveryExpertForEveryToken(MoE):
    """Weights in float32, so under autocast y is float32 as well."""

    def forward(self, x):
        stats, y = self.route(x), torch.zeros_like(x)
        for e in range(self.cfg.n_routed_experts):
            gate, up = (x @ self.experts.gate_up_proj[e].T).chunk(2, dim=-1)
            weight = (stats.weights * (stats.expert_idx == e)).sum(dim=-1, keepdim=True)
            y = y + weight * ((F.silu(gate) * up) @ self.experts.down_proj[e].T)
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


class ReshapedMoE(MoE):
    def forward(self, x):
        stats, k = self.route(x), self.cfg.top_k
        y = 0 if self.shared_experts is None else self.shared_experts(x)
        flat = x.reshape(-1, x.shape[-1]), stats.expert_idx.reshape(-1, k), stats.weights.reshape(-1, k)
        return y + dispatch(*flat, self.experts).reshape(x.shape), stats


class AddingByIndex(MoE):
    """`index_add` wants one number format, and under autocast the experts give bfloat16: nobody runs it there."""

    def forward(self, x):
        stats, k = self.route(x), self.cfg.top_k
        tokens, chosen = x.flatten(0, 1), stats.expert_idx.flatten()
        order = chosen.argsort(stable=True)
        rows = self.experts(
            tokens[order // k], torch.bincount(chosen, minlength=self.cfg.n_routed_experts).tolist()
        )
        weighted = rows * stats.weights.flatten()[order, None]
        y = torch.zeros_like(tokens).index_add(0, order // k, weighted).view_as(x)
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


ReadersMoE = type("MoE", (torch.nn.Module,), {"forward": MoE.forward, "route": MoE.route})


class BlockOfTheReadersOwnParts(KimiBlock):
    """As in a notebook where the handover of MoE has not run since the reader solved it."""

    def __init__(self, cfg, layer):
        super().__init__(cfg, layer)
        if isinstance(self.mlp, MoE):
            theirs = ReadersMoE()
            theirs.__dict__ = vars(self.mlp)
            self.mlp = theirs

    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.self_attn(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x = x + attended.out
        h = self.post_attention_layernorm(x)
        y, stats = self.mlp(h) if isinstance(self.mlp, ReadersMoE) else (self.mlp(h), None)
        return x + y, stats, attended.max_qk_logit


class BlockByTheResult(KimiBlock):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        out, largest = self.self_attn(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x = out + x
        y = self.mlp(self.post_attention_layernorm(x))
        y, stats = y if isinstance(y, tuple) else (y, None)
        return torch.add(y, x), stats, largest


class KimiSlicingItsRotations(Kimi):
    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        cache = cache or [None] * self.cfg.n_layers
        start = 0 if cache[0] is None else cache[0].length
        end = start + tokens.shape[1]
        if end > self.cfg.max_seq_len:
            raise ValueError(f"{end} tokens")
        turns = rotations(torch.arange(self.cfg.max_seq_len), self.rope_dim, self.cfg.rope)[start:end]
        x, found = F.embedding(tokens, self.embed_tokens.weight), []
        for layer, kept in zip(self.layers, cache, strict=True):
            x, *facts = layer(x, turns, kept, with_max_qk_logit)
            found.append(facts)
        routing = tuple(stats for stats, _ in found if stats is not None)
        largest = torch.stack([each for _, each in found]) if with_max_qk_logit else None
        return ModelOutput(self.norm(x) @ self.lm_head.weight.T, routing, largest)


def all_three_terms(routing, cfg):
    total = torch.tensor(0.0)
    for stats in routing:
        terms = cfg.switch_coef * load_balance_loss(stats), cfg.sequence_coef * sequence_balance_loss(stats)
        total = total + (sum(terms) + cfg.z_coef * z_loss(stats)) / len(routing)
    return total


# ---------------------------------------------------------------- tests of notebook 06


def the_weights_make_the_function(make_block):
    one, other = make_block(8), make_block(8)
    other.load_state_dict(one.state_dict())
    x = torch.randn(2, 5, 8)
    assert torch.allclose(one(x), other(x))


def no_random_number_is_drawn(make_block):
    block = make_block(8)
    before = torch.get_rng_state()
    block(torch.ones(8))
    assert torch.equal(before, torch.get_rng_state())


def filled(moe_class, factor):
    cfg = MoEConfig(n_routed_experts=4, top_k=2, moe_intermediate_size=16, routed_scaling_factor=factor)
    moe, generator = moe_class(8, cfg), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in moe.parameters():
            parameter.normal_(generator=generator)
    return moe


def against_the_two_sums(moe_class):
    moe, x = filled(moe_class, 3.0), torch.randn(2, 3, 8)
    y, stats = moe(x)
    flat = (t.flatten(0, 1) for t in (x, stats.expert_idx, stats.weights))
    expected = dispatch(*flat, moe.experts).view_as(x) + moe.shared_experts(x)
    torch.testing.assert_close(y, expected, atol=1e-2, rtol=1e-4)


def the_factor_leaves_the_shared_sum_alone(moe_class):
    outs = []
    for factor in (1.0, 4.0):
        moe = filled(moe_class, factor)
        with torch.no_grad():
            moe.experts.down_proj.zero_()
        outs.append(moe(torch.ones(1, 1, 8))[0])
    assert torch.allclose(*outs)


RIGHT = [
    ("MoE", EveryExpertForEveryToken),
    ("MoE", ReshapedMoE),
    ("MoE", AddingByIndex),
    ("KimiBlock", BlockByTheResult),
    ("KimiBlock", BlockOfTheReadersOwnParts),
    ("Kimi", KimiSlicingItsRotations),
    ("balance_term", all_three_terms),
    ("test_sound_block", the_weights_make_the_function),
    ("test_sound_block", no_random_number_is_drawn),
    ("test_sound_moe", against_the_two_sums),
    ("test_sound_moe", the_factor_leaves_the_shared_sum_alone),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_a_right_answer_passes(name, answer):
    torch.manual_seed(0)
    result = judge_answer(name, answer)
    assert result.status == "passed", result


# ---------------------------------------------------------------- what forward returns


def only_the_first(core):
    """The core's layer, of whose results only the first is returned."""
    return type("Returns", (core,), {"forward": lambda self, *args: core.forward(self, *args)[0]})


@pytest.mark.parametrize(
    ("core", "wanted"),
    [
        (MoE, "two: y and the router's stats"),
        (KimiBlock, "three: x, the router's stats or None"),
        (Kimi, "ModelOutput(logits, routing, max_qk_logit)"),
    ],
)
def test_a_layer_that_returns_one_of_its_values_is_told_what_to_return(core, wanted):
    says = judge_answer(core.__name__, only_the_first(core)).difference.says
    assert says.startswith("forward returns a Tensor; it should return " + wanted), says


def test_a_layer_that_returns_nothing_or_a_bare_tuple():
    class Nothing(MoE):
        def forward(self, x):
            super().forward(x)

    class BareTuple(Kimi):
        def forward(self, *args):
            return tuple(super().forward(*args))

    assert judge_answer("MoE", Nothing).difference.says.startswith("forward returns nothing;")
    assert judge_answer("Kimi", BareTuple).difference.says.startswith("forward returns 3 values;")


def test_a_dense_layer_among_the_routing_is_shown_as_such():
    class WithNone(Kimi):
        def forward(self, *args):
            out = super().forward(*args)
            return out._replace(routing=(None, *out.routing))

    difference = judge_answer("Kimi", WithNone).difference
    assert (difference.part, difference.got) == ("routing", ["NoneType"])


@pytest.mark.parametrize("core", [MoE, KimiBlock])
def test_a_layer_that_writes_into_its_input_is_told_so(core):
    class WritesIntoX(core):
        def forward(self, x, *more):
            returned = super().forward(x, *more)
            x += 1
            return returned

    says = judge_answer(core.__name__, WritesIntoX).difference.says
    assert says == "forward writes into its argument x, which belongs to the caller."
