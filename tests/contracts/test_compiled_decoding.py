"""A token of decoding as one compiled graph: the tokens of the plain way, how often is compiled, and its operations."""

import pytest

from tests.contracts.apart import ask

pytestmark = pytest.mark.slow


def test_the_tokens_are_the_same_and_a_graph_serves_all_that_it_fits():
    """One graph for a model's sizes and settings and a number of texts; the context is full two or three times."""
    told = ask("compiled_decoding", "tokens")
    found = told["found"]
    assert [same for same, _ in found.values()] == [True] * 7, found
    assert [graphs for _, graphs in found.values()] == [1, 1, 1, 2, 3, 4, 5], found
    assert told["breaks"] == 0, told


def test_a_token_of_kimi_small():
    """The bar is for one text, whatever runs it; a GPU's compiler may fuse otherwise."""
    found = ask("compiled_decoding", "kernels")
    assert 100 < sum(found.values()) <= 250, (sum(found.values()), found)
