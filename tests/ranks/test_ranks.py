"""The number of ranks is not part of the experiment: groups of processes against one process, bit for bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nanokimi.torchrun import is_said, n_ranks, n_restarts, rank
from tests.training import read_log

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the groups are forks of one process")

GROUPS = """
two_micro_batches 1  two_micro_batches 2  go_on 1  go_on 2  steer 1  steer 2
four_micro_batches 1  four_micro_batches 2  four_micro_batches 4  refuse 2  hang 3  command_line 2
shard 1  shard 2  shard 3  change_layout 1  change_layout 2  compare_muon 3
""".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every group has left what it found, and its runs."""
    made = tmp_path_factory.mktemp("groups")
    command = [sys.executable, "-m", "tests.ranks.groups", str(made), *GROUPS]
    root, environ = Path(__file__).parents[2], os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return made


def read(folder: Path, name: str, n: int) -> dict:
    """What rank 0 found in a group. A rank that knows anything else makes the test fail."""
    found = json.loads((folder / f"{name}-{n}.json").read_text())
    assert len(found) == n
    for each in found:
        assert isinstance(each, dict), each
        assert each == found[0]
    return found[0]


def test_two_ranks_train_what_one_trains(folder):
    """With a micro-batch per rank bit for bit: a sum of two numbers has no order."""
    one, two = (read(folder, "two_micro_batches", n) for n in (1, 2))
    for name in ("kimi", "quantiles", "gpt"):
        assert two[name]["weights"] == one[name]["weights"]
        assert two[name]["saved"] == one[name]["saved"]  # momenta too
        assert two[name]["records"] == one[name]["records"]
    assert read_log(folder / "kimi-2") == read_log(folder / "kimi-1") == two["kimi"]["records"]
    names = [sorted(path.name for path in (folder / f"kimi-{n}").iterdir()) for n in (1, 2)]
    assert names[0] == names[1]  # and no second writer


def test_what_ranks_must_agree_on_has_acted(folder):
    """Else the test above would compare less than it says."""
    records = read(folder, "two_micro_batches", 2)["kimi"]["records"]
    assert all(record["grad_norm"] > 0.1 for record in records)  # the clip
    assert all(logit > 1e-3 for record in records for row in record["max_qk_logit"] for logit in row)
    assert all(record["balance_loss"] > 0 for record in records)
    assert len({record["evaluation"]["loss"] for record in records if record["evaluation"]}) == 2


def test_a_run_goes_on_on_another_number_of_ranks(folder):
    """From one to two and from two to one, with the weights and momenta of a run that was never stopped."""
    whole = read(folder, "two_micro_batches", 1)["kimi"]
    for n in (1, 2):
        resumed = read(folder, "go_on", n)
        assert resumed["weights"] == whole["weights"]
        assert resumed["saved"] == whole["saved"]
        assert resumed["records"] == whole["records"][3:]
        assert read_log(folder / f"begun-on-{3 - n}") == whole["records"]


@pytest.mark.parametrize("n", [2, 4])
def test_more_micro_batches_differ_by_rounding(folder, n):
    """Four gradients are added in another order than by one process: r, r + n, ... first."""
    one, more = (read(folder, "four_micro_batches", n) for n in (1, n))
    assert_close(more["records"], one["records"])


def test_rank_0_alone_steers(folder):
    """A change at step 3, a pause before step 2 and the end before step 5 reach the other rank."""
    one, two = (read(folder, "steer", n) for n in (1, 2))
    assert two == one
    assert [len(record["interventions"]) for record in two["records"]] == [0, 0, 2, 0]


def test_what_cannot_be_is_refused_on_every_rank(folder):
    first, second = json.loads((folder / "refuse-2.json").read_text())
    assert first["no micro-batch"] == second["no micro-batch"]
    assert first["no micro-batch"] == (
        "ConfigError: grad_accum=1 on 2 ranks: rank 1 has no micro-batch; set grad_accum=2 "
        "(with batch_size=2 a step has as many tokens as now)"
    )
    assert "some ranks have one more micro-batch; set grad_accum=4 (with" in second["not a multiple"]
    other = "ConfigError: rank 1 has other settings, or another text, than rank 0: give all ranks the same"
    assert first["other settings"] == second["other settings"] == other
    assert first["the steer fails"] == "ValueError: the caller of rank 0 has failed"
    assert second["the steer fails"] == "RankLost: the caller of rank 0 has failed"
    frozen = (
        "ConfigError: frozen_experts: no expert of a sharded model can be frozen: use --layout=replicated"
    )
    assert first["a frozen expert"] == second["a frozen expert"] == frozen
    assert "compile=on: not for a sharded model" in first["compiled"]
    assert sorted([first["said already"], second["said already"]]) == [False, True]
    assert first["fewer ranks"] == "the number of ranks has changed: stop the training, and resume it"
    assert max(first["seconds"], second["seconds"]) < 29  # nobody waited for the limit, which is 30 s


def test_who_does_not_answer_is_named(folder):
    first, _, third = json.loads((folder / "hang-3.json").read_text())
    words = "RankLost: rank {} of 3: rank 1 does not answer"
    assert first["refusal"].startswith(words.format(0)) and third["refusal"].startswith(words.format(2))
    assert "within the time limit" in first["refusal"] + third["refusal"]


def test_the_command_line_prints_once(folder):
    first, second = json.loads((folder / "command_line-2.json").read_text())
    assert [first[name]["code"] for name in first] == [second[name]["code"] for name in first] == [2, 0, 2]
    assert first["sharded"]["out"].count("step 6: validation loss") == 1
    assert second["sharded"]["out"] == ""
    for name, words in (("too few", "rank 1 has no micro-batch"), ("again", "already holds a run")):
        said = first[name]["err"] + second[name]["err"]
        assert said.count("nanokimi: ") == said.count(words) == 1, said


def assert_close(records: list[dict], wanted: list[dict]) -> None:
    """The same training, to rounding."""
    for a, b in zip(records, wanted, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-6)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-5)
        assert (a["evaluation"] is None) == (b["evaluation"] is None)
        if b["evaluation"]:
            assert a["evaluation"]["loss"] == pytest.approx(b["evaluation"]["loss"], rel=1e-6)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("model", ["kimi", "gpt", "block_latent", "hybrid"])
def test_sharded_ranks_train_what_one_trains(folder, model, n):
    """Clips, balancing, Muon and AdamW on parts of the weights; on three ranks no weight divides evenly."""
    one, some = (read(folder, "shard", n)[model] for n in (1, n))
    assert_close(some["records"], one["records"])


def test_a_run_goes_on_in_another_layout(folder):
    """A checkpoint passes from one layout to the other and back bit for bit. The steps between differ by rounding."""
    one, two = (read(folder, "change_layout", n) for n in (1, 2))
    assert two["first"]["saved"] == two["first"]["passed on"] == one["first"]["saved"]
    for part in ("first", "second", "third"):
        assert_close(two[part]["records"], one[part]["records"])


def test_muon_on_parts_is_muon(folder):
    """Banks stay where their experts are; each other matrix is put together once, and nothing else is sent."""
    found = read(folder, "compare_muon", 3)
    assert found["distance"] < 1e-5
    assert found["matrices"] == 13
    assert found["sent"] == {"all_gather_into_tensor": found["matrices"]}


def test_one_process_is_rank_0_of_1():
    assert (rank(), n_ranks(), n_restarts(), is_said("a word")) == (0, 1, 0, False)
