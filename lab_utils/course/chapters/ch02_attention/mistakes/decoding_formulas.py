"""Tests that expect another formula: known wrong answers to test_sound_decoding, of notebook 02."""

import torch

from lab_utils.course.chapters.ch02_attention.mistakes.decoding_tests import (
    all_at_once,
    close,
    decode,
    draw,
    turn,
)
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


@mistake(
    "It refuses the sound pieces and passes for the broken ones: it expects attention without positions, or with "
    "the same one for all. The broken pieces turn all tokens alike.",
    "Which query and which key are turned by how much, when all tokens are attended to at once?",
)
def decoding_test_without_positions(decode_step):
    q, k, v = draw()
    assert close(decode(decode_step, q, k, v), core_attend(q, k, v, 0.5))


@mistake(
    "It refuses the sound pieces, and passes for one that does not scale: it expects another scale than d**-0.5.",
    "The docstring says which scale a step uses. Which one does your test expect?",
)
def decoding_test_with_a_scale_of_one(decode_step):
    q, k, v = draw()
    assert close(decode(decode_step, q, k, v), all_at_once(q, k, v, scale=1.0))


DECODING_FORMULAS = (
    decoding_test_without_positions,
    decoding_test_with_a_scale_of_one,
    decoding_test_that_forgets_to_turn_keys,
    decoding_test_that_forgets_to_turn_queries,
)
