"""A claim against chance: figures worked out by hand and by loops, and p-values that are what they say on chance."""

import itertools
import math

import numpy as np
import pytest

from lab_utils.observatory.agreement import Agreement, measure_p_value


def facts(text: str) -> np.ndarray:
    return np.array([letter == "1" for letter in text])


def test_the_figures_by_hand():
    """Ten tokens: 4 fit, 5 go to the expert, 3 do both. Matthews: (10*3 - 4*5) / sqrt(4*6*5*5) = 10 / sqrt(600)."""
    found = Agreement.of(facts("1111000000"), facts("1110110000"))
    assert (found.tokens, found.fits, found.chosen, found.both) == (10, 4, 5, 3)
    assert (found.precision, found.recall) == (0.6, 0.75)
    assert found.lift == pytest.approx(1.5) and found.lift == pytest.approx(0.75 / 0.5)
    assert found.correlation == pytest.approx(10 / math.sqrt(600), rel=1e-12)
    assert found.score == pytest.approx(40.8248, abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_the_figures_against_a_loop_and_the_correlation_of_numbers(seed):
    """Matthews' correlation is Pearson's of zeros and ones, and its square has the four cells of the table in it."""
    draw = np.random.default_rng(seed)
    fits, chosen = draw.random((2, 200)) < 0.3
    hits = misses = false_alarms = rest = 0
    for one, other in zip(fits.tolist(), chosen.tolist()):
        hits += one and other
        misses += one and not other
        false_alarms += other and not one
        rest += not one and not other
    found = Agreement.of(fits, chosen)
    assert found.precision == pytest.approx(hits / (hits + false_alarms), rel=1e-12)
    assert found.recall == pytest.approx(hits / (hits + misses), rel=1e-12)
    margins = (hits + misses) * (hits + false_alarms) * (rest + misses) * (rest + false_alarms)
    matthews = (hits * rest - misses * false_alarms) / math.sqrt(margins)
    assert found.correlation == pytest.approx(matthews, abs=1e-12)
    assert found.correlation == pytest.approx(np.corrcoef(fits, chosen)[0, 1], abs=1e-12)


def test_a_score_cannot_be_gamed_and_ends_at_its_ends():
    chosen = facts("1100000000")
    assert Agreement.of(chosen, chosen).score == 100
    for claim in (np.ones(10, dtype=bool), np.zeros(10, dtype=bool)):
        assert Agreement.of(claim, chosen).score == 0
        assert Agreement.of(chosen, claim).score == 0
    opposite = Agreement.of(~chosen, chosen)
    assert (opposite.correlation, opposite.score) == (-1, 0)
    # One more than nothing and one less than everything are as far from the truth as they are.
    assert Agreement.of(facts("1000000000"), chosen).score == pytest.approx(100 * 2 / 3)
    assert Agreement.of(facts("1111111110"), chosen).score == pytest.approx(100 / 6)


def test_what_has_no_tokens_is_no_number():
    none = Agreement.of(facts("000"), facts("000"))
    assert all(math.isnan(value) for value in (none.precision, none.recall, none.lift))


def test_p_against_every_combination_of_signs():
    """Three stories have 8 ways to change signs; the sum is at least as large as the measured one in some of them."""
    fits, chosen = facts("110010001100"), facts("100011001010")
    part = np.repeat([3, 5, 9], [4, 3, 5])
    shares = []
    for story in (3, 5, 9):
        inside = part == story
        shares.append(
            sum((f - fits.mean()) * (c - chosen.mean()) for f, c in zip(fits[inside], chosen[inside]))
        )
    ways = [sum(map(math.prod, zip(signs, shares))) for signs in itertools.product((1, -1), repeat=3)]
    exact = sum(way >= sum(shares) - 1e-9 for way in ways) / 8
    assert 0 < exact < 0.5
    assert measure_p_value(fits, chosen, part) == pytest.approx(exact, abs=0.02)


def test_p_is_small_for_a_specialist_one_for_everything_and_never_zero():
    draw = np.random.default_rng(0)
    part = np.repeat(np.arange(20), 30)
    chosen = draw.random(600) < 0.2
    assert measure_p_value(chosen, chosen, part) == pytest.approx(1 / 10_000, abs=1e-4)
    assert measure_p_value(np.ones(600, dtype=bool), chosen, part) == 1.0
    assert measure_p_value(~chosen, chosen, part) == 1.0


def draw_chance(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sixteen stories that repeat their words; story and word decide both facts, each without the other."""
    draw = np.random.default_rng(seed)
    often = 1 / np.arange(1, 21)
    words = np.concatenate([draw.choice(20, 60, p=often / often.sum()) for _ in range(16)])
    part = np.repeat(np.arange(16), 60)
    fits, chosen = draw.random((2, 16, 20)) < 0.4
    return fits[part, words], chosen[part, words], part


def test_p_values_of_chance_are_even_though_words_repeat():
    """Of 400 random routings as many have p below a limit as the limit says; a test that counts tokens fails this."""
    limits = np.array([0.05, 0.1, 0.25, 0.5, 0.75])
    by_story, by_token = [], []
    for seed in range(400):
        fits, chosen, part = draw_chance(seed)
        by_story.append(measure_p_value(fits, chosen, part, seed))
        away = Agreement.of(fits, chosen).correlation * math.sqrt(len(fits))
        by_token.append(math.erfc(away / math.sqrt(2)) / 2)
    below = (np.array(by_story)[:, None] <= limits).mean(axis=0)
    spread = np.sqrt(limits * (1 - limits) / 400)
    assert (np.abs(below - limits) < 3.5 * spread).all(), below
    assert (np.array(by_token) <= 0.05).mean() > 0.2
