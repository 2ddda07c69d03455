"""A compiled training against the same one without: facts, evaluations, names of weights, and how often is compiled.

Each compiles with the machine's compiler, which takes a minute or so.
"""

import pytest

from tests.contracts.apart import ask
from tests.sample import sample

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("arm", "compiled_at"), sample([("kimi", [1, 3]), ("gpt", [1])], 2))
def test_a_compiled_training_is_the_same_training(arm, compiled_at):
    """Of kimi, steered in every way, one graph is for the losses at its beginning, and one for those since step 3."""
    found = ask("compiled_training", arm)
    assert found["compiled_at"] == compiled_at and found["graphs"] == len(compiled_at), found
    assert max(found["differences"].values()) <= 1e-4 and max(found["evaluations"]) <= 1e-4, found
    assert found["same_names"], found
    assert found["compile_seconds"] > found["seconds"], found
