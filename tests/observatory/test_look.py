"""What a router decided, against loops over tokens in plain Python."""

import numpy as np
import pytest
import torch
from torch import nn

from lab_utils.observatory.look import NO_EXPERT, check_model, encode_prompt, look
from nanokimi.gpt import GPT
from nanokimi.kimi import Kimi
from nanokimi.text import tokenizer
from tests import tiny
from tests.observatory.made_up_routing import TOKENS, kimi, layer


@pytest.mark.parametrize("moe", [{}, {"n_group": 2, "topk_group": 1}, {"scoring": "softmax"}, {"top_k": 1}])
def test_look_against_a_loop_over_tokens(moe):
    """First experts, weights, runner-up and margin by sorting each token's scores in plain Python."""
    model = kimi(**moe)
    cfg = model.cfg.moe
    found = look(model, TOKENS)
    assert found.tokens.tolist() == list(range(14)) and [x.layer for x in found.layers] == [1, 2]
    stats = model(TOKENS).routing[1]
    bias, seen = model.layers[2].mlp.expert_bias.tolist(), found.layer(2)
    for t in range(14):
        scores = stats.scores.flatten(0, 1)[t].tolist()
        choice = [s + b for s, b in zip(scores, bias)]
        allowed = list(range(8))
        if cfg.n_group == 2:
            groups = [range(4), range(4, 8)]
            allowed = list(max(groups, key=lambda g: sum(sorted(choice[e] for e in g)[-2:])))
        ranked = sorted(allowed, key=lambda e: -choice[e])
        chosen, next_best = ranked[: cfg.top_k], ranked[cfg.top_k]
        assert seen.experts[t].tolist() == sorted(chosen, key=lambda e: -scores[e])
        weights = stats.weights.flatten(0, 1)[t].tolist()
        assert seen.weights[t] == pytest.approx(sorted(weights, reverse=True))
        assert seen.runner_up[t] == next_best
        assert seen.margin[t] == pytest.approx(choice[chosen[-1]] - choice[next_best], abs=1e-6)


def test_no_runner_up_when_every_expert_is_chosen():
    found = look(kimi(n_routed_experts=4, top_k=4), TOKENS).layers[0]
    assert (found.runner_up == NO_EXPERT).all() and np.isnan(found.margin).all()


def test_looking_does_not_change_the_model():
    model = kimi()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    look(model, TOKENS)
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())


def test_load_by_hand():
    assert layer([[0, 1], [0, 2], [0, 1]]).load.tolist() == [1.5, 1.0, 0.5]


def test_a_token_goes_to_all_of_its_experts():
    found = layer([[0, 1], [2, 0], [1, 2]])
    went = [np.flatnonzero(found.goes_to(expert)).tolist() for expert in range(3)]
    assert went == [[0, 1], [0, 2], [1, 2]]
    with pytest.raises(ValueError, match="expert 3 does not exist in layer 1: numbers go from 0 to 2"):
        found.goes_to(3)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (GPT(tiny.gpt()), "this is a GPT: it has no router"),
        (Kimi(tiny.kimi(moe=None)), r"no experts \(moe is not set\)"),
        (Kimi(tiny.kimi(first_k_dense_replace=2)), r"no experts \(all its layers are dense\)"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear: the observatory reads nanokimi's Kimi"),
    ],
)
def test_other_models_are_refused_in_a_sentence(model, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_model(model)


def test_a_layer_without_a_router_is_named():
    with pytest.raises(ValueError, match="layer 0 has no router; layers of this model with one: 1, 2"):
        look(kimi(), TOKENS).layer(0)


def test_prompts_that_cannot_be_read():
    encoding = tokenizer.train_bpe(["once upon a time"], 260)
    assert encode_prompt(encoding, "once", 16) == encoding.encode_ordinary("once")
    with pytest.raises(ValueError, match="the prompt is empty"):
        encode_prompt(encoding, " \n", 16)
    with pytest.raises(
        ValueError, match=r"has 20 tokens, and this model reads at most 16: leave out 4 or more"
    ):
        encode_prompt(encoding, "z" * 20, 16)
