"""A stopped run goes on bit for bit; a run that is not the same is refused."""

import shutil
from pathlib import Path

import pytest

from nanokimi import checkpoint
from nanokimi.config import ConfigError, OptimConfig
from nanokimi.model import build_model
from nanokimi.train import train
from tests import tiny
from tests.training import (
    RECIPES,
    Clock,
    assert_same_tensors,
    drop_clock,
    make_model,
    read_log,
    read_refusal,
    run,
    stop_after,
)


@pytest.mark.parametrize("stop", [1, 3, 5])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_stopped_run_goes_on_bit_for_bit(recipe, stop, tmp_path):
    """Losses, weights, expert bias, optimizer state and log are those of the run that was never stopped."""
    name, cfg = RECIPES[recipe]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    model = make_model(name)
    expected = drop_clock(run(model, cfg, run_dir=whole))

    before = drop_clock(stop_after(make_model(name), cfg, stop, stopped))
    # The model that resumes has other weights, and a bias that the run never had: nothing of them may be left.
    resumed = make_model(name, seed=77, harsh=True)
    after = drop_clock(run(resumed, cfg, run_dir=stopped, resume=True))
    assert before + after == expected
    assert_same_tensors(resumed.state_dict(), model.state_dict())
    ends = [checkpoint.load_checkpoint(folder) for folder in (whole, stopped)]
    assert_same_tensors(ends[0].optimizer_state, ends[1].optimizer_state)
    assert_same_tensors(ends[0].model.state_dict(), ends[1].model.state_dict())
    assert {end.state.step for end in ends} == {6}
    assert read_log(stopped) == read_log(whole) == expected


def test_what_a_killed_run_logged_after_its_checkpoint_is_dropped(tmp_path):
    """Killed after step 5 with a checkpoint of step 3: lines 4 and 5 are written anew, not twice."""
    cfg = tiny.train_config()
    running = train(make_model("gpt"), tiny.corpus(), cfg, tmp_path / "run")
    for _ in range(5):
        next(running)
    shutil.copytree(tmp_path / "run", tmp_path / "killed")
    running.close()
    assert len(read_log(tmp_path / "killed")) == 5
    again = run(make_model("gpt"), cfg, run_dir=tmp_path / "killed", resume=True)
    assert [record.step for record in again] == [4, 5, 6]
    assert read_log(tmp_path / "killed") == drop_clock(run(make_model("gpt"), cfg))


def test_seconds_go_on_counting_and_leave_evaluation_out(tmp_path, monkeypatch):
    """By a clock of our own: a training batch takes a second, a batch of an evaluation a hundred."""
    clock, cfg = Clock(monkeypatch), tiny.train_config()
    first = stop_after(clock.slow_down(make_model("gpt"), 1, 100), cfg, 4, tmp_path)
    rest = run(clock.slow_down(make_model("gpt"), 1, 100), cfg, run_dir=tmp_path, resume=True)
    assert [r.seconds for r in first + rest] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert {r.tokens_per_s for r in first + rest} == {32.0}
    assert clock.now == 6 + 2 * 2 * 100 + 100  # two evaluations of two batches, and one batch before the save


def test_a_finished_run_has_nothing_to_go_on_with(tmp_path):
    cfg = tiny.train_config()
    run(make_model("gpt"), cfg, run_dir=tmp_path)
    log = (tmp_path / "steps.jsonl").read_bytes()
    assert run(make_model("gpt"), cfg, run_dir=tmp_path, resume=True) == []
    assert (tmp_path / "steps.jsonl").read_bytes() == log


def test_a_new_run_in_an_old_folder_starts_from_nothing(tmp_path):
    cfg = tiny.train_config()
    expected = run(make_model("gpt"), cfg, run_dir=tmp_path)
    assert drop_clock(run(make_model("gpt"), cfg, run_dir=tmp_path)) == drop_clock(expected)
    assert read_log(tmp_path) == drop_clock(expected)


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(make_model("gpt"), tiny.train_config())
    assert list(tmp_path.iterdir()) == []


def test_closing_before_the_first_step_writes_nothing(tmp_path):
    running = train(make_model("gpt"), tiny.corpus(), tiny.train_config(), tmp_path / "run")
    running.close()
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("model", "cfg", "message"),
    [
        (tiny.gpt(n_layers=3), tiny.train_config(), "its model has n_layers=2, yours 3"),
        (tiny.gpt(), tiny.train_config(batch_size=5), "its training has batch_size=4, yours 5"),
        (tiny.gpt(), tiny.train_config(seed=4), "its training has seed=3, yours 4"),
    ],
)
def test_resuming_with_another_configuration_is_refused(model, cfg, message, tmp_path):
    stop_after(make_model("gpt"), tiny.train_config(), 3, tmp_path)
    log = (tmp_path / "steps.jsonl").read_bytes()
    line = read_refusal(ConfigError, build_model(model), tiny.corpus(), cfg, tmp_path, resume=True)
    assert line == f"cannot resume {tmp_path}: {message}"
    assert (tmp_path / "steps.jsonl").read_bytes() == log


def test_resuming_with_another_optimizer_names_it(tmp_path):
    stop_after(make_model("gpt"), tiny.train_config(), 3, tmp_path)
    cfg = tiny.train_config(optim=OptimConfig(lr=1e-2, optimizer="muon"))
    line = read_refusal(ConfigError, make_model("gpt"), tiny.corpus(), cfg, tmp_path, resume=True)
    assert line == f"cannot resume {tmp_path}: its training has optim.optimizer='adamw', yours 'muon'"


def test_resuming_with_another_kind_of_model_is_refused(tmp_path):
    stop_after(make_model("gpt"), tiny.train_config(), 3, tmp_path)
    line = read_refusal(
        ConfigError, make_model("kimi-mla"), tiny.corpus(), tiny.train_config(), tmp_path, resume=True
    )
    assert line == f"cannot resume {tmp_path}: its model has kind='gpt', yours 'kimi'"


def test_resuming_with_another_text_is_refused(tmp_path):
    stop_after(make_model("gpt"), tiny.train_config(), 3, tmp_path)
    line = read_refusal(
        ConfigError, make_model("gpt"), tiny.corpus(seed=1), tiny.train_config(), tmp_path, resume=True
    )
    assert line.startswith(
        f"cannot resume '{tmp_path}': the corpus has changed since the run began: put the old text"
    )


@pytest.mark.parametrize("changes", [{"device": "auto"}, {"compile": "off"}, {"recompute": True}])
def test_a_run_goes_on_in_another_way_of_computing(tmp_path, changes):
    """Where and how a training runs may differ: what was asked for is not compared."""
    whole = run(make_model("gpt"), tiny.train_config())
    stop_after(make_model("gpt"), tiny.train_config(), 3, tmp_path)
    again = run(make_model("gpt"), tiny.train_config(**changes), run_dir=tmp_path, resume=True)
    assert drop_clock(again) == drop_clock(whole[3:])


def test_a_run_goes_on_after_its_folder_was_moved_and_from_elsewhere(tmp_path, monkeypatch):
    """By a relative path, from another current folder, which then changes while the training runs."""
    whole = run(make_model("gpt"), tiny.train_config())
    monkeypatch.chdir(tmp_path)
    stop_after(make_model("gpt"), tiny.train_config(), 3, Path("out") / "a")
    (tmp_path / "away").mkdir()
    (tmp_path / "out" / "a").rename(tmp_path / "away" / "b")
    monkeypatch.chdir(tmp_path / "away")
    running = train(make_model("gpt"), tiny.corpus(), tiny.train_config(), Path("b"), resume=True)
    after = [next(running)]
    monkeypatch.chdir("/")
    assert drop_clock(after + list(running)) == drop_clock(whole[3:])
    assert checkpoint.load_checkpoint(tmp_path / "away" / "b").state.step == 6
    assert read_log(tmp_path / "away" / "b") == drop_clock(whole)


def test_resuming_needs_a_checkpoint(tmp_path):
    cfg, corpus = tiny.train_config(), tiny.corpus()
    assert "resume needs the folder" in read_refusal(ConfigError, make_model("gpt"), corpus, cfg, resume=True)
    folder = tmp_path / "none"
    line = read_refusal(checkpoint.CheckpointError, make_model("gpt"), corpus, cfg, folder, resume=True)
    assert line.startswith(f"no checkpoint in {folder}")
    assert not folder.exists()
