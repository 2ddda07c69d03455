"""YAML as people expect it: what is read as which value, what is refused, and that what is written is read again."""

import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nanokimi.config import ConfigError
from nanokimi.presets.plain_yaml import MOST_BYTES, dump, parse
from nanokimi.system.deadline import call_within
from tests.presets.refusals import one_line

# From the tables of YAML 1.2.2, section 10.3.2, and what people write.
VALUES = {
    "010": 10,
    "-7": -7,
    "+7": 7,
    "0o17": 15,
    "0x1F": 31,
    "1e-3": 0.001,
    "1E3": 1000.0,
    "1.": 1.0,
    ".5": 0.5,
    "-.inf": -math.inf,
    ".INF": math.inf,
    "~": None,
    "": None,
    "null": None,
    "true": True,
    "FALSE": False,
    "1:30": "1:30",
    "yes": "yes",
    "No": "No",
    "on": "on",
    "off": "off",
    "0b11": "0b11",
    "1_000": "1_000",
    "2024-01-01": "2024-01-01",
    "0o8": "0o8",
    "1..2": "1..2",
    ".": ".",
    "<<": "<<",
    "=": "=",
    "'010'": "010",
    "[1, a]": [1, "a"],
    "{a: {b: 1e2}}": {"a": {"b": 100.0}},
    "&name 3": 3,
}

REFUSED = {
    "a: 1\na: 2": "line 2: 'a' stands here twice: keep one of the two",
    "{a: {b: 1, b: 1}}": "line 1: 'b' stands here twice: keep one of the two",
    "a: &x [1]\nb: *x": "line 2: *x repeats another value: write it out",
    "a: &x [*x]": "line 1: *x repeats another value: write it out",
    "!!python/name:os {}": "line 1: the tag 'tag:yaml.org,2002:python/name:os' is not allowed: leave it out",
    "!!binary aGk=": "line 1: the tag 'tag:yaml.org,2002:binary' is not allowed: leave it out",
    "a: !mine 3": "line 1: the tag '!mine' is not allowed: leave it out",
    "a:\n\tb: 1": "line 2: a tab: indent with spaces",
    "a: \x00": "line 1: '\\x00' is not allowed in it",
    "a: 1\nb: \x1b[2J": "line 2: '\\x1b' is not allowed in it",
    "a: 1\n---\nb: 2": "line 2: this does not belong to the settings: leave it out",
    "{a: 1} b": "line 1: this does not belong to the settings: leave it out",
    "7" * 5000: "line 1: a number of 5,000 digits is not allowed",
    "[" * 25 + "]" * 25: "line 1: sections lie more than 20 deep in each other",
    "{1: 2}": "line 1: 1 is not a setting: names are words",
    "a: b: c": "line 1: a colon too many, or a line that is indented too far",
    "a: 1\n\n  b: 2": "line 3: a colon too many, or a line that is indented too far",
    "a: 1\nb\n": "line 3: a name without a colon",
    "a:\n  b: 1\n c: 2": "line 3: a line that is no `name: value`, or is indented unlike those above it",
    "a: 1\n- b": "line 2: a line that is no `name: value`, or is indented unlike those above it",
    "a: [1, 2\nb: 3\n": "line 1: a [ without its ]",
    "b: 3\na: {b: 1": "line 2: a { without its }",
    'a: "x\ny: 2\n': "line 1: a quotation mark without its second",
    "a: @x": "line 1: '@' cannot begin a value: put the value in quotation marks",
    "a: [1,,2]": "line 1: a value is missing before ','",
    "a: &": "line 1: * and & need a name, and settings need neither",
}

# What took seconds, gigabytes or the whole stack of Python.
BOMBS = {
    "aliases": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "merged": "a: &a {x: 1}\n" + "".join(f"b{i}: {{<<: *a}}\n" for i in range(3000)),
    "open lists": "[" * MOST_BYTES,
    "open names": "{" * MOST_BYTES,
    "indented lists": "- " * (MOST_BYTES // 2),
    "questions": "? " * (MOST_BYTES // 2),
    "colons": ": " * (MOST_BYTES // 2),
    "a long name": "&" + "a" * (MOST_BYTES - 3) + " x",
    "digits": "1" * MOST_BYTES,
    "digits and a dot": "1" * (MOST_BYTES - 2) + ".x",
    "commas": "[" + "," * (MOST_BYTES - 2) + "]",
    "names": "".join(f"a{i}: 1\n" for i in range(6000)),
    "too long": "x" * (MOST_BYTES + 1),
}


@pytest.mark.parametrize("text", VALUES)
def test_a_text_stands_for_the_value_that_people_expect(text):
    found = parse(text, "here")
    assert (found, type(found)) == (VALUES[text], type(VALUES[text]))


def test_what_is_no_number_is_read_as_such():
    assert math.isnan(parse(".nan", "here"))


@pytest.mark.parametrize("text", REFUSED)
def test_what_settings_do_not_need_is_refused(text):
    assert one_line(parse, text, "here", True) == f"here cannot be read as YAML: {REFUSED[text]}"
    without = REFUSED[text].partition(": ")[2]
    assert one_line(parse, text, "here") == f"here cannot be read as YAML: {without}"


@pytest.mark.parametrize("name", BOMBS)
def test_no_text_takes_long(name):
    def read():
        try:
            return str(parse(BOMBS[name], "here"))[:100]
        except ConfigError as error:
            return str(error)

    assert "\n" not in call_within(60.0, read)  # one that is a bomb takes longer than anybody waits


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text()
        | st.sampled_from([*VALUES]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    )
)
def test_what_is_written_is_read_as_it_was(data):
    assert parse(dump(data), "here") == data


@pytest.mark.parametrize(
    "mark", ["\x85", "\u2028", "\u2029", "\ufeff", "\x7f", "\x00", "\n", "\r", "\t", " "], ids=ascii
)
def test_marks_that_end_a_line_or_are_not_seen_are_read_as_they_were(mark):
    for text in (mark, f"{mark}a", f"a{mark}", f"a{mark}b", mark * 2, f"\n{mark}", f"?{mark}"):
        for data in ({text: 1}, {"a": text}, [text]):
            assert parse(dump(data), "here") == data


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(alphabet="ab:-?[]{},#&*!|>'\"%@ \n\t01.~<=", max_size=40))
def test_any_text_is_a_value_or_refused_in_one_line(text):
    try:
        parse(text, "here")
    except ConfigError as refused:
        assert str(refused).startswith("here ") and "\n" not in str(refused)


@pytest.mark.parametrize(
    "text", ["1", "-12", "0x1f", "1.5e-3", "word", "'quoted'", "[a, b]", "{a: b}", "true", "null"]
)
def test_ordinary_values_are_those_of_pyyaml(text):
    """An oracle: for such texts YAML 1.1 and 1.2 agree."""
    expected = yaml.safe_load(text)
    assert parse(text, "here") == (0.0015 if text == "1.5e-3" else expected)
