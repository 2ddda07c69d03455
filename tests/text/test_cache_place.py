"""Where the tokens of a text are kept."""

from pathlib import Path

import pytest

from nanokimi.config import DataConfig
from nanokimi.text import corpus


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("/elsewhere/cache", "/elsewhere/cache/nanokimi"),
        # "All paths must be absolute": a relative one is ignored (XDG Base Directory Specification, 0.8).
        ("cache", ".cache/nanokimi"),
        ("./cache", ".cache/nanokimi"),
        ("", ".cache/nanokimi"),
        (None, ".cache/nanokimi"),
    ],
)
def test_the_cache_is_the_users(
    given: str | None, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if given is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert corpus._find_cache(DataConfig()) == tmp_path / place
    assert corpus._find_cache(DataConfig(cache_dir="here")) == Path("here")
