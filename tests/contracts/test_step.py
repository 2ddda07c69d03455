"""What a training step asks of a GPU, counted on a pretended one: bars that need no GPU, and break with the product.

Each number in a failure is what was counted. The times are another matter: they are measured on a real card.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.contracts import pretend
from tests.sample import sample

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or (pretend.COMPILER is None and not os.environ.get("CI")),
        reason="the pretended device is one file of C++, and this machine has no compiler for it",
    ),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return pretend.build(tmp_path_factory.mktemp("pretended"))


def count(library, *how, of="step"):
    done = subprocess.run(
        [sys.executable, "-m", f"tests.contracts.count_{of}", library, *how],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_step_of_gpt(library):
    found = count(library, "gpt")
    assert 300 < found["operations"] <= 650, found
    assert found["waits"] == 2, found  # the losses, and the facts
    assert max(found["peaks"].values()) <= 8.0, found


def test_a_step_of_kimi_with_muon_and_qk_clip(library):
    found = count(library, "kimi")
    assert 1000 < found["operations"] <= 2200, found
    assert found["products"] <= 220, found  # two for all experts of a layer, and four for their gradients
    assert found["waits"] <= 3, found
    assert 0 < found["parts"]["Muon"] <= 250, found
    assert 0 < found["parts"]["largest logits"] <= 64, found  # eight a layer
    assert max(found["peaks"].values()) <= 11.8, found
    assert found["peaks"]["Muon"] <= 4.8, found


def test_a_step_that_keeps_no_activations(library):
    """Less than half of the memory beside weights and optimizers' state, for the forward products once more."""
    for arm, most, products in sample([("kimi", 2.9, 271), ("gpt", 2.6, 123)], 2):
        found = count(library, arm, "recompute")
        assert found["peaks"][""] <= most, found
        assert found["products"] <= products, found
        assert found["waits"] <= 3, found


def test_a_token_of_decoding(library):
    """The model itself never waits; `generate` waits once, to copy the logits to the CPU."""
    found = count(library, of="decoding")
    assert 100 < found["operations"] <= 362, found
    assert found["waits"] == 0, found
