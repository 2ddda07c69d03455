"""WHERE and the settings of a cluster: what is allowed is read, everything else is one line."""

import pytest

from lab_utils.bench import place
from lab_utils.bench.place import EXAMPLE, Cluster, Local, choose_profile, read_place
from nanokimi.config import ConfigError

SETTINGS = EXAMPLE.read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def sbatch(monkeypatch):
    monkeypatch.setattr(place.shutil, "which", lambda name: f"/usr/bin/{name}")


@pytest.fixture
def read(tmp_path):
    """Reads the example's settings with one piece of text changed."""

    def read_changed(old: str, new: str) -> Cluster:
        assert SETTINGS.count(old) == 1
        (tmp_path / "mine.yaml").write_text(SETTINGS.replace(old, new), encoding="utf-8")
        return read_place(f"slurm:{tmp_path / 'mine.yaml'}")

    return read_changed


def test_the_places():
    assert read_place("here") is None
    assert read_place("local:2") == Local(2)
    cluster = read_place("slurm")
    assert (cluster.partition, cluster.gpus, cluster.minutes, cluster.tries) == (None, 1, 240, 3)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("", "'' must be here, local:N, slurm or slurm:FILE.yaml"),
        ("local", "'local' must be here"),
        ("local:", "'' must be a whole number"),
        ("local:1_0", "'1_0' must be a whole number"),
        ("local:0", "N must be a whole number from 1 to 64"),
        ("local:65", "N must be a whole number from 1 to 64"),
        ("slurm:", "'slurm:' must be here"),
        ("slurm:settings", "the settings of a cluster are a .yaml file"),
        ("slurm:no/such.yaml", "file no/such.yaml does not exist"),
        ("pbs:x.yaml\x1b[2J", r"'pbs:x.yaml\x1b[2J' must be here"),
    ],
)
def test_another_word_is_refused(where, message):
    with pytest.raises(ConfigError) as refused:
        read_place(where)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_a_copy_of_the_example_is_read(read):
    assert read("partition:  ", "partition: h200,a100").partition == "h200,a100"
    assert read("account:   ", 'account: "1234"').account == "1234"
    assert read("gpus: 1", "gpus: 0").gpus == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("gpus: 1", "gpu: 1", "'gpu' is not a setting; did you mean gpus?"),
        ("gpus: 1", "gpus: 1\nsetup: [touch ran]", "'setup' is not a setting; known: partition, "),
        ("gpus: 1", "", "gpus is missing"),
        ("gpus: 1", "gpus: -1", "gpus=-1 must be 0 or more"),
        ("minutes: 240", "minutes: 4 hours", "minutes='4 hours' must be a whole number"),
        ("at_once: 8", "at_once: 0", "at_once=0 must be 1 or more"),
        ("tries: 3", "tries: true", "tries=True must be a whole number, not a yes or no"),
        ("account:   ", "account: 1234 ", "account=1234 must be text"),
        (
            "partition:  ",
            'partition: "a\\ntouch ran"',
            r"partition='a\ntouch ran' must be one word of letters",
        ),
        ("partition:  ", "partition: $(touch ran) ", "must be one word of letters"),
        ("partition:  ", "partition: a --wrap=x ", "must be one word of letters"),
        ("qos:  ", 'qos: "" ', "qos='' must be one word of letters"),
    ],
)
def test_wrong_settings_are_one_line(read, old, new, message):
    with pytest.raises(ConfigError) as refused:
        read(old, new)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_without_slurm_the_place_is_refused(monkeypatch):
    monkeypatch.setattr(place.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="'slurm': this machine has no sbatch; run it on a login node"):
        read_place("slurm")


def test_the_jobs_decide_the_profile_of_a_cluster(read, monkeypatch):
    """The machine that submits need have no GPU."""
    with_gpu, without = read("gpus: 1", "gpus: 1"), read("gpus: 1", "gpus: 0")
    assert [choose_profile("auto", each) for each in (with_gpu, without)] == ["gpu", "cpu"]
    assert choose_profile("gpu", with_gpu) == "gpu"
    with pytest.raises(ConfigError, match="profile='gpu' needs gpus: 1 or more"):
        choose_profile("gpu", without)
    monkeypatch.setenv("NANOKIMI_PROFILE", "smoke")
    assert choose_profile("auto", Local(2)) == choose_profile("auto", None) == "smoke"
