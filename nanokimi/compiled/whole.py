"""What every compiled step needs: constants that it holds, a compiler that stays quiet, and one line where it fails."""

import contextlib
import warnings
from collections.abc import Iterator

import torch

from nanokimi.config import ConfigError
from nanokimi.rope import frequencies_on
from nanokimi.router import scaling_factor
from nanokimi.system.by_run import capability
from nanokimi.system.printable import one_line


def hold_constants() -> None:
    """A compiled step holds what these functions give, and does not ask for it again."""
    for function in (scaling_factor, capability, frequencies_on):
        torch.compiler.assume_constant_result(function)  # it marks the function itself


def refuse(error: Exception, what: str, setting: str) -> None:
    """Say that `what` cannot be compiled: by `ConfigError` for the setting `compile=on`, by a warning for `auto`."""
    reason = one_line(str(error).strip().partition("\n")[0], 200)
    says = f"{what} cannot be compiled ({reason})"
    if setting == "on":
        raise ConfigError(f"{says}: use compile=off") from None
    warnings.warn(f"{says}, and runs as it is", RuntimeWarning, stacklevel=3)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A block without the warning that complex numbers are left to torch itself: RoPE is a small part of a step."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Torchinductor does not support code generation for complex operators"
        )
        yield
