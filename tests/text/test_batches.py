"""Batches for training and windows for evaluation, on tokens that count up: token i of a split is i."""

import numpy as np
import pytest
import torch

from nanokimi.text.corpus import Split, TextError, batch, windows


def split_of(n: int) -> Split:
    return Split(tokens=np.arange(n, dtype=np.uint32))


@pytest.mark.parametrize(
    ("n_tokens", "batch_size", "seq_len"), [(1000, 4, 8), (997, 7, 16), (35, 3, 8), (9, 2, 8)]
)
def test_an_epoch_visits_every_window_once(n_tokens, batch_size, seq_len):
    n = max(1, (n_tokens - 1) // seq_len - 1)
    steps = -(-3 * n // batch_size)
    rows = torch.cat(
        [
            batch(split_of(n_tokens), s, batch_size=batch_size, seq_len=seq_len, seed=5)[0]
            for s in range(steps)
        ]
    )
    orders = []
    for epoch in range(3):
        starts = rows[epoch * n : (epoch + 1) * n, 0].tolist()
        offset = min(starts)
        assert sorted(starts) == [offset + seq_len * i for i in range(n)]
        assert 0 <= offset < 2 * seq_len
        assert max(starts) + seq_len < n_tokens
        orders.append(starts)
    if n > 10:
        assert orders[0] != orders[1] != orders[2], "each epoch has an order of its own"


def test_every_token_gets_its_turn():
    """Over many epochs every token but the last is an input, at every place of a window."""
    n_tokens, seq_len = 50, 8
    inputs, _ = batch(split_of(n_tokens), 0, batch_size=5 * 300, seq_len=seq_len, seed=0)
    assert set(inputs.flatten().tolist()) == set(range(n_tokens - 1))
    assert set((inputs[:, 0] % seq_len).tolist()) == set(range(seq_len))


@pytest.mark.parametrize("step", [0, 3, 1000])
def test_targets_are_the_inputs_one_token_later(step):
    inputs, targets = batch(split_of(500), step, batch_size=6, seq_len=9, seed=1)
    assert inputs.shape == targets.shape == (6, 9)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(targets, inputs + 1), "the tokens count up, so the next token is one more"
    inputs, targets, index = windows(split_of(500), 7, 9)
    assert torch.equal(targets, inputs + 1)
    assert torch.equal(index, targets), "token i of this split is i"


def test_batches_depend_on_seed_and_step_alone():
    """Two models see the same batches; a run resumed at step k sees what the first run saw there."""
    settings = {"batch_size": 4, "seq_len": 16, "seed": 11}
    first = [batch(split_of(3000), step, **settings)[0] for step in range(120)]
    torch.manual_seed(99)
    again = [batch(split_of(3000), step, **settings)[0] for step in reversed(range(120))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    for seed in range(6):  # more epochs than are kept in memory
        batch(split_of(3000), 0, **{**settings, "seed": seed})
    assert torch.equal(batch(split_of(3000), 77, **settings)[0], first[77])
    other = batch(split_of(3000), 77, **{**settings, "seed": 12})[0]
    assert not torch.equal(other, first[77])


def test_batches_leave_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    batch(split_of(3000), 5, batch_size=4, seq_len=16, seed=0)
    assert torch.equal(torch.rand(2), expected)


def test_windows_are_fixed_and_do_not_overlap():
    inputs, targets, index = windows(split_of(100), 1000, 9)
    assert inputs.shape == (11, 9)
    assert index.flatten().tolist() == list(range(1, 100)), "every token but the first is a target once"
    assert targets.flatten().tolist() == list(range(1, 100))
    fewer = windows(split_of(100), 3, 9)
    assert all(torch.equal(a[:3], b) for a, b in zip((inputs, targets, index), fewer))


@pytest.mark.parametrize(
    "cut", [lambda s: windows(s, 1, 10), lambda s: batch(s, 0, batch_size=1, seq_len=10, seed=0)]
)
def test_a_split_below_one_window_is_refused(cut):
    assert cut(split_of(11))[0].shape == (1, 10)
    with pytest.raises(TextError, match="it has 10 of the 11 tokens of one window with seq_len=10"):
        cut(split_of(10))


def test_large_vocabularies_keep_their_ids():
    tokens = np.array([0, 65_535, 65_536, 2**31], dtype=np.uint32)
    inputs, targets, _ = windows(Split(tokens=tokens), 1, 3)
    assert inputs.tolist() == [[0, 65_535, 65_536]]
    assert targets.tolist() == [[65_535, 65_536, 2**31]]
