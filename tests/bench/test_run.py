"""The benchmark from end to end with the smoke profile: what a run leaves, and what is left after Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import torch

from lab_utils.bench.command import INTERRUPTED
from lab_utils.bench.results import read_results, read_steps
from nanokimi import checkpoint

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench_run(tmp_path_factory):
    """One run of the whole benchmark: its exit code, its folder, and what it printed."""
    out = tmp_path_factory.mktemp("bench")
    command = [sys.executable, "-m", "lab_utils.bench", "--profile", "smoke", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (folder,) = out.iterdir()
    return folder, done


def test_the_folder_holds_what_was_promised(bench_run):
    folder, _ = bench_run
    assert re.fullmatch(r"\d{8}-\d{6}", folder.name)
    names = {path.name for path in folder.iterdir()}
    assert names == {"08_train_kimi_vs_gpt.ipynb", "report.html", "results.json", "runs"}
    assert {path.name for path in (folder / "runs").iterdir()} == {"gpt-s0", "kimi-s0"}


@pytest.mark.parametrize("name", ["gpt", "kimi"])
def test_one_json_line_per_step_and_a_checkpoint_of_the_end(bench_run, name):
    run_dir = bench_run[0] / "runs" / f"{name}-s0"
    assert [record["step"] for record in read_steps(run_dir)] == list(range(1, 31))
    found = checkpoint.load_checkpoint(run_dir)
    assert found.state.step == 30
    assert found.model.cfg.kind == name
    assert found.model.cfg.vocab_size == found.tokenizer.n_vocab


def test_results_hold_every_field(bench_run):
    folder, _ = bench_run
    results = read_results(folder / "results.json")
    assert (results.profile, results.seeds, list(results.arms)) == ("smoke", (0,), ["gpt", "kimi"])
    assert results.environment["machine"]["cores"] == os.cpu_count()
    assert results.environment["versions"]["torch"] == torch.__version__
    assert results.corpus["source"] == "storyworld"
    for name, facts in results.arms.items():
        run = results.run(name, 0)
        assert [point.step for point in run.points] == [10, 20, 30]
        steps = read_steps(folder / "runs" / f"{name}-s0")
        assert run.final.loss == steps[-1]["evaluation"]["loss"]
        assert run.final.tokens == 30 * 8 * 64 == 30 * facts.tokens_per_step
        assert set(run.final.by_role) <= {"grammar", "choice", "fact", "copy"}
        assert 0 < run.final.floor_bits_per_byte < run.final.bits_per_byte
        assert run.wall_seconds > run.train_seconds > 0
        assert len(facts.step_seconds) >= 3
    assert len({run.batch_digest for run in results.runs}) == 1


def test_what_the_models_can_do_is_measured_told_and_shown(bench_run):
    folder, done = bench_run
    results = read_results(folder / "results.json")
    assert list(results.abilities) == ["gpt", "kimi"] and results.unmeasured == {}
    for name, found in results.abilities.items():
        assert found.evaluation.loss == results.run(name, 0).final.loss
        assert f"what {name} can do" in done.stderr.splitlines()
    assert "<h2>What the models can do</h2>" in (folder / "report.html").read_text()


def test_the_report_shows_its_pictures_offline(bench_run):
    html = (bench_run[0] / "report.html").read_text()
    assert not re.search(r"https?://|<script|<link|@import", html)
    assert len(re.findall(r'<img alt="[^"]+" src="data:image/png;base64,', html)) == 5
    assert html.count("<img") == 5


def test_the_executed_notebook_is_whole(bench_run):
    notebook = nbformat.read(bench_run[0] / "08_train_kimi_vs_gpt.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 5  # the panel's, three of the report's, and the recorded study of facts
    injected = next(c for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", []))
    assert 'profile = "smoke"' in injected.source


def test_the_table_is_printed(bench_run):
    _, done = bench_run
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[3:5]] == ["gpt", "kimi"]
    assert "Equal tokens: no conclusion: 1 seed, 3 needed." in lines
    assert max(map(len, lines[:5])) <= 120
    for name in ("gpt", "kimi"):
        assert re.search(rf"^{name}: step 30/30, loss \d\.\d+, [\d,]+ tokens/s, done$", done.stderr, re.M)


@pytest.mark.parametrize(("which", "code"), [("SIGINT", INTERRUPTED), ("SIGTERM", 143)])
def test_a_signal_keeps_what_is_there_and_leaves_no_kernel(which, code, tmp_path):
    """Ctrl-C reaches all processes of a terminal, `kill` one."""
    command = [sys.executable, "-m", "lab_utils.bench", "--profile", "smoke", "--seeds", "60"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            for line in process.stderr:  # the first finished training
                if "step 30/30" in line:
                    break
            send = os.killpg if which == "SIGINT" else os.kill
            send(process.pid, getattr(signal, which))
            rest = process.stderr.read()
            assert process.wait(timeout=180) == code
        finally:
            process.kill()
    (folder,) = tmp_path.iterdir()
    last = rest.splitlines()[-1]
    assert last == f"interrupted; what was done so far is in {folder}"
    assert "Traceback" not in rest
    checkpoint.load_checkpoint(folder / "runs" / "gpt-s0")
    steps = sum(len(read_steps(path)) for path in (folder / "runs").iterdir())
    time.sleep(1.5)
    assert sum(len(read_steps(path)) for path in (folder / "runs").iterdir()) == steps
