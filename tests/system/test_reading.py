"""Small files from outside: what is no small text is refused in one line, and at once."""

import os
import sys

import pytest

from nanokimi.system.deadline import call_within
from nanokimi.system.reading import UnreadableFile, read_small_json, read_small_text


def refusal(read, path, most=1000) -> str:
    """Why the file is refused, within a second."""
    with pytest.raises(UnreadableFile) as refused:
        call_within(1.0, lambda: read(path, most))
    assert "\n" not in str(refused.value) and len(str(refused.value)) <= 600
    return str(refused.value)


@pytest.mark.parametrize("content", [b"a: \xc3\xa9\n", b"\xef\xbb\xbfa: \xc3\xa9\n"])
def test_text_comes_back_without_a_mark(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert read_small_text(tmp_path / "x", 100) == "a: é\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"x" * 1001, "has more than 1,000 bytes, so it is not what it should be"),
        ("a: 1".encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        (b"\xfe\xff\x00a", "is UTF-16 text: save it as UTF-8"),
        ("a: 1".encode("utf-16-le"), "has a zero byte at position 1: it is no text"),
        (b"a: \xff", "is not UTF-8 at byte 3: save it as UTF-8"),
    ],
)
def test_other_bytes_are_refused(tmp_path, content, reason):
    (tmp_path / "x").write_bytes(content)
    assert refusal(read_small_text, tmp_path / "x") == f"file {tmp_path / 'x'} {reason}"


def test_what_is_no_file_is_refused(tmp_path):
    assert refusal(read_small_text, tmp_path / "none") == f"file {tmp_path / 'none'} does not exist"
    assert refusal(read_small_text, tmp_path) == f"file {tmp_path} is a folder"
    assert refusal(read_small_text, "a\0b") == "file 'a\\x00b' cannot exist: its name has a zero byte"
    assert "cannot be read: File name too long" in refusal(read_small_text, "x" * 5000)


@pytest.mark.skipif(sys.platform != "linux", reason="pipes and devices as Linux has them")
def test_what_never_ends_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.symlink(tmp_path / "link", tmp_path / "link")
    assert refusal(read_small_text, tmp_path / "pipe").endswith("is no file but a device or a pipe")
    assert refusal(read_small_text, "/dev/zero").endswith("is no file but a device or a pipe")
    assert "cannot be read: Too many levels of symbolic links" in refusal(read_small_text, tmp_path / "link")


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_refused(tmp_path):
    (tmp_path / "x").write_text("a: 1")
    (tmp_path / "x").chmod(0)
    assert refusal(read_small_text, tmp_path / "x").endswith("cannot be read: Permission denied")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1 is no JSON"),
        ('{"a":\n 1,}', "line 2 is no JSON"),
        ("[" * 100_000, "it is nested too deeply"),
        ("7" * 5000, "it has a number of thousands of digits"),
    ],
)
def test_damaged_json_is_refused(tmp_path, text, reason):
    (tmp_path / "x").write_text(text)
    assert refusal(read_small_json, tmp_path / "x", 200_000) == f"file {tmp_path / 'x'} is damaged: {reason}"


def test_json_comes_back(tmp_path):
    (tmp_path / "x").write_text('{"a": [1, 2.5, null]}')
    assert read_small_json(tmp_path / "x", 100) == {"a": [1, 2.5, None]}
