"""What a terminal shows while something runs: progress bars and the text of a model. What Ctrl-C does."""

import codecs
import signal
import sys
from collections.abc import Callable, Iterator

from tqdm import tqdm

from nanokimi.config import DataConfig, TrainConfig
from nanokimi.record import StepRecord
from nanokimi.text import corpus


def load_corpus_with_bars(cfg: DataConfig, seq_len: int = 1) -> corpus.Corpus:
    """The corpus. While it is made, stderr shows a bar per stage."""
    bars: dict[str, tqdm] = {}

    def show(stage: str, done: int | float, total: int | float | None) -> None:
        if stage not in bars:
            for bar in bars.values():
                bar.close()
            bars[stage] = tqdm(desc=stage, total=total, unit_scale=True, leave=False, file=sys.stderr)
        bars[stage].update(done - bars[stage].n)

    try:
        return corpus.load_corpus(cfg, show, seq_len=seq_len)
    finally:
        for bar in bars.values():
            bar.close()


def draw_bar(records: Iterator[StepRecord], cfg: TrainConfig) -> Iterator[StepRecord]:
    """The same records. A bar shows loss, tokens/s and the time left; each evaluation is a line above the bar."""
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
                    f"{found.bits_per_byte:.4f} bits per byte{beside}",
                    file=sys.stdout,
                )
            yield record


class Interrupt:
    """Makes the first Ctrl-C a request, which the loop reads between two steps. The second one ends the program."""

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
    """The text of the tokens, as it comes: half a character waits for its other half in the next token."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in tokens:
        yield decoder.decode(token_bytes(token))
    yield decoder.decode(b"", final=True)


def keep_printable(text: str) -> str:
    """The text without control characters, so that a model cannot control the terminal."""
    return "".join(c for c in text if c in "\n\t" or c.isprintable())
