"""Commands that are started in a stranger's folder run nothing that lies there; `make faults` tries all of them."""

import sys
from pathlib import Path

import pytest

from benchmarks.faults.traps import Command, make_commands, set_traps, spring

WORDS = ("bench --profile none", "nanokimi.cli presets", "lab_utils.course.grade", "lab_utils.site.render")


@pytest.mark.parametrize("words", WORDS)
def test_no_trap_is_sprung(tmp_path, words):
    (tmp_path / "work").mkdir()
    commands = make_commands(tmp_path / "work")
    command = next(each for each in commands if words in " ".join(each.words))
    assert spring(command, tmp_path / "stranger") == ""


def test_the_traps_would_be_seen(tmp_path):
    """Python itself runs them, where nobody tells it not to."""
    hit = spring(Command((sys.executable, "-c", "import random")), tmp_path / "one")
    assert hit == "python -c import random: ran random.py"
    hit = spring(Command((sys.executable, "-m", "lab_utils.bench")), tmp_path / "two")
    assert "ran lab_utils/__init__.py" in hit
    assert spring(Command((sys.executable, "-P", "-c", "import random")), tmp_path / "three") == ""
    assert "ended with 3 instead of 0" in spring(
        Command((sys.executable, "-P", "-c", "raise SystemExit(3)")), tmp_path / "four"
    )
    set_traps(Path(tmp_path / "five"), tmp_path / "ran", passes_ours=False)
    assert not (tmp_path / "five" / "lab_utils").exists()
