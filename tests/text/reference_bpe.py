"""Byte-pair encoding made independently: trained by the library `tokenizers` alone, merged pair by pair."""

import json
from collections.abc import Iterable
from itertools import pairwise

import regex
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from nanokimi.text.tokenizer import WORDS


def train_with_library(texts: Iterable[str], n_tokens: int) -> Tokenizer:
    """The library's own byte-level BPE; its pre-tokenizer brings GPT-2's pattern with it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=n_tokens,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def merge_by_hand(trained: Tokenizer, text: str) -> list[bytes]:
    """The tokens of a text by the rule of the paper: in each word, always join the pair that was learned first."""
    pairs = json.loads(trained.to_str())["model"]["merges"]
    letters = printable_letters()
    rank = {tuple(b"".join(letters[c] for c in side) for side in pair): i for i, pair in enumerate(pairs)}
    tokens = []
    for word in regex.findall(WORDS, text):
        parts = [bytes([b]) for b in word.encode()]
        while known := [(rank[p], i) for i, p in enumerate(pairwise(parts)) if p in rank]:
            _, i = min(known)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        tokens += parts
    return tokens


def printable_letters() -> dict[str, bytes]:
    """GPT-2's bytes_to_unicode, backwards: printable bytes are themselves, the others count up from U+0100."""
    letters, following = {}, 0x100
    for b in range(256):
        if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174:
            letters[chr(b)] = bytes([b])
        else:
            letters[chr(following)] = bytes([b])
            following += 1
    return letters
