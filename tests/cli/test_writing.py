"""Several texts, texts as JSON, and a conversation."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import time

import pytest

from nanokimi import load_pretrained
from nanokimi.cli import writing
from nanokimi.cli.chat import join
from nanokimi.generate import generate
from nanokimi.text.tokenizer import END_OF_TEXT
from tests.cli.conftest import COMMAND

GREEDY = ("--checkpoint=kimi-storyworld", "--temperature=0")


def continue_by_hand(text: str, n: int) -> str:
    """An oracle: what the public functions of the package write, greedily."""
    found = load_pretrained("kimi-storyworld")
    stop = found.tokenizer.encode_single_token(END_OF_TEXT)
    ids = [stop, *found.tokenizer.encode_ordinary(text)]
    return found.tokenizer.decode(list(generate(found.model, ids, n, temperature=0.0, stop_id=stop)))


def test_each_text_has_the_next_seed_and_json_has_the_same_words(run) -> None:
    words = ("generate", "--checkpoint=kimi-storyworld", "--prompt=Once", "--max-new-tokens=12")
    three = run(*words, "--seed=5", "--num-samples=3")
    alone = [run(*words, f"--seed={seed}")[1] for seed in (5, 6, 7)]
    assert three[0] == 0 and three[1] == "\n".join(alone) and len(set(alone)) == 3
    code, out, err = run(*words, "--seed=5", "--num-samples=3", "--json", "--device=auto")
    lines = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "") and [each["seed"] for each in lines] == [5, 6, 7]
    assert [each["prompt"] + each["text"] + "\n" for each in lines] == alone
    assert {(each["checkpoint"], each["tokens"], each["ended"]) for each in lines} == {
        ("kimi-storyworld", 12, False)
    }


def test_json_holds_any_prompt_and_says_when_a_text_has_ended(run) -> None:
    odd = "a <b>\x1b[2J\n\u202e雨"
    code, out, _ = run("generate", *GREEDY, f"--prompt={odd}", "--json", "--max-new-tokens=600")
    assert code == 0 and out.isascii() and out.count("\n") == 1
    found = json.loads(out)
    assert found["prompt"] == odd and found["ended"] and found["tokens"] < 600


BAD = {
    "no samples": (["--num-samples=0"], "--num-samples=0 must lie in 1..10,000"),
    "a seed too many": ([f"--seed={2**64 - 1}", "--num-samples=2"], "--seed=18446744073709551616 must be"),
    "no device": (["--device=tpu\x1b"], "--device='tpu\\x1b' must be auto, cpu, cuda or mps"),
    "no such model": (["--checkpoint=<b>\x1b[1m"], "no checkpoint in '<b>\\x1b[1m'"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line(case: str, run) -> None:
    words, says = BAD[case]
    for command in ("generate", "chat") if "samples" not in "".join(words) else ("generate",):
        code, out, err = run(command, *GREEDY, *words)
        assert (code, out, err.count("\n")) == (2, "", 1) and says in err, err


def chat(run, monkeypatch, typed: str, *words: str) -> tuple[int, list[str], str]:
    """What is said to what is typed into a pipe: exit code, the lines after the first, and notes."""
    read, write = os.pipe()
    os.write(write, typed.encode("utf-8", "surrogateescape"))
    os.close(write)
    with open(read, encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        code, out, err = run("chat", *GREEDY, *words)
    first, *lines = out.splitlines()
    assert first.startswith("kimi-storyworld: type how a story begins")
    return code, lines, err


def test_what_is_typed_joins_the_story_and_reset_forgets_it(run, monkeypatch) -> None:
    one = continue_by_hand("Once upon a time", 6)
    story = join("Once upon a time" + one, "Then it rained.")
    two = continue_by_hand(story, 6)
    assert story == f"Once upon a time{one} Then it rained."
    typed = "Once upon a time\nThen it rained.\n/reset\nOnce upon a time\n/quit\nnever read\n"
    code, lines, err = chat(run, monkeypatch, typed, "--max-new-tokens=6")
    assert (code, err) == (0, "") and lines == [one, two, one]


def test_odd_lines_are_told_and_left_out(run, monkeypatch) -> None:
    typed = "/help\x1b[2J\n\udcff\nOnce upon a time\n"
    code, lines, err = chat(run, monkeypatch, typed, "--max-new-tokens=4")
    assert code == 0 and lines == [continue_by_hand("Once upon a time", 4)]
    assert err.splitlines() == [
        "note: '/help\\x1b[2J' is no command: /reset begins a new story, /quit ends",
        "note: the line '\\udcff' is not UTF-8; it is left out",
    ]


def test_a_story_that_ends_makes_room_for_a_new_one_and_a_long_one_is_read_from_its_newer_half(
    run, monkeypatch
) -> None:
    long = "and then " * 2000
    code, lines, err = chat(run, monkeypatch, f"{long}\n/reset\n\nOnce upon a time\n", "--max-new-tokens=300")
    assert code == 0 and "the story has ended; what comes next begins a new one" in err
    assert "\n".join(lines).endswith(continue_by_hand("Once upon a time", 300))


@pytest.mark.slow
def test_in_a_terminal_ctrl_c_stops_the_text_and_then_the_program_and_ctrl_d_ends() -> None:
    for ends, code in ((b"\x03", 130), (b"\x04", 0)):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, "chat", "--checkpoint=kimi-storyworld", "--max-new-tokens=100000"],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)
        said = _read_until(ours, b"> ")
        os.write(ours, b"Once upon a time\n")
        said += _read_until(ours, b", ")  # it writes
        os.write(ours, b"\x03")
        said += _read_until(ours, b"\n> ")
        assert _press_until_it_ends(process, ours, ends) == code, said
        assert b"Traceback" not in said
        os.close(ours)


def _read_until(handle: int, end: bytes, seconds: float = 300) -> bytes:
    found, deadline = b"", time.monotonic() + seconds
    while end not in found:
        assert time.monotonic() < deadline, found
        found += os.read(handle, 1000).replace(b"\r\n", b"\n")
    return found


def _press_until_it_ends(process: subprocess.Popen, terminal: int, key: bytes) -> int:
    """As a person does: between the prompt and the wait for a key, readline lets a signal wait for the next key."""
    for _ in range(60):
        os.write(terminal, key)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(2)
    process.kill()
    process.wait()
    raise AssertionError("it does not end")


def test_the_first_signal_in_a_text_is_not_the_last(ctrl_c, run, monkeypatch) -> None:
    """After a text was stopped, another one can be stopped too."""

    def write_some(*_, **__):
        yield from b"The "
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
        raise AssertionError("nothing stopped the text")

    monkeypatch.setattr(writing, "generate_tokens", write_some)
    code, lines, err = chat(run, monkeypatch, "a\nb\n")
    assert (code, err) == (0, "") and len(lines) == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
