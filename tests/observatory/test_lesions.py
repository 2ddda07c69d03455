"""Experts switched off: nobody goes to them, the next best takes their place, and afterwards nothing has changed."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from lab_utils.inspector.capture import capture
from lab_utils.observatory.lesion_report import continue_both
from lab_utils.observatory.lesions import (
    ALL,
    Loss,
    lesion_every_expert,
    list_experts,
    measure_loss_without,
    parse_lesion,
    without_experts,
)
from nanokimi.config import MoEConfig
from nanokimi.evaluate import evaluate
from nanokimi.generate import generate
from nanokimi.kimi import Kimi
from nanokimi.text.corpus import windows
from tests import tiny

TOKENS = torch.arange(16).view(2, 8)


def kimi(**moe) -> Kimi:
    cfg = MoEConfig(**{"n_routed_experts": 6, "top_k": 2, "moe_intermediate_size": 8} | moe)
    return tiny.harsh_(Kimi(tiny.kimi(n_layers=3, moe=cfg)))


@pytest.fixture(scope="module")
def corpus():
    return tiny.corpus(annotated=True)


@pytest.fixture(scope="module")
def reader(corpus) -> Kimi:
    """A model with the corpus's vocabulary."""
    return tiny.harsh_(Kimi(tiny.kimi(n_layers=3, vocab_size=corpus.tokenizer.n_vocab)))


@torch.no_grad()
def by_hand(model: Kimi, layer: int, off: set[int], x: torch.Tensor) -> torch.Tensor:
    """The lesioned layer, token by token: rank the experts that are left by score and bias, weigh by score."""
    moe = model.layers[layer].mlp
    scores = F.linear(x, moe.gate).sigmoid()
    out = moe.shared_experts(x).clone()
    for t, s in enumerate(scores):
        left = [e for e in range(moe.cfg.n_routed_experts) if e not in off]
        chosen = sorted(left, key=lambda e: -(s[e] + moe.expert_bias[e]).item())[: moe.cfg.top_k]
        total = sum(s[e].item() for e in chosen)
        for e in chosen:
            gate, up = (moe.experts.gate_up_proj[e] @ x[t]).chunk(2)
            y = moe.experts.down_proj[e] @ (F.silu(gate) * up)
            out[t] += moe.cfg.routed_scaling_factor * s[e] / total * y
    return out


def test_the_next_best_takes_the_place():
    model, off = kimi(routed_scaling_factor=1.7), {1, 4}
    x = torch.randn(9, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), without_experts(model, {2: [1, 4]}):
        lesioned, stats = model.layers[2].mlp(x[None])
    assert not torch.isin(stats.expert_idx, torch.tensor([1, 4])).any()
    torch.testing.assert_close(lesioned[0], by_hand(model, 2, off, x), rtol=0, atol=2e-5)
    # The oracle can tell: without the lesion it gives another answer, and the whole layer's own.
    whole, _ = model.layers[2].mlp(x[None])
    torch.testing.assert_close(whole[0].detach(), by_hand(model, 2, set(), x), rtol=0, atol=2e-5)
    assert (whole - lesioned).abs().max() > 0.1


def test_only_the_named_layer_is_touched_and_only_tokens_of_the_expert_move():
    model = kimi()
    whole = model(TOKENS).routing
    with without_experts(model, {2: [3]}):
        lesioned = model(TOKENS).routing
    assert torch.equal(whole[0].expert_idx, lesioned[0].expert_idx)
    had_it = (whole[1].expert_idx == 3).any(dim=-1)
    same = (whole[1].expert_idx.sort().values == lesioned[1].expert_idx.sort().values).all(dim=-1)
    assert 0 < had_it.sum() < had_it.numel()
    assert torch.equal(same, ~had_it)


@pytest.mark.parametrize("fails", [False, True])
def test_afterwards_the_model_is_what_it_was_bit_for_bit(fails):
    model = kimi()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    logits = model(TOKENS).logits
    try:
        with without_experts(model, {1: [0], 2: [0, 5]}):
            assert not torch.equal(model(TOKENS).logits, logits)
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(model(TOKENS).logits, logits)


def test_while_generating_nobody_goes_there_either():
    model, seen_experts = kimi(), set()
    model.layers[1].mlp.expert_bias.fill_(-50.0)  # however low the others stand
    with without_experts(model, {1: [0, 1, 2]}), capture(model, "layers.1.mlp") as seen:
        list(generate(model, [1, 2, 3], 10, temperature=0.0))
        for call in seen.calls("layers.1.mlp"):
            seen_experts |= set(call.output[1].expert_idx.flatten().tolist())
    assert seen_experts and seen_experts <= {3, 4, 5}


@pytest.mark.parametrize(
    ("off", "sentence"),
    [
        ({0: [1]}, "layer 0 has no experts; layers that have: 1, 2"),
        ({7: [1]}, "layer 7 has no experts"),
        ({1: [6]}, "expert 6 does not exist in layer 1: numbers go from 0 to 5"),
        ({1: [-1]}, "expert -1 does not exist"),
        ({1: [0, 1, 2, 3, 4]}, "layer 1: 1 expert would be left to choose from, and a token needs 2"),
    ],
)
def test_what_cannot_be_switched_off(off, sentence):
    model = kimi()
    before = model.layers[1].mlp.expert_bias.clone()
    with pytest.raises(ValueError, match=sentence), without_experts(model, {2: [0], **off}):
        pass
    assert torch.equal(model.layers[1].mlp.expert_bias, before)
    assert model.layers[2].mlp.expert_bias.isfinite().all()


def test_with_groups_the_group_hit_hardest_counts():
    model = kimi(n_group=2, topk_group=1)  # three experts a group, two a token
    with without_experts(model, {1: [0, 3]}):
        model(TOKENS)
    with pytest.raises(ValueError, match="1 expert would be left"), without_experts(model, {1: [0, 1]}):
        pass


def test_parse():
    assert parse_lesion("1:3, 2:0 ,1 : 4") == {1: [3, 4], 2: [0]}
    for text in ("3", "1:", "1:x", "a:1", "1:-1", "<script>"):
        with pytest.raises(ValueError, match="is not layer:expert"):
            parse_lesion(text)
    with pytest.raises(ValueError, match="no expert is named"):
        parse_lesion(" , ")


# ---------------------------------------------------------------- losses


def test_loss_by_role_against_a_loop(reader, corpus):
    train = tiny.train_config()
    off = {1: [0], 2: [1]}
    found = measure_loss_without(reader, corpus, train, 4, off)
    inputs, targets, index = windows(corpus.val, 4, train.seq_len)
    nats: dict[int, list[float]] = {}
    with torch.no_grad(), without_experts(reader, off):
        logp = reader(inputs).logits.double().log_softmax(dim=-1)
    for i in range(inputs.shape[0]):
        for t in range(inputs.shape[1]):
            role = int(corpus.val.roles[index[i, t]])
            nats.setdefault(role, []).append(-logp[i, t, targets[i, t]].item())
    everything = [x for values in nats.values() for x in values]
    assert found.by_role[ALL] == pytest.approx(sum(everything) / len(everything), rel=1e-5)
    assert found.by_role["copy"] == pytest.approx(sum(nats[3]) / len(nats[3]), rel=1e-5)
    whole = Loss.of(evaluate(reader, corpus, replace(train, eval_windows=4)))
    assert abs(found.minus(whole)[ALL]) > 1e-3


def test_a_row_an_expert_and_the_order_does_not_matter(reader, corpus):
    train = tiny.train_config()
    rows = list(lesion_every_expert(reader, corpus, train, 2))
    assert [(row.layer, row.expert) for row in rows] == list_experts(reader)
    assert list_experts(reader) == [(layer, e) for layer in (1, 2) for e in range(4)]
    alone = measure_loss_without(reader, corpus, train, 2, {2: [1]}).minus(
        measure_loss_without(reader, corpus, train, 2, {})
    )
    assert rows[5].cost == alone


def test_continuations_part_where_they_part(reader, corpus):
    ids = corpus.tokenizer.encode_ordinary("a kimi")
    both = continue_both(reader, corpus.tokenizer, ids, 9, {1: [0], 2: [0, 1]})
    assert both.prompt == "a kimi"
    assert both.whole == corpus.tokenizer.decode(
        list(generate(reader, ids, 9, temperature=0.0, stop_id=corpus.tokenizer.eot_token))
    )
    assert both.whole[: both.same] == both.lesioned[: both.same]
    assert both.whole != both.lesioned
    assert both.whole[both.same : both.same + 1] != both.lesioned[both.same : both.same + 1]
