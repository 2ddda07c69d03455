"""Texts that a model writes for `nanokimi generate` and `nanokimi chat`: as they come, or as lines of JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from nanokimi.cli import options
from nanokimi.cli.models import Found, load_model, name_of
from nanokimi.cli.terminal import decode, say, tell
from nanokimi.config import ConfigError
from nanokimi.device import choose_device
from nanokimi.generate import generate as generate_tokens
from nanokimi.presets.sampling import check_run, check_sampling
from nanokimi.system.devices import explain_lack
from nanokimi.system.printable import quote
from nanokimi.system.refusals import require
from nanokimi.text.tokenizer import END_OF_TEXT

MOST_SAMPLES = 10_000
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a text is drawn, as the options of a command say it; a mistake is told under the name of the option."""

    max_new_tokens: int
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int
    compile: str = "auto"

    def __post_init__(self) -> None:
        with options.named_as_options():
            check_sampling(self.temperature, self.top_k, self.top_p)
            check_run(self.max_new_tokens, self.seed, None, self.compile)

    def with_seed(self, seed: int) -> "Sampling":
        """The same from another seed."""
        return replace(self, seed=seed)


def load_writer(path: Path, device: str) -> Found:
    """The model that --checkpoint names, ready to write, on the device."""
    require(device in DEVICES, f"--device={quote(device)} must be {', '.join(DEVICES[:-1])} or {DEVICES[-1]}")
    with options.named_as_options():
        place = choose_device(device)
    found = load_model(path)
    with explain_lack(device):
        found.model.to(place).eval()
    return found


def draw_tokens(found: Found, text: str, how: Sampling) -> Iterator[int]:
    """The tokens that continue a text, until the model ends it.

    In training every document follows a separator, so the text begins like a document. Of a text that is longer than
    the model's context the newer half of a context is read.
    """
    encoding = found.tokenizer
    ids = [encoding.encode_single_token(END_OF_TEXT), *encoding.encode_ordinary(text)]
    context = found.model.cfg.max_seq_len
    if len(ids) > context:
        ids = ids[-max(1, context // 2) :]
    stop = encoding.encode_single_token(END_OF_TEXT)
    with explain_lack(str(next(found.model.parameters()).device.type)):
        yield from generate_tokens(
            found.model,
            ids,
            how.max_new_tokens,
            temperature=how.temperature,
            top_k=how.top_k,
            top_p=how.top_p,
            seed=how.seed,
            stop_id=stop,
            compile=how.compile,
        )


def show_texts(found: Found, prompt: str, how: Sampling, n_samples: int) -> None:
    """Print texts as they come, an empty line between two; number i, from 0, is drawn from the seed plus i."""
    for i in range(n_samples):
        tokens = draw_tokens(found, prompt, how.with_seed(how.seed + i))
        written = decode(found.tokenizer.decode_single_token_bytes, tokens)
        first = next(written)  # a mistake shows here, before anything is printed
        if how.compile == "on" and i == 0:
            tell("compiling what a token takes before the second one, which takes a while")
        try:
            say(("\n" if i else "") + prompt + first, end="")
            for piece in written:
                say(piece, end="")
        finally:
            say("")  # what comes after an interruption is a line of its own


def print_json(found: Found, prompt: str, how: Sampling, n_samples: int) -> None:
    """Print a line of JSON per text, when it is done. `text` is what the model wrote; `ended`, whether it ended it."""
    for i in range(n_samples):
        tokens = list(draw_tokens(found, prompt, how.with_seed(how.seed + i)))
        about = {
            "checkpoint": name_of(found),
            "seed": how.seed + i,
            "prompt": prompt,
            "text": found.tokenizer.decode_bytes(tokens).decode("utf-8", errors="replace"),
            "tokens": len(tokens),
            "ended": len(tokens) < how.max_new_tokens,
        }
        say(json.dumps(about))


def check_samples(n_samples: int, seed: int) -> None:
    """`ConfigError` unless there is a seed for each of so many texts."""
    if not 1 <= n_samples <= MOST_SAMPLES:
        raise ConfigError(f"--num-samples={quote(n_samples)} must lie in 1..{MOST_SAMPLES:,}")
    with options.named_as_options():
        check_run(1, seed + n_samples - 1, None, "auto")
