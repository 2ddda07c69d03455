"""Learning the merges of byte-pair encoding, by the library `tokenizers`. As a program, it learns for another one.

The library answers no signal while it works, and a thread of it cannot be ended. A process can: `bpe` starts this file
for all but small texts. It imports nothing of this project, so that it starts quickly wherever it lies.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers


def learn(texts: Iterator[str], n_tokens: int, words: str) -> dict[str, int]:
    """The spelling and the id of at most `n_tokens` tokens; no merge crosses a border of the pattern `words`."""
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
    return tokenizer.get_vocab()


def _end_with(parent: int) -> None:
    """End this process soon after the one that started it, which may have been killed."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _main() -> None:
    """Read the settings and then a text per line, all as JSON, from stdin; write the tokens as JSON to stdout."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    n_tokens, words = json.loads(sys.stdin.buffer.readline())
    json.dump(learn(map(json.loads, sys.stdin.buffer), n_tokens, words), sys.stdout)


if __name__ == "__main__":
    _main()
