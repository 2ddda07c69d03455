"""What a check says of an answer that is none, or of another kind, or wrong: a sentence for its author."""

import sys
import time

import pytest
import torch

from lab_utils.course.chapters import find
from lab_utils.course.judge import judge


def causal(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)


def says(answer, exercise: str = "causal_mask", seconds: float = 5.0) -> str:
    result = judge(find(exercise), answer, seconds)
    assert result.status == "failed"
    return result.difference.says


def test_an_untouched_stub_is_not_tried():
    def causal_mask(n_queries, n_keys, device):
        raise NotImplementedError

    result = judge(find("causal_mask"), causal_mask)
    assert result.status == "not tried"
    assert "not tried yet" in repr(result)


@pytest.mark.parametrize("number", [0, 1])
def test_only_a_stub_is_not_tried(number):
    """torch raises the same error for what it cannot do, and half of a function is no stub."""

    def causal_mask(n_queries, n_keys, device):
        if number == 0:
            raise NotImplementedError("'tril' not implemented for 'Half'")
        if n_queries > 1:
            raise NotImplementedError
        return causal(n_queries, n_keys, device)

    assert says(causal_mask).startswith("It raises NotImplementedError: ")


async def later(n_queries, n_keys, device):
    return causal(n_queries, n_keys, device)


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (3, "It is an int; it should be a function."),
        (None, "It is None; it should be a function."),
        (type("causal_mask", (), {}), "It is a class; it should be a function."),
        (later, "It is written with `async def`; it should be a plain `def`."),
        (lambda *_: 1, "It is an int; it should be a tensor of shape (1, 1)."),
        (
            lambda *_: iter(()),
            "It is a list, or it yields its values one by one; it should be a tensor of shape (1, 1).",
        ),
    ],
    ids=["number", "none", "class", "async", "returns a number", "yields"],
)
def test_an_answer_of_another_kind(answer, line):
    assert says(answer) == line


def test_whatever_an_answer_raises_is_the_finding():
    class Odd(Exception):
        def __str__(self):
            raise ValueError

    def raises(error):
        def causal_mask(*_):
            raise error

        return says(causal_mask)

    assert raises(Odd()) == "It raises Odd: (it says no more)"
    assert raises(KeyboardInterrupt()) == "It raises KeyboardInterrupt: (it says no more)"


def test_nothing_returned():
    assert "return" in says(lambda *_: None)


def test_another_shape():
    assert says(lambda q, k, d: causal(q, k, d)[None]) == "Its shape is (1, 1, 1); it should be (1, 1)."


def test_another_dtype():
    assert says(lambda q, k, d: causal(q, k, d).float()) == "Its numbers are float32; they should be bool."


def test_no_tensor():
    assert "tensor" in says(lambda q, k, d: causal(q, k, d).tolist())


def test_not_a_number():
    assert "nan" in says(lambda *args: find("attend").core(*args) * torch.nan, "attend")


def test_two_values_for_one():
    assert "result 0, result 1" in says(lambda q, k, d: (causal(q, k, d), 1))


def test_an_exception_is_one_sentence():
    assert says(lambda q, k, d: causal(q, "k", d)).startswith("It raises TypeError: ")


def test_leaving_the_program_is_one_sentence():
    assert says(lambda *args: sys.exit("done")) == "It raises SystemExit: done"


def test_writing_into_the_arguments():
    def attend(q, k, v, scale, visible=None):
        q *= scale
        return find("attend").core(q, k, v, 1.0, visible)

    assert "It writes into `q`, which belongs to the caller." in says(attend, "attend")


@pytest.mark.parametrize("swallow", [(), BaseException])
def test_an_endless_loop_is_ended(swallow):
    def endless(n_queries, n_keys, device):
        while True:
            try:
                time.sleep(0.001)
            except swallow:
                return None

    assert "within 0.2 s." in says(endless, seconds=0.2)


def test_a_mistake_that_nobody_knows_has_no_diagnosis():
    result = judge(find("causal_mask"), lambda q, k, d: torch.zeros(q, k, dtype=torch.bool))
    assert result.diagnosis is None
    assert result.violated == ("every query may look at its own position",)
    assert "1 of 1 entry differs" in result.difference.says


def test_the_first_case_that_fails_is_the_smallest():
    def right_for_squares(n_queries, n_keys, device):
        return (
            causal(n_queries, n_queries, device)
            if n_queries == n_keys
            else causal(n_queries, n_keys, device) & False
        )

    assert (
        judge(find("causal_mask"), right_for_squares).difference.case
        == "one new query after four cached keys"
    )


def test_the_panel_shows_both_values_and_escapes_what_the_learner_wrote():
    def attend(q, k, v, scale, visible=None):
        raise ValueError("<script>alert(1)</script>")

    html = judge(find("attend"), attend)._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html
    text = repr(judge(find("causal_mask"), lambda q, k, d: ~causal(q, k, d)))
    assert "expected, shape (1, 1)" in text and "[[ True]]" in text and "[[False]]" in text


def test_a_known_mistake_is_named_though_bfloat16_is_forgotten_as_well():
    class RMSNorm(find("RMSNorm").core):
        def forward(self, x):
            return self.weight * x / (x.square().mean() + self.eps).sqrt()

    assert judge(find("RMSNorm"), RMSNorm).diagnosis.name == "NormOverEverything"


def test_writing_into_an_argument_that_gradients_are_taken_of():
    def apply_rope(x, rotation):
        x[..., 0] = 0
        return x

    assert says(apply_rope, "apply_rope") == "It writes into `x`, which belongs to the caller."


def test_what_the_panel_says_of_a_test():
    text = repr(judge(find("test_sound_attend"), lambda attend: None))
    assert "Your test lets the piece above through. It should fail for it." in text
    assert "expected" not in text


def test_a_missing_refusal_and_another_error_than_a_value_error():
    core = find("next_token_probs").core

    def lets_through(logits, temperature=1.0, top_k=None, top_p=None):
        return core(logits, max(temperature, 0.0), top_k or None, min(top_p or 1.0, 1.0))

    def raises(error):
        def next_token_probs(*args, **kwargs):
            try:
                return core(*args, **kwargs)
            except ValueError:
                raise error from None

        return says(next_token_probs, "next_token_probs")

    assert says(lets_through, "next_token_probs") == "It should raise a ValueError here, and raises nothing."
    assert raises(AssertionError()) == "It should raise a ValueError here, and raises an AssertionError."
    assert raises(KeyError("k")) == "It should raise a ValueError here, and raises KeyError: 'k'"


def test_two_results_in_the_other_order():
    expand, windows = find("expand_latent").core, find("windows").core
    line = says(lambda *args: expand(*args)[::-1], "expand_latent")
    assert line == "keys and values are in each other's place: each is what the other one should be."
    line = says(lambda *args: (windows(*args)[1], windows(*args)[0], windows(*args)[2]), "windows")
    assert line == "inputs and targets are in each other's place: each is what the other one should be."
    # In one case only, it is no order.
    odd = says(lambda s, n, q: windows(s, n, q)[:: -1 if q == 1 else 1], "windows")
    assert "place" not in odd


def test_no_warning_of_the_known_mistakes_reaches_the_learner(recwarn):
    """One of them gives complex numbers, and torch warns of reading them as real ones."""
    core = find("apply_rope").core
    repr(judge(find("apply_rope"), lambda x, rotation: core(x, rotation) + 1))
    assert not recwarn.list


def test_a_gradient_is_named_by_its_argument():
    core = find("attend").core
    result = judge(find("attend"), lambda q, k, v, *rest: core(q, k.detach(), v, *rest))
    assert result.difference.part == "gradient of `k`"
