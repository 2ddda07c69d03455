"""Bad input to the benchmark's command: one line that says what is wrong, and nothing is written."""

import pytest
import torch

from lab_utils.bench import command as bench


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--profile smok", "did you mean smoke?"),
        ("--arms gpt,kimmi", "did you mean kimi?"),
        ("--seeds 0", "seeds=0 must be"),
        ("--seeds many", "invalid int value: 'many'"),
        ("--data no/such/text.txt", "--data='no/such/text.txt': no such file or folder"),
        ("--out=", "argument --out: '' must name a folder"),
        ("--data storyworl", "did you mean storyworld?"),
        ("-p profle=cpu", "'profle' is not a parameter of 08_train_kimi_vs_gpt.ipynb; did you mean profile?"),
        ("-p profile=cpu", "has its own option: --profile"),
        ("-p profile", "must look like name=value"),
        ("-p x={", "cannot be read as YAML"),
        ("--frofile smoke", "unrecognized arguments"),
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
    assert f"{tmp_path / 'file'} is a file; name a folder" in capsys.readouterr().err
