import pytest

from lab_utils.bench.plan import make_plan
from nanokimi.text import corpus


@pytest.fixture(scope="module")
def smoke():
    """The smoke plan and its corpus."""
    plan = make_plan("smoke")
    text = corpus.load_corpus(plan.data, seq_len=64)
    return plan.with_vocabulary_of(text), text
