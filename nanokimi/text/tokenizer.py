"""Text to token ids and back: three tokenizers, each of them a `tiktoken.Encoding`.

* `train_bpe`: byte-level byte-pair encoding, trained here on the corpus (Sennrich et al. 2016; Radford et al.
  2019). The 256 bytes come first, so that every text has ids; then one token per merge, in merge order.
* `gpt2`: the 50,257 tokens of GPT-2, from tiktoken.
* `char`: one token per character, for nanoGPT's tiny Shakespeare setting (65 characters).

The last id of each is `<|endoftext|>`, the separator of documents. The corpus writes it, a text never does: encode
text with `encode_ordinary`, which reads the string "<|endoftext|>" as thirteen ordinary bytes.

A run of more than `cuts.RUN` characters without a break is encoded in parts, so that every text takes bounded time.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken
from jaxtyping import Int64
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from nanokimi.system.deadline import call_within
from nanokimi.system.printable import OneLineError, quote
from nanokimi.system.reading import UnreadableFile, read_small_json
from nanokimi.text.bpe import LearningFailed, spell_bytes, train_ranks
from nanokimi.text.cuts import cut_runs

END_OF_TEXT = "<|endoftext|>"

# GPT-2's rule for what a merge may never cross: a token is (the end of) a contraction, letters, digits or
# punctuation, each with at most one space before it, or a run of white space.
WORDS = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
CHARACTERS = r"(?s:.)"

# What a file may name as its pattern. Any other one could take hours on a short text.
_PATTERNS = {
    "bpe": (WORDS,),
    # The second is how newer versions of tiktoken write the first.
    "gpt2": (
        WORDS,
        r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""",
    ),
    "char": (CHARACTERS,),
}
_LARGEST_FILE = (
    100_000_000  # bytes of a tokenizer.json; one with a token for every character there is has 15 MB
)


class TokenizerError(OneLineError):
    """A tokenizer that is not available, or a text that it has no tokens for: one line that says what to do."""


# ---------------------------------------------------------------- the three tokenizers


def train_bpe(
    texts: Iterable[str], vocab_size: int = 2048, on_wait: Callable[[], None] = lambda: None
) -> tiktoken.Encoding:
    """Byte-level BPE of at most `vocab_size` tokens: 256 bytes, the most frequent merges, `<|endoftext|>`.

    A text that is too small to repeat that many pairs gives a smaller vocabulary (its size is `n_vocab`). The
    merges depend on the texts alone, so one corpus always gives one tokenizer. 20 MB take about 2 s. `on_wait()` is
    called several times per second.
    """
    texts = _check_texts(texts)
    if isinstance(vocab_size, bool) or not isinstance(vocab_size, int) or vocab_size < 257:
        raise TokenizerError(
            f"vocab_size={quote(vocab_size)} must be at least 257: 256 bytes and {END_OF_TEXT}"
        )
    try:
        ranks = train_ranks(texts, vocab_size - 1, WORDS, on_wait)
    except LearningFailed as error:
        raise TokenizerError(error) from None
    return _build_encoding("bpe", ranks)


def gpt2(wait_s: float = 15.0) -> tiktoken.Encoding:
    """GPT-2's encoding. tiktoken downloads it once (1.5 MB) and keeps it in `TIKTOKEN_CACHE_DIR`.

    `TokenizerError` without a copy and without a network, after `wait_s` seconds at the latest.
    """
    try:
        published = call_within(wait_s, lambda: tiktoken.get_encoding("gpt2"))
    except (OSError, ValueError) as error:  # no connection, too slow, no place to write, a damaged download
        raise TokenizerError(
            f"tokenizer='gpt2': tiktoken has no copy of it here and could not download one "
            f"({type(error).__name__}); go online once, or set TIKTOKEN_CACHE_DIR to a folder that "
            "holds it, or use tokenizer='bpe' or 'char'"
        ) from None
    return _build_encoding("gpt2", published._mergeable_ranks)


def char(texts: Iterable[str]) -> tiktoken.Encoding:
    """One token for every character in `texts`, in code point order, and `<|endoftext|>`."""
    seen: set[str] = set()
    for text in _check_texts(texts):
        seen.update(text)
    if not seen:
        raise TokenizerError("tokenizer='char': the text holds no character; give a text that is not empty")
    return _build_encoding("char", {c.encode(): i for i, c in enumerate(sorted(seen))})


class BoundedEncoding(tiktoken.Encoding):
    """A `tiktoken.Encoding` for any text: long runs are cut (`cuts`), at which tiktoken slows down or crashes."""

    def encode_ordinary(self, text: str) -> list[int]:
        return [
            token for part in cut_runs(text) for token in super(BoundedEncoding, self).encode_ordinary(part)
        ]

    def encode(self, text: str, *, allowed_special=frozenset(), disallowed_special="all") -> list[int]:
        allowed = self.special_tokens_set if allowed_special == "all" else allowed_special
        super().encode(
            END_OF_TEXT * (END_OF_TEXT in text),
            allowed_special=allowed,
            disallowed_special=disallowed_special,
        )
        ids: list[int] = []
        for i, part in enumerate(text.split(END_OF_TEXT) if END_OF_TEXT in allowed else [text]):
            ids += [self.eot_token] * (i > 0) + self.encode_ordinary(part)
        return ids


class CharacterEncoding(BoundedEncoding):
    """An encoding whose tokens are whole characters.

    tiktoken looks up a piece of text as a whole before it tries any merge, and the pattern makes every character a
    piece, so a character of several bytes needs no merges. For a character without a token tiktoken would look for
    its bytes and crash; here a `TokenizerError` names the character.
    """

    def encode_ordinary(self, text: str) -> list[int]:
        for c in sorted(set(text)):
            if c.encode(errors="surrogatepass") not in self._mergeable_ranks:
                raise TokenizerError(
                    f"tokenizer='char': {c!r} is none of the {self.n_vocab - 1} characters of its corpus; "
                    "leave it out, or use tokenizer='bpe', which has a token for every byte"
                )
        return super().encode_ordinary(text)


# ---------------------------------------------------------------- files


def save_tokenizer(encoding: tiktoken.Encoding, path: str | Path) -> None:
    """Write an encoding as JSON: its name, its pattern and its tokens in the order of their ids."""
    tokens = sorted(encoding._mergeable_ranks, key=encoding._mergeable_ranks.__getitem__)
    content = {
        "name": encoding.name,
        "pattern": encoding._pat_str,
        "special": END_OF_TEXT,
        "tokens": [base64.b64encode(token).decode("ascii") for token in tokens],
    }
    Path(path).write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")


def load_tokenizer(path: str | Path) -> tiktoken.Encoding:
    """The encoding that `save_tokenizer` wrote. It needs no network, not even for GPT-2's encoding.

    Raises `TokenizerError` for a file that is missing or damaged: a stranger's file cannot make an encoding that
    crashes or hangs.
    """
    try:
        content = read_small_json(path, _LARGEST_FILE)
    except UnreadableFile as error:
        raise TokenizerError(f"{error}; it should hold a tokenizer") from None
    try:
        name, tokens = _read_content(content)
    except ValueError as error:
        raise TokenizerError(f"file {path} is not a tokenizer: {error}; write it anew") from None
    return _build_encoding(name, {token: rank for rank, token in enumerate(tokens)})


def _check_texts(texts: Iterable[str]) -> Iterator[str]:
    """The texts, each of which is one."""
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise TokenizerError(f"texts={quote(texts)} must be a list of texts, as in [text]")
    for text in texts:
        if not isinstance(text, str):
            raise TokenizerError(f"{quote(text)} among the texts is no text")
        yield text


def _read_content(content: Any) -> tuple[str, list[bytes]]:
    """The name and the tokens in a tokenizer's file; `ValueError` says what is wrong with it."""
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    name, pattern, tokens = content.get("name"), content.get("pattern"), content.get("tokens")
    if not isinstance(name, str) or name not in _PATTERNS:
        raise ValueError(f"name={quote(name)} must be one of {', '.join(_PATTERNS)}")
    if pattern not in _PATTERNS[name]:
        raise ValueError(f"pattern={quote(pattern)} is not the pattern of {name!r}")
    if content.get("special") != END_OF_TEXT:
        raise ValueError(f"special={quote(content.get('special'))} must be {END_OF_TEXT}")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ValueError("tokens must be a list of texts")
    spelled = [base64.b64decode(token, validate=True) for token in tokens]  # binascii.Error is a ValueError
    known = set(spelled)
    if len(known) != len(spelled) or not known or b"" in known:
        raise ValueError("its tokens must be different and not empty")
    if name == "char":
        if any(len(token.decode()) != 1 for token in spelled):  # UnicodeDecodeError is a ValueError
            raise ValueError("a token of 'char' must be one character")
    elif not {bytes([byte]) for byte in range(256)} <= known:
        raise ValueError("each of the 256 bytes must be a token")
    return name, spelled


# ---------------------------------------------------------------- facts about tokens


def token_bytes(encoding: tiktoken.Encoding) -> Int64[np.ndarray, " vocab_size"]:
    """How many bytes of text each token stands for; 0 for `<|endoftext|>`.

    It turns nats per token into bits per byte, the one loss that compares tokenizers. The separator is predicted
    and its loss counts, but it adds no bytes: it is not text.
    """
    sizes = np.zeros(encoding.n_vocab, dtype=np.int64)
    for token, rank in encoding._mergeable_ranks.items():
        sizes[rank] = len(token)
    return sizes


def to_transformers(encoding: tiktoken.Encoding) -> Tokenizer:
    """The same tokenizer for `transformers`, in the library `tokenizers`: the same ids for every text.

    tiktoken joins the neighbours whose union has the lowest rank. `tokenizers` needs a list of joins, so every way
    to make a token from two is listed, in the order of the token's rank. The letters "<|endoftext|>" in a text are
    thirteen ordinary bytes here too. That is a setting beside the tokenizer, which its file does not keep: a folder of
    `hub.save_pretrained` holds it for `AutoTokenizer` (`split_special_tokens`).

    One difference remains: a character that a tokenizer of characters does not know is an error in tiktoken, and
    `tokenizers` skips it.
    """
    ranks = encoding._mergeable_ranks
    letters = spell_bytes()
    spelled = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = [
        (spelled[token[:i]], spelled[token[i:]])
        for token in sorted(ranks, key=ranks.__getitem__)
        for i in range(1, len(token))
        if token[:i] in ranks and token[i:] in ranks
    ]
    # ignore_merges: a word that is a token itself is taken whole, as tiktoken does.
    bpe = models.BPE({spelled[token]: rank for token, rank in ranks.items()}, merges, ignore_merges=True)
    # The two regular expression engines write "any character, a new line too" differently.
    words = Regex(r"(?m:.)" if encoding._pat_str == CHARACTERS else encoding._pat_str)
    tokenizer = Tokenizer(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    tokenizer.encode_special_tokens = True  # as ordinary text, where they stand in one
    return tokenizer


# ---------------------------------------------------------------- building blocks


def _build_encoding(name: str, ranks: dict[bytes, int]) -> tiktoken.Encoding:
    """The encoding with these tokens, and `<|endoftext|>` as the last one."""
    kind = CharacterEncoding if name == "char" else BoundedEncoding
    return kind(
        name,
        pat_str=_PATTERNS[name][0],
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT: len(ranks)},
        explicit_n_vocab=len(ranks) + 1,  # tiktoken then checks that the ids have no gap
    )
