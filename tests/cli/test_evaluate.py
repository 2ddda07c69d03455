"""`nanokimi evaluate` as a user calls it: the table, the file, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL, write_tales


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


STORIES = ["--set=data.n_characters=8", "--set=data.n_stories=200", "--set=data.vocab_size=400"]


@pytest.fixture
def trained(folder, run) -> Path:
    """A run on stories, trained once for all tests of this file."""
    out = folder / "stories"
    if not out.exists():
        assert run("train", *SMALL, *STORIES, f"--out={out}")[0] == 0
    return out


def test_the_table_and_the_file(run, trained):
    code, out, err = run("evaluate", f"--checkpoint={trained}", "--out=new/all.json", "--samples=2")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"{trained}/step-000006: kimi, ") and lines[0].endswith(
        "trained on storyworld"
    )
    saved = json.loads(Path("new/all.json").read_text())
    assert (saved["step"], saved["data"]["n_characters"], saved["samples"]["n"]) == (6, 8, 2)
    loss = next(line for line in lines if line.startswith("loss, bits per byte")).split()
    assert loss[4:] == [
        f"{saved['evaluation']['bits_per_byte']:.3f}",
        f"{saved['evaluation']['floor_bits_per_byte']:.3f}",
        "floor",
    ]
    for what in ("facts known, of", "copied words right, of", "stories with true facts", "longest run from"):
        assert any(line.startswith(what) for line in lines), what
    # Columns stand below each other.
    column = lines[1].index("model") + len("model")
    assert all(line[column - 1] != " " and line[column : column + 2].strip() == "" for line in lines[1:])


def test_the_same_checkpoint_gives_the_same_table(run, trained):
    words = ("evaluate", f"--checkpoint={trained}/step-000006", "--samples=1")
    assert run(*words) == run(*words) != run(*words, "--seed=1")


def test_a_text_of_ones_own_has_what_any_text_has(run, text):
    assert run("train", *SMALL, f"--data={text}", "--out=out/tales")[0] == 0
    code, out, _ = run("evaluate", "--checkpoint=out/tales", "--samples=2")
    assert code == 0 and "different words, of" in out and "facts known" not in out
    assert out.splitlines()[-1].startswith("facts, copying and grammar are left out")
    text.unlink()
    code, _, err = run("evaluate", "--checkpoint=out/tales", "--samples=2")
    assert code == 2 and err.count("\n") == 1 and "tales.txt', is gone" in err


def test_without_the_settings_of_the_run_the_text_is_named(run, trained):
    shutil.copytree(trained, "moved")
    Path("moved/run.yaml").unlink()
    code, _, err = run("evaluate", "--checkpoint=moved", "--samples=2")
    assert code == 2 and err.count("\n") == 1 and "no run.yaml" in err and "--data" in err
    code, _, err = run(
        "evaluate", "--checkpoint=moved", "--samples=2", "--data=storyworld", "--set=data.n_stories=300"
    )
    assert code == 2 and err.count("\n") == 1 and "is not the text that" in err
    code, out, _ = run("evaluate", "--checkpoint=moved", "--samples=2", "--data=storyworld", *STORIES)
    assert code == 0 and "facts known" in out


@pytest.mark.parametrize(
    "words, about",
    [
        (["--checkpoint=nowhere"], "no checkpoint in 'nowhere'"),
        (["--checkpoint={}", "--samples=0"], "--samples=0 must lie in 1..10000"),
        (["--checkpoint={}", "--samples=many"], "'many' must be a whole number"),
        (["--checkpoint={}", "--seed=99999999999999999999"], "--seed=99999999999999999999 must be"),
        (["--checkpoint={}", "--out=all.txt"], "must name a file that ends in .json"),
        (["--checkpoint={}", "--out=there.json"], "is a folder"),
        (["--checkpoint={}", "--set=model.d_model=3"], "must look like data.name=value"),
        ([], "--checkpoint"),
    ],
)
def test_a_mistake_is_one_line(run, trained, words, about):
    Path("there.json").mkdir()
    code, out, err = run("evaluate", *[word.format(trained) for word in words])
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert about in err


def test_a_text_that_came_from_elsewhere_is_named(run, trained, tmp_path):
    code, _, err = run("evaluate", f"--checkpoint={trained}", f"--data={write_tales(tmp_path)}")
    assert code == 2 and "'tales.txt' with these settings is not the text that" in err
