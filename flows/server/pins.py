"""Whether what is installed is what Rushes was tried with: with others the server dies, or schedules nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib.metadata import PackageNotFoundError, requires, version

SERVER = ("prefect", "fastapi", "sqlalchemy")
"""What the Prefect server stands on."""


def wrong_pins(names: Collection[str] | None = None) -> Iterator[str]:
    """Yield a sentence for each package that is missing or has a version which pyproject.toml excludes.

    Args:
        names: the packages to look at; None: all that Rushes requires.
    """
    from packaging.requirements import Requirement

    for line in requires("rushes") or ():
        required = Requirement(line)
        wanted = names is None or required.name in names
        if not wanted or (required.marker and not required.marker.evaluate({"extra": ""})):
            continue
        cure = f"run: pip install '{required.name}{required.specifier}'"
        try:
            found = version(required.name)
        except PackageNotFoundError:
            yield f"{required.name} is not installed; {cure}"
            continue
        if not required.specifier.contains(found, prereleases=True):
            yield f"{required.name} {found} does not work with Rushes; {cure}"
