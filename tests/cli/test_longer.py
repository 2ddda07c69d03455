"""`--resume --set train.steps=N` goes on to more steps, and `--init-from` begins with the weights of another run."""

import json
from pathlib import Path

import pytest
import yaml

from nanokimi import checkpoint
from nanokimi.pretrained import load_pretrained
from tests.cli.conftest import SMALL

CONSTANT = [*SMALL, "--set=train.min_lr_ratio=1", "--data=tales.txt"]


def read_losses(out: str) -> list[float]:
    return [json.loads(line)["loss"] for line in Path(out, "steps.jsonl").read_text().splitlines()]


def test_a_finished_run_goes_on_to_more_steps_and_stays_longer(run, text: Path) -> None:
    assert run("train", *CONSTANT, "--out=out/whole", "--set=train.steps=8")[0] == 0
    assert run("train", *CONSTANT, "--out=out/a")[0] == 0
    code, out, _ = run("train", "--resume", "--out=out/a", "--set=train.steps=8")
    assert code == 0 and out.startswith(
        "resuming after step 6 of 8, from out/a/step-000006\nsteps=8 instead of 6: the rate stays at 0.003\n"
    )
    assert read_losses("out/a") == read_losses("out/whole")
    settings = [yaml.safe_load(Path(out, "run.yaml").read_text()) for out in ("out/a", "out/whole")]
    assert settings[0] == settings[1]
    assert run("train", "--resume", "--out=out/a")[1] == "out/a is trained to its last step, 8\n"


def test_a_rate_that_has_fallen_is_refused_in_one_line(run, text: Path) -> None:
    assert run("train", *SMALL, "--data=tales.txt", "--out=out/a")[0] == 0
    before = Path("out/a/run.yaml").read_text()
    for steps, says in (
        (8, "step 6 had the rate 0.0003, and would have "),
        (5, "6 steps are done; name more"),
    ):
        code, out, err = run("train", "--resume", "--out=out/a", f"--set=train.steps={steps}")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"cannot resume 'out/a' with steps={steps}: {says}" in err
    assert Path("out/a/run.yaml").read_text() == before


def test_a_run_begins_with_the_weights_and_the_text_of_another(run, text: Path) -> None:
    assert run("train", *CONSTANT, "--out=out/a")[0] == 0
    few = [
        "--train=train-smoke",
        "--set=train.steps=2",
        "--set=train.warmup_steps=0",
        "--set=train.eval_windows=2",
    ]
    code, out, err = run("train", "--init-from=out/a", "--out=out/<b>", *few)
    assert code == 0, err
    assert out.startswith(
        "beginning with the weights of 'out/a/step-000006', trained for 6 steps, and a fresh optimizer\n"
    )
    begun = Path("out/<b>/run.yaml").read_text()
    assert begun.startswith("# The first weights are those of 'out/a/step-000006', trained for 6 steps\n")
    first, again = (yaml.safe_load(each) for each in (Path("out/a/run.yaml").read_text(), begun))
    assert (again["model"], again["data"]) == (first["model"], first["data"])
    # The first loss is the one of the trained weights, not of new ones.
    assert read_losses("out/<b>")[0] < read_losses("out/a")[0] - 0.5
    assert checkpoint.load_checkpoint("out/<b>").state.step == 2
    code, out, _ = run("train", "--resume", "--out=out/<b>")
    assert code == 0 and "is trained to its last step, 2" in out


REFUSED = {
    "no folder for it": (["--init-from=kimi-storyworld"], "--init-from needs --out, the folder of the new run"),
    "a model": (["--init-from=kimi-storyworld", "--out=b", "--model=kimi-tiny"], "leave --model out"),
    "a size": (["--init-from=kimi-storyworld", "--out=b", "--set=model.top_k=1"], "leave --set model.name=value out"),
    "no checkpoint": (["--init-from=no<b>\x1b[2J", "--out=b"], "no checkpoint in 'no<b>\\x1b[2J'"),
    "other tokens": (
        ["--init-from=kimi-storyworld", "--out=b", "--data=tales.txt"],
        "is cut into other tokens than the weights of 'kimi-storyworld' know",
    ),
    "a run to resume": (["--resume", "--out=b", "--init-from=a"], "leave --init-from out"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_one_line_and_nothing_is_written(case: str, run, text: Path) -> None:
    words, says = REFUSED[case]
    code, out, err = run("train", *words)
    last = err.splitlines()[-1]
    assert (code, out) == (2, "") and last.startswith("nanokimi: ") and says in last
    assert not Path("b").exists()


def test_a_model_that_comes_with_the_lab_can_be_trained_on(run, text: Path) -> None:
    """Its text is made anew, with fewer stories than the lab's, so its tokens are other ones: they are refused."""
    code, _, err = run("train", "--init-from=kimi-storyworld", "--out=b", "--set=data.n_stories=300")
    assert code == 2 and "is cut into other tokens" in err.splitlines()[-1]
    assert all(each.requires_grad for each in load_pretrained("kimi-storyworld").model.parameters())
