"""What a person sees in a terminal while something runs: bars, text as it is written, and Ctrl-C taken politely."""

import codecs
import signal
import sys
from collections.abc import Callable, Iterator

from tqdm import tqdm

from nanokimi.config import DataConfig, TrainConfig
from nanokimi.record import StepRecord
from nanokimi.text import corpus


def load_corpus(cfg: DataConfig, seq_len: int = 1) -> corpus.Corpus:
    """The corpus, with a bar a stage on stderr while it is made."""
    bars: dict[str, tqdm] = {}

    def progress(stage: str, done: int | float, total: int | float | None) -> None:
        if stage not in bars:
            for bar in bars.values():
                bar.close()
            bars[stage] = tqdm(desc=stage, total=total, unit_scale=True, leave=False, file=sys.stderr)
        bars[stage].update(done - bars[stage].n)

    try:
        return corpus.load_corpus(cfg, progress, seq_len=seq_len)
    finally:
        for bar in bars.values():
            bar.close()


def with_bar(records: Iterator[StepRecord], cfg: TrainConfig) -> Iterator[StepRecord]:
    """The same records, drawn as a bar with loss, tokens/s and time left; evaluations as lines above it."""
    with tqdm(total=cfg.steps, unit="step", file=sys.stderr) as bar:
        for record in records:
            bar.update(record.step - bar.n)
            bar.set_postfix_str(f"loss {record.loss:.3f}, {record.tokens_per_s:,.0f} tokens/s")
            if record.evaluation is not None:
                found = record.evaluation
                floor = found.floor_bits_per_byte
                beside = "" if floor is None else f" (floor {floor:.3f})"
                bar.write(
                    f"step {record.step}: validation loss {found.loss:.4f}, perplexity {found.perplexity:.2f}, "
                    f"{found.bits_per_byte:.4f} bits a byte{beside}",
                    file=sys.stdout,
                )
            yield record


class Interrupt:
    """Turns the first Ctrl-C into a request that the loop sees between two steps; the second one ends at once."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> "Interrupt":
        self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _on_signal(self, *_: object) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, self._before)


def decode(token_bytes: Callable[[int], bytes], tokens: Iterator[int]) -> Iterator[str]:
    """Text as it comes: a character cut between two tokens waits for its second half."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in tokens:
        yield decoder.decode(token_bytes(token))
    yield decoder.decode(b"", final=True)


def printable(text: str) -> str:
    """Without control characters: a model's text must not steer the terminal."""
    return "".join(c for c in text if c in "\n\t" or c.isprintable())
