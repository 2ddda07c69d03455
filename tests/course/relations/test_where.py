"""On which inputs an answer is said to be right: what marks them, and never a number that few of them have."""

import dataclasses

import torch

from lab_utils.course.chapters import find
from lab_utils.course.exercise import Case
from lab_utils.course.judge import AnswerKey, judge
from lab_utils.course.relations.sights import Sight
from lab_utils.course.relations.where import say_where
from nanokimi.attention import attend
from nanokimi.mask import causal_mask
from nanokimi.moe import MoE


def where(name, cases, is_wrong):
    """What is said where the answer is wrong for the inputs for which `is_wrong(*args)`."""
    right = {"result": torch.zeros(2)}
    judged = [
        Sight(Case(f"input {n}", args), right, right, ("result",) if is_wrong(*args) else ())
        for n, args in enumerate(cases)
    ]
    return say_where(find(name), judged)


def inputs_of(scales):
    return [(*(torch.randn(1, 1, 2, 2) for _ in range(3)), scale) for scale in scales]


def test_a_number_that_two_inputs_have_is_a_coincidence():
    cases = inputs_of([0.5, 0.5, 0.5, 0.7, 0.7, 0.25, 0.25])
    assert where("attend", cases, lambda q, k, v, scale: scale == 0.25) == (
        "It is right on all inputs but these: input 5; input 6."
    )


def test_a_number_beside_one_other_is_a_coincidence():
    cases = inputs_of([0.5, 0.5, 0.5, 0.7, 0.7, 0.7])
    assert "`scale`" not in where("attend", cases, lambda q, k, v, scale: scale == 0.5)


def test_a_number_that_many_inputs_have_is_said():
    cases = inputs_of([1.0, 1.0, 1.0, 0.7, 0.5, 0.25])
    assert where("attend", cases, lambda q, k, v, scale: scale == 1.0) == (
        "It is wrong on the inputs where `scale` is 1.0, and right on all others."
    )


def test_what_is_given_or_not_is_said():
    q, k, v, scale = inputs_of([0.5])[0]
    cases = [(q, k, v, scale)] * 2 + [(q, k, v, scale, torch.ones(2, 2, dtype=torch.bool))] * 2
    assert where("attend", cases, lambda *args: len(args) == 5) == (
        "It is wrong on the inputs where `visible` is given, and right on all others."
    )


def masks(*sizes):
    return [(*each, torch.device("cpu")) for each in sizes]


def test_two_sizes_that_are_equal():
    cases = masks((1, 1), (2, 2), (1, 5), (2, 5))
    assert where("causal_mask", cases, lambda n, m, device: n != m) == (
        "It is right on the inputs where `n_queries` is `n_keys`, and wrong where they differ."
    )
    assert where("causal_mask", cases, lambda n, m, device: n == m) == (
        "It is wrong on the inputs where `n_queries` is `n_keys`, and right where they differ."
    )


def test_equal_sizes_of_one_kind_say_nothing():
    cases = masks((2, 2), (2, 2), (1, 5), (2, 5))
    assert "differ" not in where("causal_mask", cases, lambda n, m, device: n != m)


def relations_of(name, answer):
    bare = dataclasses.replace(find(name), mistakes=())
    return judge(bare, answer, key=AnswerKey(bare)).relations


def test_large_scores_are_not_told_by_their_scale():
    def cut_off(q, k, v, scale, visible=None):
        shown = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
        scores = (q @ k.mT * scale).clamp(-50, 50).masked_fill(~shown, -torch.inf)
        return scores.softmax(-1) @ v

    assert not any("`scale`" in says for says in relations_of("attend", cut_off))


def test_squares_alone():
    def stretched(n_queries, n_keys, device):
        t, s = torch.arange(n_queries, device=device)[:, None], torch.arange(n_keys, device=device)
        return s * n_queries <= t * n_keys

    found = relations_of("causal_mask", stretched)
    says = "Of the inputs that ask for numbers: it is right where `n_queries` is `n_keys`, and wrong where they differ."
    assert says in found  # on a device without numbers nothing is wrong
    assert any("nothing that should be False is True" in says for says in found)


def test_a_batch_is_told_from_a_number_of_heads():
    def mixed(x, n_heads):
        return torch.cat(x.chunk(n_heads, -1)).view(len(x), n_heads, x.shape[1], -1)

    listed = " ".join(relations_of("split_heads", mixed))
    assert "two texts of two heads; two texts of three heads" in listed


def test_right_answers_say_nothing():
    assert relations_of("attend", attend) == ()


def test_of_sizes_that_were_not_tried_nothing_is_said():
    class OffByOneInABatch(MoE):
        def forward(self, x):
            y, stats = super().forward(x)
            return y + (x.shape[0] > 1), stats

    bare = dataclasses.replace(find("MoE"), mistakes=())
    text = repr(judge(bare, OffByOneInABatch))
    assert "It is right on the inputs where `x.shape[0]` is 1, and wrong where it is 2." in text, text


def test_an_input_on_which_nothing_wrong_is_asked_for_is_still_right():
    """A layer's largest logits are asked for with a cache alone: without one the layer is right all the same."""
    fine = {"result": torch.zeros(2)}
    both = fine | {"largest logits": torch.zeros(2)}
    cases = [
        Sight(Case(f"input {n}", args), right, right, ("largest logits",) if right is both and n > 6 else ())
        for n, (args, right) in enumerate(zip(inputs_of([0.5] * 9), [fine] * 6 + [both] * 3, strict=True))
    ]
    assert say_where(find("attend"), cases) == "It is right on all inputs but these: input 7; input 8."
    silent = [*cases[:6], *(dataclasses.replace(c, wrong=("largest logits",)) for c in cases[6:8]), cases[8]]
    assert "wrong on all inputs" not in say_where(find("attend"), silent)
