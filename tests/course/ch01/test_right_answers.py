"""Right answers to notebook 01, written in other ways than the core, pass: to reject one would teach a mistake."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.course.keys import judge_answer


def loss_widening_twice(logits, targets):
    picked = logits.float().gather(-1, targets[..., None])[..., 0]
    return (logits.float().logsumexp(dim=-1) - picked).mean()


def loss_over_classes_second(logits, targets):
    return F.cross_entropy(logits.float().mT, targets)


def loss_by_hand(logits, targets):
    full = logits.float()
    shifted = full - full.amax(dim=-1, keepdim=True)
    log_p = shifted - shifted.exp().sum(dim=-1, keepdim=True).log()
    return -torch.take_along_dim(log_p, targets[..., None], dim=-1).mean()


def loss_in_a_loop(logits, targets):
    places = [(b, t) for b in range(targets.shape[0]) for t in range(targets.shape[1])]
    return sum(-logits[place].double().log_softmax(dim=0)[targets[place]] for place in places).float() / len(
        places
    )


def windows_by_unfold(split, n, seq_len):
    tokens = torch.from_numpy(split.tokens.astype(np.int64))
    pieces, places = (x.unfold(0, seq_len + 1, seq_len)[:n] for x in (tokens, torch.arange(len(tokens))))
    return pieces[:, :-1], pieces[:, 1:], places[:, 1:]


def windows_in_a_loop(split, n, seq_len):
    rows = [range(i * seq_len, (i + 1) * seq_len) for i in range(min(n, (len(split.tokens) - 1) // seq_len))]
    inputs = torch.stack([torch.tensor([int(split.tokens[t]) for t in row]) for row in rows])
    targets = torch.stack([torch.tensor([int(split.tokens[t + 1]) for t in row]) for row in rows])
    return inputs, targets, torch.tensor([[t + 1 for t in row] for row in rows])


def sizes_by_decode_bytes(encoding):
    found = np.array([len(encoding.decode_bytes([i])) for i in range(encoding.n_vocab)], dtype=np.uint16)
    found[encoding.eot_token] = 0
    return found


def sizes_of_the_byte_values(encoding):
    found = np.zeros(encoding.n_vocab)
    for piece in encoding.token_byte_values():
        found[encoding.encode_single_token(piece)] = len(piece)
    return found


def merge_by_sorting(ids, new_id):
    pairs = sorted(pairwise(ids))
    pair = max(pairs, key=pairs.count)  # max keeps the first of equals, here the smallest
    merged = []
    for each in ids:
        merged.append(each)
        if tuple(merged[-2:]) == pair:
            merged[-2:] = [new_id]
    return merged, list(pair)


def merge_on_a_stack(ids, new_id):
    times = {}
    for left, right in pairwise(ids):
        times[left, right] = times.get((left, right), 0) + 1
    most = max(times.values())
    best = min(pair for pair, n in times.items() if n == most)
    rest, merged = list(ids), []
    while rest:
        first = rest.pop(0)
        if rest and (first, rest[0]) == best:
            rest.pop(0)
            first = new_id
        merged.append(first)
    return merged, best


def merge_in_a_copy(ids, new_id):
    ids = list(ids)
    table = sorted((-sum(p == q for q in pairwise(ids)), p) for p in pairwise(ids))
    a, b = table[0][1]
    i = 0
    while i < len(ids) - 1:
        if ids[i] == a and ids[i + 1] == b:
            ids[i : i + 2] = [new_id]
        i += 1
    return tuple(ids), (a, b)


def token_by_token(cut_pairs):
    text, starts = torch.randperm(50), [0, 3, 7]
    inputs, targets = cut_pairs(text, starts, 5)
    for row, start in enumerate(starts):
        for t in range(5):
            assert inputs[row, t] == text[start + t]
            assert targets[row, t] == text[start + t + 1]


def nothing_twice(split_documents):
    training, validation = split_documents([str(i) for i in range(20)], 0.2)
    assert all(document not in training for document in validation)


def each_document_once(split_documents):
    training, validation = split_documents(list(range(10)), 0.2)
    assert sorted([*training, *validation]) == list(range(10))


RIGHT = [
    ("next_token_loss", loss_widening_twice),
    ("next_token_loss", loss_over_classes_second),
    ("next_token_loss", loss_by_hand),
    ("next_token_loss", loss_in_a_loop),
    ("windows", windows_by_unfold),
    ("windows", windows_in_a_loop),
    ("token_bytes", sizes_by_decode_bytes),
    ("token_bytes", sizes_of_the_byte_values),
    ("merge_most_frequent", merge_by_sorting),
    ("merge_most_frequent", merge_on_a_stack),
    ("merge_most_frequent", merge_in_a_copy),
    ("test_sound_pairs", token_by_token),
    ("test_sound_split", nothing_twice),
    ("test_sound_split", each_document_once),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_a_right_answer_passes(name, answer):
    result = judge_answer(name, answer)
    assert result.status == "passed", result
