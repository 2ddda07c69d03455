"""A conversation with a model that continues stories: what is typed is added to the story, and the model goes on."""

import io
import signal
import sys

from nanokimi.cli.models import Found, name_of
from nanokimi.cli.settings import check_letters
from nanokimi.cli.terminal import decode, say, tell
from nanokimi.cli.writing import Sampling, draw_tokens
from nanokimi.config import ConfigError
from nanokimi.system.printable import one_line, quote
from nanokimi.system.signals import SIGNALS, Stopped, on_stop, raise_stopped

HELP = "type how a story begins or goes on; Enter alone lets the model go on; /reset begins anew, /quit ends"
OPENING = "\"'("  # a word that begins with one of these is a word of its own


def run_chat(found: Found, how: Sampling) -> None:
    """Talk until /quit or the end of what is typed. Ctrl-C stops the text that is being written; at the prompt it ends.

    Turn i, from 0, is drawn from the seed plus i.
    """
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # what is no UTF-8 is told, not a traceback
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        import readline as _  # noqa: F401  arrow keys and earlier lines
    say(one_line(f"{name_of(found)}: {HELP}"))
    story, turn = "", 0
    while True:
        with on_stop(raise_stopped):
            try:
                typed = input("> " if is_terminal else "").strip()
            except EOFError:
                say("", end="\n" if is_terminal else "")
                return
        if typed == "/quit":
            return
        if typed == "/reset":
            story = ""
            continue
        if typed.startswith("/"):
            tell(f"{quote(typed)} is no command: /reset begins a new story, /quit ends")
            continue
        try:
            check_letters(typed, "the line", "it is left out")
        except ConfigError as error:
            tell(str(error))
            continue
        story = join(story, typed)
        written, has_ended = _answer(found, story, how.with_seed(how.seed + turn))
        story, turn = "" if has_ended else story + written, turn + 1
        if has_ended:
            tell("the story has ended; what comes next begins a new one")


def join(story: str, typed: str) -> str:
    """The story and what was typed, with a space between two words."""
    apart = story and typed and not story[-1].isspace() and (typed[0].isalnum() or typed[0] in OPENING)
    return story + (" " if apart else "") + typed


def _answer(found: Found, story: str, how: Sampling) -> tuple[str, bool]:
    """What the model writes next, shown as it comes, and whether it has ended the story."""
    tokens, pieces = list[int](), list[str]()
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in SIGNALS}

    def count():
        for token in draw_tokens(found, story, how):
            tokens.append(token)
            yield token

    try:
        with on_stop(raise_stopped):
            for piece in decode(found.tokenizer.decode_single_token_bytes, count()):
                pieces.append(piece)
                say(piece, end="")
    except Stopped as stopped:
        if stopped.exit_code != 128 + signal.SIGINT:
            raise
        # `on_stop` has left the signals to the system, as a program that ends needs it; this one goes on.
        for number, handler in before.items():
            signal.signal(number, handler)
        return "".join(pieces), False
    finally:
        say("")
    return "".join(pieces), len(tokens) < how.max_new_tokens
