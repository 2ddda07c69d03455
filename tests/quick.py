"""Which tests `make check` leaves out: the functions that a full run has found to be slow.

    make test TEST_FLAGS=--junitxml=out/tests.xml
    python -m tests.quick out/tests.xml

writes tests/not_quick.txt anew. A test that is not in the file, because nobody has measured it yet, counts as quick.
"""

import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from xml.etree import ElementTree

FILE = Path(__file__).with_name("not_quick.txt")
LONGEST = 0.1  # seconds of one case on average
MOST = 1.5  # seconds of all cases of one function


def function_of(test: str) -> str:
    """The name of a test without its case, which stands in brackets: `tests/core/test_mask.py::test_shape[3-5]`."""
    return test.partition("[")[0]


def not_quick() -> frozenset[str]:
    """The functions in the file."""
    return frozenset(FILE.read_text(encoding="utf-8").splitlines())


def find_slow(seconds: dict[str, list[float]]) -> list[str]:
    """The functions whose cases take too long, one by one or together."""
    return sorted(name for name, each in seconds.items() if fmean(each) > LONGEST or sum(each) > MOST)


def read_junit(file: Path) -> dict[str, list[float]]:
    """The seconds of every case, by its function. Cells of notebooks are left out: they are no quick test anyway."""
    seconds = defaultdict(list)
    for case in ElementTree.parse(file).iter("testcase"):
        module = case.get("classname") or ""  # none where a file could not be read
        if module.startswith("tests."):
            name = f"{module.replace('.', '/')}.py::{function_of(case.get('name'))}"
            seconds[name].append(float(case.get("time")))
    return seconds


if __name__ == "__main__":
    FILE.write_text(
        "".join(f"{name}\n" for name in find_slow(read_junit(Path(sys.argv[1])))), encoding="utf-8"
    )
