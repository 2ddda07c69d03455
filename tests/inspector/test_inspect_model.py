"""Sound modules pass every probe that applies; every probe finds its own mistakes (docs/mistakes.md) and no others."""

import copy
import math

import pytest
import torch
from torch import nn

from lab_utils.inspector import balance, causality, parameters, routing, sequence
from lab_utils.inspector.inspect_model import RUNS, inspect_model
from lab_utils.inspector.subject import as_subject
from nanokimi.config import MoEConfig, OptimConfig
from nanokimi.kimi import build_attention
from nanokimi.model import build_model
from nanokimi.moe import MoE
from nanokimi.optim import build_optimizers
from nanokimi.router import RouterStats, expert_load, load_balance_loss, sequence_balance_loss
from tests import tiny
from tests.inspector.reader_modules import CONTEXT, Attention, Cache, D, E, Experts, K, Latent, Plain
from tests.tiny import harsh_

CAUSALITY, LEARN = causality.NAME, parameters.NAME
PREFIX, CACHED = sequence.PREFIX, sequence.CACHED
ABSORBED, CACHE_SIZE = sequence.ABSORBED, sequence.CACHE_SIZE
K_EXPERTS, NO_DROPS = routing.K_EXPERTS, routing.NO_DROPS
BIAS, BALANCE = routing.BIAS, balance.NAME
ROUTING = {K_EXPERTS, NO_DROPS, BIAS, BALANCE}


def inspected(module, **options):
    return inspect_model(harsh_(module, std=0.7), **options)


def applied(inspection):
    return {finding.name for finding in inspection.findings if finding.passed is not None}


# ---------------------------------------------------------------- sound modules


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("gpt", ROUTING | {ABSORBED}),
        ("kimi-mha", {ABSORBED}),
        ("kimi-mla", set()),
        ("kimi-block_latent", {ABSORBED}),
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
    wanted = {CAUSALITY, PREFIX, CACHED, LEARN}
    wanted |= {"mha": set(), "mla": {ABSORBED, CACHE_SIZE}, "block_latent": {CACHE_SIZE}}[attention]
    assert (inspection.failed, applied(inspection)) == ((), wanted)


@pytest.mark.parametrize(
    "cfg",
    [
        MoEConfig(n_routed_experts=4, top_k=2, moe_intermediate_size=8),
        MoEConfig(n_routed_experts=4, top_k=4, moe_intermediate_size=8),
        MoEConfig(
            n_routed_experts=5, top_k=1, moe_intermediate_size=8, scoring="softmax", n_shared_experts=0
        ),
        MoEConfig(n_routed_experts=8, top_k=2, moe_intermediate_size=8, n_group=4, topk_group=2),
    ],
    ids=["2 of 4", "K = E", "1 of 5, softmax", "groups"],
)
def test_a_moe_layer_of_the_core(cfg):
    inspection = inspected(MoE(16, cfg))
    assert (inspection.failed, applied(inspection)) == ((), {CAUSALITY, PREFIX, LEARN} | ROUTING)


@pytest.mark.parametrize(
    ("module", "wanted"),
    [
        (Attention, {CAUSALITY, PREFIX, CACHED, CACHE_SIZE, LEARN}),
        (Plain, {CAUSALITY, PREFIX, LEARN}),
        (Latent, {CAUSALITY, PREFIX, CACHED, ABSORBED, CACHE_SIZE, LEARN}),
        (Experts, {CAUSALITY, PREFIX, LEARN} | ROUTING),
    ],
)
def test_the_readers_own(module, wanted):
    formula = {Attention: lambda n: 2 * D * n, Latent: lambda n: 3 * n}.get(module)
    inspection = inspected(module(), cache_elements=formula)
    assert (inspection.failed, applied(inspection)) == ((), wanted)


def test_a_plain_function():
    assert applied(inspect_model(lambda x: x.cumsum(1), d_model=3)) == {CAUSALITY, PREFIX}
    assert inspect_model(lambda x: x.cumsum(1), d_model=3).passed


def test_tokens_without_an_embedding_module_are_followed_by_replacing_them():
    table = torch.randn(11, 6, generator=torch.Generator().manual_seed(0))
    sound = inspect_model(lambda tokens: table[tokens].cumsum(1), vocab_size=11)
    assert sound.passed
    assert "by replacing a token" in sound[CAUSALITY].evidence
    leaky = inspect_model(lambda tokens: table[tokens].flip(1).cumsum(1), vocab_size=11)
    assert leaky.failed == (CAUSALITY, PREFIX)


# ---------------------------------------------------------------- values by hand


def test_reach_by_hand():
    """out_t = 2 x_t + 3 x_{t-1} on two channels: blocks 2·I and 3·I, of Frobenius norm 2·√2 and 3·√2."""

    def smooth(x):
        return 2 * x + 3 * torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)

    seen, _ = causality.reach(as_subject(smooth, d_model=2, seq_len=4))
    wanted = 2 * torch.eye(4) + 3 * torch.diag(torch.ones(3), -1)
    torch.testing.assert_close(seen, wanted.double() * math.sqrt(2), atol=1e-12, rtol=0)


def test_balance_curve_by_hand():
    """K = 1, logits +a for expert 0 and -a for three: f_0 = 1 and 4·P_0 = 4/(1 + 3·e^(-2a))."""
    finding = inspected(Experts())[BALANCE]
    for skew, value in finding.data["curve"][1]:
        assert value == pytest.approx(4 / (1 + 3 * math.exp(-2 * skew)), rel=1e-6)


def test_cache_size_by_hand():
    """MLA of the tiny Kimi keeps 8 + 4 numbers a token and layer, of two layers."""
    finding = inspect_model(harsh_(build_model(tiny.kimi("mla"))))[CACHE_SIZE]
    assert finding.data["kept"] == {n: 24 * n for n in (1, 3, 6, 9, 12)}


# ---------------------------------------------------------------- broken along the sequence


class LeakyLatents(Plain):
    """docs/mistakes.md, number 2: learned latents read the whole input, and every token reads them."""

    def forward(self, x):
        latent = (self.q(self.positions[:3]) @ self.k(x).mT).softmax(-1) @ self.v(x)
        return super().forward(x) + (self.q(x) @ self.k(latent).mT).softmax(-1) @ self.v(latent)


class SeesTheNext(Plain):
    def visible(self, queries, keys):
        return torch.ones(queries, keys).tril(1).bool()


class NeverItself(Plain):
    """docs/mistakes.md, number 16: the mask is one too strict; the first token alone has to look at something."""

    def visible(self, queries, keys):
        mask = torch.ones(queries, keys).tril(-1).bool()
        mask[0, 0] = True
        return mask


class NormedOverTime(Plain):
    """A statistic of the whole sequence, detached: no gradient tells of it."""

    def forward(self, x):
        return (
            super().forward(x / x.detach().std(dim=1, keepdim=True)) if x.shape[1] > 1 else super().forward(x)
        )


class CountsFromTheEnd(Plain):
    def place(self, x, start):
        return x + self.positions[-x.shape[1] :]


class LosesTheOldest(Attention):
    """The cache forgets a position with every piece but the first."""

    def keep(self, cache, k, v, x):
        if cache.kept and cache.length > 1:
            cache.kept = [torch.cat([t[:, :1] * 0, t[:, 1:]], 1) for t in cache.kept]
        return super().keep(cache, k, v, x)


class StartsAtZero(Attention):
    """docs/mistakes.md, number 19: with a cache every piece starts at position 0."""

    def start(self, cache):
        return 0


class DoublesWithACache(Attention):
    """Wrong in the same way in all pieces: only the answer without a cache tells."""

    def keep(self, cache, k, v, x):
        k, v = super().keep(cache, k, v, x)
        return 2 * k, v


class ScaledByTheLatent(Latent):
    """docs/mistakes.md, number 18: the absorbed query is as wide as the latent, its scale is not."""

    def absorbed_scale(self):
        return self.kv_lora_rank**-0.5


class OneHeadsValues(Latent):
    def unfold(self, read):
        return read @ self.up_v[:1].mT


class CachesExpanded(Latent):
    """docs/mistakes.md, number 21: keys and values of all heads are kept, and the layer is called latent."""

    def absorbed(self, q, c, cache):
        k, v = (torch.einsum("hwr,btr->bthw", up, c).flatten(2) for up in (self.up_k, self.up_v))
        k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in cache.add(k, v))
        return self.attend(q, k, v, self.width**-0.5)


class CachesTheInputToo(Attention):
    def keep(self, cache, k, v, x):
        k, v, _ = cache.add(k, v, x)
        return k, v


@pytest.mark.parametrize(
    ("broken", "fails"),
    [
        (LeakyLatents, (CAUSALITY, PREFIX)),
        (SeesTheNext, (CAUSALITY, PREFIX)),
        (NeverItself, (CAUSALITY,)),
        (NormedOverTime, (PREFIX,)),
        (CountsFromTheEnd, (PREFIX,)),
        (LosesTheOldest, (CACHED,)),
        (StartsAtZero, (CACHED,)),
        (DoublesWithACache, (CACHED,)),
        (ScaledByTheLatent, (ABSORBED,)),
        (OneHeadsValues, (ABSORBED,)),
        (CachesExpanded, (CACHE_SIZE,)),
        (CachesTheInputToo, (CACHE_SIZE,)),
    ],
)
def test_broken_along_the_sequence(broken, fails):
    formula = (lambda n: 3 * n) if issubclass(broken, Latent) else (lambda n: 2 * D * n)
    assert inspected(broken(), cache_elements=formula).failed == fails


def test_evidence_of_a_leak_names_the_pairs():
    finding = inspected(SeesTheNext(), seq_len=5)[CAUSALITY]
    assert finding.evidence.startswith("4 of 10 pairs above the diagonal are not 0")
    assert causality.future_pairs(finding.data["reach"]) == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_a_cache_that_keeps_too_much_is_measured():
    evidence = inspected(CachesExpanded(), cache_elements=lambda n: 3 * n)[CACHE_SIZE].evidence
    assert "keeps 192 numbers a sequence, and the formula says 36 (5.33 times as many)" in evidence


# ---------------------------------------------------------------- broken routing


class SameTwice(Experts):
    def choose(self, scores):
        return (scores + self.expert_bias).topk(1).indices.expand(-1, -1, K)


class OneOfTwo(Experts):
    def choose(self, scores):
        return (scores + self.expert_bias).topk(1).indices


class CountsDoubled(Experts):
    """docs/mistakes.md, number 11: as under activation checkpointing, which runs the forward pass twice."""

    def count(self, idx):
        super().count(idx)
        super().count(idx)


class Capacity(Experts):
    """docs/mistakes.md, number 3: an expert takes 128 choices and lets the others go."""

    def served(self, idx, weights):
        place = nn.functional.one_hot(idx.flatten(), E).cumsum(0).gather(1, idx.flatten()[:, None])
        return (place <= 128).view_as(idx)


class SkipsTheWeak(Experts):
    def served(self, idx, weights):
        return weights > 0.4


class BiasInTheWeights(Experts):
    """docs/mistakes.md, number 6."""

    def weigh(self, scores, idx):
        return super().weigh(scores + self.expert_bias, idx)


class BiasInTheSum(Experts):
    """What is reported is right; what is used is not."""

    def used(self, scores, idx, weights):
        return self.weigh(scores + self.expert_bias, idx)


class BiasUnused(Experts):
    def choose(self, scores):
        return scores.topk(self.top_k).indices


class DetachedFacts(Experts):
    """The loss of facts that are cut from the graph moves nothing."""

    def report(self, logits, scores, idx, weights):
        return super().report(logits.detach(), scores.detach(), idx, weights)


class CutOffRouter(Experts):
    """The router's weight is outside the graph: nothing ever moves it."""

    def forward(self, x):
        self.gate.weight.requires_grad_(False)
        answer = super().forward(x)
        self.gate.weight.requires_grad_(True)
        return answer


@pytest.mark.parametrize(
    ("broken", "fails"),
    [
        (SameTwice, (K_EXPERTS,)),
        (OneOfTwo, (K_EXPERTS,)),
        (CountsDoubled, (K_EXPERTS,)),
        (Capacity, (NO_DROPS,)),
        (SkipsTheWeak, (NO_DROPS,)),
        (BiasInTheWeights, (BIAS,)),
        (BiasInTheSum, (BIAS,)),
        (BiasUnused, (BIAS,)),
        (DetachedFacts, (BALANCE,)),
        (CutOffRouter, (BALANCE, LEARN)),
    ],
)
def test_broken_routing(broken, fails):
    assert inspected(broken()).failed == fails


@pytest.mark.parametrize("broken", [BiasInTheWeights, BiasInTheSum])
def test_all_experts_chosen_and_the_output_moves_with_the_bias(broken):
    class AllOfThem(broken):
        top_k = E

    assert inspected(AllOfThem()).failed == (BIAS,)


def p_over_chosen(stats):
    """docs/mistakes.md, number 7."""
    share = expert_load(stats.expert_idx, E) / stats.expert_idx.numel()
    chosen = torch.zeros_like(stats.logits).scatter(-1, stats.expert_idx, 1.0)
    return E * (share * (stats.logits.softmax(-1) * chosen).flatten(0, -2).mean(0)).sum()


def times_k(stats):
    """docs/mistakes.md, number 10."""
    return stats.expert_idx.shape[-1] * load_balance_loss(stats)


def p_detached(stats):
    """docs/mistakes.md, number 12."""
    return load_balance_loss(stats).detach()


def of_counts_alone(stats):
    share = expert_load(stats.expert_idx, E) / stats.expert_idx.numel()
    return E * (share**2).sum()


def upside_down(stats):
    return 2 - load_balance_loss(stats)


def with_a_floor(stats):
    return load_balance_loss(stats).clamp(min=1.5)


@pytest.mark.parametrize(
    ("wrong", "evidence"),
    [
        (p_over_chosen, "Even routing of 4 experts at K = 1 gives 0.25, and 1 is right."),
        (times_k, "Even routing of 4 experts at K = 2 gives 2, and 1 is right."),
        (with_a_floor, "Even routing of 4 experts at K = 1 gives 1.5, and 1 is right."),
        (p_detached, "the loss of its own facts carries no gradient."),
        (of_counts_alone, "the loss of its own facts carries no gradient."),
        (upside_down, "It is smaller away from even routing: -2 at a skew of 100 (K = 1)."),
    ],
)
def test_wrong_balance_losses(wrong, evidence):
    inspection = inspected(Experts(), balance_loss=wrong)
    assert (inspection.failed, inspection[BALANCE].evidence) == ((BALANCE,), evidence)


class AttentionThenCutOff(nn.Module):
    """The loss reaches the attention below, and not the router."""

    def __init__(self):
        super().__init__()
        self.attention, self.moe = Plain(), CutOffRouter()

    def forward(self, x):
        return self.moe(self.attention(x))


def test_a_router_that_is_cut_off_while_the_layers_below_are_not():
    inspection = inspected(AttentionThenCutOff())
    assert inspection.failed == (BALANCE, LEARN)
    assert (
        inspection[BALANCE].evidence
        == "moe: the loss moves no parameter of the layer: its router is cut off."
    )


@pytest.mark.parametrize("right", [load_balance_loss, sequence_balance_loss])
def test_right_balance_losses(right):
    assert inspected(Experts(), balance_loss=right)[BALANCE].passed


# ---------------------------------------------------------------- parameters that do not learn


class BuiltInForward(Plain):
    """docs/mistakes.md, number 5: a new layer every time, and none is ever trained."""

    def forward(self, x):
        return super().forward(x) + nn.Linear(D, D, bias=False, dtype=x.dtype)(x)


class BuiltLate(Plain):
    """The same on the first forward pass, after the optimizer."""

    def forward(self, x):
        if not hasattr(self, "late"):
            self.late = nn.Linear(D, D, bias=False, dtype=x.dtype)
        return super().forward(x) + self.late(x)


class InAPlainList(Plain):
    def __init__(self):
        super().__init__()
        self.hidden = [nn.Parameter(torch.eye(D, dtype=torch.float64))]

    def forward(self, x):
        return super().forward(x) + x @ self.hidden[0].to(x.dtype)


class Frozen(Plain):
    def __init__(self):
        super().__init__()
        self.o.weight.requires_grad_(False)


class Unused(Plain):
    def __init__(self):
        super().__init__()
        self.forgotten = nn.Linear(D, D)


class Detached(Plain):
    def place(self, x, start):
        return x + self.positions[: x.shape[1]].detach()


@pytest.mark.parametrize(
    ("broken", "evidence"),
    [
        (BuiltInForward, "1 tensor learns without being a parameter of the module"),
        (BuiltLate, "made in forward or kept in a plain list (late.weight): (8, 8)"),
        (InAPlainList, "1 tensor learns without being a parameter of the module"),
        (Frozen, "Frozen: o.weight."),
        (Unused, "Without gradient: forgotten.weight, forgotten.bias."),
        (Detached, "Without gradient: positions."),
    ],
)
def test_parameters_that_do_not_learn(broken, evidence):
    inspection = inspected(broken())
    assert inspection.failed == (LEARN,)
    assert evidence in inspection[LEARN].evidence


def test_optimizers_that_know_too_few_or_too_many():
    layer = harsh_(Plain())
    some = torch.optim.AdamW([layer.q.weight, layer.k.weight, layer.v.weight, layer.positions])
    again = torch.optim.SGD([layer.o.weight, layer.q.weight], lr=0.1)
    evidence = [inspect_model(layer, optimizers=o)[LEARN].evidence for o in ([some], [some, again])]
    assert evidence == ["Unknown to the optimizer: o.weight.", "Held more than once: q.weight."]


def test_a_learning_rate_of_zero_moves_nothing():
    layer = harsh_(Plain())
    groups = [
        {"params": [layer.q.weight], "lr": 0.0},
        {"params": [p for p in layer.parameters() if p is not layer.q.weight]},
    ]
    inspection = inspect_model(layer, optimizers=[torch.optim.AdamW(groups, lr=1e-3)])
    assert inspection[LEARN].evidence == "With a gradient, yet unmoved: q.weight."


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_the_cores_optimizers_in_use(name):
    """With state from earlier steps and a scheduler around them: copied, never stepped."""
    model = harsh_(build_model(tiny.kimi("mla")))
    optimizers = build_optimizers(model, OptimConfig(optimizer=name))
    model(torch.zeros(1, 4, dtype=torch.long)).logits.sum().backward()
    schedulers = [torch.optim.lr_scheduler.ConstantLR(o, factor=0.5) for o in optimizers]
    for optimizer in optimizers:
        optimizer.step()
    for scheduler in schedulers:
        scheduler.step()
    before = copy.deepcopy([model.state_dict(), *(o.state_dict() for o in optimizers)])
    assert inspect_model(model, optimizers=optimizers).failed == ()
    after = [model.state_dict(), *(o.state_dict() for o in optimizers)]
    assert flat(after) == flat(before)


class OftenIdle(Experts):
    """Expert 3 is never good enough: it has no token, which is not the same as being dead."""

    def choose(self, scores):
        idle = torch.tensor([0.0, 0.0, 0.0, -10.0], dtype=scores.dtype)
        return (scores + self.expert_bias + idle).topk(self.top_k).indices


def test_an_idle_expert_is_told_apart_from_a_dead_parameter():
    finding = inspected(OftenIdle())[LEARN]
    assert finding.passed
    assert finding.data["idle"] == ["experts.3.weight"]
    assert "1 expert had no token in this batch and rested" in finding.evidence


# ---------------------------------------------------------------- what it leaves alone, and what it says


def flat(value):
    """Everything in nested containers as comparable leaves."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.tolist())
    if isinstance(value, dict):
        return [(key, flat(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [flat(item) for item in value]
    return value


@pytest.mark.parametrize("training", [True, False])
def test_the_model_and_the_callers_random_numbers_stay(training):
    model = harsh_(build_model(tiny.kimi("mla"))).train(training)
    model(torch.zeros(1, 3, dtype=torch.long)).logits.sum().backward()
    grads = [p.grad.clone() for p in model.parameters()]
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    first = inspect_model(model)
    assert torch.equal(torch.get_rng_state(), random)
    assert flat(model.state_dict()) == flat(before)
    assert all(torch.equal(p.grad, grad) for p, grad in zip(model.parameters(), grads, strict=True))
    assert {m.training for m in model.modules()} == {training}
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert all(not m._forward_hooks for m in model.modules())
    torch.randn(5)
    assert repr(inspect_model(model)) == repr(first)


class RemembersItsLoss(Plain):
    def forward(self, x):
        out = super().forward(x)
        self.last = out.sum()
        return out


def test_a_module_that_kept_a_tensor_of_its_graph_can_be_asked():
    layer = harsh_(RemembersItsLoss())
    layer(torch.randn(1, 3, D, generator=torch.Generator().manual_seed(0)))
    assert inspect_model(layer).passed


class Raises(Attention):
    def keep(self, cache, k, v, x):
        raise RuntimeError("<script>alert(1)</script>\nand a second line")


def test_a_module_that_raises_fails_in_one_escaped_sentence():
    inspection = inspected(Raises(), cache_elements=lambda n: n)
    assert inspection.failed == (CACHED, CACHE_SIZE)
    assert inspection[CACHED].evidence == "Asked for this, it raises RuntimeError: <script>alert(1)</script>."
    assert "<script>" not in inspection._repr_html_()
    assert "&lt;script&gt;" in inspection._repr_html_()


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (nn.Bilinear(3, 3, 3), "it takes neither tokens nor vectors"),
        (lambda x: None, "it returns no tensor for an input of shape (1, 2, 16)"),
        (lambda x: x.mean(1), "it returns a tensor of shape (1, 16)"),
        ("no function", "str is not a module or a function"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_row(module, says):
    inspection = inspect_model(module)
    assert inspection.failed == (RUNS,)
    assert says in inspection[RUNS].evidence
    assert inspection.causality_picture() is None
    assert "\n" not in inspection[RUNS].evidence


def test_nan_passes_no_comparison():
    assert inspect_model(lambda x: x / 0 * 0, d_model=3).failed == (CAUSALITY, PREFIX)


def test_the_table_in_words_and_the_picture():
    inspection = inspected(SeesTheNext(), seq_len=5)
    assert inspection.headline() == "SeesTheNext: 1 of 3 invariants hold, 7 do not apply"
    assert max(map(len, repr(inspection).splitlines())) <= 110
    picture = inspection.causality_picture()
    assert "4 pairs above the diagonal are filled, the first at row 0, column 1" in picture.alt
    assert picture.figure.get_suptitle() == "The future is seen: 4 crossed fields above the diagonal"
    (crosses,) = [line for line in picture.figure.axes[0].lines if line.get_marker() == "x"]
    assert sorted(zip(crosses.get_ydata(), crosses.get_xdata())) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert "<details open" in inspection._repr_html_()
    sound = inspected(Plain(), seq_len=5)
    assert "<details style" in sound._repr_html_()
    assert (
        sound.causality_picture().figure.get_suptitle() == "Nobody sees the future: white above the diagonal"
    )


def test_a_given_cache_and_a_short_context_are_used():
    assert as_subject(harsh_(Attention()), seq_len=99).seq_len == CONTEXT
    inspection = inspected(Attention(), new_cache=Cache, seq_len=3)
    assert inspection[CACHED].passed
    with pytest.raises(KeyError, match="is none of causality"):
        inspection["speed"]


def test_made_up_facts_are_those_of_the_core():
    stats = balance._skewed(2, 0.0)
    assert isinstance(stats, RouterStats)
    assert expert_load(stats.expert_idx, E).tolist() == [8, 8, 8, 8]
