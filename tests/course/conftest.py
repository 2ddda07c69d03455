"""Every test of the course has a logbook of its own."""

import pytest


@pytest.fixture(autouse=True)
def own_logbook(tmp_path, monkeypatch):
    monkeypatch.setenv("NANOKIMI_PROGRESS", str(tmp_path / "deep" / "progress.json"))
