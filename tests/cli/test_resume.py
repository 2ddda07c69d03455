"""A run that goes on: from where it was, in another place, and only with its own settings."""

import shutil
from pathlib import Path

import pytest
import yaml

from nanokimi import checkpoint, ranks
from nanokimi.cli import training
from nanokimi.cli.commands import run_command
from nanokimi.cli.program import call
from nanokimi.runs.folder import own
from nanokimi.system.signals import Wish
from tests.cli.conftest import SMALL, long, wait_for_steps, write_tales

# Its rate is constant, so that it may be said to have more steps.
TRAIN = ["train", *SMALL, "--set=train.min_lr_ratio=1", "--data=tales.txt", "--out=out/a"]


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text and a run of 6 steps, for all the tests of this file."""
    folder = tmp_path_factory.mktemp("trained")
    write_tales(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert call("nanokimi", run_command, TRAIN) == 0
    return folder


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Path:
    """A run that has ended after step 6, to be changed."""
    shutil.copytree(trained_once, tmp_path, dirs_exist_ok=True)
    return Path("out/a")


@pytest.fixture
def stopped(trained: Path) -> Path:
    """A run of 12 steps that was stopped after step 6."""
    out = trained
    saved = yaml.safe_load((out / "run.yaml").read_text())
    saved["train"]["steps"] = 12
    (out / "run.yaml").write_text(yaml.safe_dump(saved))
    return out


@pytest.mark.parametrize(
    "words",
    [["--model=gpt-tiny"], ["--train=train-smoke"], ["--data=storyworld"], ["--set=train.batch_size=9"]],
)
def test_what_would_change_the_run_is_refused_in_one_line(words: list[str], run, stopped: Path) -> None:
    code, out, err = run("train", "--resume", "--out=out/a", *words)
    assert (code, out) == (2, "")
    assert "--resume continues with the run's own settings" in err and words[0].split("=")[0] in err
    assert err.count("\n") == 1


@pytest.fixture
def resumable(run, text: Path) -> Path:
    """A run that was stopped after its first step."""
    wish = Wish()

    def stop(records, *_):
        for record in records:
            wish.number = 15
            yield record

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Wish", lambda: wish)
        patch.setattr(training, "draw_bar", stop)
        code, out, _ = run("train", *SMALL, "--data=tales.txt", "--out=out/a")
    assert code == 143 and "stopped after step 1 and saved" in out
    return Path("out/a")


def test_what_is_stopped_before_its_first_step_leaves_nothing(run, text: Path) -> None:
    """Neither gigabytes of first weights nor a folder."""
    wish = Wish()
    wish.number = 15
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Wish", lambda: wish)
        code, out, err = run("train", *SMALL, "--data=tales.txt", "--out=out/a")
    assert code == 143 and out.endswith("stopped before the first step was done: there is nothing to save\n")
    assert not Path("out").exists() and "Traceback" not in err


def test_what_cannot_go_on_is_not_said_to_go_on(run, resumable: Path, text: Path) -> None:
    """Neither where the text has changed, nor while another training writes in the folder."""
    with own(resumable.absolute()):
        code, out, err = run("train", "--resume", "--out=out/a")
    assert (code, out) == (2, "") and "out/a' is in use" in err and err.count("\n") == 1
    text.write_text(text.read_text() + "\n<|endoftext|>\nmore")
    code, out, err = run("train", "--resume", "--out=out/a")
    assert (code, out) == (2, "") and "the corpus has changed" in err.splitlines()[-1]


def test_a_folder_in_use_is_told_to_be_so_whatever_it_holds(run, resumable: Path) -> None:
    for out in ("out/a", "out/new"):
        with own(Path(out).absolute()):
            code, told, err = run("train", *SMALL, "--data=tales.txt", f"--out={out}")
        assert (code, told, err.count("\n")) == (2, "", 1)
        assert f"{out}' is in use: another training writes there" in err
    code, told, err = run("train", *SMALL, "--data=tales.txt", "--out=out/a")
    assert code == 2 and "already holds a run; to continue it" in err


def test_a_run_resumes_from_another_folder_and_after_it_was_moved(
    run, resumable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("elsewhere/deep").mkdir(parents=True)
    resumable.rename("elsewhere/moved")
    monkeypatch.chdir("elsewhere/deep")
    may_differ = ["--device=cpu", f"--set=data.cache_dir={tmp_path / 'other'}"]
    may_differ += ["--set=train.compile=off", "--set=train.recompute=true"]
    code, out, err = run("train", "--resume", "--out=../moved", *may_differ)
    assert code == 0, err
    assert out.startswith("resuming after step 1 of 6, from ../moved/step-000001\nkimi: ")
    assert checkpoint.load_checkpoint("../moved").state.step == 6
    assert (tmp_path / "other").exists()


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_is_used(run, trained: Path) -> None:
    (trained / "step-000006/model.safetensors").write_bytes(b"torn")
    code, out, err = run("train", "--resume", "--out=out/a")
    assert code == 0, err
    assert "resuming after step 3 of 6, from out/a/step-000003" in out
    assert "note: " in err and "step-000006" in err and "the checkpoint before it is used" in err


@pytest.mark.parametrize("full", ["log", "checkpoint"])
def test_a_disk_that_fills_up_says_how_to_continue(full: str, run, resumable: Path, monkeypatch) -> None:
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if full == "log":
            patch.setattr("nanokimi.runs.log.open", fail, raising=False)
        else:
            patch.setattr(checkpoint, "save_file", fail)
        code, _, err = run("train", "--resume", "--out=out/a")
    line = err.replace("\r", "\n").strip().splitlines()[-1]
    assert code == 2 and "cannot be written: No space left on device" in line
    assert line.endswith("; to continue once that is mended: nanokimi train --resume --out out/a")
    assert run("train", "--resume", "--out=out/a")[0] == 0


@pytest.mark.parametrize("harm", ["damaged", "deleted"])
def test_steps_that_the_log_lacks_are_told_and_the_run_goes_on(harm: str, run, trained: Path) -> None:
    shutil.rmtree(trained / "step-000006")
    log = trained / "steps.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.unlink() if harm == "deleted" else log.write_text("".join([lines[0], "{bad\n", *lines[2:]]))
    code, _, err = run("train", "--resume", "--out=out/a")
    assert code == 0, err
    steps = "steps 1 to 3" if harm == "deleted" else "step 2"
    assert f"note: 'out/a/steps.jsonl' has no line, or a damaged one, for {steps}: " in err
    assert log.read_text().count("\n") == (3 if harm == "deleted" else 5)


def test_the_log_of_an_older_run_that_is_brought_back_is_the_one_that_is_looked_at(
    run, trained: Path
) -> None:
    """A kill of a new run before its first checkpoint leaves this."""
    shutil.rmtree(trained / "step-000006")
    (trained / "step-000003").rename(trained / ".replaced-step-000003")
    (trained / "steps.jsonl").rename(trained / ".replaced-steps.jsonl")
    (trained / "steps.jsonl").write_text("")
    code, out, err = run("train", "--resume", "--out=out/a")
    assert code == 0 and "resuming after step 3" in out and "steps.jsonl" not in err


def test_what_a_kill_at_the_very_end_has_left_goes_when_the_run_is_continued(run, trained: Path) -> None:
    out = trained
    whole = sorted(each.name for each in out.iterdir())
    for left in (".writing-a", ".replaced-step-000002", "step-000001"):
        shutil.copytree(checkpoint.find_newest(out), out / left)
    (out / ".lock").touch()
    code, told, err = run("train", "--resume", "--out=out/a")
    assert (code, told, err) == (0, "out/a is trained to its last step, 6\n", "")
    assert sorted(each.name for each in out.iterdir()) == whole


def test_without_a_checkpoint_there_is_nothing_to_resume_and_the_folder_is_free(run, trained: Path) -> None:
    for each in trained.glob("step-*"):  # what is there after a kill before the first checkpoint
        shutil.rmtree(each)
    code, _, err = run("train", "--resume", "--out=out/a")
    assert code == 2 and "nothing to resume in 'out/a'" in err and err.count("\n") == 1
    assert run("train", *SMALL, "--data=tales.txt", "--out=out/a")[0] == 0


BROKEN = {
    "no mapping": ("[1, 2]", "must hold `name: value` lines"),
    "a section is missing": ("data: {}\nmodel: {}\n", "has no section train:"),
    "a section too many": ("data: {}\nmodel: {}\ntrain: {}\nmore: {}\n", "section 'more' is unknown"),
    "a wrong type": ("data: {}\nmodel: {kind: kimi}\ntrain: {steps: [1]}\n", "steps="),
    "no text": (b"\xff\xfe\x00", "run.yaml"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_damaged_run_file_is_one_line(case: str, run, stopped: Path) -> None:
    content, expected = BROKEN[case]
    (stopped / "run.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out, err = run("train", "--resume", "--out=out/a")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert expected in err


def test_two_trainings_in_one_folder_are_refused(run, start, text: Path) -> None:
    first = start(*long(text, "--out=out/a"))
    try:
        wait_for_steps("out/a", 1, first)
        code, _, err = run("train", *SMALL, f"--data={text}", "--out=out/a")
        line = err.replace("\r", "\n").strip().splitlines()[-1]
        assert code == 2 and "/out/a' is in use: another training writes there" in line
        assert Path("out/a/run.yaml").exists()
        assert yaml.safe_load(Path("out/a/run.yaml").read_text())["train"]["steps"] == 2000
    finally:
        first.kill()
        first.communicate()


def test_ranks_that_cannot_share_a_run_are_told_which_can(run, stopped: Path, monkeypatch) -> None:
    """Its settings stay as they are, so the number of ranks is what can be changed."""
    saved = yaml.safe_load((stopped / "run.yaml").read_text())
    saved["train"]["grad_accum"] = 6
    (stopped / "run.yaml").write_text(yaml.safe_dump(saved))
    monkeypatch.setattr(ranks, "n_ranks", lambda: 4)
    monkeypatch.setattr(ranks, "maxima", lambda values: values)
    code, _, errors = run("train", "--resume", f"--out={stopped}")
    assert code == 2 and errors == (
        "nanokimi: this run has 6 micro-batches per step, which 4 ranks cannot share evenly: "
        "resume it on 1, 2, 3, 6\n"
    )


def test_a_layout_for_one_process_is_said_to_do_nothing(run, resumable: Path) -> None:
    code, _, errors = run("train", "--resume", "--layout=sharded", f"--out={resumable}")
    assert (code, errors.count("note: --layout=sharded does nothing for one process")) == (0, 1), errors
