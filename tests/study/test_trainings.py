"""Which trainings a study takes: every rate with the first seed, the best of them with the others; and kept ones."""

from dataclasses import asdict, replace

import pytest

from lab_utils.bench.jobs import Lost
from lab_utils.bench.place import Local
from lab_utils.bench.trial import RUN
from lab_utils.study import trainings
from lab_utils.study.arms_plan import make_arms_plan
from lab_utils.study.trainings import at_best_rate, count_by_rule, train_arms, train_by_rule
from nanokimi.system.atomic import write_json
from nanokimi.text.corpus import load_corpus
from tests.study.arms import trained

# By arm and rate, the final loss with the first seed; None diverged.
LOSSES = {
    "adamw-8k-lr0.012": 3.0,
    "muon-8k-lr0.012": 2.0,
    "muon-8k-lr0.024": 1.0,
    "adamw-16k-lr0.012": None,
    "muon-16k-lr0.024": 2.5,
}


def test_other_seeds_have_the_best_rate_of_their_arm_only():
    asked = []

    def work(cells):
        asked.append({(cell.trained.name, cell.trained.train.seed) for cell in cells})
        return {
            f"{cell.trained.name} {cell.trained.train.seed}": Lost("gone")
            if LOSSES[cell.trained.name] is None
            else trained(cell.arm, {40: LOSSES[cell.trained.name]}, cell.lr, cell.trained.train.seed)
            for cell in cells
        }

    plan = make_arms_plan("muon", "smoke", 3)
    done = train_by_rule(plan.cells, work, lambda found: [seeds[0] for seeds in at_best_rate(found).values()])
    assert asked[0] == {(name, 0) for name in LOSSES}
    best = ("adamw-8k-lr0.012", "muon-8k-lr0.024", "muon-16k-lr0.024")
    assert asked[1] == {(name, seed) for name in best for seed in (1, 2)}
    assert len(done) == 11
    assert trainings.reasons(done) == {"adamw-16k-lr0.012 0": "gone"}
    # Four arms with a rate each, and the other rate of one of them.
    assert count_by_rule(plan.cells, 4) == 5 + 2 * 4


def test_an_arm_is_taken_at_the_rate_with_the_lowest_mean_loss_of_most_seeds():
    low = [trained("mla", {40: loss}, 0.01, seed) for seed, loss in enumerate((1.0, 1.2))]
    high = [trained("mla", {40: loss}, 0.02, seed) for seed, loss in enumerate((0.9, 1.4))]
    unfinished = trained("mla", {20: 0.1}, 0.04)
    single = trained("mla", {40: 0.2}, 0.08)
    assert at_best_rate([*high, *low, unfinished, single]) == {"mla": low}
    assert at_best_rate([unfinished]) == {}


def test_trainings_that_a_folder_holds_are_not_taken_again(tmp_path, monkeypatch):
    """A study of one rate more, in the folder of an earlier one, trains the new rate alone."""
    plan = make_arms_plan("muon", "smoke")
    data = replace(plan.preset.data, n_stories=60, cache_dir=str(tmp_path / "text"))
    corpus, begun = load_corpus(data, seq_len=64), []
    for name, loss in LOSSES.items():
        if name != "muon-8k-lr0.024":
            run = trained("any", {40: loss or 9.0}).run
            write_json(tmp_path / "runs" / f"{name}-s0" / RUN, asdict(replace(run, arm=name)))

    def work_off(jobs, *_):
        return {name: job() for name, job in jobs.items() if begun.append(name) is None}

    def build(cfg, seed):
        raise RuntimeError(f"builds a model of {cfg.vocab_size} tokens")

    monkeypatch.setattr(trainings, "work_off", work_off)
    monkeypatch.setattr(trainings, "open_queue", lambda *_: None)
    monkeypatch.setattr("nanokimi.build_model", build)
    with pytest.raises(RuntimeError, match="builds a model"):
        train_arms(data, plan.cells, corpus, tmp_path, Local(1), print)
    assert begun == ["muon-8k-lr0.024 seed 0"]
    kept = [cell for cell in plan.cells if cell.trained.name != "muon-8k-lr0.024"]
    found, lost = train_arms(data, kept, corpus, tmp_path, Local(1), print)
    assert {each.run.arm: each.run.final.loss for each in found} == {
        name: loss or 9.0 for name, loss in LOSSES.items() if name != "muon-8k-lr0.024"
    }
    assert lost == {}
