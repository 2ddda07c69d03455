"""Small valid inputs for the exercises of notebook 10: ties, one token, settings at their borders, a full context."""

import functools

import torch
from hypothesis import strategies as st

from lab_utils.course.chapters.ch10_sampling.cases import small_model

model_of = functools.cache(small_model)


@st.composite
def settings(draw):
    found = {
        "temperature": draw(st.sampled_from([0.0, 0.5, 1.0, 2.0])),
        "top_k": draw(st.sampled_from([None, 1, 2, 3, 9])),
        "top_p": draw(st.sampled_from([None, 0.01, 0.45, 0.8, 1.0])),
    }
    return {name: value for name, value in found.items() if value is not None}


# Whole numbers tie and are far enough apart that rounding decides nothing.
LOGITS = st.lists(st.sampled_from([0.0, 1.0, 2.0, -3.0, 5.0]), min_size=1, max_size=6).map(torch.tensor)


@st.composite
def appended(draw):
    """Pieces of one length or another for a cache of one or two tensors; zeros where the seed says so."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 50)))
    before = draw(st.sampled_from([(1,), (2,), (1, 2), (2, 3), ()]))
    dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
    widths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=2))
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    return draw(st.booleans()), *(
        tuple(torch.randn(*before, n, width, generator=generator).to(dtype) for width in widths)
        for n in lengths
    )


@st.composite
def texts(draw):
    context = draw(st.sampled_from([1, 2, 3, 5]))
    prompt = draw(st.lists(st.integers(0, 10), min_size=1, max_size=context))
    chosen = draw(settings()) | {
        "seed": draw(st.integers(0, 3)),
        "stop_id": draw(st.sampled_from([None, 0, 4, 7])),
    }
    return model_of(draw(st.sampled_from(["gpt", "kimi"])), context), prompt, draw(st.integers(1, 7)), chosen


INPUTS = {
    "next_token_probs": st.tuples(LOGITS, settings()),
    "SequenceCache": appended(),
    "generate": texts(),
}
