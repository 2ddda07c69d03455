import os
import subprocess
import sys
import threading
import time

import pytest

from nanokimi.system.lock import Taken, hold

HOLDS = """
import pathlib, sys, time
from nanokimi.system.lock import hold
with hold(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_owner_is_refused_in_one_line_and_the_lock_leaves_nothing(tmp_path):
    path = tmp_path / "runs" / "a" / "lock"
    with hold(path):
        with pytest.raises(Taken) as error, hold(path):
            pytest.fail("held twice")
        assert str(error.value) == f"{path} is held by another program"
        assert path.exists()
    assert list(tmp_path.iterdir()) == []
    with hold(path):
        pass


def test_a_lock_is_waited_for(tmp_path):
    path, order = tmp_path / "lock", []

    def wait():
        with hold(path, wait_s=10.0):
            order.append("second")

    with hold(path):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_folders_that_are_used_stay(tmp_path):
    with hold(tmp_path / "run" / "lock"):
        (tmp_path / "run" / "log").write_text("1")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["log"]


def test_a_link_in_place_of_the_lock_is_refused_and_not_followed(tmp_path):
    (tmp_path / "mine").write_text("keep")
    (tmp_path / "lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError), hold(tmp_path / "lock"):
        pytest.fail("held through a link")
    assert (tmp_path / "mine").read_text() == "keep"


def test_a_lock_dies_with_its_process(tmp_path):
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, cwd=os.getcwd()
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(Taken), hold(path):
            pytest.fail("held twice")
    finally:
        holder.kill()
        holder.communicate()
    with hold(path):
        assert path.exists()


def test_many_at_once_are_one_after_the_other(tmp_path):
    """The file is deleted at every release: nobody may hold the deleted one beside the owner of the new one."""
    path, inside, most = tmp_path / "a" / "lock", [], []

    def work():
        for _ in range(40):
            with hold(path, wait_s=60.0):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 160
