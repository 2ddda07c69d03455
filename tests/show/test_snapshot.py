"""The picture that stays in a notebook, as a terminal shows it."""

from lab_utils.show.snapshot import Snapshot
from lab_utils.show.style import new_figure


def test_a_terminal_shows_the_words_alone():
    assert repr(Snapshot(new_figure(), "Two lines fall.", plotly={"data": [0] * 10_000})) == "Two lines fall."
