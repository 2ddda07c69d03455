"""One line about the machine, with memory in GB."""

import os

import torch

from lab_utils.machine.describe import describe, environment

MACHINE = {
    "device": "CPU",
    "cpu": "abacus",
    "cores": 2,
    "threads": 1,
    "memory_bytes": 25_200_000_000,
    "system": "Linux",
}


def test_a_machine_in_one_line():
    assert describe(MACHINE) == "abacus, 2 cores, 1 threads, 25 GB, Linux"
    assert describe(MACHINE | {"device": "H200"}).startswith("H200 with abacus, 2 cores")
    assert describe(MACHINE | {"memory_bytes": None}) == "abacus, 2 cores, 1 threads, Linux"


def test_the_environment_names_versions_and_nobody():
    found = environment("cpu")
    assert found["machine"]["device"] == "CPU"
    assert found["machine"]["cores"] == os.cpu_count()
    assert found["versions"]["torch"] == torch.__version__
    assert os.path.expanduser("~") not in str(found)
