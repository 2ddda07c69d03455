"""What a terminal shows while something runs: lines, progress bars and the text of a model."""

import codecs
import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator

from tqdm import tqdm

from nanokimi.config import DataConfig, TrainConfig
from nanokimi.record import StepRecord
from nanokimi.system.printable import OneLineError, escape_text, one_line
from nanokimi.text import corpus

# The line of a training: 60 columns hold it with a short bar.
BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {remaining} left{postfix}"
NO_TERMINAL = None  # tqdm's word for: no bar where stderr is a file or a pipe


class CannotPrint(OneLineError):
    """What is printed goes to a file, and its disk is full."""


def say(text: str, end: str = "\n") -> None:
    """Print text from anywhere on stdout, now; a terminal that was closed meanwhile stops no work."""
    try:
        print(escape_text(text), end=end, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno != errno.EIO:
            raise CannotPrint(f"what is printed cannot be written: {error.strerror}") from None


def say_above_bar(text: str) -> None:
    """Print a line on stdout, while a progress bar may stand in the terminal's last line."""
    with tqdm.external_write_mode(file=sys.stdout):
        say(one_line(text))


def tell(text: str) -> None:
    """Print a remark on stderr, apart from what a command gives."""
    with contextlib.suppress(OSError):
        print(f"note: {one_line(text)}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def hush(quiet: bool) -> Iterator[None]:
    """A block in which nothing is printed, where `quiet`: another process prints the same."""
    with contextlib.ExitStack() as stack:
        if quiet:
            nothing = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(nothing))
            stack.enter_context(contextlib.redirect_stderr(nothing))
        yield


@contextlib.contextmanager
def source_is_an_option() -> Iterator[None]:
    """A block of a command: a text that cannot be used is told under the name of the option, `--data`."""
    try:
        yield
    except corpus.TextError as error:
        raise corpus.TextError(str(error).replace("source=", "--data=")) from None


@contextlib.contextmanager
def bars(unit_scale: bool = False) -> Iterator[corpus.OnProgress]:
    """A function that is told which stage of a work is done how far: a terminal shows a bar for the one under way."""
    drawn: dict[str, tqdm] = {}

    def show(stage: str, done: int | float, total: int | float | None) -> None:
        if stage not in drawn:
            for bar in drawn.values():
                bar.close()
            text = escape_text(stage)
            drawn[stage] = tqdm(
                desc=text,
                total=total,
                unit_scale=unit_scale,
                leave=False,
                file=sys.stderr,
                disable=NO_TERMINAL,
            )
        drawn[stage].update(done - drawn[stage].n)

    try:
        yield show
    finally:
        for bar in drawn.values():
            bar.close()


def load_corpus_with_bars(cfg: DataConfig, seq_len: int = 1) -> corpus.Corpus:
    """The corpus. While it is made, a terminal shows a bar per stage; then come its notes."""
    with bars(unit_scale=True) as show, source_is_an_option():
        loaded = corpus.load_corpus(cfg, show, seq_len=seq_len)
    for note in loaded.notes:
        tell(note)
    return loaded


def draw_bar(records: Iterator[StepRecord], cfg: TrainConfig, done: int = 0) -> Iterator[StepRecord]:
    """The same records, after step `done`, and each evaluation as a line once its record was given.

    A terminal shows a bar below the lines, with loss, tokens/s and the time left. Every line has at most 60 letters,
    for a phone or half a screen.
    """
    floor_is_told = False
    # Of a training that is refused or stopped before its first step no bar stays.
    with tqdm(
        total=cfg.steps,
        initial=done,
        bar_format=BAR,
        dynamic_ncols=True,
        file=sys.stderr,
        leave=False,
        disable=NO_TERMINAL,
    ) as bar:
        for record in records:
            bar.leave = True
            if record.compile_seconds:
                about = f"compiled in {record.compile_seconds:.1f} s, in no other time"
                say_above_bar(f"step {record.step}: {about}")
            bar.update(record.step - bar.n)
            bar.set_postfix_str(f"loss {record.loss:.3f}, {record.tokens_per_s:,.0f} tokens/s")
            yield record
            if record.evaluation is not None:
                found = record.evaluation
                measured = f"validation loss {found.loss:.4f}, {found.bits_per_byte:.4f} bits per byte"
                say_above_bar(f"step {record.step}: {measured}")
                floor = found.floor_bits_per_byte
                if floor is not None and not floor_is_told:
                    say_above_bar(f"on this text no model goes below {floor:.3f} on average")
                    floor_is_told = True


def decode(token_bytes: Callable[[int], bytes], tokens: Iterator[int]) -> Iterator[str]:
    """The text of the tokens, as it comes: half a character waits for its other half in the next token."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in tokens:
        yield decoder.decode(token_bytes(token))
    yield decoder.decode(b"", final=True)
