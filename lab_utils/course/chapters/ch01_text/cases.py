"""What the answers to the exercises of notebook 01 are tried on, and how they are looked at."""

from typing import Any

import numpy as np
import tiktoken
import torch

from lab_utils.course.differences import describe_kind
from lab_utils.course.exercise import Case, Parts, Problem, parts_of
from nanokimi.text import tokenizer
from nanokimi.text.corpus import Split

STORIES = [
    "The cat sat on the mat. The cat purred.",
    "Zoë and René sat in the café, the café by the sea.",
] * 8


def loss_cases() -> list[Case]:
    def logits(*shape: int) -> torch.Tensor:
        return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))

    def targets(*shape: int, vocab: int) -> torch.Tensor:
        return torch.randint(vocab, shape, generator=torch.Generator().manual_seed(sum(shape)))

    return [
        Case("one token, two to choose from, equal logits", (torch.zeros(1, 1, 2), torch.tensor([[1]]))),
        Case("one token", (logits(1, 1, 5), torch.tensor([[3]]))),
        Case("a sequence", (logits(1, 4, 5), targets(1, 4, vocab=5))),
        Case("a batch", (logits(3, 6, 7), targets(3, 6, vocab=7))),
        Case("very sure, and wrong", (torch.tensor([[[200.0, 0.0]]]), torch.tensor([[1]]))),
        Case(
            "large logits beside small ones",
            (torch.tensor([[[999.0, 1000.0], [1.0, 0.0]]]), torch.tensor([[1, 1]])),
        ),
        # Copies of the arguments keep this order in memory; that of a slice they would not keep.
        Case("a batch that was transposed", (logits(3, 2, 4).transpose(0, 1), targets(3, 2, vocab=4).T)),
        Case("bfloat16 logits", (logits(2, 3, 5).bfloat16(), targets(2, 3, vocab=5))),
    ]


def sizes(implementation: Any, encoding: Any) -> Parts:
    """The numbers, as whatever array or list of whole numbers they come."""
    found = torch.as_tensor(np.asarray(parts_of(implementation(encoding))["result"]))
    if found.is_floating_point() and not torch.equal(found, found.round()):  # nan is not equal to itself
        raise Problem("Not all of its numbers are whole.")
    return {"bytes of each token": found.long()}


def encodings() -> list[Case]:
    return [
        Case("characters, some of two bytes", (tokenizer.char(["né a"]),)),
        Case("the 256 bytes and a few merges", (tokenizer.train_bpe(STORIES, 300),)),
        Case("a character of four bytes", (tokenizer.char(["a🐱 "]),)),
        Case("the separator is token 0", (_separator_first(),)),
        Case("a token of two bytes that is a part of a character", (tokenizer.train_bpe(["“a” " * 4], 258),)),
        Case("tokens of 200 and 300 bytes", (_of_tokens([b"a", b"a" * 200, b"a" * 300]),)),
    ]


def _separator_first() -> tiktoken.Encoding:
    """An encoding whose `<|endoftext|>` is not the last token."""
    ranks = {character.encode(): number for number, character in enumerate("aé", 1)}
    return tiktoken.Encoding("two", pat_str=".", mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 0})


def _of_tokens(tokens: list[bytes]) -> tiktoken.Encoding:
    """An encoding of these tokens, and `<|endoftext|>` behind them."""
    ranks = {token: number for number, token in enumerate(tokens)}
    special = {"<|endoftext|>": len(tokens)}
    return tiktoken.Encoding("these", pat_str="a+", mergeable_ranks=ranks, special_tokens=special)


def _split_of(n: int) -> Split:
    return Split(tokens=(np.arange(n) * 3 % 17).astype(np.uint16))


def named_windows(implementation: Any, *args: Any) -> Parts:
    found = parts_of(implementation(*args))
    names = ("inputs", "targets", "index", *found)  # a fourth part keeps the name that it has
    return dict(zip(names, found.values()))


def window_cases() -> list[Case]:
    return [
        Case("one window of one token", (_split_of(2), 1, 1)),
        Case("seven tokens, windows of three", (_split_of(7), 9, 3)),
        Case("no more windows than the caller wants", (_split_of(40), 2, 5)),
        Case("more windows than fit", (_split_of(40), 100, 5)),
        Case("one token too few for the next window", (_split_of(15), 9, 5)),
        Case("one token after the last target", (_split_of(12), 9, 5)),
        Case("sixteen tokens, windows of five", (_split_of(16), 9, 5)),
        Case("a large vocabulary", (Split(tokens=np.array([7, 300, 40_000, 65_000], dtype=np.uint16)), 1, 3)),
    ]


def merged_and_pair(implementation: Any, ids: list[int], new_id: int) -> Parts:
    """The new list and the pair as lists, whether they come as lists or as tuples."""
    before = list(ids)
    parts = parts_of(implementation(ids, new_id))
    if ids != before:
        raise Problem("It changes the list `ids`, which belongs to the caller.")
    values = list(parts.values())
    if len(values) > 1 and isinstance(values[0], list | tuple) and not isinstance(values[1], list | tuple):
        raise Problem(f"The pair is {describe_kind(values[1])}; it should be a tuple of 2 values.")
    names = ("new list", "pair", *parts) if len(parts) > 1 else parts  # a third part keeps its name
    return {name: list(part) if isinstance(part, list | tuple) else part for name, part in zip(names, values)}


def merge_cases() -> list[Case]:
    return [
        Case("two numbers", ([1, 2], 9)),
        Case("a pair that comes twice", ([1, 2, 5, 1, 2], 9)),
        Case("a number after the last pair", ([1, 2, 1, 2, 5], 9)),
        Case("every pair comes once", ([5, 6, 2, 3, 1], 9)),
        Case("equally frequent pairs, the same first number", ([1, 3, 1, 2], 9)),
        Case("equally frequent pairs, the smaller second number comes first", ([1, 2, 1, 3], 9)),
        Case("equally frequent pairs, two with a large first number", ([5, 3, 5, 1], 9)),
        Case("equally frequent pairs, the smallest one with the largest sum", ([2, 3, 4, 1, 9], 12)),
        Case("equally frequent pairs, numbers of one digit and of two", ([9, 5, 10, 5], 11)),
        Case("a pair that overlaps itself", ([3, 1, 7, 7, 7], 9)),
        Case("a pair and its reverse", ([1, 2, 5, 2, 1, 6, 3, 4, 7, 3, 4], 9)),
        Case("numbers of several digits", ([11, 2, 300, 1, 2, 2, 1, 2], 301)),
        Case("a text as bytes", (list(b"low lower lowest slow"), 256)),
    ]
