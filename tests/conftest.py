"""What holds for every test: shapes are checked, sizes are small, nothing reaches the network or a user's cache."""

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch

import nanokimi.text.storyworld  # noqa: F401  before the hook: no shapes in it, and a story makes hundreds of small calls
from tests.quick import function_of, not_quick

# Before anything else of nanokimi is imported: every jaxtyping annotation in it becomes a run-time check.
jaxtyping.install_import_hook("nanokimi", "beartype.beartype")

# ... in the tests of nanokimi itself. Those of the lab run it as readers do, without checks: there models are trained
# and thousands of answers judged, which would take twice as long.
_OF_THE_LAB = {"bench", "benchmarks", "course", "inspector", "live", "machine", "observatory", "show", "site"}

_LOOPBACK = {"localhost", "127.0.0.1", "::1", "0.0.0.0", None}


def pytest_configure(config: pytest.Config) -> None:
    """Set what the notebooks' kernels and the commands that tests start inherit."""
    cache = tempfile.mkdtemp(prefix="nanokimi-tests-")
    config.add_cleanup(lambda: shutil.rmtree(cache, ignore_errors=True))
    os.environ |= {
        "NANOKIMI_PROFILE": "smoke",
        "NANOKIMI_LIVE": "0",
        "HF_HUB_OFFLINE": "1",
        "XDG_CACHE_HOME": cache,
        "NANOKIMI_PROGRESS": os.path.join(cache, "progress.json"),
    }
    # The models of the tests are too small for more threads to pay.
    os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what a full run has found to be slow."""
    slow = not_quick()
    for item in items:
        if function_of(item.nodeid) in slow:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _shapes_are_checked(request: pytest.FixtureRequest) -> Iterator[None]:
    room = request.path.relative_to(Path(__file__).parent).parts[0] if request.path.suffix == ".py" else ""
    jaxtyping.config.update("jaxtyping_disable", room in _OF_THE_LAB)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def _state_of_torch() -> tuple[object, ...]:
    """What decides the last digit of a result: threads (of MKL too), number format, precision, kernels."""
    return (
        torch.__config__.parallel_info(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_grad_enabled(),
        torch.backends.mkldnn.enabled,
        (torch.tensor(1e-39) * 1.0).item() > 0,
    )


@pytest.fixture(autouse=True)
def _torch_stays_as_it_was() -> Iterator[None]:
    """A test that leaves torch with other threads spoils the comparison "bit for bit" of another one, hours later."""
    before = _state_of_torch()
    yield
    assert _state_of_torch() == before


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking up any host but this machine fails at once, as it does without a network."""
    lookup = socket.getaddrinfo

    def refuse(host, *args, **kwargs):
        if host not in _LOOPBACK:
            raise socket.gaierror(socket.EAI_NONAME, f"the tests have no network (asked for {host})")
        return lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session")
def real_text() -> Path:
    """The folder with tinystories/, tinyshakespeare/ and gpt2/ that NANOKIMI_TEXT names."""
    folder = os.environ.get("NANOKIMI_TEXT")
    if not folder:
        pytest.skip("NANOKIMI_TEXT is not set: it names a folder with tinystories/ and tinyshakespeare/")
    return Path(folder)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises `KeyboardInterrupt`, also where the tests were started by a shell in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before or signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _signals_stay_as_they_were() -> Iterator[None]:
    """Where a test leaves Ctrl-C to the system, the first test that presses it ends the process of all tests."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    yield
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before
