"""The benchmark end to end with the smoke profile, what it leaves behind, and bad input that leaves nothing."""

import asyncio
import gc
import hashlib
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

from lab_utils.bench import __main__ as bench
from lab_utils.bench import timing
from lab_utils.bench import watch as progress
from lab_utils.bench.plan import make_plan
from lab_utils.bench.results import read_results, read_steps
from lab_utils.bench.trial import Trial
from lab_utils.machine.headless import NotebookFailed, check_parameters, run_notebook
from lab_utils.machine.memory import MB, PeakMemory
from nanokimi import checkpoint
from nanokimi.config import ConfigError
from nanokimi.model import build_model
from nanokimi.text import corpus
from nanokimi.train import train

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench_run(tmp_path_factory):
    """One run of the whole benchmark: its exit code, its folder, and what it printed."""
    out = tmp_path_factory.mktemp("bench")
    command = [sys.executable, "-m", "lab_utils.bench", "--profile", "smoke", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (folder,) = out.iterdir()
    return folder, done


@pytest.fixture(scope="module")
def smoke():
    """The smoke plan and its corpus."""
    plan = make_plan("smoke")
    text = corpus.load_corpus(plan.data, seq_len=64)
    return plan.with_vocabulary_of(text), text


# ---------------------------------------------------------------- what a run leaves


@pytest.mark.slow
def test_the_folder_holds_what_was_promised(bench_run):
    folder, _ = bench_run
    assert re.fullmatch(r"\d{8}-\d{6}", folder.name)
    names = {path.name for path in folder.iterdir()}
    assert names == {"08_train_kimi_vs_gpt.ipynb", "report.html", "results.json", "runs"}
    assert {path.name for path in (folder / "runs").iterdir()} == {"gpt-s0", "kimi-s0"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt", "kimi"])
def test_one_json_line_a_step_and_a_checkpoint_of_the_end(bench_run, name):
    run_dir = bench_run[0] / "runs" / f"{name}-s0"
    assert [record["step"] for record in read_steps(run_dir)] == list(range(1, 31))
    found = checkpoint.load_checkpoint(run_dir)
    assert found.state.step == 30
    assert found.model.cfg.kind == name
    assert found.model.cfg.vocab_size == found.tokenizer.n_vocab


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_report_shows_its_pictures_offline(bench_run):
    html = (bench_run[0] / "report.html").read_text()
    assert not re.search(r"https?://|<script|<link|@import", html)
    assert len(re.findall(r'<img alt="[^"]+" src="data:image/png;base64,', html)) == 5
    assert html.count("<img") == 5


@pytest.mark.slow
def test_the_executed_notebook_is_whole(bench_run):
    notebook = nbformat.read(bench_run[0] / "08_train_kimi_vs_gpt.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 6  # the report's five, and the panel's
    injected = next(c for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", []))
    assert 'profile = "smoke"' in injected.source


@pytest.mark.slow
def test_the_table_is_printed(bench_run):
    _, done = bench_run
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[3:5]] == ["gpt", "kimi"]
    assert "Equal tokens: no conclusion: 1 seed, 3 needed." in lines
    assert max(map(len, lines[:5])) <= 120
    for name in ("gpt", "kimi"):
        assert re.search(rf"^{name}: step 30/30, loss \d\.\d+, [\d,]+ tokens/s, done$", done.stderr, re.M)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_there_and_leaves_no_kernel(tmp_path):
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
            os.killpg(process.pid, signal.SIGINT)
            rest = process.stderr.read()
            assert process.wait(timeout=60) == bench.INTERRUPTED
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


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--profile smok", "did you mean smoke?"),
        ("--arms gpt,kimmi", "did you mean kimi?"),
        ("--seeds 0", "seeds=0 must be"),
        ("--seeds many", "invalid int value: 'many'"),
        ("--data no/such/text.txt", "source='no/such/text.txt': no such file or folder"),
        ("--data storyworl", "did you mean storyworld?"),
        ("-p profle=cpu", "'profle' is not a parameter of 08_train_kimi_vs_gpt.ipynb; did you mean profile?"),
        ("-p profile=cpu", "has its own option: --profile"),
        ("-p profile", "must look like name=value"),
        ("-p x={", "is not a value"),
        ("--frofile smoke", "unrecognized arguments"),
        ("smoke", "unrecognized arguments: smoke"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(arguments, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert bench.main(["--profile", "smoke", *arguments.split(), "--out", str(out)]) == bench.BAD_INPUT
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [(b"", "is empty"), (b"\xff\xfe\x00 not text" * 50, "is not UTF-8 text"), (b"short", "text")],
)
def test_bad_text_is_one_line_and_nothing_is_written(text, message, tmp_path, capsys):
    path = tmp_path / "text.txt"
    path.write_bytes(text)
    out = tmp_path / "out"
    assert bench.main(["--profile", "smoke", "--data", str(path), "--out", str(out)]) == bench.BAD_INPUT
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_gpu_without_cuda_is_refused_before_anything_is_read(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench.main(["--profile", "gpu", "--out", str(tmp_path / "out")]) == bench.BAD_INPUT
    assert "no CUDA device" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_out_must_not_be_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert bench.main(["--profile", "smoke", "--out", str(tmp_path / "file" / "x")]) == bench.BAD_INPUT
    assert f"{tmp_path / 'file'} is a file; name a folder" in capsys.readouterr().err


# ---------------------------------------------------------------- running notebooks


def notebook_of(path: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernelspec}), path)
    return path


@pytest.mark.slow
def test_notebooks_run_in_this_interpreter_with_what_they_are_given(tmp_path):
    source = "import os, sys; print(sys.executable, x, os.environ['NANOKIMI_TEST'])"
    notebook = notebook_of(tmp_path / "a.ipynb", source)
    run_notebook(notebook, tmp_path / "b.ipynb", {"x": 5}, {"NANOKIMI_TEST": "seen"})
    cells = nbformat.read(tmp_path / "b.ipynb", as_version=4).cells
    assert cells[-1].outputs[0].text == f"{sys.executable} 5 seen\n"
    assert "NANOKIMI_TEST" not in os.environ


@pytest.mark.slow
def test_an_error_in_a_cell_is_one_line_and_stays_in_the_notebook(tmp_path):
    notebook = notebook_of(tmp_path / "a.ipynb", "raise ValueError('first\\nsecond')")
    with pytest.raises(NotebookFailed, match=r"^cell 2: ValueError: first$"):
        run_notebook(notebook, tmp_path / "b.ipynb", {}, {})
    assert "second" in (tmp_path / "b.ipynb").read_text()


@pytest.mark.slow
def test_after_ctrl_c_nothing_complains_that_the_kernel_is_dead(tmp_path, monkeypatch, caplog):
    async def look_all_the_time(client):
        """As nbclient does once a second."""
        while True:
            await asyncio.sleep(0.001)
            try:
                await client._async_check_alive()
            except DeadKernelError:
                return client.task_poll_for_reply.cancel()

    def press_ctrl_c():
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(NotebookClient, "_async_poll_kernel_alive", look_all_the_time)
    source = f"import pathlib, time; pathlib.Path({str(tmp_path / 'begun')!r}).touch(); time.sleep(60)"
    notebook = notebook_of(tmp_path / "a.ipynb", source)
    threading.Thread(target=press_ctrl_c, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_notebook(notebook, tmp_path / "b.ipynb", {}, {})
    gc.collect()  # asyncio complains of a forgotten task when it goes
    assert "dead" not in caplog.text.lower() and "died" not in caplog.text


def test_an_unknown_parameter_is_refused_with_the_nearest_name(tmp_path):
    notebook = notebook_of(tmp_path / "a.ipynb")
    with pytest.raises(ConfigError, match=r"'y' is not a parameter of a.ipynb; known: x"):
        check_parameters(notebook, ["x", "y"])
    with pytest.raises(ConfigError, match="does not exist"):
        check_parameters(tmp_path / "none.ipynb", [])


# ---------------------------------------------------------------- watching


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
    assert not model._forward_pre_hooks


def test_peak_memory_sees_what_was_freed_again():
    memory = PeakMemory("cpu")
    memory.start()
    if memory.at_start is None:
        pytest.skip("this system does not tell a process's peak memory")
    block = torch.ones(64 * MB // 4)
    del block
    memory.stop()
    assert 60 * MB < memory.peak - memory.at_start < 90 * MB


def test_steps_are_timed_in_turns(smoke, monkeypatch):
    plan, text = smoke
    order = []
    stepper = timing._stepper

    def noted(arm, text):
        step = stepper(arm, text)

        def run():
            order.append(arm.name)
            return step()

        return run

    monkeypatch.setattr(timing, "_stepper", noted)
    seconds = timing.time_in_turns(plan.arms, text, rounds=4)
    assert order[2 * timing.WARM_UP :] == ["gpt", "kimi"] * 4
    assert {name: len(values) for name, values in seconds.items()} == {"gpt": 4, "kimi": 4}
    assert all(0 < value < 10 for values in seconds.values() for value in values)


def test_timing_ends_when_its_time_is_used_up_but_not_before_three_rounds(smoke):
    plan, text = smoke
    seconds = timing.time_in_turns(plan.arms, text, rounds=20, seconds_per_arm=0.0)
    assert [len(values) for values in seconds.values()] == [3, 3]


def record(step: int, **changes) -> str:
    return json.dumps({"step": step, "loss": 2.5, "tokens_per_s": 1000.0, "seconds": 2.0 * step} | changes)


def test_step_file_reads_only_whole_new_lines(tmp_path):
    file = progress.StepFile(tmp_path)
    assert file.read_new() == []
    path = tmp_path / "steps.jsonl"
    path.write_text(record(1) + "\n" + record(2)[:10])
    assert [r["step"] for r in file.read_new()] == [1]
    assert file.read_new() == []
    path.write_text(record(1) + "\n" + record(2) + "\n" + record(3) + "\n")
    assert [r["step"] for r in file.read_new()] == [2, 3]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "log"])
def test_watcher_shows_step_loss_speed_and_ends_with_the_block(tmp_path, stream):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "steps.jsonl").write_text(record(1) + "\n" + record(2) + "\n")
    expected = [progress.Expected("first", tmp_path / "a", 2), progress.Expected("never", tmp_path / "b", 2)]
    with progress.Watcher(expected, stream):
        pass
    shown = stream.getvalue()
    assert "first" in shown and "2/2" in shown and "loss 2.500, 1,000 tokens/s" in shown
    assert "never" not in shown


def test_log_lines_come_every_ten_seconds(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    view = progress._Lines(progress.Expected("gpt", Path("x"), 100), stream)
    for step in range(1, 101):
        now[0] += 1
        view.update([json.loads(record(step))])
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0] == "gpt: step 10/100, loss 2.500, 1,000 tokens/s, about 180 s left"
    assert lines[-1] == "gpt: step 100/100, loss 2.500, 1,000 tokens/s, done"
