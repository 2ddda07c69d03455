"""Notebook 10: a cache whose bytes include room that nothing is stored in yet is told so, whatever room it makes."""

import pytest
import torch

from tests.course.keys import judge_answer

ROOM = "`nbytes` counts the whole room of the tensors that the cache keeps, not only what is stored in it."


def cache_with(first_room, counts_room=True):
    """A cache that doubles its room and begins with `first_room(needed)`, in one dictionary of tensors or a list."""

    class SequenceCache:
        def __init__(self):
            self.length, self.room = 0, []

        def append(self, *new):
            end = self.length + new[0].shape[-2]
            size = first_room(end) if not self.room else self.room[0].shape[-2]
            if not self.room or end > size:
                size = max(size, end) if not self.room else max(end, 2 * size)
                made = [t.new_zeros(*t.shape[:-2], size, t.shape[-1]) for t in new]
                for old, fresh in zip(self.room, made):
                    fresh[..., : self.length, :] = old[..., : self.length, :]
                self.room = made
            for room, t in zip(self.room, new):
                room[..., self.length : end, :] = t
            self.length = end
            return self.entries()

        def entries(self):
            return tuple(room[..., : self.length, :] for room in self.room)

        @property
        def nbytes(self):
            held = self.room if counts_room else self.entries()
            return sum(t.numel() * t.element_size() for t in held)

    return SequenceCache


@pytest.mark.parametrize(
    "first_room", [lambda n: 16, lambda n: 2 * n, lambda n: n, lambda n: 64, lambda n: 8192]
)
def test_bytes_of_room_that_is_not_used_are_told_as_such(first_room):
    result = judge_answer("SequenceCache", cache_with(first_room))
    assert result.status == "failed" and result.difference.says == ROOM


def test_with_twice_the_room_it_is_the_known_mistake():
    found = judge_answer("SequenceCache", cache_with(lambda n: 2 * n)).diagnosis
    assert found is not None and found.name == "CacheCountingRoom"


def test_a_cache_with_room_that_counts_what_is_stored_passes():
    assert judge_answer("SequenceCache", cache_with(lambda n: 16, counts_room=False)).status == "passed"


class TwoCopies:
    """Twice the bytes, and no room: every tensor is kept a second time."""

    def __init__(self):
        self.length, self.kept, self.spare = 0, (), ()

    def append(self, *new):
        joined = (
            (torch.cat(p, dim=-2) for p in zip(self.kept, new)) if self.kept else (t.clone() for t in new)
        )
        self.kept = tuple(joined)
        self.spare = tuple(t.clone() for t in self.kept)
        self.length += new[0].shape[-2]
        return self.kept

    def entries(self):
        return self.kept

    @property
    def nbytes(self):
        return sum(t.nbytes for t in (*self.kept, *self.spare))


def test_where_there_is_no_room_none_is_spoken_of():
    result = judge_answer("SequenceCache", TwoCopies)
    assert result.status == "failed" and "room" not in repr(result)
