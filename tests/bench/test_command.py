"""Bad input to the benchmark's command: one line that says what is wrong, and nothing is written."""

import errno
import os
import shutil

import pytest
import torch

from lab_utils.bench import command as bench
from lab_utils.machine.headless import NotebookFailed
from nanokimi.cli.terminal import CannotPrint
from tests.cli.conftest import write_tales


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--profile smok", "did you mean smoke?"),
        ("--arms gpt,kimmi", "did you mean kimi?"),
        ("--seeds 0", "argument --seeds: '0' must be a whole number from 1 to 1,000,000"),
        ("--seeds 1000001", "argument --seeds: '1000001' must be a whole number from 1 to 1,000,000"),
        ("--seeds many", "argument --seeds: 'many' must be a whole number"),
        ("--seeds 1_0", "argument --seeds: '1_0' must be a whole number"),
        ("--seeds ٣", "argument --seeds: '٣' must be a whole number"),
        ("--data=\udcc3\udcbc.txt", "--data 'ü.txt' has letters that the locale of this terminal lacks"),
        ("--data=\udcff.txt", "--data '\\udcff.txt' is not UTF-8; name another"),
        ("--out=\udcc3\udcbc", "ü' has letters that the locale"),
        (
            "--data=",
            "argument --data: '' must name storyworld, almanac, tinystories or the path of a text or folder",
        ),
        ("--data no/such/text.txt", "--data='no/such/text.txt': no such file or folder"),
        ("--out=", "argument --out: '' must name a folder"),
        ("--data storyworl", "did you mean storyworld?"),
        ("-p profle=cpu", "'profle' is not a parameter of 08_train_kimi_vs_gpt.ipynb; did you mean profile?"),
        ("-p profile=cpu", "has its own option: --profile"),
        ("-p profile", "must look like name=value"),
        ("-p x={", "cannot be read as YAML"),
        ("--frofile smoke", "unrecognized arguments"),
        (
            "--where elsewhere",
            "argument --where: 'elsewhere' must be here, local:N, slurm or slurm:FILE.yaml",
        ),
        ("--where local:0", "argument --where: 'local:0': N must be a whole number from 1 to 64"),
        ("--where=", "argument --where: '' must be here, local:N, slurm or slurm:FILE.yaml"),
        ("--where local:2 --arms gpt,yours", "arm 'yours' is made of your saved notebooks, which no job has"),
        ("--ranks two", "argument --ranks: 'two' must be a whole number"),
        ("--ranks 0", "argument --ranks: '0' must be a whole number from 1 to 64"),
        ("--ranks 3", "ranks=3 cannot share the 8 windows of a step evenly: take one of 1, 2, 4, 8"),
        ("--ranks 2 --arms yours", "arm 'yours' is made of your saved notebooks, which no rank has"),
        ("--ranks 2 --where local:2", "--ranks=2 is for --where=here: a job is one process"),
        ("-p ranks=2", "has its own option: --ranks"),
        ("smoke", "unrecognized arguments: smoke"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(arguments, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert bench.run(["--profile", "smoke", "--out", str(out), *arguments.split()]) == bench.BAD_INPUT
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [(b"", "is empty"), (b"\xff\xfe\x00 not text" * 50, "is UTF-16 text"), (b"short", "text")],
)
def test_bad_text_is_one_line_and_nothing_is_written(text, message, tmp_path, capsys):
    path = tmp_path / "text.txt"
    path.write_bytes(text)
    out = tmp_path / "out"
    assert bench.run(["--profile", "smoke", "--data", str(path), "--out", str(out)]) == bench.BAD_INPUT
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_gpu_without_cuda_is_refused_before_anything_is_read(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench.run(["--profile", "gpu", "--out", str(tmp_path / "out")]) == bench.BAD_INPUT
    assert "no CUDA device" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_out_must_not_be_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert bench.run(["--profile", "smoke", "--out", str(tmp_path / "file" / "x")]) == bench.BAD_INPUT
    line = capsys.readouterr().err
    assert line == f"bench: --out='{tmp_path / 'file' / 'x'}': {tmp_path / 'file'} is a file; name a folder\n"


def test_the_advice_for_a_short_text_fits_the_command(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("Once upon a time. " * 5)
    assert bench.run(["--profile", "smoke", f"--data={tmp_path / 'text.txt'}"]) == bench.BAD_INPUT
    assert capsys.readouterr().err.endswith("; give more text\n")


FULL = os.strerror(errno.ENOSPC)
FAILURES = {
    "a checkpoint": NotebookFailed(
        f"cell 11: CheckpointError: folder 'a' cannot be written: {FULL}; nothing is saved"
    ),
    "the log": NotebookFailed(f"cell 11: LogError: log 'a/steps.jsonl' cannot be written: {FULL}"),
    "a result": NotebookFailed(f"cell 29: OSError: [Errno 28] {FULL}: '/a/results.json'"),
    "the notebook": OSError(errno.ENOSPC, FULL),
}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """The code of a benchmark of which only the notebook is left out: `fail(folder)` runs instead."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    text = write_tales(tmp_path)

    def start_it(fail):
        monkeypatch.setattr(bench, "run_notebook", lambda _, target, *__: fail(target.parent))
        return bench.run(["--profile", "smoke", f"--data={text}", f"--out={tmp_path / 'out'}"])

    return start_it


@pytest.mark.parametrize("what", FAILURES)
def test_a_full_disk_is_one_line_that_says_where_and_how_to_go_on(what, start, tmp_path, capsys):
    def fail(folder):
        raise FAILURES[what]

    assert start(fail) == bench.BAD_INPUT
    line = capsys.readouterr().err.splitlines()[-1]
    (folder,) = (tmp_path / "out").iterdir()
    assert line == (
        f"bench: '{folder}' cannot be written: {FULL}; what was done so far is in '{folder}'; free some space, or "
        "name another folder with --out, and begin again"
    )


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file"), NotebookFailed("cell 11: X: gone")])
def test_a_folder_that_goes_is_told_to_be_gone(error, start, capsys):
    def fail(folder):
        shutil.rmtree(folder)
        raise error

    assert start(fail) == bench.BAD_INPUT
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith("is gone: it was deleted or moved while the benchmark ran; begin it again")
    )


def test_a_failure_of_the_notebook_stays_one(start, capsys):
    def fail(folder):
        raise NotebookFailed("cell 3: KeyError: 'x'")

    assert start(fail) == bench.FAILED
    assert "bench: cell 3: KeyError: 'x' (see " in capsys.readouterr().err


def test_a_trainings_own_folder_that_goes_is_told_to_be_gone(start, capsys):
    def fail(folder):
        raise NotebookFailed(
            "cell 11: LogError: folder '/a/runs/gpt-s0' is gone: it was deleted or moved while ..."
        )

    assert start(fail) == bench.BAD_INPUT
    assert (
        "bench: folder '/a/runs/gpt-s0' is gone: it was deleted or moved while the bench"
        in capsys.readouterr().err
    )


def test_what_cannot_be_printed_is_one_line_that_names_the_report(start, monkeypatch, capsys):
    def fail(folder):
        raise CannotPrint("what is printed cannot be written: No space left on device")

    monkeypatch.setattr(bench, "_measure", lambda *_: None)
    monkeypatch.setattr(bench, "_conclude", fail)
    assert start(lambda folder: None) == bench.BAD_INPUT
    assert capsys.readouterr().err.splitlines()[-1].endswith("report.html")
