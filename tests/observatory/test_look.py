"""Routing as numbers: against values worked out by hand on tiny routings, and against loops that count one by one."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lab_utils.observatory.counts import (
    Lift,
    busiest_paths,
    expert_lift,
    pair_counts,
    pair_lift,
    path_counts,
    routing_change,
)
from lab_utils.observatory.look import NO_EXPERT, LayerRouting, Routing, check_model, encode_prompt, look
from lab_utils.observatory.word_classes import POSITIONS, WORD_CLASSES, Lexicon, classify, storyworld_lexicon
from nanokimi.config import DataConfig, MoEConfig
from nanokimi.gpt import GPT
from nanokimi.kimi import Kimi
from nanokimi.text import tokenizer
from nanokimi.text.tokenizer import END_OF_TEXT
from tests import tiny

TOKENS = torch.arange(14).view(2, 7)


def layer(experts: list[list[int]], n_experts: int = 3, number: int = 1) -> LayerRouting:
    found = np.array(experts)
    return LayerRouting(
        layer=number,
        n_experts=n_experts,
        experts=found,
        weights=np.full(found.shape, 0.5),
        runner_up=np.full(len(found), NO_EXPERT),
        margin=np.full(len(found), np.nan),
    )


def routing(*layers: LayerRouting) -> Routing:
    return Routing(tokens=np.arange(len(layers[0].experts)), layers=layers)


def kimi(**moe) -> Kimi:
    cfg = MoEConfig(**{"n_routed_experts": 8, "top_k": 2, "moe_intermediate_size": 8} | moe)
    return tiny.harsh_(Kimi(tiny.kimi(n_layers=3, moe=cfg)))


# ---------------------------------------------------------------- look


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


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (GPT(tiny.gpt()), "this is a GPT: it has no router"),
        (Kimi(tiny.kimi(moe=None)), r"no experts \(moe is not set\)"),
        (Kimi(tiny.kimi(first_k_dense_replace=2)), r"no experts \(all its 2 layers are dense\)"),
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


# ---------------------------------------------------------------- lift


def test_lift_by_hand():
    """Six choices: expert 0 has 4, class a has 4; by chance 0 and a meet 4·4/6 times, and they meet 3 times."""
    found = expert_lift(layer([[0], [0], [0], [1], [0], [1]], 2), np.array([0, 0, 0, 0, 1, 1]), ("a", "b"))
    assert found.counts.tolist() == [[3, 1], [1, 1]]
    assert found.expected == pytest.approx(np.array([[8 / 3, 4 / 3], [4 / 3, 2 / 3]]))
    assert found.lift == pytest.approx(np.array([[9 / 8, 3 / 4], [3 / 4, 3 / 2]]))


def test_lift_against_a_loop_and_probabilities():
    draw = np.random.default_rng(0)
    experts = np.array([draw.choice(5, 2, replace=False) for _ in range(300)])
    classes = draw.integers(-1, 3, 300)
    found = expert_lift(layer(experts.tolist(), 5), classes, ("a", "b", "c"))
    pairs = [(e, c) for row, c in zip(experts.tolist(), classes.tolist()) if c >= 0 for e in row]
    for e in range(5):
        for c in range(3):
            given = [x for x, y in pairs if y == c]
            lift = given.count(e) / len(given) / ([x for x, _ in pairs].count(e) / len(pairs))
            assert found.counts[e, c] == pairs.count((e, c))
            assert found.lift[e, c] == pytest.approx(lift, rel=1e-12)


def test_classes_without_tokens_and_dead_experts():
    found = expert_lift(layer([[0], [0], [2]], 3), np.array([0, 2, 2]), ("a", "b", "c"))
    assert found.classes == ("a", "c")
    assert np.isnan(found.lift[1]).all()


@pytest.mark.parametrize(
    ("counts", "bits"),
    [([[5, 0], [0, 5]], 1.0), ([[3, 3], [3, 3]], 0.0), ([[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 2]], 1.5)],
)
def test_mutual_information_by_hand(counts, bits):
    found = Lift(classes=tuple("abcd"[: len(counts[0])]), counts=np.array(counts))
    assert found.bits == pytest.approx(bits, abs=1e-12)


def test_specialists_are_those_that_tell_most():
    """Expert 1 does what chance would; 0 and 3 tell most, 2 the same with fewer tokens."""
    found = Lift(classes=("a", "b"), counts=np.array([[8, 0], [6, 6], [0, 2], [1, 7]]))
    assert found.specialists(2) == [0, 3]
    assert found.specialists(3) == [0, 2, 3]
    assert found.specialists(9) == [0, 1, 2, 3]


def test_order():
    found = Lift(classes=("a", "b"), counts=np.array([[1, 9], [5, 5], [0, 0], [9, 1]]))
    assert found.order() == [0, 1, 2, 3]
    assert found.order("a") == [3, 1, 0, 2]  # the dead expert last
    with pytest.raises(ValueError, match="class 'z' does not exist; known: a, b"):
        found.order("z")


# ---------------------------------------------------------------- paths and pairs


def test_paths_by_hand():
    here, there = layer([[0], [0], [1], [2]]), layer([[1], [1], [1], [0]], number=2)
    assert path_counts(routing(here, there))[0].tolist() == [[0, 2, 0], [0, 1, 0], [1, 0, 0]]
    assert busiest_paths(routing(here, there), 2) == [((0, 1), 2), ((1, 1), 1)]


def test_paths_of_a_model_against_a_loop():
    found = look(kimi(), TOKENS)
    counted = Counter(
        (int(a[0]), int(b[0])) for a, b in zip(found.layers[0].experts, found.layers[1].experts)
    )
    (counts,) = path_counts(found)
    assert counts.sum() == 14
    assert all(counts[i, j] == counted[i, j] for i in range(8) for j in range(8))


def test_one_layer_has_no_paths():
    with pytest.raises(ValueError, match="a path needs two layers with experts"):
        path_counts(routing(layer([[0]])))


def test_pairs_by_hand():
    """Loads 3, 2, 1: the pairs 01, 02, 12 get 6, 3 and 2 parts of 11; all three pairs there were are 01, 01, 02."""
    counts = pair_counts(layer([[0, 1], [1, 0], [0, 2]]))
    assert counts.tolist() == [[3, 2, 1], [2, 2, 0], [1, 0, 1]]
    lift = pair_lift(counts)
    assert np.isnan(np.diag(lift)).all()
    assert lift[0, 1] == pytest.approx(2 / (3 * 6 / 11))
    assert lift[0, 2] == pytest.approx(1 / (3 * 3 / 11))
    assert lift[1, 2] == 0 and np.array_equal(lift, lift.T, equal_nan=True)


def test_pairs_of_an_even_router_are_all_one():
    every = [[i, j] for i in range(4) for j in range(4) if i != j]
    assert pair_lift(pair_counts(layer(every, 4)))[~np.eye(4, dtype=bool)] == pytest.approx(1.0)


# ---------------------------------------------------------------- change


def test_change_by_hand():
    before, after = layer([[0, 1], [0, 1], [2, 0], [1, 2]]), layer([[0, 1], [1, 0], [1, 2], [1, 2]])
    (change,) = routing_change(routing(before), routing(after))
    assert change.moved == 0.5
    assert change.kept == pytest.approx((2 + 2 + 1 + 2) / 8)
    # Choices of each expert over the 4 tokens: before 3, 3, 2, after 2, 4, 2.
    assert change.kept_by_chance == pytest.approx((3 * 2 + 3 * 4 + 2 * 2) / 16 / 2)
    assert change.first_to_first.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]


def test_a_model_has_not_changed_since_itself_and_chance_is_what_strangers_share():
    model = kimi()
    for change in routing_change(look(model, TOKENS), look(model, TOKENS)):
        assert (change.moved, change.kept) == (0.0, 1.0)
    draw = np.random.default_rng(1)
    one, other = ([draw.choice(6, 2, replace=False).tolist() for _ in range(20_000)] for _ in range(2))
    (change,) = routing_change(routing(layer(one, 6)), routing(layer(other, 6)))
    assert change.kept == pytest.approx(change.kept_by_chance, abs=0.01)
    assert change.kept_by_chance == pytest.approx(1 / 3, abs=0.001)


def test_only_like_is_compared_with_like():
    with pytest.raises(ValueError, match="different tokens"):
        routing_change(routing(layer([[0]])), routing(layer([[0], [1]])))
    with pytest.raises(ValueError, match="differ in their layers or experts"):
        routing_change(routing(layer([[0]])), routing(layer([[0]], 4)))


# ---------------------------------------------------------------- word classes

LEXICON = Lexicon(names=frozenset({"pim"}), verbs=frozenset({"trotted"}), places=frozenset({"mill"}))


def words_of(text: str, lexicon: Lexicon = LEXICON) -> list[tuple[str, str, str]]:
    """One token a character run, cut by hand at `|`; the encoding has every byte, so any cut is a token list."""
    encoding = tokenizer.train_bpe([text.replace("|", "")] * 3, 400)
    ids = [i for piece in text.split("|") for i in encoding.encode_ordinary(piece)]
    found = classify(encoding, ids, lexicon)
    texts = [encoding.decode([i]) for i in ids]
    classes = [WORD_CLASSES[i] for i in found.word_class]
    return list(zip(texts, classes, [POSITIONS[i] for i in found.position]))


def test_classes_by_hand():
    found = words_of('Pim trotted to the mill. "Oh, Zoe saw 12!"\nIt is|n\'t|.')
    assert [(t.strip(" "), c) for t, c, _ in found if t.strip()] == [
        ("Pim", "name"), ("trotted", "verb"), ("to", "other word"), ("the", "other word"), ("mill", "place"),
        (".", "punctuation"), ('"', "quote"), ("Oh", "other word"), (",", "punctuation"), ("Zoe", "name"),
        ("saw", "other word"), ("12", "number"), ('!"', "punctuation"), ("It", "other word"),
        ("is", "other word"), ("n", "other word"), ("'t", "other word"), (".", "punctuation"),
    ]  # fmt: skip
    places = {t.strip(" "): p for t, _, p in found}
    assert places["Pim"] == places["Oh"] == places["It"] == "begins a sentence"
    assert places["Zoe"] == places["is"] == places["mill"] == "begins a word"
    assert places["n"] == places["'t"] == "goes on in a word"
    assert places["."] == "sign or space"


def test_pieces_of_a_word_have_its_class():
    found = words_of("Pim tro|tted to the m|ill")
    assert [c for _, c, _ in found[1:3]] == ["verb", "verb"]
    assert [c for _, c, _ in found[-2:]] == ["place", "place"]
    assert found[2][2] == found[-1][2] == "goes on in a word"


def test_a_document_ends_a_word_and_a_sentence():
    encoding = tokenizer.train_bpe(["Pim Kim"] * 3, 300)
    (end,) = encoding.encode(END_OF_TEXT, allowed_special="all")
    ids = [*encoding.encode_ordinary("Kim"), end, *encoding.encode_ordinary("Kim")]
    found = classify(encoding, ids, LEXICON)
    assert [WORD_CLASSES[i] for i in found.word_class] == ["other word", "end of text", "other word"]
    assert POSITIONS[found.position[-1]] == "begins a sentence"


def test_other_alphabets_and_broken_characters_have_a_class():
    assert {c for _, c, _ in words_of("né 雨 – π")} <= {"other word", "punctuation", "white space"}


def test_the_storyworlds_lexicon():
    lexicon = storyworld_lexicon(DataConfig(n_characters=40))
    assert "martha" in lexicon.names and "fluttered" in lexicon.verbs and "market" in lexicon.places
    assert "stop" in lexicon.places and "bus" not in lexicon.places  # of "bus stop"
    assert storyworld_lexicon(replace(DataConfig(), source="tinystories")) == Lexicon()


def test_bits_are_below_what_there_is_to_know():
    """An expert can tell no more of a class than log2 of their number."""
    found = expert_lift(
        layer([[i % 3] for i in range(30)]), np.array([i % 3 for i in range(30)]), ("a", "b", "c")
    )
    assert found.bits == pytest.approx(math.log2(3))
