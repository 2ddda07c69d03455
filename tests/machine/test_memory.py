"""The peak of a process's memory."""

import pytest
import torch

from lab_utils.machine.memory import MB, PeakMemory


def test_peak_memory_sees_what_was_freed_again():
    memory = PeakMemory("cpu")
    memory.start()
    if memory.at_start is None:
        pytest.skip("this system does not tell a process's peak memory")
    block = torch.ones(64 * MB // 4)
    del block
    memory.stop()
    assert 60 * MB < memory.peak - memory.at_start < 90 * MB
