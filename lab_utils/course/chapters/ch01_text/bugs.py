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


def split_with_the_end_kept(documents, val_share):
    """The same fault, with the last documents for validation."""
    n_val = max(1, round(val_share * len(documents)))
    return list(documents), documents[-n_val:]


def split_with_the_start_lost(documents, val_share):
    """The same fault, and the two lists hold as many documents as there are: the first ones are left out."""
    n_val = max(1, round(val_share * len(documents)))
    return documents[n_val:], documents[-n_val:]
