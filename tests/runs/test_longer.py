"""A run that goes on to another number of steps is the run that had them from its beginning, or is refused."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from nanokimi import checkpoint
from nanokimi.config import ConfigError, TrainConfig
from nanokimi.optim import lr_at
from nanokimi.runs.longer import check_steps, describe_steps
from tests import tiny
from tests.training import assert_same_tensors, drop_clock, make_model, read_refusal, run, stop_after

# The rate has not begun to fall in these, after `done` steps.
GOES_ON = {
    "constant, finished": (tiny.train_config(min_lr_ratio=1.0), 6),
    "wsd, before its last part": (tiny.train_config(steps=10, schedule="wsd"), 7),
    "cosine, in the warm-up": (tiny.train_config(warmup_steps=4), 3),
    "muon, with biases": (tiny.muon_clip(min_lr_ratio=1.0), 6),
}


@pytest.mark.parametrize("case", GOES_ON)
def test_it_is_bit_for_bit_the_run_that_was_longer_from_its_beginning(case: str, tmp_path: Path) -> None:
    cfg, done = GOES_ON[case]
    longer = replace(cfg, steps=13)
    whole = make_model("kimi-mla")
    expected = drop_clock(run(whole, longer))
    stop_after(make_model("kimi-mla"), cfg, done, tmp_path)
    model = make_model("kimi-mla", seed=7)
    again = drop_clock(run(model, longer, run_dir=tmp_path, resume=True))
    assert again == expected[done:] and len(again) == 13 - done
    assert_same_tensors(model.state_dict(), whole.state_dict())
    assert checkpoint.load_checkpoint(tmp_path).train == longer


def test_where_the_finished_part_would_have_been_another_it_is_refused(tmp_path: Path) -> None:
    cfg = tiny.train_config()
    stop_after(make_model("gpt"), cfg, 4, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    line = read_refusal(
        ConfigError, make_model("gpt"), tiny.corpus(), replace(cfg, steps=7), tmp_path, resume=True
    )
    # By hand: half a cosine over steps 3 to 6, and over 3 to 7; step 4 has 1/3 and 1/4 of it behind it.
    assert line.startswith(
        f"cannot resume '{tmp_path}' with steps=7: step 4 had the rate 0.00775, and would have 0.00868 in such a run. "
    )
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    fewer = read_refusal(
        ConfigError, make_model("gpt"), tiny.corpus(), replace(cfg, steps=3), tmp_path, resume=True
    )
    assert fewer == f"cannot resume '{tmp_path}' with steps=3: 4 steps are done; name more"


def test_the_last_finished_step_speaks_for_all() -> None:
    """Against every rate of every step, for short trainings of all lengths."""
    seen = {True: 0, False: 0}
    for schedule, ratio, share in (
        ("cosine", 0.1, 0.2),
        ("cosine", 1.0, 0.2),
        ("wsd", 0.1, 0.2),
        ("wsd", 0.1, 0.7),
    ):
        made = [
            TrainConfig(steps=n, warmup_steps=2, schedule=schedule, min_lr_ratio=ratio, decay_fraction=share)
            for n in range(3, 11)
        ]
        rates = {cfg.steps: [lr_at(step, cfg) for step in range(cfg.steps)] for cfg in made}
        for theirs, ours in itertools.permutations(made, 2):
            for done in range(1, min(ours.steps - 1, theirs.steps) + 1):
                same = rates[ours.steps][:done] == rates[theirs.steps][:done]
                try:
                    check_steps(Path("x"), done, theirs, ours)
                except ConfigError:
                    assert not same
                else:
                    assert same
                seen[same] += 1
    assert min(seen.values()) > 100


def test_what_it_does_to_the_rate_is_a_line() -> None:
    old = TrainConfig(steps=100, warmup_steps=10)
    for changes, says in (
        ({"min_lr_ratio": 1.0}, "the rate stays at 0.003"),
        ({"schedule": "wsd"}, "the rate falls from 0.003 to 0.0003 over the last 40 steps"),
        ({}, "the rate falls from 0.003 to 0.0003 over the last 189 steps"),
    ):
        theirs = replace(old, **changes)
        assert describe_steps(theirs, replace(theirs, steps=200)) == f"steps=200 instead of 100: {says}"
    # What is said is what is done.
    rates = [lr_at(step, TrainConfig(steps=200, warmup_steps=10)) for step in range(200)]
    assert sum(rate < rates[10] for rate in rates[10:]) == 189


def test_the_weights_of_a_checkpoint_begin_a_new_run_with_a_fresh_optimizer(tmp_path: Path) -> None:
    cfg = tiny.muon_clip()
    run(make_model("kimi-mla"), cfg, run_dir=tmp_path / "first")
    found = checkpoint.load_checkpoint(tmp_path / "first")
    same = make_model("kimi-mla", seed=5)
    same.load_state_dict(found.model.state_dict())
    again = run(found.model, cfg, run_dir=tmp_path / "second")
    assert drop_clock(again) == drop_clock(run(same, cfg))
    assert [record.step for record in again] == [1, 2, 3, 4, 5, 6]
