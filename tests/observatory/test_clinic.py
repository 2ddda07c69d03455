"""The clinic's numbers by hand, the recorded trace as shipped, and a short run whose routers do what theirs did.
The cache meter, which is measured, against the formula and against another count."""

import json
import math

import pytest
import torch

from lab_utils.observatory import clinic
from lab_utils.observatory.cache_meter import measure_all, measure_cache, vary_attention
from lab_utils.observatory.clinic import Course, Frame, read_trace, write_trace
from nanokimi.config import KimiConfig
from nanokimi.kimi import Kimi
from nanokimi.text.corpus import load_corpus
from tests import tiny


def frame(*load: float) -> Frame:
    return Frame(step=1, load=load, loss=1.0, probe=((0, 1),))


def test_vital_signs_by_hand():
    ill = frame(3.9, 0.05, 0.05, 0.0)
    assert ill.max_vio == pytest.approx(3.9 / 1.0 - 1)
    assert ill.dead == (1, 2, 3)
    p = (0.975, 0.0125, 0.0125)
    assert ill.effective == pytest.approx(math.prod(x**-x for x in p))
    assert ill.alarms() == [
        "dead experts: 1, 2, 3",
        "MaxVio 2.90: expert 0 is overloaded",
        "entropy: as good as 1.1 of 4 experts in use",
    ]


def test_an_even_router_raises_no_alarm():
    even = frame(1.0, 1.0, 1.0, 1.0)
    assert (even.max_vio, even.dead, even.alarms()) == (0.0, (), [])
    assert even.effective == pytest.approx(4.0)


def test_two_of_four_are_two():
    assert frame(2.0, 2.0, 0.0, 0.0).effective == pytest.approx(2.0)


def test_frames_average_the_steps_between_them():
    class Record:
        def __init__(self, step, load, loss):
            self.step, self.expert_load, self.loss = step, [load], loss

    found = clinic._make_frame([Record(3, [2.0, 0.0], 5.0), Record(4, [1.0, 1.0], 4.0)], [[1, 0]])
    assert found == Frame(4, (1.5, 0.5), 4.5, ((1, 0),))


# ---------------------------------------------------------------- the recorded trace


@pytest.fixture(scope="module")
def recorded():
    return read_trace()


def test_the_recorded_trace_is_small_and_whole(recorded):
    assert clinic.RECORDED.stat().st_size < 200_000
    assert [(c.scoring, c.method) for c in recorded.courses] == [
        (scoring, method) for scoring in clinic.SCORINGS for method in clinic.METHODS
    ]
    for course in recorded.courses:
        assert [f.step for f in course.frames] == list(range(6, 241, 6))
        for found in course.frames:
            assert sum(found.load) == pytest.approx(8, abs=0.01)
            assert len(found.probe) == len(recorded.probe) == clinic.PROBE_TOKENS
            assert all(len(set(experts)) == 2 and max(experts) < 8 for experts in found.probe)


def test_none_collapses_and_every_remedy_cures(recorded):
    """In the second half of the training: without balancing one expert has nearly all there is to have, E/K = 4."""
    for course in recorded.courses:
        late = course.frames[len(course.frames) // 2 :]
        if course.method == "none":
            assert min(f.max_vio for f in late) > 2.5
            assert max(f.effective for f in late) < 5
            assert any(f.dead for f in late)
        else:
            assert not any(f.dead for f in late), course.name
            assert late[-1].alarms() == [], course.name
            assert late[-1].max_vio < 0.7, course.name


def test_a_trace_survives_its_file(recorded, tmp_path):
    write_trace(recorded, tmp_path / "trace.json")
    assert read_trace(tmp_path / "trace.json") == recorded
    assert json.loads((tmp_path / "trace.json").read_text())["probe"] == list(recorded.probe)


# ---------------------------------------------------------------- training it


@pytest.fixture(scope="module")
def corpus():
    return load_corpus(clinic.DATA, seq_len=clinic.SEQ_LEN)


def test_the_recorded_trace_is_made_by_this_code(corpus, recorded):
    """The first frame of a training, before rounding can have grown: other settings give other numbers at once."""
    assert clinic.read_probe(corpus) == recorded.probe
    theirs = recorded.course("sigmoid", "none").frames[0]
    first, _ = next(clinic.treat("sigmoid", "none", corpus, steps=240, every=6))
    other, _ = next(clinic.treat("sigmoid", "both", corpus, steps=240, every=6))
    assert first.load == pytest.approx(theirs.load, abs=0.02)
    assert first.loss == pytest.approx(theirs.loss, abs=1e-3)
    assert other.load != pytest.approx(theirs.load, abs=0.02)


def test_the_last_step_has_a_frame(corpus):
    with pytest.raises(ValueError, match="every=7 must divide steps=60"):
        next(clinic.run_clinic(corpus, steps=60, every=7))


def test_methods_are_what_they_are_called(corpus):
    """One switch each: the loss is on in two, the bias in two, and all start from the same weights."""
    assert [(bool(b.switch_coef), bool(b.bias_update_rate)) for b in clinic.METHODS.values()] == [
        (False, False), (True, False), (False, True), (True, True),
    ]  # fmt: skip
    for method, balance in clinic.METHODS.items():
        assert clinic.make_clinic_training(method, 40).balance == balance
    one, other = (Kimi(clinic.make_clinic_model(s, 512), seed=0) for s in clinic.SCORINGS)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))
    assert (one.cfg.moe.scoring, other.cfg.moe.scoring) == clinic.SCORINGS
    assert one.cfg.moe.n_shared_experts == 0


def test_a_short_clinic_shows_the_same_illness(corpus):
    courses = list(clinic.run_clinic(corpus, steps=60, every=10))
    assert all(
        isinstance(c, Course) and [f.step for f in c.frames] == [10, 20, 30, 40, 50, 60] for c in courses
    )
    end = {(c.scoring, c.method): c.frames[-1].max_vio for c in courses}
    for scoring in clinic.SCORINGS:
        assert end[scoring, "none"] > 2
        assert end[scoring, "bias update"] < 0.5 * end[scoring, "none"]
        assert end[scoring, "both"] < 0.5 * end[scoring, "none"]


# ---------------------------------------------------------------- the cache meter


def test_measured_bytes_are_the_formula_and_the_count_by_hand():
    """Two layers in float32. MHA: 2·16 numbers per token; MLA: 8 + 4; block latents: 2 latents a block of 4."""
    by_hand = {
        "MHA": lambda n: 2 * 4 * n * 2 * 16,
        "MLA": lambda n: 2 * 4 * n * (8 + 4),
        "BlockLatent": lambda n: 2 * 4 * 16 * (2 * 4 * (n // 4) + 3 * (n % 4)),
    }
    found = measure_all(tiny.kimi(), 11)
    assert [curve.name for curve in found] == list(by_hand)
    for curve in found:
        assert curve.n_tokens == tuple(range(1, 12))
        assert curve.measured == curve.formula == tuple(by_hand[curve.name](n) for n in range(1, 12))


def test_a_hybrid_is_measured_as_it_is_too():
    (*_, found) = measure_all(tiny.kimi("hybrid"), 11)
    assert found.name == "with KDA"
    # A state of 2 x 6 x 6, the three newest inputs of 3 x 12 channels, and a latent and a rope key per token.
    assert found.measured == found.formula == tuple(4 * (72 + 108 + 12 * n) for n in range(1, 12))


def test_variants_differ_in_their_attention_alone():
    cfg = KimiConfig(mla=tiny.kimi().mla)
    for name, variant in vary_attention(cfg).items():
        assert {"MHA": "mha", "MLA": "mla", "BlockLatent": "block_latent"}[name] == variant.attention
        assert (variant.n_layers, variant.d_model, variant.moe) == (cfg.n_layers, cfg.d_model, cfg.moe)


@pytest.mark.parametrize("n_tokens", [0, 17])
def test_tokens_outside_the_context(n_tokens):
    with pytest.raises(ValueError, match=rf"n_tokens={n_tokens} must lie in 1..max_seq_len=16"):
        measure_cache("MLA", tiny.kimi(), n_tokens)
