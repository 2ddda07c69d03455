"""A training observed from outside: the tokens that the model got, and its evaluations."""

import hashlib
import itertools
import json
from dataclasses import asdict, replace

from lab_utils.bench.trial import RUN, Trial
from nanokimi.model import build_model
from nanokimi.text import corpus
from nanokimi.train import train


def test_trial_notes_every_training_token_and_no_evaluation(smoke, tmp_path):
    plan, text = smoke
    arm = plan.arm("kimi")
    model = build_model(arm.model)
    with Trial(arm, model, tmp_path) as trial:
        for record in itertools.islice(train(model, text, arm.train), 10):  # step 10 is evaluated
            trial.add(record)
    seen = hashlib.sha256()
    for step in range(10):
        inputs, _ = corpus.batch(text.train, step, batch_size=8, seq_len=64, seed=0)
        seen.update(inputs.numpy().tobytes())
    run = trial.run()
    assert run.batch_digest == seen.hexdigest()
    assert [point.step for point in run.points] == [10]
    assert not run.complete
    assert run.compile_seconds == 0
    model(inputs)  # after the block nothing is noted any more
    assert trial.run().batch_digest == run.batch_digest


def test_trial_adds_up_the_seconds_of_compiling(smoke, tmp_path):
    plan, text = smoke
    arm = plan.arm("gpt")
    model = build_model(arm.model)
    with Trial(arm, model, tmp_path) as trial:
        for record in itertools.islice(train(model, text, arm.train), 3):
            trial.add(replace(record, compile_seconds=float(record.step)))
    assert trial.run().compile_seconds == 1 + 2 + 3
    assert trial.run().train_seconds == record.seconds


def test_who_only_looks_at_ranks_tells_what_they_have_kept(smoke, tmp_path):
    """What this process itself sees, an evaluation in its log and its own memory, is not what they have."""
    plan, _ = smoke
    arm = replace(plan.arm("gpt"), ranks=2)
    with Trial(arm, build_model(arm.model), tmp_path) as trial:
        assert not trial.run().points  # they have not begun
        kept = replace(trial.run(), batch_digest="of all tokens", peak_memory=7)
        trial.run_dir.mkdir(parents=True)
        (trial.run_dir / RUN).write_text(json.dumps(asdict(kept)))
    assert trial.run() == kept
    assert Trial(plan.arm("gpt"), build_model(arm.model), tmp_path).run() != kept  # who trains there alone
