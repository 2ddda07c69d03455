"""The exercises of notebook 01: text, tokens, and what a loss is measured in."""

from typing import Any

import numpy as np
import torch

from lab_utils.course.chapters.ch01_text import bugs, mistakes
from lab_utils.course.exercise import Case, Exercise, Parts, Property, call_with_gradients, parts_of, verdict
from nanokimi.text import tokenizer
from nanokimi.text.corpus import Split, windows
from nanokimi.text.storyworld.grammar import article
from nanokimi.text.tokenizer import token_bytes
from nanokimi.train import next_token_loss

STORIES = [
    "The cat sat on the mat. The cat purred.",
    "Zoë and René sat in the café, the café by the sea.",
] * 8


def _loss_cases() -> list[Case]:
    def logits(*shape: int) -> torch.Tensor:
        return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))

    def targets(*shape: int, vocab: int) -> torch.Tensor:
        return torch.randint(vocab, shape, generator=torch.Generator().manual_seed(sum(shape)))

    return [
        Case("one token, two to choose from, equal logits", (torch.zeros(1, 1, 2), torch.tensor([[1]]))),
        Case("one token", (logits(1, 1, 5), torch.tensor([[3]]))),
        Case("a sequence", (logits(1, 4, 5), targets(1, 4, vocab=5))),
        Case("a batch", (logits(3, 6, 7), targets(3, 6, vocab=7))),
        Case("very sure, and wrong", (torch.tensor([[[100.0, 0.0]]]), torch.tensor([[1]]))),
        Case("bfloat16 logits", (logits(2, 3, 5).bfloat16(), targets(2, 3, vocab=5))),
    ]


def _sizes(implementation: Any, encoding: Any) -> Parts:
    """The numbers, as whatever array or list of whole numbers they come."""
    found = parts_of(implementation(encoding))["result"]
    return {"bytes of each token": torch.as_tensor(np.asarray(found)).long()}


def _encodings() -> list[Case]:
    return [
        Case("characters, some of two bytes", (tokenizer.char(["né a"]),)),
        Case("the 256 bytes and a few merges", (tokenizer.train_bpe(STORIES, 300),)),
        Case("a character of four bytes", (tokenizer.char(["a🐱 "]),)),
    ]


def _split_of(n: int) -> Split:
    return Split(tokens=(np.arange(n) * 3 % 17).astype(np.uint16))


def _named_windows(implementation: Any, *args: Any) -> Parts:
    found = parts_of(implementation(*args))
    names = ("inputs", "targets", "index", *found)  # a fourth part keeps the name that it has
    return dict(zip(names, found.values()))


def _window_cases() -> list[Case]:
    return [
        Case("one window of one token", (_split_of(2), 1, 1)),
        Case("seven tokens, windows of three", (_split_of(7), 9, 3)),
        Case("as many windows as asked for", (_split_of(40), 2, 5)),
        Case("more asked for than fit", (_split_of(40), 100, 5)),
        Case("one token too few for the next window", (_split_of(15), 9, 5)),
    ]


def _articles(implementation: Any, *nouns: str) -> Parts:
    return {noun: implementation(noun) for noun in nouns}


def _article_cases() -> list[Case]:
    groups = {
        "plain nouns": ("cat", "apple", "moon", "egg"),
        "other vowels": ("umbrella", "ice cream", "old oak"),
        "spelled with a vowel, spoken without": ("unicorn", "useful stick", "european map", "one-eyed cat"),
        "spelled without a vowel, spoken with one": ("hour", "honest fox"),
        "and the ordinary ones of that letter": ("house", "yellow hat"),
    }
    return [Case(says, nouns) for says, nouns in groups.items()]


# ---------------------------------------------------------------- find the bug


def test_sound_pairs(cut_pairs) -> None:
    """In a text that counts up every target is its input plus 1."""
    inputs, targets = cut_pairs(torch.arange(30), [0, 11], 6)
    assert torch.equal(targets, inputs + 1)


def cut_pairs(tokens, starts, seq_len):
    """Sound: one token more is cut, and used twice."""
    rows = torch.stack([tokens[start : start + seq_len + 1] for start in starts])
    return rows[:, :-1], rows[:, 1:]


def cut_pairs_from_two_texts(tokens, starts, seq_len):
    """Sound: the text, and the text one token later."""
    later = tokens.roll(-1)
    picked = torch.as_tensor(starts)[:, None] + torch.arange(seq_len)
    return tokens[picked], later[picked]


def _with_targets_of_zeros(tokens, starts, seq_len):
    inputs, targets = cut_pairs(tokens, starts, seq_len)
    return inputs, 0 * targets


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
    every = max(2, round(1 / val_share))
    held_out = set(range(0, len(documents), every))
    return [d for i, d in enumerate(documents) if i not in held_out], [documents[i] for i in sorted(held_out)]


EXERCISES = (
    Exercise(
        name="article",
        notebook="01",
        core=article,
        cases=_article_cases,
        observe=_articles,
        mistakes=mistakes.ARTICLE,
        hints=(
            "Not the letter decides but the sound.",
            "Most words go by their first letter. Which beginnings are spelled with a vowel and spoken without?",
            "`uni`, `use`, `eu` and `one` take a; `hour` and `honest` take an; then the vowels.",
        ),
        moral="An article tells something of its noun: it carries some of the noun's bits, and the sum stays the same.",
    ),
    Exercise(
        name="token_bytes",
        notebook="01",
        core=token_bytes,
        cases=_encodings,
        observe=_sizes,
        mistakes=mistakes.TOKEN_BYTES,
        hints=(
            "A token may be a part of a character. Which method gives its bytes, without making text of them?",
            "encoding.decode_single_token_bytes(i), for all i below encoding.n_vocab.",
            "The separator, encoding.eot_token, stands for no text: 0.",
        ),
        moral="Bytes are the common measure: losses of different tokenizers compare only in bits a byte.",
    ),
    Exercise(
        name="next_token_loss",
        notebook="01",
        core=next_token_loss,
        cases=_loss_cases,
        observe=call_with_gradients,
        mistakes=mistakes.NEXT_TOKEN_LOSS,
        properties=(
            Property("the loss is never negative", lambda parts, *_: float(parts["result"]) >= -1e-6),
        ),
        hints=(
            "Minus the logarithm of the probability that the model gave to the right token, as a mean.",
            "F.cross_entropy takes logits (n, vocab) and targets (n,): flatten batch and sequence.",
            "F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())",
        ),
        moral="In nats a token, ln(vocab) is knowing nothing. Divide by ln 2 and by bytes a token for bits a byte.",
    ),
    Exercise(
        name="windows",
        notebook="01",
        core=windows,
        cases=_window_cases,
        observe=_named_windows,
        mistakes=mistakes.WINDOWS,
        hints=(
            "n windows of seq_len inputs need n · seq_len + 1 tokens: the last target is one further.",
            "Window i begins at i · seq_len; its targets begin one token later. How many windows fit?",
            "n = min(n, (len(split) - 1) // seq_len); index = torch.arange(1, n * seq_len + 1).view(n, seq_len).",
        ),
        moral="Fixed windows side by side: every evaluation sees the same tokens, each of them once.",
    ),
    Exercise(
        name="test_sound_pairs",
        notebook="01",
        core=test_sound_pairs,
        cases=lambda: [
            Case("the broken piece", (bugs.pairs_of_a_colleague,)),
            Case("a piece whose targets are zeros", (_with_targets_of_zeros,), judged=False),
            Case("a sound piece", (cut_pairs,)),
            Case("another sound piece", (cut_pairs_from_two_texts,)),
            Case(
                "a piece of another shape",
                (lambda t, s, n: tuple(x[:1, :1] for x in cut_pairs(t, s, n)),),
                judged=False,
            ),
            Case(
                "a piece that gives zeros",
                (lambda t, s, n: tuple(0 * x for x in cut_pairs(t, s, n)),),
                judged=False,
            ),
            Case(
                "a piece with other inputs",
                (lambda t, s, n: tuple(x + 1 for x in cut_pairs(t, s, n)),),
                judged=False,
            ),
        ],
        observe=verdict,
        mistakes=mistakes.PAIRS_TESTS,
        hints=(
            "What relation do inputs and targets have, token by token?",
            "Take a text in which you know what follows what: torch.arange(30).",
            "There every target must be its input plus 1.",
        ),
        moral="A loss that falls to 0 within minutes has usually seen its answers.",
    ),
    Exercise(
        name="test_sound_split",
        notebook="01",
        core=test_sound_split,
        cases=lambda: [
            Case("the broken piece", (bugs.split_of_a_colleague,)),
            Case("a sound split", (split_documents,)),
            Case("another sound split", (split_every_nth,)),
            Case(
                "a split without training text",
                (lambda d, share: ([], split_documents(d, share)[1]),),
                judged=False,
            ),
            Case("a split that holds nothing out", (lambda d, share: (d, []),), judged=False),
            Case("a split that loses a document", (lambda d, share: (d[1:-1], d[-1:]),), judged=False),
        ],
        observe=verdict,
        mistakes=mistakes.SPLIT_TESTS,
        hints=(
            "What must never be true of a document that the model is tested on?",
            "Give every document another text, and compare the two sides as sets.",
            "set(training) & set(validation) must be empty.",
        ),
        moral="A validation loss on text that was trained on measures memory, and looks like understanding.",
    ),
)
