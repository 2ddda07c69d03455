"""What notebook 00 says about the machine."""

from dataclasses import replace

from lab_utils.bench.plan import make_plan
from lab_utils.course import checkup


def test_the_tested_versions_are_those_of_the_constraints():
    assert checkup.tested_versions()["torch"] == "2.13.0"
    assert all("==" not in version and "#" not in name for name, version in checkup.tested_versions().items())


def test_every_package_has_its_status(monkeypatch):
    monkeypatch.setattr("lab_utils.course.checkup.PACKAGES", ("numpy", "pytest", "no-such-package"))
    from importlib.metadata import version

    # The table alone decides which status belongs to which version.
    cells = checkup.version_table({"numpy": version("numpy"), "pytest": "1.0"}).cells
    statuses = {name: status for (name,), _, _, (status,) in cells}
    assert statuses["numpy"] == "ready"
    assert statuses["pytest"] == "not the tested version; should work"
    assert statuses["no-such-package"].startswith("missing: run make lab")


def test_minutes_are_steps_times_the_median_step():
    plan = make_plan("smoke", "gpt,kimi", seeds=2)
    plan = replace(plan, arms=tuple(replace(a, train=replace(a.train, steps=300)) for a in plan.arms))
    # Two seeds of 300 steps: 0.2 s a step for GPT (the median of three), 0.3 s for Kimi: 300 s in all.
    table = checkup.cost_table({"both": plan}, {"gpt": (0.1, 0.2, 9.0), "kimi": (0.3,)})
    assert table.cells == ((("both",), ("4",), ("5",)),)


def test_one_thread_is_not_called_threads(monkeypatch):
    monkeypatch.setattr("lab_utils.course.checkup.torch.get_num_threads", lambda: 1)
    monkeypatch.setattr("lab_utils.course.checkup.torch.cuda.is_available", lambda: False)
    cpu, sizes = checkup.device_line().splitlines()
    assert ", 1 thread for torch" in cpu and sizes.startswith("No CUDA device")
