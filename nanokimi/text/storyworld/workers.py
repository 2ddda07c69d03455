"""Many stories, in a fixed order, by one process or several.

Story number i depends on the world, the seed and i only, so any split of the work gives the same stories.
Workers are plain child processes that write blocks of stories to a pipe. A pipe holds a few kilobytes: a
worker that is ahead waits, so memory stays bounded however long the corpus is.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator

from nanokimi.text.storyworld.plots import default_grammar
from nanokimi.text.storyworld.world import World
from nanokimi.text.storyworld.writer import Story, dense, walk

BLOCK = 200  # stories at a time, about 200 kB


def generate(world: World, n_stories: int, seed: int = 0, workers: int = 1) -> Iterator[Story]:
    """Yield stories 0 to n_stories - 1 of `seed`, the same whatever the number of worker processes.

    About 5,000 stories a second and process on a 2020s core. Raises `ValueError` for a number of stories
    below 0 or of workers below 1, `RuntimeError` when a worker dies.
    """
    if n_stories < 0:
        raise ValueError(f"n_stories={n_stories} must be at least 0")
    if workers < 1:
        raise ValueError(f"workers={workers} must be at least 1")
    if workers == 1 or n_stories <= BLOCK:
        return _in_this_process(world, n_stories, seed)
    return _in_workers(world, n_stories, seed, workers)


def _in_this_process(world: World, n_stories: int, seed: int) -> Iterator[Story]:
    for i in range(n_stories):
        yield dense(*walk(default_grammar(), world, seed, i))


def _in_workers(world: World, n_stories: int, seed: int, workers: int) -> Iterator[Story]:
    starts = range(0, n_stories, BLOCK)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
    children = []
    try:
        for k in range(min(workers, len(starts))):
            task = (world.seed, world.n_characters, n_stories, seed, workers, k)
            child = subprocess.Popen(
                [sys.executable, "-m", "nanokimi.text.storyworld", *map(str, task)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the reader only, which then ends the workers
            )
            children.append(child)
        for block in range(len(starts)):
            child = children[block % workers]
            try:
                stories = pickle.load(child.stdout)
            except EOFError:
                raise RuntimeError(
                    f"a storyworld worker ended with code {child.wait()} in block {block}"
                ) from None
            for story in stories:
                yield dense(*story)
    finally:
        for child in children:
            child.kill()
            child.stdout.close()
            child.wait()


def work(
    seed_of_world: int, n_characters: int, n_stories: int, seed: int, workers: int, k: int, pipe
) -> None:
    """Worker k of `workers`: write blocks k, k + workers, k + 2 workers, ... to the pipe."""
    world, grammar = World(seed_of_world, n_characters), default_grammar()
    for start in range(k * BLOCK, n_stories, workers * BLOCK):
        block = [walk(grammar, world, seed, i) for i in range(start, min(start + BLOCK, n_stories))]
        pickle.dump(block, pipe, protocol=pickle.HIGHEST_PROTOCOL)
        pipe.flush()
