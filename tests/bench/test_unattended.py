"""A training that is killed and begun again: the facts are those of one that was never stopped."""

import json
import pickle
import shutil
from dataclasses import replace

import pytest

import nanokimi
from lab_utils.bench.results import Run, run_folder
from lab_utils.bench.trial import Trial
from lab_utils.bench.unattended import RUN, Training, train_on
from nanokimi import checkpoint
from nanokimi.runs.wishes import Wishes, write_wishes
from tests.bench.makers import Core

COSTS = ("train_seconds", "wall_seconds", "peak_memory", "start_memory", "tries")


class Asked(Core):
    """Asks for another rate after step 4, and for the end after step 12, as somebody does who looks on."""

    def after(self, step: int) -> None:
        if step in (4, 12):
            write_wishes(self.log.parent, Wishes(stop=step == 12, settings={"lr_factor": 0.5}))


class Copied(Core):
    """Copies the folder of the run after step 15 to `aside`: what a machine that fails then leaves on the disk."""

    def __init__(self, log, out, aside):
        super().__init__(log)
        self.out, self.aside = out, aside

    def after(self, step: int) -> None:
        if step == 15 and not self.aside.exists():
            shutil.copytree(self.out, self.aside)


def facts(run: Run) -> dict:
    """What two runs with the same batches on the same machine must have in common: everything but the costs."""
    points = [replace(point, seconds=0.0) for point in run.points]
    return {k: v for k, v in vars(run).items() if k not in COSTS} | {"points": points}


@pytest.fixture(scope="module")
def whole(smoke, tmp_path_factory):
    """(arm, text, facts, folder of the finished run, folder as after a kill at step 15)."""
    plan, text = smoke
    folder = tmp_path_factory.mktemp("unattended")
    arm = plan.arm("kimi").with_seed(3)
    arm = replace(arm, train=replace(arm.train, grad_accum=2, batch_size=4))
    arm = replace(arm, maker=Copied(folder / "log", folder / "out", folder / "killed"))
    return arm, text, train_on(arm, text, folder / "out"), folder / "out", folder / "killed"


@pytest.fixture
def again(whole, tmp_path):
    """Begins the killed training again, after `change` has altered what run.json holds; (facts, steps begun at)."""
    arm, text, _, _, killed = whole
    shutil.copytree(killed, tmp_path / "out")
    file = run_folder(tmp_path / "out", arm.name, arm.train.seed) / RUN

    def begin(change=lambda kept: json.dumps(kept)):
        file.write_text(change(json.loads(file.read_text())))
        mine = replace(arm, maker=Core(tmp_path / "log"))
        return train_on(mine, text, tmp_path / "out"), mine.maker.begun()

    return begin


def test_the_facts_are_those_that_a_trial_in_the_notebook_has(whole, tmp_path):
    arm, text, run, _, _ = whole
    model = nanokimi.build_model(arm.model, seed=3)
    with Trial(arm, model, tmp_path) as trial:
        for record in nanokimi.train(model, text, arm.train):
            trial.add(record)
    assert facts(trial.run()) == facts(run)
    assert len(run.tries) == 1 and " thread" in run.tries[0]
    assert run.complete and run.wall_seconds > run.train_seconds > 0


def test_begun_again_it_goes_on_from_its_checkpoint_and_ends_the_same(whole, again):
    run = whole[2]
    found, begun = again()
    assert begun == [11]
    assert facts(found) == facts(run)
    assert len(found.tries) == 2
    assert found.points[0].seconds == run.points[0].seconds  # of the try before


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: json.dumps(
            kept | {"points": []}
        ),  # killed before run.json said what the checkpoint holds
        lambda kept: json.dumps(kept | {"batch_digest": "0" * 64}),
        lambda kept: json.dumps(kept)[:-9],
        lambda kept: json.dumps(kept | {"seed": "x"}),
    ],
)
def test_where_the_kept_facts_do_not_fit_the_checkpoint_it_begins_anew(whole, again, change):
    found, begun = again(change)
    assert begun == [1]
    assert facts(found) == facts(whole[2])


def test_a_checkpoint_that_was_not_noted_yet_is_left_out(whole, tmp_path):
    """A kill between the checkpoint of step 20 and run.json leaves this, and so does a signal at a step's end."""
    arm, text, run, out, killed = whole
    shutil.copytree(out, tmp_path / "out")
    name = run_folder(tmp_path, arm.name, arm.train.seed).relative_to(tmp_path)
    shutil.rmtree(tmp_path / "out" / name / "step-000030")
    shutil.copytree(killed / name / "step-000010", tmp_path / "out" / name / "step-000010")
    shutil.copy(killed / name / RUN, tmp_path / "out" / name / RUN)
    mine = replace(arm, maker=Core(tmp_path / "log"))
    assert facts(train_on(mine, text, tmp_path / "out")) == facts(run)
    assert mine.maker.begun() == [11]


def test_without_a_checkpoint_it_begins_anew(whole, tmp_path):
    arm, text, run, _, killed = whole
    shutil.copytree(killed, tmp_path / "out")
    folder = run_folder(tmp_path / "out", arm.name, arm.train.seed)
    for each in folder.glob("step-*"):
        shutil.rmtree(each)
    mine = replace(arm, maker=Core(tmp_path / "log"))
    assert facts(train_on(mine, text, tmp_path / "out")) == facts(run)
    assert mine.maker.begun() == [1]


def test_it_obeys_what_is_asked_in_its_folder_and_forgets_what_an_older_run_was_asked(smoke, tmp_path):
    plan, text = smoke
    arm, folder = plan.arm("gpt"), run_folder(tmp_path, "gpt", 0)
    folder.mkdir(parents=True)
    write_wishes(folder, Wishes(stop=True))
    run = train_on(replace(arm, maker=Asked(folder / "log")), text, tmp_path)
    assert [(each["step"], each["what"], each["value"]) for each in run.interventions] == [
        (5, "lr_factor", 0.5)
    ]
    assert checkpoint.load_checkpoint(folder).state.step == 12 and not run.complete


def test_what_has_ended_is_not_begun_again(whole, tmp_path):
    arm, text, run, out, _ = whole
    mine = replace(arm, maker=Core(tmp_path / "log"))
    assert train_on(mine, text, out) == run
    assert not (tmp_path / "log").exists()
    assert checkpoint.load_checkpoint(run_folder(out, arm.name, 3)).state.step == 30


def test_a_job_travels_with_its_maker_and_is_queued_again_as_it_is(smoke, tmp_path):
    plan, _ = smoke
    job = Training(plan.data, plan.arm("gpt"), tmp_path)
    travelled = pickle.loads(pickle.dumps(job))
    assert travelled == job and travelled.arm.maker is nanokimi
    assert job.checkpoint().function == job
