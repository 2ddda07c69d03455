"""Which text is for validation: by size, the same wherever and however often it is asked, and said."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nanokimi.text.corpus import load_corpus
from nanokimi.text.split import divide, hash_text, plan_split
from tests.text.made_up_texts import documents_of, join, some_documents

relaxed = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def made(sizes: list[int]) -> list[str]:
    """Documents of these sizes; those of equal size are equal."""
    return [(f"{size} kimi " * (size // 6 + 1))[:size] for size in sizes]


sizes = st.lists(
    st.integers(1, 30) | st.integers(1, 3000) | st.sampled_from([10, 100_000]), min_size=1, max_size=60
)


@relaxed
@given(sizes=sizes)
@example(sizes=[1])
@example(sizes=[5000])
@example(sizes=[5000, 5000])
@example(sizes=[100] * 300)
@example(sizes=[100_000, 5000])
@example(sizes=[100_000, 1, 2, 3])
@example(sizes=[20_000, 30_000, 40_000])
def test_about_a_twentieth_is_for_validation(sizes):
    texts = made(sizes)
    plan = plan_split(texts)
    parts = list(divide(plan, texts))
    assert "".join(text for text, _, _ in parts) == "".join(texts), "nothing is lost and the order is kept"
    total, val = sum(sizes), sum(len(text) for text, validation, _ in parts if validation)
    fewest = min(0.025 * total, 500) if total > 10_000 else min(500, 0.1 * total)
    assert fewest - 1 <= val <= 0.2 * total + 1
    assert all(text for text, _, _ in parts)
    if plan.cut is None:  # whole documents
        assert [closed for _, _, closed in parts] == [True] * len(texts)
        sides = {text: {v for t, v, _ in parts if t == text} for text, _, _ in parts}
        assert all(len(side) == 1 for side in sides.values()), "equal documents are on one side"
        assert f"{val / total:.1%} of the text" in plan.note
    else:
        assert sum(not closed for _, _, closed in parts) <= (2 if len(texts) == 1 else 1)
        sides = [validation for _, validation, _ in parts]
        assert sides == sorted(sides), "training comes first"


@relaxed
@given(sizes=sizes, seed=st.randoms(use_true_random=False))
def test_whole_documents_are_chosen_by_their_text_alone(sizes, seed):
    texts = made(sizes)
    plan = plan_split(texts)
    mixed = texts[:]
    seed.shuffle(mixed)
    again = plan_split(mixed)
    assert (again.chosen, again.cut, again.note) == (plan.chosen, plan.cut, plan.note)


def test_documents_are_chosen_in_the_order_of_their_hash():
    texts = some_documents(400)
    chosen = [text for text, validation, _ in divide(plan_split(texts), texts) if validation]
    expected, size = set(), 0
    for text in sorted(texts, key=hash_text):
        if size < 0.05 * sum(map(len, texts)):
            expected.add(text)
            size += len(text)
    assert set(chosen) == expected


def test_another_document_moves_few_of_the_old_ones():
    texts = some_documents(400)
    before = {text for text, validation, _ in divide(plan_split(texts), texts) if validation}
    more = [*texts, *some_documents(20, seed=9)]
    after = {text for text, validation, _ in divide(plan_split(more), more) if validation}
    assert 18 <= len(before) <= 22
    assert len(before & after) >= len(before) - 1


# Texts that had no training split at all, or most of all text in validation.
HARD = {
    "one document": lambda f: (f / "a.txt").write_text("word " * 1000),
    "one document with a separator": lambda f: (f / "a.txt").write_text(join(["word " * 1000 + "end"])),
    "an empty file beside it": lambda f: [(f / "a.txt").write_text("word " * 1000), (f / "b.txt").touch()],
    "equal documents": lambda f: (f / "a.txt").write_text(join(["the same words again and again"] * 100)),
    "equal files": lambda f: [(f / f"{i}.txt").write_text("word " * 900) for i in range(4)],
    "a large and a small one": lambda f: [
        (f / "a.txt").write_text("word " * 9000),
        (f / "b.txt").write_text("hi"),
    ],
    "twenty to one": lambda f: [
        (f / "a.txt").write_text("cat " * 9000),
        (f / "b.txt").write_text("dog " * 450),
    ],
    "three unequal ones": lambda f: [(f / f"{i}.txt").write_text(f"w{i} " * 1000 * 5**i) for i in range(3)],
    "two long ones": lambda f: [(f / f"{i}.txt").write_text(f"w{i} " * 9000) for i in range(2)],
}


@pytest.mark.parametrize("case", HARD)
def test_hard_texts_have_both_splits_and_say_so(tmp_path, data, case):
    folder: Path = tmp_path / "in"
    folder.mkdir()
    HARD[case](folder)
    found = load_corpus(data(folder, tokenizer="char"), seq_len=64)
    share = len(found.val) / (len(found.train) + len(found.val))
    assert 0.02 <= share <= 0.21
    assert sum("for validation" in note for note in found.notes) == 1
    again = load_corpus(data(folder, tokenizer="char"), seq_len=64)
    assert again.notes == found.notes, "what was done is kept with the tokens"


def test_few_documents_stay_whole_where_one_has_the_right_size(tmp_path, data):
    path = tmp_path / "twelve.txt"
    documents = some_documents(12, seed=3)
    path.write_text(join(documents), encoding="utf-8")
    found = load_corpus(data(path, tokenizer="char"))
    sides = [documents_of(split, found.tokenizer) for split in (found.train, found.val)]
    assert sorted(sides[0] + sides[1]) == sorted(documents)
    assert 1 <= len(sides[1]) <= 2
