"""The exercises of notebook 02: attention."""

from lab_utils.course.chapters.ch02_attention import cases, hunts, mistakes
from lab_utils.course.exercise import (
    Exercise,
    Property,
    call_on_its_device,
    call_with_gradients,
    run_test,
)
from nanokimi.attention import attend, join_heads, split_heads
from nanokimi.mask import causal_mask
from nanokimi.norm import RMSNorm
from nanokimi.rope import apply_rope, rope_frequencies

EXERCISES = (
    Exercise(
        name="causal_mask",
        notebook="02",
        core=causal_mask,
        cases=cases.mask_cases,
        observe=call_on_its_device,
        mistakes=mistakes.CAUSAL_MASK,
        properties=(Property("every query may look at its own position", cases.sees_itself),),
        hints=(
            "Draw the square for three queries and three keys and mark what may be seen. What shape do the marks have?",
            "torch.ones(...).tril() keeps a triangle; its argument moves the diagonal.",
            "The first query is at position n_keys - n_queries: the diagonal moves that far to the right.",
        ),
        moral="Queries are the last positions: the same mask serves training, and decoding with a cache.",
    ),
    Exercise(
        name="attend",
        notebook="02",
        core=attend,
        cases=cases.attend_cases,
        observe=call_with_gradients,
        mistakes=mistakes.ATTEND,
        properties=(
            Property("every output lies between the smallest and the largest value", cases.within_values),
        ),
        hints=(
            "Four lines: scores, mask, softmax, weighted mean of the values.",
            "Hide a score by making it -inf before the softmax; causal_mask above says which.",
            "scores = q @ k.transpose(-1, -2) * scale; softmax over the last axis, the keys; then `@ v`.",
        ),
        moral="The core calls F.scaled_dot_product_attention, which computes this without storing the weights.",
    ),
    Exercise(
        name="test_sound_attend",
        notebook="02",
        core=hunts.test_sound_attend,
        cases=hunts.attend_cases,
        observe=run_test,
        mistakes=mistakes.ATTEND_TESTS,
        hints=(
            "The weights of one query over all the keys that it sees must sum to ... ?",
            "Choose queries and keys so that you know the weights without computing: all zeros, for instance.",
            "With equal scores the output is the plain mean of the visible values: compare it with a tolerance.",
        ),
        moral="The sum ran over the queries. Rows must sum to 1; a picture of the weights does not show it.",
    ),
    Exercise(
        name="split_heads",
        notebook="02",
        core=split_heads,
        cases=cases.split_cases,
        observe=call_with_gradients,
        mistakes=mistakes.SPLIT_HEADS,
        hints=(
            "First cut the channels, then move the heads in front of the tokens.",
            "x.unflatten(-1, (n_heads, -1)) has shape (batch, seq, n_heads, head_dim).",
            ".transpose(1, 2) exchanges tokens and heads.",
        ),
        moral="A head is a run of neighbouring channels. Cut first, then move: a reshape alone mixes tokens.",
    ),
    Exercise(
        name="join_heads",
        notebook="02",
        core=join_heads,
        cases=cases.join_cases,
        observe=call_with_gradients,
        mistakes=mistakes.JOIN_HEADS,
        hints=(
            "split_heads, backwards.",
            "Move the heads after the tokens again; then make one axis of the last two.",
            "x.transpose(1, 2).flatten(2)",
        ),
        moral="Split and join undo each other; that is the test to write for both.",
    ),
    Exercise(
        name="rope_frequencies",
        notebook="02",
        core=rope_frequencies,
        cases=cases.frequency_cases,
        mistakes=mistakes.ROPE_FREQUENCIES,
        properties=(
            Property(
                "the first pair turns by 1 radian per token",
                lambda p, *_: abs(float(p["result"][0]) - 1) < 1e-5,
            ),
        ),
        hints=(
            "There are rope_dim / 2 pairs, numbered from 0. How fast does pair 0 turn?",
            "theta_i = base ** (-2 i / rope_dim), for all i at once: torch.arange(rope_dim // 2).",
            "Compute in float64 and return .float(): with a base of 50,000 the last digits count.",
        ),
        moral="Fast pairs tell near positions apart, slow pairs far ones, like the hands of a clock.",
    ),
    Exercise(
        name="apply_rope",
        notebook="02",
        core=apply_rope,
        cases=cases.rope_cases,
        observe=call_with_gradients,
        mistakes=mistakes.APPLY_ROPE,
        properties=(Property("every token keeps its length", cases.keeps_length),),
        tolerance=2e-5,
        hints=(
            "A pair (a, b) is the complex number a + ib; a rotation is a product with e^(i·angle).",
            "torch.view_as_complex takes (..., pairs, 2), view_as_real gives it back; bfloat16 must become float32.",
            "x.float().unflatten(-1, (-1, 2)), view_as_complex, times rotation, view_as_real, flatten(-2).",
        ),
        moral="A rotation keeps lengths, and two rotations leave only their difference: position becomes relative.",
    ),
    Exercise(
        name="RMSNorm",
        notebook="02",
        core=RMSNorm,
        cases=cases.norm_cases,
        observe=cases.run_norm,
        mistakes=mistakes.RMS_NORM,
        tolerance=1e-6,
        hints=(
            "Square, mean, root: read the letters of RMS backwards.",
            "x * (x.square().mean(dim=-1, keepdim=True) + eps).rsqrt(), times the weight.",
            "bfloat16 goes to float32 for the whole computation and back at the very end: .to(x.dtype).",
        ),
        moral="The direction stays, the length becomes sqrt(d): what a layer reads no longer depends on depth.",
    ),
    Exercise(
        name="test_sound_decoding",
        notebook="02",
        core=hunts.test_sound_decoding,
        cases=hunts.decoding_cases,
        observe=run_test,
        mistakes=mistakes.DECODING_TESTS,
        hints=(
            "What should come out of decoding, compared with all tokens at once?",
            "Take three or four tokens, decode them one after the other with one cache, and attend to all at once.",
            "All tokens at once have positions 0, 1, 2, ...; which position does the piece give its second token?",
        ),
        moral="Several steps with a cache must equal all tokens at once: one step alone hides every wrong position.",
    ),
)
