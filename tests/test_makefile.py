"""make hands every value on as it is, notices a .venv that was made elsewhere, and opens JupyterLab to nobody else."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKE = shutil.which("make")
AWKWARD = (
    "it's a file.txt",
    'a "quoted" name',
    "$HOME $$ $(HOME) ${HOME}",
    "$(shell touch ran) `touch ran` $(touch ran)",
    "; touch ran; # no comment",
    "--help",
    "two\nlines",
    "back\\slash * ? [a]",
    "größer → 猫",
    "",
)

pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout in an awkward place, set up; its python does nothing but show its words, each on a line of its own."""
    folder = tmp_path / 'it\'s a "dir" $HOME (1), ünder #2'
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "Makefile"):
        shutil.copy(ROOT / name, folder)
    python = folder / ".venv" / "bin" / "python"
    python.write_text("#!/bin/sh\nprintf '<%s>\\n' \"$@\"\n")
    python.chmod(0o755)
    for name in (".ready", ".ready-for-browser"):
        (folder / ".venv" / name).write_text(f"{folder}\n")
    return folder


def make(folder: Path, *words: str, **environ: str) -> str:
    done = subprocess.run(
        [MAKE, "-s", *words],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"} | environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("value", AWKWARD)
def test_a_value_arrives_as_it_is(checkout, value):
    for name in ("profile", "arms", "seeds", "data", "where", "ranks"):
        assert f"<--{name}={value}>\n" in make(checkout, "bench", f"{name.upper()}={value}")
        assert f"<--{name}={value}>\n" in make(checkout, "bench", **{name.upper(): value})
    for name in ("name", "profile", "seeds", "where"):
        assert f"<--{name}={value}>\n" in make(checkout, "study", f"{name.upper()}={value}")
    assert not (checkout / "ran").exists()


@pytest.mark.parametrize("target", ["bench", "study"])
def test_nothing_is_said_of_the_text_where_nobody_named_one(checkout, target):
    assert "--data" not in make(checkout, target)
    assert "<--data=x>" in make(checkout, target, DATA="x") and "<--data=>" in make(checkout, target, "DATA=")


def test_flags_are_words_for_the_shell(checkout):
    assert "<--no-browser>\n<--port=1 2>" in make(checkout, "lab", "LAB_FLAGS=--no-browser '--port=1 2'")


def test_a_python_with_spaces_in_its_path_makes_the_environment(checkout):
    (checkout / ".venv" / ".ready").unlink()
    python = checkout / "my python's own"
    python.write_text('#!/bin/sh\necho "$@" >> made\n')
    python.chmod(0o755)
    shown = make(checkout, "map", f"PYTHON={python}")
    assert "<install>\n<-c>\n<constraints.txt>\n<-e>\n<.[lab,test]>\n" in shown
    assert (checkout / ".venv" / ".ready").read_text() == f"{checkout}\n"
    assert (
        "venv --clear" not in (checkout / "made").read_text()
    )  # its pip works, and nothing says it was moved
    assert "install" not in make(checkout, "map")


def test_an_environment_made_elsewhere_is_made_again(checkout):
    moved = checkout.with_name("moved")
    checkout.rename(moved)
    python = moved / "python"
    python.write_text('#!/bin/sh\necho "$@" >> made\n')
    python.chmod(0o755)
    assert "<install>" in make(moved, "map", f"PYTHON={python}")
    assert "-m venv --clear .venv" in (moved / "made").read_text()
    assert (moved / ".venv" / ".ready").read_text() == f"{moved}\n"
    assert "<install>" not in make(moved, "map")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def find_listeners(port: int) -> set[str]:
    """The addresses on which anybody listens at `port`, as Linux writes them."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if state == "0A" and address.endswith(f":{port:04X}"):
                found.add(address.partition(":")[0])
    return found


def test_make_lab_changes_no_rule_of_access(checkout):
    words = make(checkout, "lab").split("\n")
    assert words[:3] == ["<-m>", "<jupyterlab>", "<--ServerApp.ip=127.0.0.1>"]
    for rule in ("token", "password", "allow", "origin", "disable", "auth", "debug", "root"):
        assert rule not in make(checkout, "lab").lower()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the sockets from /proc")
def test_the_lab_answers_only_this_machine_and_only_with_its_token(checkout, tmp_path):
    port = free_port()
    words = [word[1:-1] for word in make(checkout, "lab").strip().split("\n")]
    own = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    environ = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")} | own
    flags = ["--no-browser", f"--port={port}", "--ServerApp.port_retries=0", "--allow-root"]
    (tmp_path / "work").mkdir()
    server = subprocess.Popen(
        [sys.executable, *words, *flags], cwd=tmp_path / "work", env=environ,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        ends = time.monotonic() + 180
        while not find_listeners(port):
            assert server.poll() is None and time.monotonic() < ends
            time.sleep(0.1)
        assert find_listeners(port) == {"0100007F"}  # 127.0.0.1, its bytes in the order of the processor
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents")
        with refused.value as answer:
            assert answer.code == 403
    finally:
        server.kill()
        server.wait()
