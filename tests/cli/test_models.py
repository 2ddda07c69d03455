"""--checkpoint takes the name of a model that comes with the lab, where no folder has that name."""

from pathlib import Path

import pytest

from nanokimi.pretrained import load_pretrained
from tests.cli.conftest import write_tales


def test_a_model_is_found_by_its_name(run):
    words = ("generate", "--checkpoint=kimi-storyworld", "--prompt=Once upon a time", "--max-new-tokens=20")
    code, out, err = run(*words)
    assert (code, err) == (0, "") and out.startswith("Once upon a time, ")
    assert run("export", "--checkpoint=kimi-storyworld", "--to=hf")[0] == 0
    assert Path("hf/config.json").exists()
    code, out, err = run("export", "--checkpoint=gpt-storyworld", "--to=other")
    assert code == 2 and "a GPT cannot be exported" in err


@pytest.mark.parametrize("name", ["kimi-storyword", "storyworld"])
def test_no_folder_and_no_name(run, name):
    code, out, err = run("generate", f"--checkpoint={name}")
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert f"no checkpoint in '{name}'" in err and "gpt-storyworld, kimi-storyworld" in err


def test_a_folder_with_such_a_name_is_meant(run):
    Path("kimi-storyworld").mkdir()
    code, _, err = run("generate", "--checkpoint=kimi-storyworld")
    assert code == 2 and err.startswith("nanokimi: no checkpoint in kimi-storyworld")


def test_its_text_is_the_one_that_its_tokens_were_learnt_from(run, tmp_path):
    words = ("evaluate", "--checkpoint=kimi-storyworld", "--samples=1")
    code, _, err = run(*words, "--set=data.n_stories=300", "--set=data.n_characters=8")
    assert (
        code == 2 and err.count("\n") == 1 and "is not the text that 'kimi-storyworld' was trained on" in err
    )
    code, _, err = run("evaluate", "--checkpoint=kimi-tinystories", "--samples=1")
    assert code == 2 and "the lab does not have the text of kimi-tinystories: name it with --data" in err
    code, _, err = run("evaluate", "--checkpoint=kimi-tinystories", f"--data={write_tales(tmp_path)}")
    assert code == 2 and "is not the text that 'kimi-tinystories' was trained on" in err


def test_the_table_says_the_recorded_loss(run):
    code, out, _ = run("evaluate", "--checkpoint=kimi-storyworld", "--samples=1")
    assert code == 0 and out.startswith(
        "kimi-storyworld: kimi, 3,285,120 parameters, trained on storyworld\n"
    )
    loss = next(line for line in out.splitlines() if line.startswith("loss, bits per byte")).split()
    recorded = load_pretrained("kimi-storyworld").evaluation
    assert abs(float(loss[4]) - recorded.bits_per_byte) <= 0.002
