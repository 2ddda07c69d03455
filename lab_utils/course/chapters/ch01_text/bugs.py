"""Broken pieces of notebook 01."""

import torch


def pairs_of_a_colleague(tokens, starts, seq_len):
    """Inputs and targets for training, cut at `starts`; the loss falls quickly. What is wrong?"""
    inputs = torch.stack([tokens[start : start + seq_len] for start in starts])
    targets = torch.stack([tokens[start : start + seq_len] for start in starts])
    return inputs, targets


def split_of_a_colleague(documents, val_share):
    """Documents for training and for validation; the validation loss looks very good. What is wrong?"""
    n_val = max(1, round(val_share * len(documents)))
    every = max(1, len(documents) // n_val)
    validation = documents[::every][:n_val]
    return documents, validation


def pairs_by_index(tokens, starts, seq_len):
    """The same fault, in one look-up."""
    picked = torch.as_tensor(starts)[:, None] + torch.arange(seq_len)
    return tokens[picked], tokens[picked].clone()


def pairs_in_a_ring(tokens, starts, seq_len):
    """A shift within each piece: its last target is its own first input."""
    inputs, targets = pairs_of_a_colleague(tokens, starts, seq_len)
    return inputs, targets.roll(-1, dims=1)


def pairs_three_apart(tokens, starts, seq_len):
    """A shift by three."""
    inputs, _ = pairs_of_a_colleague(tokens, starts, seq_len)
    return inputs, torch.stack([tokens.roll(-3)[start : start + seq_len] for start in starts])


def pairs_shifted_once(tokens, starts, seq_len):
    """A shift in the first row only."""
    inputs, targets = pairs_of_a_colleague(tokens, starts, seq_len)
    targets[0] = tokens[starts[0] + 1 : starts[0] + seq_len + 1]
    return inputs, targets


def pairs_shifted_at_the_end(tokens, starts, seq_len):
    """A shift of the last target in each row only."""
    inputs, targets = pairs_of_a_colleague(tokens, starts, seq_len)
    targets[:, -1] = torch.stack([tokens[start + seq_len] for start in starts])
    return inputs, targets


def split_with_the_end_kept(documents, val_share):
    """The same fault, with the last documents for validation."""
    n_val = max(1, round(val_share * len(documents)))
    return list(documents), documents[-n_val:]


def split_with_the_start_lost(documents, val_share):
    """The same fault, and the two lists hold as many documents as there are: the first ones are left out."""
    n_val = max(1, round(val_share * len(documents)))
    return documents[n_val:], documents[-n_val:]


def split_with_the_last_kept(documents, val_share):
    """The last document alone is on both sides."""
    n_val = max(1, round(val_share * len(documents)))
    return [*documents[:-n_val], documents[-1]], documents[-n_val:]


def split_one_too_late(documents, val_share):
    """The first validation document alone is on both sides: one place too far."""
    n_val = max(1, round(val_share * len(documents)))
    return documents[: len(documents) - n_val + 1], documents[-n_val:]
