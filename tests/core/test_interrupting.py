"""A caller that changes its mind within a step, waits, or ends the training: what is given up leaves nothing behind."""

import pytest

from nanokimi import checkpoint
from nanokimi.steering import EndTraining, Intervention
from nanokimi.train import train
from tests import tiny
from tests.sample import sample
from tests.training import ADAMW, MUON, Clock, drop_clock, intervene, make_kimi, run_steered


class Minds:
    """A steer that wants nothing the first `n` times that it is asked, and from then on does what `then` does."""

    def __init__(self, n: int, then):
        self.left, self.then, self.asked_about = n, then, []

    def __call__(self, step: int):
        self.asked_about.append(step)
        self.left -= 1
        return [] if self.left >= 0 else self.then(step)


# The steps that the first questions are about. A step asks three times: before it, after its forward pass and after its
# backward pass. An evaluation, here the one after step 3, asks about the next step after each of its two batches.
ASKED = (1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4)


@pytest.mark.parametrize("n", sample(range(len(ASKED)), 10, begin=1))
@pytest.mark.parametrize("cfg", [ADAMW, MUON], ids=["adamw", "muon"])
def test_a_changed_step_is_as_if_the_caller_had_asked_for_it_from_the_start(cfg, n):
    """Whenever the answer changes: what is given up leaves nothing behind, no gradient and no update."""
    changes = [
        Intervention(ASKED[n], what, value)
        for what, value in (("lr_factor", 0.5), ("switch_coef", 0.1), ("frozen_experts", ((1, 2),)))
    ]
    steer = Minds(n, intervene(*changes))
    found = list(train(make_kimi(), tiny.corpus(), cfg, steer=steer))
    assert tuple(steer.asked_about[: n + 1]) == ASKED[: n + 1]
    assert drop_clock(found) == drop_clock(run_steered(cfg, *changes))


def test_a_change_that_is_taken_back_is_none():
    """The second answer about step 2 is a change, the next answer takes it back."""
    minds = iter([[], [], [], [], [Intervention(2, "lr_factor", 0.5)]])
    found = train(make_kimi(), tiny.corpus(), ADAMW, steer=lambda step: next(minds, []))
    assert drop_clock(found) == drop_clock(run_steered(ADAMW))


@pytest.mark.parametrize("n", sample(range(len(ASKED)), 10, begin=1))
@pytest.mark.parametrize("cfg", [ADAMW, MUON], ids=["adamw", "muon"])
def test_a_training_ends_where_it_is_asked_and_goes_on_as_if_never_stopped(cfg, n, tmp_path):
    """The step under way is given up; the one whose evaluation is cut short counts, without evaluation."""

    def end(step):
        raise EndTraining

    before = list(train(make_kimi(), tiny.corpus(), cfg, tmp_path, steer=Minds(n, end)))
    assert len(before) == ASKED[n] - 1 == checkpoint.load_checkpoint(tmp_path).state.step
    after = run_steered(cfg, run_dir=tmp_path, resume=True)
    expected, cut = drop_clock(run_steered(cfg)), n in (9, 10)
    if cut:
        assert before[2].evaluation is None and expected[2]["evaluation"] is not None
        expected[2]["evaluation"] = None
    assert drop_clock(before + after) == expected
    assert len((tmp_path / "steps.jsonl").read_text().splitlines()) == cfg.steps


def test_the_time_of_an_answer_and_of_a_step_given_up_is_not_trainings(monkeypatch):
    """By a clock of our own: an answer takes a hundred seconds, a training batch two, all else none."""
    clock = Clock(monkeypatch)
    minds = Minds(4, intervene(Intervention(2, "lr_factor", 0.5)))

    def steer(step):
        clock.tick(100)
        return minds(step)

    model = clock.slow_down(make_kimi(), training=2, evaluation=0)
    records = list(train(model, tiny.corpus(), ADAMW, steer=steer))
    assert [r.seconds for r in records] == [2.0 * r.step for r in records]
    assert clock.now == 100 * len(minds.asked_about) + 2 * (len(records) + 1)
