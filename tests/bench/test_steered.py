"""A run that was steered by hand says so, and counts for no verdict."""

import json
from dataclasses import replace

from lab_utils.bench import report
from lab_utils.bench.results import from_json, to_json
from lab_utils.bench.trial import Trial
from lab_utils.bench.verdicts import verdicts
from nanokimi.model import build_model
from nanokimi.steering import Intervention
from nanokimi.train import train
from tests import tiny
from tests.bench.made_up_results import three_seeds
from tests.live.watched import ARM, CFG


def test_a_trial_remembers_that_it_was_steered(tmp_path):
    model = build_model(ARM.model)
    steer = lambda step: [Intervention(step, "lr_factor", 2.0)] if step == 2 else []
    with Trial(ARM, model, tmp_path) as trial:
        for each in train(model, tiny.corpus(), CFG, trial.run_dir, steer=steer):
            trial.add(each)
    assert trial.run().steered
    assert trial.run().interventions == ({"step": 2, "what": "lr_factor", "value": 2.0},)


def test_a_steered_run_is_used_for_no_verdict(tmp_path):
    made = three_seeds()
    assert verdicts(made)[0].answer == "challenger"
    by_hand = ({"step": 7, "what": "lr_factor", "value": 0.5},)
    made = replace(made, runs=(*made.runs[:-1], replace(made.runs[-1], interventions=by_hand)))
    for verdict in verdicts(made):
        assert verdict.answer == "no conclusion"
        assert verdict.reason == "kimi with seed 2 was steered by hand"
        assert [pair.seed for pair in verdict.pairs] == [0, 1]
    assert from_json(json.loads(json.dumps(to_json(made)))) == made
    html = report.render(made, tmp_path)
    assert "kimi with seed 2 was steered by hand (step 7: lr_factor = 0.5): it counts for no verdict." in html
    assert "was steered by hand" not in report.render(three_seeds(), tmp_path)
