"""pyproject.toml, constraints.txt, environment.yml and the Makefile say the same, and what they say is true."""

import ast
import functools
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import nanokimi

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def declared(*extras: str) -> dict[str, Requirement]:
    """The direct dependencies by canonical name: the core's, and those of the extras named."""
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def pins() -> dict[str, Requirement]:
    """constraints.txt by canonical name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(r.name): r for r in requirements}


def imported(package: str) -> dict[str, set[Path]]:
    """Top-level modules that a package's files import anywhere, in functions too, and which files do."""
    found: dict[str, set[Path]] = {}
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            for name in names:
                found.setdefault(name.partition(".")[0], set()).add(path.relative_to(ROOT))
    return found


@functools.cache
def installed() -> Mapping[str, list[str]]:
    """The distributions that have brought each module."""
    return importlib.metadata.packages_distributions()


def third_party(package: str) -> Iterator[tuple[str, set[str], set[Path]]]:
    """(module, the distributions that may have brought it, the files that import it)."""
    distributions = installed()
    ours = {"nanokimi", "lab_utils", "benchmarks", "docs", "tests"}
    for module, files in imported(package).items():
        if module not in sys.stdlib_module_names and module not in ours:
            yield module, {canonicalize_name(d) for d in distributions.get(module, [])}, files


def test_constraints_pin_exactly_what_pyproject_names():
    everything = declared(*PROJECT["optional-dependencies"])
    assert set(pins()) == set(everything)
    for name, pin in pins().items():
        (version,) = pin.specifier
        assert version.operator == "==", f"{pin} is not an exact pin"
        assert version.version in everything[name].specifier, f"{pin} lies outside of {everything[name]}"


def test_environment_yml_installs_what_make_installs():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, from_pip = environment["dependencies"]
    assert environment["name"] == "nanokimi"
    assert Requirement(pip).name == "pip"
    # The oldest Python that the project allows: what works there works on newer ones.
    assert python == "python=" + PROJECT["requires-python"].removeprefix(">=")
    assert from_pip == {"pip": ["-c constraints.txt", "-e .[lab,test]"]}
    assert "pip install -c constraints.txt -e '.[lab,test]'" in (ROOT / "Makefile").read_text()


def test_pip_finds_the_list_of_environment_yml_installed():
    """pip's dry run with neither network nor build isolation: ranges, pins and this environment fit together."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("this environment has no pip")
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    words = [word for line in environment["dependencies"][-1]["pip"] for word in line.split(" ", 1)]
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install"]
    offline = ["--dry-run", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*pip, *offline, *words], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    would_install = re.findall(r"^Would install (.*)$", done.stdout, re.MULTILINE)
    assert would_install == [f"nanokimi-{nanokimi.__version__}"], done.stdout


def test_code_citation_and_changelog_have_one_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(.+?)\] - (\S+)$", changelog, re.MULTILINE)
    assert (citation["version"], citation["date-released"]) == newest.groups()
    assert nanokimi.__version__ == newest[1]


def test_the_citation_is_valid_cff():
    """What version 1.2.0 of the format demands, and the licence that pyproject.toml names."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"] == PROJECT["name"]
    assert citation["license"] == PROJECT["license"]
    assert citation["message"] and all(author["name"] for author in citation["authors"])


def test_this_python_is_one_that_the_project_allows():
    assert "{}.{}.{}".format(*sys.version_info[:3]) in SpecifierSet(PROJECT["requires-python"])


# datasets is heavy and serves one source only: sources.py says what to install where it is missing.
@pytest.mark.parametrize(
    ("package", "extras", "optional"),
    [
        ("nanokimi", [], {"datasets", "huggingface-hub"}),
        ("lab_utils", ["lab"], set()),
        ("benchmarks", ["lab", "test", "e2e"], set()),
        ("tests", ["lab", "test", "e2e"], set()),
    ],
)
def test_every_import_is_declared(package, extras, optional):
    allowed = set(declared(*extras)) | optional
    for module, distributions, files in third_party(package):
        assert distributions & allowed, f"{module}, imported by {sorted(map(str, files))}, is not declared"


def test_every_dependency_of_the_core_is_imported():
    used = set().union(*(distributions for _, distributions, _ in third_party("nanokimi")))
    assert set(declared()) <= used, f"never imported: {sorted(set(declared()) - used)}"


@pytest.mark.parametrize("package", ["nanokimi", "lab_utils"])
def test_data_files_are_packaged(package):
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = [pattern for found in setuptools["package-data"].values() for pattern in found]
    files = {p for p in (ROOT / package).rglob("*") if p.is_file() and p.suffix not in {".py", ".pyc"}}
    left_out = {p for p in files if not any(p.match(pattern) for pattern in patterns)}
    assert left_out == set()


def test_the_command_is_installed():
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="nanokimi")
    assert command.value == "nanokimi.cli.__main__:main"
    assert callable(command.load())


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("words", "command"),
    [
        (
            ["bench", "PROFILE=smoke", "ARMS=ladder", "SEEDS=3", "DATA=a folder/x.txt"],
            "--seeds='3' --data='a folder/x.txt'",
        ),
        (["bench"], "-m lab_utils.bench --profile='auto' --arms='default'"),
        (["lab"], "-m jupyterlab"),
        (["perf"], "-m benchmarks.perf"),
        (["faults"], "-m benchmarks.faults"),
        (["site"], "-m lab_utils.site --out out/site"),
        (["map"], "docs/make_map.py"),
        (["test"], "--nbval-lax --nbval-current-env --nbval-cell-timeout=120 tests notebooks"),
    ],
)
def test_make_sets_up_and_runs(words, command):
    """`make -n` as on a fresh clone (-W: constraints.txt counts as new): the environment first, then the command."""
    variables = {"PATH": "/usr/bin:/bin"}  # none of PROFILE, DATA, ... of whoever runs the tests
    make = [shutil.which("make"), "-n", "-W", "constraints.txt", *words]
    plan = subprocess.run(make, cwd=ROOT, env=variables, capture_output=True, text=True, check=True).stdout
    install = plan.index("pip install -c constraints.txt")
    assert install < plan.index(command)
