from functools import partial

import pytest

from lab_utils.bench import measured
from lab_utils.bench.measured import measure_rest
from lab_utils.bench.plan import make_plan
from nanokimi.abilities.report import measure_abilities
from nanokimi.text import corpus
from tests.bench.makers import train_briefly

FEW = 3


@pytest.fixture(scope="module")
def smoke():
    """The smoke plan and its corpus."""
    plan = make_plan("smoke")
    text = corpus.load_corpus(plan.data, seq_len=64)
    return plan.with_vocabulary_of(text), text


@pytest.fixture(scope="module")
def trained(smoke, tmp_path_factory):
    """(plan, text, results, folder) of the default arms, nothing measured yet; `FEW` texts will do for all of them."""
    plan, text = smoke
    out = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measured, "measure_abilities", partial(measure_abilities, n_samples=FEW))
        yield (plan, text, train_briefly(plan, text, out)[1], out)


@pytest.fixture(scope="module")
def whole(trained):
    """The results with all abilities, what was kept on the way, and the lines that were told."""
    plan, text, results, out = trained
    kept, told = [], []
    return measure_rest(results, plan.data, text, out, kept.append, told.append), kept, told
