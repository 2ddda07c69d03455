"""Small valid inputs for the exercises of notebook 01, corners included: ties, overlaps, one token, short texts."""

import numpy as np
import torch
from hypothesis import strategies as st

from nanokimi.text import tokenizer
from nanokimi.text.corpus import Split

# Few numbers, so that pairs come often, tie and overlap; one of several digits.
IDS = st.lists(st.sampled_from([0, 1, 2, 7, 300]), min_size=2, max_size=12)
CHARACTERS = st.text(alphabet="a é\n🐱雨", min_size=1, max_size=5)


@st.composite
def encodings(draw):
    if draw(st.booleans()):
        return (tokenizer.char([draw(CHARACTERS)]),)
    return (tokenizer.train_bpe([draw(CHARACTERS) * 3], draw(st.integers(257, 262))),)


@st.composite
def losses(draw):
    batch, seq, vocab = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    numbers = st.sampled_from([0.0, 1.0, -1.0, 0.5, 100.0, -100.0, 1000.0])
    n = batch * seq * vocab
    logits = torch.tensor(draw(st.lists(numbers, min_size=n, max_size=n))).view(batch, seq, vocab)
    targets = draw(st.lists(st.integers(0, vocab - 1), min_size=batch * seq, max_size=batch * seq))
    return logits, torch.tensor(targets).view(batch, seq)


@st.composite
def texts(draw):
    seq_len = draw(st.integers(1, 4))
    tokens = draw(st.lists(st.sampled_from([0, 1, 2, 40_000, 65_535]), min_size=seq_len + 1, max_size=14))
    return Split(tokens=np.array(tokens, dtype=np.uint16)), draw(st.integers(1, 6)), seq_len


INPUTS = {
    "merge_most_frequent": st.tuples(IDS, st.sampled_from([9, 301])),
    "token_bytes": encodings(),
    "next_token_loss": losses(),
    "windows": texts(),
}
