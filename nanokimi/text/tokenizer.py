"""Text to token ids and back: three tokenizers, each of them a `tiktoken.Encoding`.

* `train_bpe`: byte-level byte-pair encoding, trained here on the corpus (Sennrich et al. 2016; Radford et al.
  2019). The 256 bytes come first, so that every text has ids; then one token per merge, in merge order.
* `gpt2`: the 50,257 tokens of GPT-2, from tiktoken.
* `char`: one token per character, for nanoGPT's tiny Shakespeare setting (65 characters).

The last id of each is `<|endoftext|>`, the separator of documents. The corpus writes it, a text never does: encode
text with `encode_ordinary`, which reads the string "<|endoftext|>" as thirteen ordinary bytes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import tiktoken
from jaxtyping import Int64
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from nanokimi.system.deadline import call_within

END_OF_TEXT = "<|endoftext|>"

# GPT-2's rule for what a merge may never cross: a token is (the end of) a contraction, letters, digits or
# punctuation, each with at most one space before it, or a run of white space.
WORDS = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
CHARACTERS = r"(?s:.)"


class TokenizerError(ValueError):
    """A tokenizer that is not available, or a text that it has no tokens for: one line that says what to do."""


# ---------------------------------------------------------------- the three tokenizers


def train_bpe(texts: Iterable[str], vocab_size: int = 2048) -> tiktoken.Encoding:
    """Byte-level BPE of at most `vocab_size` tokens: 256 bytes, the most frequent merges, `<|endoftext|>`.

    A text that is too small to repeat that many pairs gives a smaller vocabulary (its size is `n_vocab`). The
    merges depend on the texts alone, so one corpus always gives one tokenizer. 20 MB take about 2 s.
    """
    if vocab_size < 257:
        raise TokenizerError(f"vocab_size={vocab_size} must be at least 257: 256 bytes and {END_OF_TEXT}")
    return _build_encoding("bpe", _read_ranks(_train_merges(texts, vocab_size - 1)))


def gpt2(wait_s: float = 15.0) -> tiktoken.Encoding:
    """GPT-2's encoding. tiktoken downloads it once (1.5 MB) and keeps it in `TIKTOKEN_CACHE_DIR`.

    `TokenizerError` without a copy and without a network, after `wait_s` seconds at the latest.
    """
    try:
        return call_within(wait_s, lambda: tiktoken.get_encoding("gpt2"))
    except (OSError, ValueError) as error:  # no connection, too slow, no place to write, a damaged download
        raise TokenizerError(
            f"tokenizer='gpt2': tiktoken has no copy of it here and could not download one "
            f"({type(error).__name__}); go online once, or set TIKTOKEN_CACHE_DIR to a folder that "
            "holds it, or use tokenizer='bpe' or 'char'"
        ) from None


def char(texts: Iterable[str]) -> tiktoken.Encoding:
    """One token for every character in `texts`, in code point order, and `<|endoftext|>`."""
    seen: set[str] = set()
    for text in texts:
        seen.update(text)
    if not seen:
        raise TokenizerError("tokenizer='char': the text holds no character; give a text that is not empty")
    return _build_encoding("char", {c.encode(): i for i, c in enumerate(sorted(seen))})


class CharacterEncoding(tiktoken.Encoding):
    """A `tiktoken.Encoding` whose tokens are whole characters.

    tiktoken looks up a piece of text as a whole before it tries any merge, and the pattern makes every character a
    piece, so a character of several bytes needs no merges. For a character without a token tiktoken would look for
    its bytes and crash; here a `TokenizerError` names the character.
    """

    def encode_ordinary(self, text: str) -> list[int]:
        self._check(text)
        return super().encode_ordinary(text)

    def encode(self, text: str, *, allowed_special=frozenset(), disallowed_special="all") -> list[int]:
        allowed = self.special_tokens_set if allowed_special == "all" else allowed_special
        self._check(text.replace(END_OF_TEXT, "") if END_OF_TEXT in allowed else text)
        return super().encode(text, allowed_special=allowed, disallowed_special=disallowed_special)

    def _check(self, text: str) -> None:
        for c in sorted(set(text)):
            if c.encode(errors="surrogatepass") not in self._mergeable_ranks:
                raise TokenizerError(
                    f"tokenizer='char': {c!r} is none of the {self.n_vocab - 1} characters of its corpus; "
                    "leave it out, or use tokenizer='bpe', which has a token for every byte"
                )


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
    """The encoding that `save_tokenizer` wrote. It needs no network, not even for GPT-2's encoding."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        tokens = [base64.b64decode(token, validate=True) for token in content["tokens"]]
        name, pattern = content["name"], content["pattern"]
    except FileNotFoundError:
        raise TokenizerError(f"{path}: no such file; it should hold a tokenizer") from None
    except (ValueError, KeyError, TypeError) as error:
        raise TokenizerError(f"{path}: not a tokenizer ({type(error).__name__}); write it anew") from None
    return _build_encoding(name, {token: rank for rank, token in enumerate(tokens)}, pattern)


# ---------------------------------------------------------------- facts about tokens, and safe cuts


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
    to make a token from two is listed, in the order of the token's rank. One difference remains: a character that a
    tokenizer of characters does not know is an error in tiktoken, and `tokenizers` skips it.
    """
    ranks = encoding._mergeable_ranks
    letters = _spell_bytes()
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
    return tokenizer


def cut_text(text: str, size: int) -> Iterator[str]:
    """`text` in parts of about `size` characters whose tokens, joined, are the tokens of the whole text.

    A cut stands only between a character and the blank or new line after it. No token contains both: in `WORDS`,
    white space begins a token or fills one. Where a text has no such place, a part gets longer.
    """
    start = 0
    while len(text) - start > size:
        cut = start + size
        while cut < len(text) and not (text[cut] in " \n" and not text[cut - 1].isspace()):
            cut += 1
        yield text[start:cut]
        start = cut
    if start < len(text):
        yield text[start:]


# ---------------------------------------------------------------- building blocks


def _train_merges(texts: Iterable[str], n_tokens: int) -> Tokenizer:
    """The trained tokenizer of the library `tokenizers`, before it becomes a `tiktoken.Encoding`."""
    trainer = trainers.BpeTrainer(
        vocab_size=n_tokens,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _spell_bytes() -> list[str]:
    """GPT-2's printable letter for each of the 256 bytes. The library `tokenizers` spells tokens with them."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = (chr(256 + i) for i in range(256))
    return [chr(byte) if byte in printable else next(hidden) for byte in range(256)]


def _read_ranks(trained: Tokenizer) -> dict[bytes, int]:
    """The bytes and the id of every token, from the trainer's letters."""
    byte_of = {letter: byte for byte, letter in enumerate(_spell_bytes())}
    return {bytes(byte_of[c] for c in token): rank for token, rank in trained.get_vocab().items()}


def _build_encoding(name: str, ranks: dict[bytes, int], pattern: str | None = None) -> tiktoken.Encoding:
    """The encoding with these tokens, and `<|endoftext|>` as the last one."""
    kind = CharacterEncoding if name == "char" else tiktoken.Encoding
    return kind(
        name,
        pat_str=pattern or (CHARACTERS if name == "char" else WORDS),
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT: len(ranks)},
        explicit_n_vocab=len(ranks) + 1,  # tiktoken then checks that the ids have no gap
    )
