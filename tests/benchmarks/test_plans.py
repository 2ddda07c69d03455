"""The tables of plans: the document has what the code says, with two digits."""

from pathlib import Path

import pytest

from benchmarks.plans import make_training, tables, write_two_digits

DOCUMENT = Path(__file__).parents[2] / "docs" / "many-machines.md"


def test_the_document_has_the_tables_of_the_code():
    """To renew them: `python -m benchmarks.plans` prints them."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [table for table in tables() if table not in text] == []


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0"), (0.0234, "0.023"), (0.0995, "0.10"), (1.46, "1.5"), (9.96, "10"), (12317.0, "12,000")],
)
def test_two_digits_and_no_more(number, text):
    assert write_two_digits(number) == text


@pytest.mark.parametrize(("n_ranks", "tokens"), [(1, 32768), (8, 32768), (64, 32768), (512, 262144)])
def test_a_step_has_as_many_tokens_until_there_are_more_ranks_than_windows(n_ranks, tokens):
    training = make_training("kimi-small", "muon", n_ranks)
    assert training.batch_size * training.grad_accum * training.seq_len == tokens
    assert training.grad_accum == n_ranks and training.optim.optimizer == "muon"


def test_k2s_step_has_67_million_tokens():
    training = make_training("kimi-k2", "muon", 512)
    assert round(training.batch_size * training.grad_accum * training.seq_len / 1e6) == 67
