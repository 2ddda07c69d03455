"""The command line as a user sees it: whole runs on a small text."""

import json
from pathlib import Path

import yaml

from nanokimi import checkpoint
from nanokimi.config import DataConfig
from nanokimi.presets.yaml_config import load_model_config, preset_names
from nanokimi.text import corpus
from tests.cli.conftest import SMALL


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


def test_a_setting_that_does_nothing_is_said_and_the_run_goes_on(run, text: Path) -> None:
    sets = ("--set=train.balance.z_coef=0.01", "--set=model.vocab_size=900", "--set=train.eval_every=50")
    code, _, err = run("train", *SMALL, "--model=gpt-smoke", *sets, f"--data={text}", "--out=out/idle")
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert code == 0
    for setting in ("balance.z_coef", "model.vocab_size", "eval_every"):
        assert any(setting in line for line in notes), (setting, notes)
