"""Tests that expect another formula: known wrong answers to test_sound_decoding, of notebook 02."""

import torch

from lab_utils.course.chapters.ch02_attention.mistakes.decoding_tests import close, decode, draw, turn
from lab_utils.course.exercise import mistake
from nanokimi.attention import attend as core_attend
from nanokimi.rope import apply_rope as core_rope


@mistake(
    "It refuses the sound pieces, and passes for one that turns the queries and not the keys.",
    "Which of q and k does a step turn? And what you compare with?",
)
def decoding_test_that_forgets_to_turn_keys(decode_step):
    q, k, v = draw()
    whole = core_attend(core_rope(q, turn(torch.arange(3))), k, v, 0.5)
    assert close(decode(decode_step, q, k, v), whole)


@mistake(
    "It refuses the sound pieces, and passes for one that turns the keys and not the queries.",
    "Which of q and k does a step turn? And what you compare with?",
)
def decoding_test_that_forgets_to_turn_queries(decode_step):
    q, k, v = draw()
    whole = core_attend(q, core_rope(k, turn(torch.arange(3))), v, 0.5)
    assert close(decode(decode_step, q, k, v), whole)


DECODING_FORMULAS = (
    decoding_test_that_forgets_to_turn_keys,
    decoding_test_that_forgets_to_turn_queries,
)
