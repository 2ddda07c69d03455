"""What the tests of presets and overrides share."""

import pytest

from nanokimi.config import ConfigError


def one_line(call, *args) -> str:
    """The one line with which `call(*args)` refuses."""
    with pytest.raises(ConfigError) as refused:
        call(*args)
    assert "\n" not in str(refused.value)
    return str(refused.value)
