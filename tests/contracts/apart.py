"""A module of this folder in a process of its own, for what needs the machine's compiler."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from nanokimi.compiled.choice import choose_compile
from nanokimi.config import ConfigError


def ask(module: str, word: str) -> Any:
    """What the module prints last, as JSON, when it is run with this word. Without a compiler: skipped, in CI never."""
    try:
        choose_compile("on", torch.device("cpu"))
    except ConfigError as lack:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(lack))
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-m", f"tests.contracts.{module}", word],
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
