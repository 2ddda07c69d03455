"""The bug hunts of notebook 01: a test that finds each bug, and the pieces that every answer is tried on."""

from collections.abc import Callable

import torch

from lab_utils.course.chapters.ch01_text import bugs
from lab_utils.course.exercise import Case, Problem, give_nothing
from lab_utils.show.words import plural


def test_sound_pairs(cut_pairs) -> None:
    """In a text that counts up every target is its input plus 1."""
    inputs, targets = cut_pairs(torch.arange(30), [0, 11], 6)
    assert torch.equal(targets, inputs + 1)


def cut_pairs(tokens, starts, seq_len):
    """Sound: it cuts one token more, and uses the piece twice."""
    rows = torch.stack([tokens[start : start + seq_len + 1] for start in starts])
    return rows[:, :-1], rows[:, 1:]


def cut_pairs_from_two_texts(tokens, starts, seq_len):
    """Sound: the text, and the text one token later."""
    later = tokens.roll(-1)
    picked = torch.as_tensor(starts)[:, None] + torch.arange(seq_len)
    return tokens[picked], later[picked]


def cut_pairs_apart(tokens, starts, seq_len):
    """Sound: inputs and targets are cut one by one."""
    inputs = torch.stack([tokens[start : start + seq_len] for start in starts])
    return inputs, torch.stack([tokens[start + 1 : start + seq_len + 1] for start in starts])


def _with_targets_of_zeros(tokens, starts, seq_len):
    inputs, targets = cut_pairs(tokens, starts, seq_len)
    return inputs, 0 * targets


def _cut_short(tokens, starts, seq_len):
    return tuple(each[:1, :1] for each in cut_pairs(tokens, starts, seq_len))


def test_sound_split(split_documents) -> None:
    """No document stands on both sides."""
    training, validation = split_documents([f"document {i}" for i in range(50)], 0.1)
    assert not set(training) & set(validation)


def split_documents(documents, val_share):
    """Sound: the last documents are held out."""
    n_val = max(1, round(val_share * len(documents)))
    return documents[:-n_val], documents[-n_val:]


def split_every_nth(documents, val_share):
    """Sound: every n-th document is held out."""
    every = max(2, round(1 / max(val_share, 1 / len(documents))))
    held_out = set(range(0, len(documents), every))
    return [d for i, d in enumerate(documents) if i not in held_out], [documents[i] for i in sorted(held_out)]


def split_the_first_off(documents, val_share):
    """Sound: the first documents are held out."""
    n_val = max(1, round(val_share * len(documents)))
    return documents[n_val:], documents[:n_val]


def split_by_chance(documents, val_share):
    """Sound: drawn documents are held out, and both lists come in the order in which they were drawn."""
    n_val = max(1, round(val_share * len(documents)))
    drawn = torch.randperm(len(documents), generator=torch.Generator().manual_seed(7)).tolist()
    mixed = [documents[i] for i in drawn]
    return mixed[n_val:], mixed[:n_val]


def _within_the_text(piece: Callable) -> Callable:
    """`piece`, which says so where a test asks for a target behind the end of its text: there nothing is right."""

    def cut(tokens, starts, seq_len):
        last = max((int(start) for start in starts), default=0)
        if last + seq_len >= len(tokens):
            raise Problem(
                f"Your test asks for {plural(seq_len, 'target')} from the start {last} on: the last one would stand at "
                f"place {last + seq_len}, and a text of {plural(len(tokens), 'token')} ends at place {len(tokens) - 1}."
            )
        return piece(tokens, starts, seq_len)

    return cut


def pairs_cases() -> list[Case]:
    pieces = [
        ("the piece above", bugs.pairs_of_a_colleague),
        ("a hidden piece with the same fault, which cuts by a table of places", bugs.pairs_by_index),
        ("a hidden piece whose last target in each row is the first input", bugs.pairs_in_a_ring),
        ("a hidden piece whose targets lie three tokens further on", bugs.pairs_three_apart),
        ("a hidden piece that shifts the first row only", bugs.pairs_shifted_once),
        ("a hidden piece that shifts only the last target of each row", bugs.pairs_shifted_at_the_end),
        ("a sound piece that cuts one token more and uses the piece twice", cut_pairs),
        ("a sound piece that cuts by a table of places", cut_pairs_from_two_texts),
        ("a sound piece that cuts inputs and targets one by one", cut_pairs_apart),
    ]
    probing = [
        ("a piece whose targets are zeros", _with_targets_of_zeros),
        ("a piece that gives zeros", lambda t, s, n: tuple(0 * x for x in cut_pairs(t, s, n))),
        ("a piece with other inputs", lambda t, s, n: tuple(x + 1 for x in cut_pairs(t, s, n))),
        ("a piece that gives nothing", give_nothing),
    ]
    return [
        *(Case(says, (_within_the_text(piece),)) for says, piece in pieces),
        *(Case(says, (piece,), judged=False) for says, piece in probing),
        # Whoever asks for the shape too may make another mistake as well.
        Case("a piece of another shape", (_cut_short,), judged=False, aside=True),
    ]


def split_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.split_of_a_colleague,)),
        Case(
            "a hidden piece with the same fault, which takes the last documents for validation",
            (bugs.split_with_the_end_kept,),
        ),
        Case(
            "a hidden piece with the same fault, whose lists are as long as those of a sound one",
            (bugs.split_with_the_start_lost,),
        ),
        Case(
            "a hidden piece that keeps only the last validation document for training too",
            (bugs.split_with_the_last_kept,),
        ),
        Case(
            "a hidden piece that keeps only the first validation document for training too",
            (bugs.split_one_too_late,),
        ),
        Case("a sound piece that holds out the last documents", (split_documents,)),
        Case("a sound piece that holds out every n-th document", (split_every_nth,)),
        Case("a sound piece that holds out the first documents", (split_the_first_off,)),
        Case("a sound piece that gives the documents in another order", (split_by_chance,)),
        Case(
            "a split without training text",
            (lambda d, share: ([], split_documents(d, share)[1]),),
            judged=False,
        ),
        Case("a split that holds nothing out", (lambda d, share: (d, []),), judged=False),
        Case("a split that loses a document", (lambda d, share: (d[1:-1], d[-1:]),), judged=False),
        Case("a piece that gives nothing", (give_nothing,), judged=False),
    ]
