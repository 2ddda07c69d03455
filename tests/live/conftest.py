"""What the panel displays, without and with a front end."""

import pytest

from lab_utils.live import panel as live


@pytest.fixture
def shown(monkeypatch) -> list:
    """What the panel displays."""
    found = []
    monkeypatch.setattr(live, "display", lambda data, **_: found.append(data))
    return found


@pytest.fixture
def live_shown(monkeypatch):
    """A live panel whose output is caught: what was displayed, and what took its place."""

    class Handle:
        def __init__(self, data):
            self.data = [data]

        def update(self, data, **_):
            self.data.append(data)

    handles = []
    monkeypatch.setenv("NANOKIMI_LIVE", "1")
    monkeypatch.setattr(live, "display", lambda data, **_: handles.append(Handle(data)) or handles[-1])
    return handles
