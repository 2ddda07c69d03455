"""The command line as a user sees it: whole runs on a small text, and one line for every mistake."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from nanokimi import checkpoint
from nanokimi.cli import commands as cli
from nanokimi.cli import terminal
from nanokimi.config import DataConfig
from nanokimi.presets.yaml_config import load_model_config, preset_names
from nanokimi.text import corpus

SMALL = [
    "--model=kimi-smoke", "--train=train-smoke", "--set=data.vocab_size=300", "--set=train.steps=6",
    "--set=train.warmup_steps=1", "--set=train.eval_every=3", "--set=train.eval_windows=2",
]  # fmt: skip


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Some forty thousand characters in documents, in a folder where the test also works."""
    path = tmp_path / "tales.txt"
    tales = (f"The {a} saw the {b} and said: come in!" for a in ("cat", "owl", "fox") for b in range(300))
    path.write_text("\n<|endoftext|>\n".join(tales), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """Call the command line in this process: exit code, stdout, stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nanokimi", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        printed = capsys.readouterr()
        return stopped.value.code or 0, printed.out, printed.err

    return call


@pytest.mark.slow
def test_train_generate_export_resume(run, text: Path) -> None:
    code, out, _ = run("train", *SMALL, f"--data={text}", "--out=out/a")
    assert code == 0 and "step 6: validation loss" in out
    assert len(Path("out/a/steps.jsonl").read_text().splitlines()) == 6
    assert checkpoint.load_checkpoint("out/a").state.step == 6
    # The text's vocabulary, not the preset's, sizes the model.
    found = checkpoint.load_checkpoint("out/a")
    assert found.model.cfg.vocab_size == found.tokenizer.n_vocab <= 300

    written = [run("generate", "--checkpoint=out/a", "--prompt=The cat", f"--seed={s}") for s in (1, 1, 2)]
    assert all(code == 0 and text.startswith("The cat") for code, text, _ in written)
    assert written[0][1] == written[1][1] != written[2][1]

    assert run("export", "--checkpoint=out/a", "--to=out/hf")[0] == 0
    assert json.loads(Path("out/hf/config.json").read_text())["model_type"] == "deepseek_v3"

    code, out, _ = run("train", "--resume", "--out=out/a")
    assert code == 0 and "trained to its last step, 6" in out
    code, _, err = run("train", *SMALL, f"--data={text}", "--out=out/a")
    assert code == 2 and "--resume" in err


def test_set_reaches_model_training_and_data(run, text: Path) -> None:
    sets = ["--set=model.top_k=4", "--set=train.optim.lr=0.007", "--set=data.tokenizer=char"]
    assert run("train", *SMALL, *sets, f"--data={text}", "--out=out/b")[0] == 0
    saved = yaml.safe_load(Path("out/b/run.yaml").read_text())
    assert saved["model"]["moe"]["top_k"] == 4
    assert saved["train"]["optim"]["lr"] == 0.007
    assert saved["data"]["tokenizer"] == "char"


def test_a_copied_preset_trains(run, text: Path) -> None:
    code, out, _ = run("presets", "gpt-smoke")
    assert code == 0
    Path("mine.yaml").write_text(out.replace("n_layers: 2", "n_layers: 1"))
    assert load_model_config("mine.yaml").n_layers == 1
    assert run("train", *SMALL, "--model=mine.yaml", f"--data={text}")[0] == 0
    assert checkpoint.load_checkpoint("out/mine").model.cfg.n_layers == 1


def test_presets_lists_every_preset_with_its_first_line(run) -> None:
    code, out, _ = run("presets")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == preset_names()
    assert all(len(line.split()) > 3 for line in out.splitlines())


def test_prepare_says_what_came_out(run, text: Path) -> None:
    code, out, _ = run("prepare", f"--data={text}", "--set=data.vocab_size=300")
    assert code == 0
    loaded = corpus.load_corpus(DataConfig(source=str(text), vocab_size=300))
    assert out.startswith(f"{loaded.name}: {len(loaded.train):,} training and {len(loaded.val):,} validation")
    assert f"vocabulary {loaded.tokenizer.n_vocab}" in out


@pytest.mark.slow
def test_ctrl_c_saves_and_resuming_ends_as_if_never_stopped(run, text: Path) -> None:
    long = [*SMALL, "--set=train.steps=60", "--set=train.eval_every=60", f"--data={text}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "nanokimi.cli", "train", *long, "--out=out/stopped"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy(),
    )  # fmt: skip
    log = Path("out/stopped/steps.jsonl")
    deadline = time.monotonic() + 60
    while not (log.exists() and len(log.read_text().splitlines()) >= 3):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "saved; to continue: nanokimi train --resume --out out/stopped" in out
    stopped_at = checkpoint.load_checkpoint("out/stopped").state.step
    assert 3 <= stopped_at < 60

    assert run("train", "--resume", "--out=out/stopped")[0] == 0
    assert run("train", *long, "--out=out/whole")[0] == 0
    stopped, whole = (
        checkpoint.load_checkpoint(f"out/{name}").model.state_dict() for name in ("stopped", "whole")
    )
    assert all(stopped[name].equal(whole[name]) for name in whole)
    losses = [
        [json.loads(line)["loss"] for line in Path(f"out/{name}/steps.jsonl").read_text().splitlines()]
        for name in ("stopped", "whole")
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 60


BAD = {
    "unknown preset": (["train", "--model=kimi-tny"], "did you mean kimi-tiny?"),
    "unknown field": (["train", "--set=model.n_layer=3"], "did you mean n_layers?"),
    "unknown section": (["train", "--set=modl.n_layers=3"], "model.name=value"),
    "wrong type": (["train", "--set=model.n_layers=three"], "n_layers='three'"),
    "indivisible heads": (["train", "--model=gpt-tiny", "--set=model.n_heads=3"], "n_heads=3"),
    "top_k above the experts": (["train", "--set=model.top_k=17"], "top_k=17 must lie in 1..n_routed_experts=16"),
    "context too short": (["train", "--data={text}", "--set=model.max_seq_len=8"], "max_seq_len=8"),
    "missing text": (["train", "--data=nowhere.txt"], "nowhere.txt"),
    "empty text": (["train", "--data={empty}"], "empty.txt"),
    "text not UTF-8": (["train", "--data={latin}"], "latin.txt"),
    "text too short": (["train", "--data={short}"], "short.txt"),
    "no CUDA": (["train", "--device=cuda"], "device=cuda"),
    "unknown device": (["train", "--device=tpu"], "device='tpu'"),
    "missing checkpoint": (["generate", "--checkpoint=nowhere"], "no checkpoint in nowhere"),
    "nothing to resume": (["train", "--resume", "--out=nowhere"], "nothing to resume in nowhere"),
    "unknown option": (["train", "--modle=x"], "--modle"),
    "unknown command": (["trian"], "train"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_writes_nothing(case: str, run, text: Path, tmp_path: Path) -> None:
    files = {"text": text}
    for name, content in (("empty", b""), ("latin", b"caf\xe9 " * 2000), ("short", b"Hello there.")):
        files[name] = tmp_path / f"{name}.txt"
        files[name].write_bytes(content)
    before = sorted(tmp_path.iterdir())
    arguments, expected = BAD[case]
    code, out, err = run(*(a.format(**files) for a in arguments))
    assert code == 2 and out == ""
    # A progress bar may have been drawn and wiped before the text turned out to be bad.
    message = err.replace("\r", "\n").strip().splitlines()[-1]
    assert message.startswith("nanokimi: ") and expected in message
    assert "Traceback" not in err
    after = [p for p in sorted(tmp_path.iterdir()) if p.name != "cache"]
    assert after == before


def test_damaged_checkpoint_is_named(run, text: Path) -> None:
    assert run("train", *SMALL, f"--data={text}", "--out=out/a")[0] == 0
    weights = checkpoint.find_newest(Path("out/a")) / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    code, _, err = run("generate", "--checkpoint=out/a")
    assert code == 2 and "model.safetensors is damaged" in err and err.count("\n") == 1


def test_what_a_model_writes_cannot_control_the_terminal() -> None:
    assert terminal.keep_printable("a\x1b[2Jb\x07\r\nc\té雨") == "a[2Jb\nc\té雨"
    pieces = list(terminal.decode(lambda i: "é".encode()[i : i + 1], iter([0, 1])))
    assert "".join(pieces) == "é"
