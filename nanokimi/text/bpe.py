"""The tokens of byte-pair encoding, learnt from texts by the library `tokenizers` on a thread that can be left behind.

The library answers no signal while it works. So this thread waits for the other one, and Ctrl-C ends the wait.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from nanokimi.text.cuts import cut_runs

TICK_S = 0.2  # how long a Ctrl-C may have to wait, on systems where it does not end a wait by itself


def train_ranks(
    texts: Iterable[str], n_tokens: int, words: str, on_wait: Callable[[], None] = lambda: None
) -> dict[bytes, int]:
    """The bytes and the id of at most `n_tokens` tokens: first the 256 bytes, then one per merge, in merge order.

    No merge crosses a border of the pattern `words`, nor a place at which `cut_runs` cuts: time grows with the square
    of the longest word. `on_wait()` is called while the library works.
    """
    stopped = threading.Event()
    results: list[Tokenizer] = []
    errors: list[BaseException] = []

    def feed() -> Iterator[str]:
        for text in texts:
            for part in cut_runs(text):
                if stopped.is_set():
                    return
                yield part

    def work() -> None:
        try:
            results.append(_train(feed(), n_tokens, words))
        except BaseException as error:  # raised again below, in the thread that asked
            errors.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(TICK_S)
            on_wait()
    finally:
        stopped.set()
    if errors:
        raise errors[0]
    byte_of = {letter: byte for byte, letter in enumerate(spell_bytes())}
    return {bytes(byte_of[c] for c in token): rank for token, rank in results[0].get_vocab().items()}


def spell_bytes() -> list[str]:
    """GPT-2's printable letter for each of the 256 bytes. The library `tokenizers` spells tokens with them."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = (chr(256 + i) for i in range(256))
    return [chr(byte) if byte in printable else next(hidden) for byte in range(256)]


def _train(texts: Iterator[str], n_tokens: int, words: str) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=n_tokens,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
