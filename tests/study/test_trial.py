"""What is chosen among outcomes."""

from lab_utils.study.trial import best_of_rates, by_place
from tests.study.outcomes import made_up


def test_the_best_rate_of_each_arm_on_each_text_has_the_lowest_loss():
    gone = made_up("dense", 0.04, 0.5, seen=None, held_out=None)
    outcomes = [
        made_up("dense", 0.01, 2.0, known=0.9),
        made_up("dense", 0.02, 1.0),
        gone,
        made_up("experts", 0.01, 3.0),
    ]
    other = made_up("dense", 0.01, 9.0, n_characters=400)
    assert best_of_rates([*outcomes, other]) == [outcomes[1], outcomes[3], other]


def test_seeds_stand_together():
    outcomes = [
        made_up("dense", 0.02, 1.0),
        made_up("experts", 0.02, 1.0),
        made_up("dense", 0.02, 3.0, seed=1),
    ]
    assert by_place(outcomes) == {
        (800, 30, "dense"): [outcomes[0], outcomes[2]],
        (800, 30, "experts"): [outcomes[1]],
    }
