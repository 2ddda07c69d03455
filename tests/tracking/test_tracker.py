"""What TensorBoard, trackio and wandb read back is what `steps.jsonl` holds, and a resumed run goes on there."""

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from nanokimi.cli.tracked import Tracked
from nanokimi.config import ConfigError
from nanokimi.model import build_model
from nanokimi.record import StepRecord
from nanokimi.tracking import facts, tracker
from tests import tiny
from tests.cli.conftest import SMALL, run, start, text  # noqa: F401  fixtures

pytestmark = [
    pytest.mark.usefixtures("_in_folder"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the packages themselves
]


@pytest.fixture
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


def logged(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(out, "steps.jsonl").read_text().splitlines()]


def train_in_two_parts(run, text: Path, tool: str) -> list[dict[str, Any]]:  # noqa: F811
    """A run of four steps that goes on to six with --resume; its lines."""
    constant = ("--set=train.steps=4", "--set=train.eval_every=2", "--set=train.min_lr_ratio=1")
    code, _, err = run("train", *SMALL, *constant, f"--data={text}", "--out=out/a", f"--log={tool}")
    assert code == 0, err
    code, _, err = run("train", "--resume", "--out=out/a", "--set=train.steps=6", f"--log={tool}")
    assert code == 0, err
    return logged("out/a")


def read_curves(folder: str) -> Any:
    """TensorBoard's own reader, of all that is written there."""
    reader = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    found = reader.EventAccumulator(folder, size_guidance={reader.TENSORS: 0, reader.SCALARS: 0})
    found.Reload()
    return found


def texts(found: Any, name: str) -> dict[int, str]:
    events = found.Tensors(f"{name}/text_summary")
    return {each.step: each.tensor_proto.string_val[0].decode() for each in events}


def test_tensorboard_reads_the_run_back(run, text: Path) -> None:  # noqa: F811
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    records = train_in_two_parts(run, text, "tensorboard")
    found = read_curves("out/a/tensorboard")
    assert [each.step for each in found.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    for name, value in {
        "train/loss": lambda record: record["loss"],
        "train/lr": lambda record: record["lr"],
        "router/max_vio/0": lambda record: record["max_vio"][0],
        "router/entropy/0": lambda record: record["router_entropy"][0],
    }.items():
        assert [each.value for each in found.Scalars(name)] == pytest.approx([*map(value, records)], rel=1e-6)
    measured = [record["evaluation"]["bits_per_byte"] for record in records if record["evaluation"]]
    assert [each.value for each in found.Scalars("validation/bits_per_byte")] == pytest.approx(measured)

    tables = texts(found, "router/load")
    assert list(tables) == [2, 4, 6]
    for step, table in tables.items():
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        load = records[step - 1]["expert_load"]
        assert cells[0] == ["MoE layer", *(f"expert {each}" for each in range(len(load[0])))]
        assert [[float(cell) for cell in row[1:]] for row in cells[2:]] == [
            pytest.approx(row, abs=5e-4) for row in load
        ]
    samples = texts(found, "sample")
    assert list(samples) == [2, 4, 6]
    for each in samples.values():
        beginning, written = each.splitlines()[2].strip("| ").split(" | ")
        assert beginning.replace("<br>", "\n") in text.read_text() and written
    assert '"d_model"' in texts(found, "settings")[0]


def test_what_a_killed_process_has_written_after_its_checkpoint_is_not_there_twice(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    records = [made(step, loss=float(step)) for step in (1, 2, 3)]
    killed = tracker.track("tensorboard", tmp_path)
    for record in records:
        killed.log(record)
    with killed, tracker.track("tensorboard", tmp_path, done=1) as again:
        killed._place.close()
        for record in (made(2, loss=2.5), made(3, loss=3.5)):
            again.log(record)
    curve = read_curves(str(tmp_path / "tensorboard")).Scalars("train/loss")
    assert [(each.step, each.value) for each in curve] == [(1, 1.0), (2, 2.5), (3, 3.5)]


def made(step: int, loss: float = 1.0) -> StepRecord:
    return StepRecord(
        step=step, n_steps=3, tokens=step, seconds=1.0, tokens_per_s=1.0, compile_seconds=0.0, lr=0.1, loss=loss,
        balance_loss=0.0, grad_norm=1.0, expert_load=[[0.5, 1.5]], max_vio=[0.5], router_entropy=[0.6],
        max_qk_logit=[[1.0, 3.0], [2.0, 1.0]], evaluation=None,
    )  # fmt: skip


def test_the_numbers_of_a_record() -> None:
    numbers = dict(facts.list_numbers(made(3)))
    assert numbers["max_qk_logit/0"] == 3.0 and numbers["max_qk_logit/1"] == 2.0
    assert "validation/loss" not in numbers
    assert dict(facts.list_tables(made(3))) == {}  # without an evaluation


def test_trackio_reads_the_run_back(run, text: Path) -> None:  # noqa: F811
    pytest.importorskip("trackio", reason="pip install trackio: it wants a pillow below 13")
    records = train_in_two_parts(run, text, "trackio")
    storage = importlib.import_module("trackio.sqlite_storage").SQLiteStorage
    (name,) = storage.get_runs(tracker.PROJECT)
    assert name == f"a-{json.loads(Path('out/a/tracking.json').read_text())['run']}"
    rows = storage.get_logs(tracker.PROJECT, name)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["train/loss"] for row in rows] == pytest.approx([record["loss"] for record in records])
    table = rows[5]["router/load"]["_value"]
    assert [row["expert 1"] for row in table] == pytest.approx([l[1] for l in records[5]["expert_load"]])
    assert "sample" in rows[1] and "sample" not in rows[2]


def test_wandb_reads_the_run_back(run, text: Path) -> None:  # noqa: F811
    pytest.importorskip("wandb", reason="pip install wandb, which takes 55 MB")
    records = train_in_two_parts(run, text, "wandb")
    name = json.loads(Path("out/a/tracking.json").read_text())["run"]
    parts = sorted(
        Path("out/a/wandb").glob(f"offline-run-*-{name}"), key=lambda path: path.stat().st_mtime_ns
    )
    assert len(parts) == 2  # of one run: the service joins them by its name
    rows = [row for part in parts for row in read_history(part / f"run-{name}.wandb")]
    assert [row["_step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["train/loss"] for row in rows] == pytest.approx([record["loss"] for record in records])
    assert rows[5]["sample/_type"] == "table-file" and "sample/_type" not in rows[4]
    table = json.loads((parts[1] / "files" / rows[5]["router/load/path"]).read_text())["data"]
    assert [row[1:] for row in table] == [pytest.approx(load) for load in records[5]["expert_load"]]


def test_wandb_without_a_key_is_one_line_and_leaves_nothing(start, text: Path) -> None:  # noqa: F811
    """In a process of its own: wandb takes its mode once."""
    pytest.importorskip("wandb", reason="pip install wandb, which takes 55 MB")
    without = {"WANDB_MODE": "online", "WANDB_API_KEY": "", "HOME": str(text.parent)}
    process = start("train", *SMALL, f"--data={text}", "--out=out/a", "--log=wandb", **without)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith("nanokimi: wandb does not begin: No API key"), err
    assert not Path("out").exists()


def read_history(path: Path) -> list[dict[str, Any]]:
    """The rows in a file of wandb's: its own message type, in the blocks of a LevelDB log behind seven bytes."""
    message = importlib.import_module("wandb.proto.wandb_internal_pb2").Record
    data, at, whole, rows = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:  # a block ends in nothing
            at += left
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or its last part
            record, whole = message.FromString(whole), b""
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                rows.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items})
    return rows


@pytest.mark.parametrize("tool", tracker.TOOLS)
def test_a_missing_package_is_one_line_and_nothing_is_written(run, text: Path, tool, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, out, err = run("train", *SMALL, f"--data={text}", "--out=out/a", f"--log={tool}")
    assert (code, out) == (2, "")
    assert err == f"nanokimi: tracking with {tool} needs its package: pip install {tool}\n"
    assert not Path("out").exists() and not Path("cache").exists()


def test_a_tool_that_fails_is_told_once_and_the_training_goes_on(monkeypatch, capsys) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no\nroom")

    place = tracker.Place(fail, lambda: None)
    monkeypatch.setattr("nanokimi.cli.tracked.track", lambda *_: tracker.Tracker(place))
    tracked = Tracked("wandb", Path("out"), build_model(tiny.gpt()), tiny.corpus())
    tracked.begin({}, 0)
    tracked.see(made(1))
    tracked.see(made(2))
    tracked.end()
    said = capsys.readouterr().err
    assert said == "note: wandb fails at step 1: no room; the training goes on without it\n"


@pytest.mark.parametrize("kept", ['{"run": "../x"}', "[]", "{"])
def test_a_name_that_was_altered_is_refused_in_one_line(tmp_path: Path, kept: str) -> None:
    (tmp_path / tracker.NAME_FILE).write_text(kept)
    with pytest.raises(ValueError) as refused:
        tracker._name_run(tmp_path, 3)
    assert tracker.NAME_FILE in str(refused.value) and "\n" not in str(refused.value)


def test_an_unknown_tool_is_refused() -> None:
    with pytest.raises(ConfigError, match="tool='excel' must be one of tensorboard, trackio, wandb"):
        tracker.check_tool("excel")
