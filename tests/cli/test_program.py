"""A program's exit code and its one line, whatever ends it."""

import os
import subprocess
import sys

import pytest

from nanokimi.cli.program import call
from nanokimi.system.signals import Stopped

CASES = {
    "fine": (lambda _: 0, 0, ""),
    "bad input": ("ValueError('no\\nkimi\\x1b[2J')", 2, "kimi: no kimi\\x1b[2J\n"),
    "no such file": (
        "FileNotFoundError(2, 'No such file', 'x')",
        2,
        "kimi: 'x' cannot be read or written: No such file\n",
    ),
    "stopped": ("Stopped(15)", 143, "kimi: stopped\n"),
    "a pipe that nobody reads": ("BrokenPipeError(32, 'Broken pipe')", 141, ""),
}


@pytest.mark.parametrize("case", CASES)
def test_what_ends_a_command_is_a_code_and_one_line(case, capfd):
    command, code, line = CASES[case]
    if isinstance(command, str):
        error = eval(command, {"Stopped": Stopped})

        def command(_: list[str]) -> int:
            raise error

    assert call("kimi", command, []) == code
    assert capfd.readouterr().err == line


PRINTS = """
import sys
from nanokimi.cli.program import run_program
def command(words):
    print("caf\\u00e9 " + "\\u96e8" * 100000)
    return 0
run_program("kimi", lambda: command)
"""


def test_a_reader_that_leaves_ends_it_quietly():
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "$0" | head -c 5', PRINTS], capture_output=True
    )
    assert (done.stdout, done.stderr) == (b"caf\xc3\xa9", b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device that is always full")
def test_a_full_disk_behind_stdout_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", PRINTS], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "kimi: what is printed cannot be written: No space left on device\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_letters_that_a_terminal_lacks_are_escaped(encoding):
    done = subprocess.run(
        [sys.executable, "-c", PRINTS], capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding}
    )
    assert done.returncode == 0 and done.stderr == b""
    assert done.stdout.startswith(b"caf\\xe9 \\u96e8" if encoding == "ascii" else "café ".encode(encoding))


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_program_without_streams_ends_as_with_them(closed, tmp_path):
    """As cron starts it. What is meant for the terminal must not land in the next file that is opened."""
    code = (
        "from nanokimi.cli.program import run_program\n"
        "def command(words):\n"
        "    import sys\n"
        "    with open(words[0], 'w') as file:\n"
        "        print('shown'); print('told', file=sys.stderr, flush=True); file.write('kept')\n"
        "    return 3\n"
        "run_program('kimi', lambda: command)\n"
    )
    (tmp_path / "it.py").write_text(code)
    shell = f'"{sys.executable}" -P it.py kept.txt {closed}'
    assert subprocess.run(["sh", "-c", shell], cwd=tmp_path, capture_output=True).returncode == 3
    assert (tmp_path / "kept.txt").read_text() == "kept"
