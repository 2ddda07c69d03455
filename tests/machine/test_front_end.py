"""Whether a person sits in front of the notebook."""

import sys

import pytest

from lab_utils.machine.front_end import is_live


@pytest.mark.parametrize(
    ("environ", "live_there"),
    [
        ({}, False),
        ({"JPY_SESSION_NAME": "a.ipynb"}, True),
        ({"VSCODE_PID": "7"}, True),
        ({"JPY_SESSION_NAME": "a.ipynb", "NANOKIMI_LIVE": "0"}, False),
        ({"NANOKIMI_LIVE": "1"}, True),
        ({"NANOKIMI_LIVE": ""}, False),
    ],
)
def test_is_live(environ, live_there, monkeypatch):
    for name in ("JPY_SESSION_NAME", "VSCODE_PID", "NANOKIMI_LIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert is_live() is live_there


def test_colab_is_live_and_nonsense_is_refused(monkeypatch):
    monkeypatch.delenv("NANOKIMI_LIVE")
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    assert is_live()
    monkeypatch.setenv("NANOKIMI_LIVE", "yes")
    with pytest.raises(ValueError, match="NANOKIMI_LIVE='yes' must be 0"):
        is_live()
