"""A token of decoding as one compiled graph: the tokens of the plain way, how often is compiled, and its operations."""

import json
import os
import subprocess
import sys

import pytest
import torch

from nanokimi.compiled.choice import choose_compile
from nanokimi.config import ConfigError

pytestmark = pytest.mark.slow


def ask(what):
    try:
        choose_compile("on", torch.device("cpu"))
    except ConfigError as lack:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(lack))
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-m", "tests.contracts.compiled_decoding", what],
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_tokens_are_the_same_and_a_graph_serves_all_that_it_fits():
    """One graph for a model's sizes and settings and a number of texts; the context is full two or three times."""
    told = ask("tokens")
    found = told["found"]
    assert [same for same, _ in found.values()] == [True] * 7, found
    assert [graphs for _, graphs in found.values()] == [1, 1, 1, 2, 3, 4, 5], found
    assert told["breaks"] == 0, told


def test_a_token_of_kimi_small():
    """The bar is for one text, whatever runs it; a GPU's compiler may fuse otherwise."""
    found = ask("kernels")
    assert 100 < sum(found.values()) <= 250, (sum(found.values()), found)
