"""An environment with the project's wheel and what the core depends on, and nothing else; made without a network."""

import importlib.metadata
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from packaging.requirements import Requirement

from docs.make_licences import asked_for, closure

ROOT = Path(__file__).parents[1]


def copy_source(folder: Path) -> None:
    """The files that make the package, those that git knows, copied so that the checkout stays as it is."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py", "*.toml", "*.md", "LICENSE",
         "constraints.txt", "nanokimi", "lab_utils"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def build_wheel(folder: Path) -> Path:
    """The project's wheel, made in `folder`."""
    copy_source(folder / "source")
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "wheel", "--no-deps"]
    build = ["--no-index", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source")]
    subprocess.run([*pip, *build], check=True, capture_output=True, text=True, timeout=600)
    (wheel,) = folder.glob("*.whl")
    return wheel


def distributions(*extras: str, also: tuple[str, ...] = ()) -> list[importlib.metadata.Distribution]:
    """What the core and these extras depend on, what that depends on in turn, and `also`, as installed here."""
    wanted = [*asked_for(("", *extras)), *map(Requirement, also)]
    return [importlib.metadata.distribution(name) for name in closure(wanted)]


def link_distributions(environment: Path, found: list[importlib.metadata.Distribution]) -> None:
    """Links to installed distributions in a virtual environment."""
    (site,) = environment.glob("lib/python*/site-packages")
    for distribution in found:
        parts = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
        for top in parts:
            there = Path(str(distribution.locate_file(top)))
            if there.exists() and not (site / top).exists():
                (site / top).symlink_to(there)


def make_environment(folder: Path, wheel: Path) -> Path:
    """A virtual environment in `folder` with the wheel and links to what the core needs; returns its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    link_distributions(folder, distributions())
    (site,) = folder.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--no-deps"]
    install = ["--no-index", "--target", str(folder / "wheel"), str(wheel)]
    subprocess.run([*pip, *install], check=True, capture_output=True, text=True, timeout=600)
    for each in (folder / "wheel").iterdir():
        each.rename(site / each.name)
    return folder / "bin" / "python"
