"""One world of 400 characters and 2,000 of its stories."""

import pytest

from nanokimi.text.storyworld import World, generate


@pytest.fixture(scope="session")
def world():
    return World(seed=0, n_characters=400)


@pytest.fixture(scope="session")
def stories(world):
    return list(generate(world, 2000, seed=11))
