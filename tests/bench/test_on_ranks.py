"""`make bench RANKS=2`: two processes train what one trains, one of them is killed on the way, and none is left."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import nanokimi
from lab_utils.bench import on_ranks as module
from lab_utils.bench.on_ranks import describe_ranks, on_ranks
from lab_utils.bench.plan import Arm, make_plan
from lab_utils.bench.results import read_results, read_steps, run_folder
from lab_utils.bench.trial import Trial
from lab_utils.live.panel import TrainingPanel
from nanokimi import checkpoint
from nanokimi.config import ConfigError, TrainConfig
from nanokimi.runs.shared import cut_for
from nanokimi.runs.wishes import Wishes, read_wishes, write_wishes
from nanokimi.text import corpus
from tests.bench.makers import within
from tests.bench.test_elsewhere import processes_of
from tests.bench.test_unattended import facts
from tests.ranks.test_torchrun import find_rank

ROOT = Path(__file__).parents[2]
LIMIT_S = 600
STEPS = 120
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the ranks are found in /proc")


@pytest.mark.parametrize(
    ("size", "n_micro", "n", "wanted"),
    [(16, 1, 2, (8, 2)), (16, 1, 3, None), (4, 2, 2, (4, 2)), (4, 6, 4, (3, 8)), (2, 1, 4, None)],
)
def test_a_step_is_cut_into_no_more_parts_than_the_ranks_need(size, n_micro, n, wanted):
    found = cut_for(TrainConfig(batch_size=size, grad_accum=n_micro), n)
    assert (found and (found.batch_size, found.grad_accum)) == wanted


def test_the_parts_of_a_step_are_its_windows_in_their_order(smoke):
    plan, text = smoke
    (before, *_), (after, *_) = plan.arms, on_ranks(plan, 4).arms

    def windows(cfg: TrainConfig) -> torch.Tensor:
        how = {"batch_size": cfg.batch_size, "seq_len": cfg.seq_len, "seed": 5}
        numbers = range(3 * cfg.grad_accum, 4 * cfg.grad_accum)  # of the fourth step
        return torch.cat([corpus.batch(text.train, number, **how)[0] for number in numbers])

    assert (after.train.batch_size, after.train.grad_accum) == (2, 4)
    assert windows(after.train).equal(windows(before.train))


def test_one_rank_changes_nothing_and_what_cannot_be_shared_is_one_line(monkeypatch):
    plan = make_plan("smoke")
    assert on_ranks(plan, 1) is plan and describe_ranks(plan) == ""
    with pytest.raises(
        ConfigError, match="ranks=3 cannot share the 8 windows of a step evenly: take one of 1, 2, 4, 8"
    ):
        on_ranks(plan, 3)
    with pytest.raises(ConfigError, match="arm 'yours' is made of your saved notebooks, which no rank has"):
        on_ranks(make_plan("smoke", "gpt,yours"), 2)
    with pytest.raises(ConfigError, match="ranks="):
        on_ranks(plan, 0)
    assert describe_ranks(on_ranks(plan, 2)).startswith(
        "2 ranks train each model: a step is 2 micro-batches of 4 w"
    )
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert describe_ranks(on_ranks(plan, 4)).endswith(
        "; this machine has 3 cores, so they take turns and its times say little"
    )
    monkeypatch.setattr(module, "choose_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="ranks=2: each needs a GPU, and this machine has 1"):
        on_ranks(plan, 2)


def test_a_stop_reaches_ranks_that_were_asked_for_something_else_and_waits_no_longer_than_it_may(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "SECONDS_TO_SAVE", 0.2)
    write_wishes(tmp_path, Wishes(settings={"lr_factor": 0.5}))
    stops = []
    module._stop(
        tmp_path, SimpleNamespace(has_ended=lambda: stops.append(read_wishes(tmp_path).stop) or stops[-1])
    )
    assert stops == [False, True] and read_wishes(tmp_path) == Wishes()
    module._stop(tmp_path, SimpleNamespace(has_ended=lambda: False))


def train_alone(arm: Arm, text: corpus.Corpus, out: Path) -> dict:
    """The facts of an arm that one process trains on one thread, in the micro-batches that two ranks have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    arm = replace(arm, ranks=1, maker=nanokimi)
    model = nanokimi.build_model(arm.model, seed=arm.train.seed)
    with Trial(arm, model, out) as trial:
        for record in nanokimi.train(model, text, arm.train):
            trial.add(record)
    torch.set_num_threads(threads)
    return facts(trial.run()) | {"ranks": 2}


@pytest.fixture(scope="module")
def alone(smoke, tmp_path_factory):
    """The facts of the smoke plan's arms, trained by one process."""
    plan, text = smoke
    return {
        arm.name: train_alone(arm, text, tmp_path_factory.mktemp("alone")) for arm in on_ranks(plan, 2).arms
    }


def look_on(arm, text, out: Path, during) -> tuple[Trial, list[int]]:
    """The trial and the steps of a training on ranks, as the cell of notebook 08 makes it."""
    steps = []

    async def cell() -> Trial:
        with TrainingPanel(text) as panel:
            model = arm.maker.build_model(arm.model, seed=arm.train.seed)
            with Trial(arm, model, out) as trial:
                records = arm.maker.train(model, text, arm.train, trial.run_dir, steer=panel.steer)
                async for record in panel.track(records, arm, model):
                    trial.add(record)
                    steps.append(record.step)
                    during(panel, record)
        return trial

    with within(LIMIT_S):
        return asyncio.run(cell()), steps


@on_linux
def test_a_killed_rank_changes_no_number_and_the_panel_stops_the_next_run(smoke, tmp_path, monkeypatch):
    """Rank 1 is killed after an evaluation, and its run goes on. Then the same cell is run again, and stopped."""
    monkeypatch.setattr("lab_utils.bench.follow.POLL_SECONDS", 0.02)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # the words of each rank name it
    plan, text = smoke
    arm = on_ranks(plan, 2).arm("kimi")
    # Long enough that it is still under way when this process has seen step 12 and kills.
    arm = replace(arm, train=replace(arm.train, steps=STEPS))
    expected = train_alone(arm, text, tmp_path / "alone")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)  # one for each rank
    killed = []

    def kill(panel, record):
        if record.step >= 12 and not killed:
            (agent,) = find_agents()
            killed.append(find_rank(agent, 1))
            os.kill(killed[0], signal.SIGKILL)

    trial, steps = look_on(arm, text, tmp_path / "out", kill)
    assert killed and steps == list(range(1, STEPS + 1))
    assert facts(trial.run()) == expected
    assert len(trial.run().tries) == 2 and trial.run().peak_memory > trial.run().start_memory > 1e8

    trial, steps = look_on(arm, text, tmp_path / "out", lambda panel, record: panel.stop())
    run, log = trial.run(), read_steps(trial.run_dir)
    assert steps == [1] and not run.complete and run.tries != ()
    assert checkpoint.load_checkpoint(trial.run_dir).state.step == len(log) < STEPS
    assert processes_of(tmp_path) == []


def find_agents() -> list[int]:
    """The processes of torchrun that this one has started."""
    me = os.getpid()
    children = [
        int(p) for task in Path(f"/proc/{me}/task").iterdir() for p in (task / "children").read_text().split()
    ]
    words = b"lab_utils.bench.rank"
    return [pid for pid in children if words in Path(f"/proc/{pid}/cmdline").read_bytes()]


def bench(out: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "lab_utils.bench", "--profile=smoke", "--ranks=2", f"--out={out}", *words]


@on_linux
def test_the_benchmark_on_two_ranks(alone, tmp_path):
    """Its numbers are those of one process with the same micro-batches, and the report says whose they are."""
    environ = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        bench(tmp_path), cwd=ROOT, env=environ, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    assert (
        "2 ranks train each model: a step is 2 micro-batches of 4 windows, with the same tokens"
        in done.stderr
    )
    (folder,) = tmp_path.iterdir()
    names = {path.name for path in folder.iterdir()}
    assert names == {"08_train_kimi_vs_gpt.ipynb", "ranks", "report.html", "results.json", "runs"}
    results = read_results(folder / "results.json")
    for name in ("gpt", "kimi"):
        run = results.run(name, 0)
        assert facts(run) == alone[name]
        assert len(read_steps(run_folder(folder, name, 0))) == 30
        assert results.arms[name].ranks == 2 and len(results.arms[name].step_seconds) >= 3
    html = (folder / "report.html").read_text()
    assert (
        "<li>All numbers are those of 2 ranks: processes that share the micro-batches of each step. " in html
    )


@on_linux
def test_ctrl_c_leaves_no_rank(tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with within(LIMIT_S), subprocess.Popen(
        bench(tmp_path / "out", "--arms=gpt", "--seeds=60"), cwd=ROOT, env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            assert any(re.search(r": step \d+/30", line) for line in process.stderr)  # reads on until then
            os.killpg(process.pid, signal.SIGINT)
            rest = process.stderr.read()
            assert process.wait(timeout=180) == 130
        finally:
            process.kill()
    assert rest.splitlines()[-1].startswith("interrupted; what was done so far is in ")
    assert "Traceback" not in rest
    assert processes_of(temporary) == []
