"""A compiled training against the same one without: facts, evaluations, names of weights, and how often is compiled.

Each compiles with the machine's compiler, which takes a minute or so.
"""

import json
import os
import subprocess
import sys

import pytest
import torch

from nanokimi.compiled.choice import choose_compile
from nanokimi.config import ConfigError
from tests.sample import sample

pytestmark = pytest.mark.slow


def compare(arm):
    try:
        choose_compile("on", torch.device("cpu"))
    except ConfigError as lack:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(lack))
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-m", "tests.contracts.compiled_training", arm],
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("arm", "compiled_at"), sample([("kimi", [1, 3]), ("gpt", [1])], 2))
def test_a_compiled_training_is_the_same_training(arm, compiled_at):
    """Of kimi, steered in every way, one graph is for the losses at its beginning, and one for those since step 3."""
    found = compare(arm)
    assert found["compiled_at"] == compiled_at and found["graphs"] == len(compiled_at), found
    assert max(found["differences"].values()) <= 1e-4 and max(found["evaluations"]) <= 1e-4, found
    assert found["same_names"], found
    assert found["compile_seconds"] > found["seconds"], found
