"""What the decisions add up to: against values worked out by hand, and against loops that count one by one."""

import math
from collections import Counter

import numpy as np
import pytest

from lab_utils.observatory.counts import (
    Lift,
    compare_routing,
    count_pairs,
    count_paths,
    find_busiest_paths,
    measure_lift,
    measure_pair_lift,
)
from lab_utils.observatory.look import look
from tests.observatory.made_up_routing import TOKENS, kimi, layer, routing


def test_lift_by_hand():
    """Six choices: expert 0 has 4, class a has 4; by chance 0 and a meet 4·4/6 times, and they meet 3 times."""
    found = measure_lift(layer([[0], [0], [0], [1], [0], [1]], 2), np.array([0, 0, 0, 0, 1, 1]), ("a", "b"))
    assert found.counts.tolist() == [[3, 1], [1, 1]]
    assert found.expected == pytest.approx(np.array([[8 / 3, 4 / 3], [4 / 3, 2 / 3]]))
    assert found.lift == pytest.approx(np.array([[9 / 8, 3 / 4], [3 / 4, 3 / 2]]))


def test_lift_against_a_loop_and_probabilities():
    draw = np.random.default_rng(0)
    experts = np.array([draw.choice(5, 2, replace=False) for _ in range(300)])
    classes = draw.integers(-1, 3, 300)
    found = measure_lift(layer(experts.tolist(), 5), classes, ("a", "b", "c"))
    pairs = [(e, c) for row, c in zip(experts.tolist(), classes.tolist()) if c >= 0 for e in row]
    for e in range(5):
        for c in range(3):
            given = [x for x, y in pairs if y == c]
            lift = given.count(e) / len(given) / ([x for x, _ in pairs].count(e) / len(pairs))
            assert found.counts[e, c] == pairs.count((e, c))
            assert found.lift[e, c] == pytest.approx(lift, rel=1e-12)


def test_classes_without_tokens_and_dead_experts():
    found = measure_lift(layer([[0], [0], [2]], 3), np.array([0, 2, 2]), ("a", "b", "c"))
    assert found.classes == ("a", "c")
    assert np.isnan(found.lift[1]).all()


@pytest.mark.parametrize(
    ("counts", "bits"),
    [([[5, 0], [0, 5]], 1.0), ([[3, 3], [3, 3]], 0.0), ([[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 2]], 1.5)],
)
def test_mutual_information_by_hand(counts, bits):
    found = Lift(classes=tuple("abcd"[: len(counts[0])]), counts=np.array(counts))
    assert found.bits == pytest.approx(bits, abs=1e-12)


def test_specialists_are_those_that_tell_most():
    """Expert 1 does what chance would; 0 and 3 tell most, 2 the same with fewer tokens."""
    found = Lift(classes=("a", "b"), counts=np.array([[8, 0], [6, 6], [0, 2], [1, 7]]))
    assert found.specialists(2) == [0, 3]
    assert found.specialists(3) == [0, 2, 3]
    assert found.specialists(9) == [0, 1, 2, 3]


def test_order():
    found = Lift(classes=("a", "b"), counts=np.array([[1, 9], [5, 5], [0, 0], [9, 1]]))
    assert found.order() == [0, 1, 2, 3]
    assert found.order("a") == [3, 1, 0, 2]  # the dead expert last
    with pytest.raises(ValueError, match="class 'z' does not exist; choose one of: a, b"):
        found.order("z")


def test_paths_by_hand():
    here, there = layer([[0], [0], [1], [2]]), layer([[1], [1], [1], [0]], number=2)
    assert count_paths(routing(here, there))[0].tolist() == [[0, 2, 0], [0, 1, 0], [1, 0, 0]]
    assert find_busiest_paths(routing(here, there), 2) == [((0, 1), 2), ((1, 1), 1)]


def test_paths_of_a_model_against_a_loop():
    found = look(kimi(), TOKENS)
    counted = Counter(
        (int(a[0]), int(b[0])) for a, b in zip(found.layers[0].experts, found.layers[1].experts)
    )
    (counts,) = count_paths(found)
    assert counts.sum() == 14
    assert all(counts[i, j] == counted[i, j] for i in range(8) for j in range(8))


def test_one_layer_has_no_paths():
    with pytest.raises(ValueError, match="a path needs two layers with experts"):
        count_paths(routing(layer([[0]])))


def test_pairs_by_hand():
    """Loads 3, 2, 1: the pairs 01, 02, 12 get 6, 3 and 2 parts of 11; all three pairs there were are 01, 01, 02."""
    counts = count_pairs(layer([[0, 1], [1, 0], [0, 2]]))
    assert counts.tolist() == [[3, 2, 1], [2, 2, 0], [1, 0, 1]]
    lift = measure_pair_lift(counts)
    assert np.isnan(np.diag(lift)).all()
    assert lift[0, 1] == pytest.approx(2 / (3 * 6 / 11))
    assert lift[0, 2] == pytest.approx(1 / (3 * 3 / 11))
    assert lift[1, 2] == 0 and np.array_equal(lift, lift.T, equal_nan=True)


def test_pairs_of_an_even_router_are_all_one():
    every = [[i, j] for i in range(4) for j in range(4) if i != j]
    assert measure_pair_lift(count_pairs(layer(every, 4)))[~np.eye(4, dtype=bool)] == pytest.approx(1.0)


def test_change_by_hand():
    before, after = layer([[0, 1], [0, 1], [2, 0], [1, 2]]), layer([[0, 1], [1, 0], [1, 2], [1, 2]])
    (change,) = compare_routing(routing(before), routing(after))
    assert change.moved == 0.5
    assert change.kept == pytest.approx((2 + 2 + 1 + 2) / 8)
    # Choices of each expert over the 4 tokens: before 3, 3, 2, after 2, 4, 2.
    assert change.kept_by_chance == pytest.approx((3 * 2 + 3 * 4 + 2 * 2) / 16 / 2)
    assert change.first_to_first.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]


def test_a_model_has_not_changed_since_itself_and_chance_is_what_strangers_share():
    model = kimi()
    for change in compare_routing(look(model, TOKENS), look(model, TOKENS)):
        assert (change.moved, change.kept) == (0.0, 1.0)
    draw = np.random.default_rng(1)
    one, other = ([draw.choice(6, 2, replace=False).tolist() for _ in range(20_000)] for _ in range(2))
    (change,) = compare_routing(routing(layer(one, 6)), routing(layer(other, 6)))
    assert change.kept == pytest.approx(change.kept_by_chance, abs=0.01)
    assert change.kept_by_chance == pytest.approx(1 / 3, abs=0.001)


def test_only_like_is_compared_with_like():
    with pytest.raises(ValueError, match="different tokens"):
        compare_routing(routing(layer([[0]])), routing(layer([[0], [1]])))
    with pytest.raises(ValueError, match="differ in their layers or experts"):
        compare_routing(routing(layer([[0]])), routing(layer([[0]], 4)))


def test_bits_are_below_what_there_is_to_know():
    """An expert can tell no more of a class than log2 of their number."""
    found = measure_lift(
        layer([[i % 3] for i in range(30)]), np.array([i % 3 for i in range(30)]), ("a", "b", "c")
    )
    assert found.bits == pytest.approx(math.log2(3))
