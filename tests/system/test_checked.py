"""Arguments that are checked: what is allowed passes as it is, everything else is refused in one line."""

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from nanokimi.config import GPTConfig, KimiConfig
from nanokimi.system.checked import checked, fits_signature
from nanokimi.system.real_numbers import Share
from nanokimi.system.refusals import ConfigError
from nanokimi.system.whole_numbers import Count, Seed, Whole


class Corpus:
    pass


@checked
def example(
    cfg: GPTConfig | KimiConfig,
    corpus: Corpus | None = None,
    *,
    folder: str | Path | None = None,
    n: Count = 1,
    share: Share = 0.5,
    ids: Sequence[Whole] = (),
    seed: Seed = 0,
    call: Callable[[int], int] | None = None,
) -> tuple:
    """An example."""
    return cfg, corpus, folder, n, share, ids, seed, call


CFG = GPTConfig()


def test_what_is_allowed_passes_as_it_is():
    corpus = Corpus()
    assert example(CFG, corpus) == (CFG, corpus, None, 1, 0.5, (), 0, None)
    folder = Path("out")
    found = example(
        CFG, folder=folder, n=np.int64(3), share=np.float32(0.25), ids=[1, np.uint16(2)], call=abs
    )
    assert found == (CFG, None, folder, 3, 0.25, [1, 2], 0, abs)
    assert [type(found[i]) for i in (3, 4)] == [int, float]
    assert example(CFG, folder="out")[2] == "out"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"cfg": "kimi-tiny"}, "cfg='kimi-tiny' must be GPTConfig or KimiConfig"),
        ({"cfg": {"d_model": 64}}, "cfg={'d_model': 64} must be GPTConfig or KimiConfig"),
        ({"corpus": 3}, "corpus=3 must be Corpus"),
        ({"folder": 3}, "folder=3 must be text or a path"),
        ({"n": 0}, "n=0 must be 1 or more"),
        ({"n": "3"}, "n='3' must be a whole number"),
        ({"n": True}, "n=True must be a whole number, not a yes or no"),
        ({"n": 10**5000}, "n=a number of thousands of digits must be 10^18 or less"),
        ({"share": float("nan")}, "share=nan must be a finite number"),
        ({"share": 2}, "share=2 must be 1 or less"),
        ({"ids": "12"}, "ids='12' must be a list, not one text"),
        ({"ids": [1, "a\x1b"]}, r"ids.1='a\x1b' must be a whole number"),
        ({"ids": 3}, "ids=3 must be a list"),
        ({"seed": 2**64}, "seed=18446744073709551616 must be below 2^64"),
        ({"call": 3}, "call=3 must be a function"),
    ],
)
def test_everything_else_is_refused_in_one_line(given, line):
    with pytest.raises(ConfigError) as refused:
        example(**{"cfg": CFG, **given})
    assert str(refused.value) == f"example: {line}"


@fits_signature
def plain(name, *, share=0.5):
    return name, share


@pytest.mark.parametrize(
    ("args", "given", "says"),
    [
        ((), {}, "missing a required argument: 'name'"),
        ((1, 2), {}, "too many positional arguments"),
        ((1,), {"shares": 2}, "got an unexpected keyword argument 'shares'"),
    ],
)
def test_a_call_that_does_not_fit_is_refused_in_one_line_that_says_how_to_call(args, given, says):
    with pytest.raises(ConfigError) as refused:
        plain(*args, **given)
    assert str(refused.value) == f"plain: {says}; it is called as plain(name, *, share=0.5)"
    with pytest.raises(
        ConfigError, match="example: missing a required argument: 'cfg'; it is called as example"
    ):
        example()
    assert plain("a", share=1) == ("a", 1)


def test_a_refusal_is_always_one_line_that_a_terminal_can_show():
    line = str(ConfigError("a\nb \x1b[2J" + "x" * 5000))
    assert line.startswith(r"a b \x1b[2Jxxx") and len(line) == 600
    assert str(pickle.loads(pickle.dumps(ConfigError("a")))) == "a"
