"""Forward pass, loss and backward pass of every arm are one graph without a break: on a GPU they could be compiled."""

import subprocess
import sys

from tests.contracts.one_graph import list_arms


def test_every_arm_is_one_graph():
    done = subprocess.run(
        [sys.executable, "-m", "tests.contracts.one_graph"], capture_output=True, text=True, timeout=600
    )
    assert done.stdout.split() == [arm.name for arm in list_arms()], done.stderr[-3000:]
