"""Signals: the first asks, the second ends; what was set before comes back."""

import signal
import subprocess
import sys

import pytest

from nanokimi.system import signals

LOOP = """
import sys, time
from nanokimi.system import signals
def act(number):
    print("asked", number, flush=True)
with signals.on_stop(act):
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_the_first_signal_acts_and_the_second_ends_the_program(number):
    with subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == f"asked {int(number)}\n"
        process.send_signal(number)
        assert process.wait(timeout=10) == -number


def test_a_block_without_a_signal_leaves_everything_as_it_was():
    before = [signal.getsignal(number) for number in signals.SIGNALS]
    with signals.on_stop(signals.raise_stopped), signals.Wish() as wish:
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before
    assert wish.number is None


@pytest.fixture
def _restored():
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_restored")
def test_a_wish_interrupts_nothing():
    with signals.Wish() as wish:
        signal.raise_signal(signal.SIGTERM)
        done = True
    assert done and wish.number == signal.SIGTERM


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_stopped_has_the_exit_code_of_its_signal(number, code):
    number = getattr(signal, number)
    with pytest.raises(signals.Stopped) as stopped, signals.on_stop(signals.raise_stopped):
        signal.raise_signal(number)
    assert stopped.value.exit_code == code


@pytest.mark.usefixtures("_restored")
def test_nohup_stays_in_force():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with signals.Wish() as wish:
        signal.raise_signal(signal.SIGHUP)
    assert wish.number is None
