"""For the exercises of notebook 01."""

import torch

from nanokimi.loss import next_token_loss
from nanokimi.text.bpe import merge_most_frequent
from nanokimi.text.corpus import windows
from nanokimi.text.tokenizer import token_bytes
from tests.course.equivalents import after, name_mutants

EXTRA = {
    "merge_most_frequent": (
        after(merge_most_frequent, lambda m, ids, new: (m[0][::-1], m[1])),
        after(merge_most_frequent, lambda m, ids, new: (m[0], m[1][::-1])),
        after(merge_most_frequent, lambda m, ids, new: ([*m[0], new], m[1])),
        after(merge_most_frequent, lambda m, ids, new: (m[0][1:], m[1])),
        after(merge_most_frequent, lambda m, ids, new: ([each % 256 for each in m[0]], m[1])),
        after(merge_most_frequent, lambda m, ids, new: (list(dict.fromkeys(m[0])), m[1])),
        after(merge_most_frequent, lambda m, ids, new: (m[0], (m[1][0], new))),
        after(merge_most_frequent, lambda m, ids, new: (*m, len(m[0]))),
        after(merge_most_frequent, lambda m, ids, new: (list(map(str, m[0])), m[1])),
        after(merge_most_frequent, lambda m, ids, new: merge_most_frequent([*m[0], 0], new + 1)),
        after(merge_most_frequent, lambda m, ids, new: merge_most_frequent(ids[::-1], new)),
    ),
    "token_bytes": (
        after(token_bytes, lambda n, e: n + 1),
        after(token_bytes, lambda n, e: n[::-1]),
        after(token_bytes, lambda n, e: n[1:]),
        after(token_bytes, lambda n, e: n.cumsum()),
        after(token_bytes, lambda n, e: n.clip(max=2)),
        after(token_bytes, lambda n, e: n * (n > 1)),
        after(token_bytes, lambda n, e: sorted(n)),
        after(token_bytes, lambda n, e: n[None]),
        after(token_bytes, lambda n, e: [*n, 0]),
        after(token_bytes, lambda n, e: 2 * n),
        after(token_bytes, lambda n, e: n // 2),
    ),
    "next_token_loss": (
        after(next_token_loss, lambda x, z, t: x + 1),
        after(next_token_loss, lambda x, z, t: x / 2.302585),
        after(next_token_loss, lambda x, z, t: x.sqrt()),
        after(next_token_loss, lambda x, z, t: next_token_loss(z, t.roll(-1, 1))),
        after(next_token_loss, lambda x, z, t: 2 * x),
        after(next_token_loss, lambda x, z, t: x.exp()),
        after(next_token_loss, lambda x, z, t: x.detach()),
        after(next_token_loss, lambda x, z, t: x[None]),
        after(next_token_loss, lambda x, z, t: x.double()),
        after(next_token_loss, lambda x, z, t: next_token_loss(z.flip(-1), t)),
        after(next_token_loss, lambda x, z, t: next_token_loss(z.flip(1), t)),
        after(next_token_loss, lambda x, z, t: next_token_loss(z / 2, t)),
        after(next_token_loss, lambda x, z, t: x + 0.1 * z.float().logsumexp(-1).square().mean()),
        after(next_token_loss, lambda x, z, t: next_token_loss(z[:, -1:], t[:, -1:])),
    ),
    "windows": (
        after(windows, lambda w, *_: (w[0], w[1], w[2] + 1)),
        after(windows, lambda w, *_: (w[0].flip(1), w[1], w[2])),
        after(windows, lambda w, *_: (w[0].int(), w[1], w[2])),
        after(windows, lambda w, *_: (w[0][:1], w[1][:1], w[2][:1])),
        after(windows, lambda w, *_: (w[0], w[0] + 1, w[2])),
        after(windows, lambda w, *_: (w[0], w[1].roll(1, 1), w[2])),
        after(windows, lambda w, *_: (w[0].flatten(), w[1].flatten(), w[2].flatten())),
        after(windows, lambda w, *_: (w[0], w[1], torch.zeros_like(w[2]))),
    ),
}

FEW = "the check gives fewer tokens than a chunk has, and a chunk at a time is the same mean"

EQUIVALENT = {
    "next_token_loss": name_mutants(
        "if len(rows) > CHUNK:",
        ("len(rows)", "not len(rows)", FEW),
        (">", ">=", FEW),
        ("> CHUNK", "< CHUNK", FEW),
    )
    | name_mutants("return _loss_in_chunks(rows, answers)", ("rows, answers", "answers, rows", FEW)),
    "merge_most_frequent": name_mutants(
        "if len(ids) < 2:", ("2", "1", "the stub says that there are two numbers or more")
    ),
    "token_bytes": name_mutants(
        "sizes = np.zeros(encoding.n_vocab, dtype=np.int64)",
        (", dtype=np.int64", "", "the check takes any numbers that are whole"),
    ),
    "windows": name_mutants(
        "n = min(n, (len(split) - 1) // seq_len)",
        (
            "min(n, (len(split) - 1) // seq_len)",
            "min((len(split) - 1) // seq_len, n)",
            "the smaller has no order",
        ),
    ),
}
