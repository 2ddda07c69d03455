"""The numbers behind the pictures, computed by hand; and the lines, axes and words of the pictures."""

import json

import pytest

from lab_utils.bench import curves, pictures, plots
from lab_utils.bench.results import run_folder
from tests.bench.made_up_results import arm, point, results, run, three_seeds

ROLES = {
    "grammar": {"nats_per_token": 1.0, "bits_per_byte": 0.5, "floor_bits_per_byte": 0.0, "n_tokens": 60},
    "choice": {"nats_per_token": 2.0, "bits_per_byte": 1.5, "floor_bits_per_byte": 0.75, "n_tokens": 40},
}


def steps(n: int = 20, logit: float | None = 50.0) -> list[dict]:
    """Two MoE layers of four experts; the last step alone differs."""
    even, skewed = [1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 0.0, 0.0]
    return [
        {
            "expert_load": [even, skewed if i == n - 1 else even],
            "max_vio": [0.0, 1.0 if i == n - 1 else 0.0],
            "max_qk_logit": None if logit is None else [[1.0, logit], [2.0, 3.0]],
        }
        for i in range(n)
    ]


@pytest.fixture
def out_dir(tmp_path):
    for name in ("gpt", "kimi"):
        folder = run_folder(tmp_path, name, 0)
        folder.mkdir(parents=True)
        facts = {"expert_load": [], "max_vio": [], "max_qk_logit": None}
        records = steps() if name == "kimi" else [facts] * 20
        (folder / "steps.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return tmp_path


def with_roles():
    points = (point(20, 6.0, ROLES), point(40, 4.0, ROLES))
    return results([run(name, 0, {}, points=points) for name in ("gpt", "kimi")], seeds=1)


# ---------------------------------------------------------------- data


def test_bits_curve_by_hand():
    gpt, kimi = curves.bits_curves(three_seeds())
    assert (gpt.arm, kimi.arm) == ("gpt", "kimi")
    assert kimi.tokens == (2000, 4000)
    assert kimi.seconds == (40.0, 80.0)  # 50 tokens per second by the timing in turn, not by the clock
    assert kimi.mean == pytest.approx((3.0, 1.55))
    assert kimi.low == (3.0, 1.5)
    assert kimi.high == (3.0, 1.6)


def test_curves_without_timing_have_no_seconds():
    made = results([run("gpt", 0, {40: 4.0})], [arm("gpt", ())], seeds=1)
    assert curves.bits_curves(made)[0].seconds is None


def test_unfinished_runs_make_no_curve():
    assert curves.bits_curves(results([run("gpt", 0, {20: 6.0})])) == []


def test_role_curves_by_hand():
    grammar, choice = curves.role_curves(with_roles())
    assert (grammar.role, grammar.floor, choice.role, choice.floor) == ("grammar", 0.0, "choice", 0.75)
    assert [curve.mean for curve in choice.curves] == [(1.5, 1.5)] * 2


def test_roles_are_empty_where_none_are_known():
    assert curves.role_curves(three_seeds()) == []


def test_load_at_end_is_the_mean_of_the_last_tenth():
    assert curves.load_at_end(steps(20)) == [[1.0] * 4, [1.5, 1.5, 0.5, 0.5]]
    assert curves.load_at_end(steps(5)) == [[1.0] * 4, [2.0, 2.0, 0.0, 0.0]]  # at least one step


def test_max_vio_is_the_mean_of_the_layers():
    assert curves.max_vio(steps(3)) == [0.0, 0.0, 0.5]


def test_largest_logit_of_layers_and_heads():
    assert curves.largest_logit(steps(2)) == [50.0, 50.0]
    assert curves.largest_logit(steps(2, None)) == []


def test_smooth_looks_back_only():
    assert curves.smooth([1.0, 2.0, 6.0, 4.0], 3) == [1.0, 1.5, 3.0, 4.0]


# ---------------------------------------------------------------- pictures


def lines(axes) -> dict[str, tuple]:
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def test_loss_picture_shows_both_arms_and_the_floor_over_tokens_and_seconds():
    figure = plots.draw_loss(curves.bits_curves(three_seeds()), 0.25)
    tokens, seconds = figure.axes
    assert lines(tokens)["kimi"] == ([2000, 4000], pytest.approx([3.0, 1.55]))
    assert lines(seconds)["kimi"][0] == [40.0, 80.0]
    assert lines(tokens)["floor 0.250"][1] == [0.25, 0.25]
    assert (tokens.get_xlabel(), seconds.get_xlabel()) == ("tokens seen", "seconds of training steps")
    assert tokens.get_ylabel() == "bits per byte"
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"gpt", "kimi", "floor 0.250"}


def test_loss_picture_without_timing_and_floor():
    made = results([run("gpt", 0, {40: 4.0})], [arm("gpt", ())], seeds=1)
    (axes,) = plots.draw_loss(curves.bits_curves(made), None).axes
    assert set(lines(axes)) == {"gpt"}


def test_role_picture_has_a_panel_per_role_each_with_its_own_floor():
    figure = plots.draw_roles(curves.role_curves(with_roles()))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "grammar (floor 0.000)",
        "choice (floor 0.750)",
    ]
    assert lines(figure.axes[1])["floor"][1] == [0.75, 0.75]


def test_heat_map_writes_every_load_into_its_cell():
    figure = plots.draw_router({"kimi": [[1.0, 0.5], [0.0, 2.5]]}, first_layer=1)
    axes = figure.axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "1.0", (1, 0): "0.5", (0, 1): "0.0", (1, 1): "2.5"}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "2"]
    assert axes.images[0].get_array().tolist() == [[1.0, 0.5], [0.0, 2.5]]


@pytest.mark.parametrize("tau", [100.0, None])
def test_logit_picture_draws_the_threshold_where_it_is_given(tau):
    (axes,) = plots.draw_logits({"kimi": [1.0, 2.0]}, tau).axes
    assert lines(axes)["kimi"] == ([1, 2], [1.0, 2.0])
    assert ("QK-clip at tau = 100" in lines(axes)) == (tau is not None)


def test_every_picture_has_words_with_its_numbers(out_dir):
    found = pictures.all_pictures(with_roles(), out_dir)
    assert list(found) == ["loss", "roles", "router", "balance", "logits"]
    assert "At the end: gpt 2.000, kimi 2.000. The floor of the text is 0.250." in found["loss"].alt
    assert "choice: gpt 1.50, kimi 1.50, floor 0.75" in found["roles"].alt
    assert "kimi from 0.50 to 1.50" in found["router"].alt
    assert "kimi starts at 0.00, ends at 0.05" in found["balance"].alt
    assert "kimi starts at 50.00, ends at 50.00. QK-clip acts above 100." in found["logits"].alt


def test_pictures_without_data_are_left_out(tmp_path):
    assert list(pictures.all_pictures(three_seeds(), tmp_path)) == ["loss"]
    assert pictures.all_pictures(results([]), tmp_path) == {}
