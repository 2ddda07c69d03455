"""What a terminal shows while something runs, and what a log gets instead."""

import fcntl
import io
import os
import pty
import select
import struct
import termios
from dataclasses import replace

import pytest

from nanokimi import checkpoint
from nanokimi.cli import terminal, writing
from nanokimi.evaluate import Evaluation
from nanokimi.system.signals import Stopped
from tests import tiny
from tests.cli.conftest import SMALL
from tests.training import make_model
from tests.training import run as take_steps


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stderr", "shows"), [(Terminal(), True), (io.StringIO(), False)])
def test_a_bar_is_drawn_for_a_terminal_only(stderr, shows, monkeypatch, capsys) -> None:
    cfg = tiny.train_config()
    records = take_steps(make_model("gpt"), cfg)
    monkeypatch.setattr("sys.stderr", stderr)
    assert list(terminal.draw_bar(iter(records), cfg)) == records
    assert ("tokens/s" in stderr.getvalue()) == shows and (stderr.getvalue() == "") != shows
    assert f"step {cfg.steps}: validation loss" in capsys.readouterr().out


def test_what_a_training_shows_fits_60_columns(monkeypatch, capsys) -> None:
    """At a million steps, with losses and a floor as they are at the beginning."""
    cfg = tiny.train_config(steps=1_000_000)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    found = Evaluation(
        loss=10.12345,
        perplexity=2e4,
        bits_per_byte=11.54321,
        floor_bits_per_byte=0.25,
        n_tokens=9,
        by_role=None,
    )
    (record,) = take_steps(make_model("gpt"), tiny.train_config(steps=1, warmup_steps=0))
    again = [replace(record, step=n, evaluation=found, compile_seconds=123.4) for n in (999_999, 1_000_000)]
    with open(theirs, "w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        list(terminal.draw_bar(iter(again), cfg, 999_998))
        drawn = b""
        while select.select([ours], [], [], 0)[0]:
            drawn += os.read(ours, 10_000)
    bars = drawn.decode().replace("\r", "\n").splitlines()
    os.close(ours)
    assert any("1000000/1000000" in bar and "left, loss" in bar for bar in bars)
    lines = [*capsys.readouterr().out.splitlines(), *bars]
    assert max(map(len, lines)) <= 60
    assert "step 999999: validation loss 10.1235, 11.5432 bits per byte" in lines
    assert sum("on this text no model goes below 0.250" in line for line in lines) == 1


def test_the_seconds_of_compiling_are_a_line_of_their_own(capsys) -> None:
    cfg = tiny.train_config()
    first, *others = take_steps(make_model("gpt"), cfg)
    list(terminal.draw_bar(iter([replace(first, compile_seconds=12.34), *others]), cfg))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "step 1: compiled in 12.3 s, in no other time"
    assert "compiled" not in "".join(lines[1:])


def test_no_bar_stays_of_a_training_without_a_step(monkeypatch) -> None:
    stderr = Terminal()
    monkeypatch.setattr("sys.stderr", stderr)
    assert list(terminal.draw_bar(iter(()), tiny.train_config())) == []
    assert stderr.getvalue().endswith("\r") and "\n" not in stderr.getvalue()


def test_the_bar_of_a_resumed_run_begins_where_the_run_does(monkeypatch) -> None:
    """From 0 it would promise an end within seconds."""
    stderr, cfg = Terminal(), tiny.train_config()
    monkeypatch.setattr("sys.stderr", stderr)
    assert list(terminal.draw_bar(iter(()), cfg, 2)) == []
    assert f" 2/{cfg.steps} " in stderr.getvalue()


def test_a_line_that_cannot_be_printed_names_the_step_that_is_saved(run, text, monkeypatch) -> None:
    def fail(line: str) -> None:
        if line.startswith("step 3"):
            raise terminal.CannotPrint("what is printed cannot be written: No space left on device")

    monkeypatch.setattr(terminal, "say_above_bar", fail)
    code, _, err = run("train", *SMALL, f"--data={text}", "--out=out/a")
    assert code == 2 and "No space left on device; stopped after step 3 and saved; to continue: " in err
    assert checkpoint.load_checkpoint("out/a").state.step == 3


def test_a_log_holds_lines_and_no_bars(run, text) -> None:
    code, out, err = run("train", *SMALL, f"--data={text}", "--out=out/a")
    assert code == 0 and "\r" not in out + err
    assert [line.split(":")[0] for line in out.splitlines()] == ["kimi", "step 3", "step 6"]
    assert all(line.startswith("note: ") for line in err.splitlines())


def test_an_interruption_ends_the_line_of_a_text(run, text, monkeypatch) -> None:
    assert run("train", *SMALL, f"--data={text}", "--out=out/a")[0] == 0

    def write_some(*_, **__):
        yield from b"The "
        raise Stopped(2)

    monkeypatch.setattr(writing, "generate_tokens", write_some)
    code, out, err = run("generate", "--checkpoint=out/a", "--prompt=Once. ")
    assert (code, err) == (130, "nanokimi: stopped\n")
    assert out.startswith("Once. ") and out.endswith("\n") and out.count("\n") == 1
