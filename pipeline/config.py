"""rushes.toml: what a person decides about an archive, read once and passed on as a frozen value."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from encoders.profiles import Profile, described, profile
from pipeline.errors import ConfigError
from pipeline.media import Modality, Mode, Sampling
from pipeline.timetable import Arrivals, Cluster, Keep, Schedule, local_time_zone

_T = TypeVar("_T", Schedule, Arrivals, Cluster, Keep)

DEFAULT_FUSION: Mapping[Modality, float] = {Modality.VISUAL: 0.75, Modality.AUDIO: 0.05, Modality.SPEECH: 0.2}
"""Chosen by tests/benchmarks/fusion.py: of a grid the best that uses all three, on written and spoken questions."""


@dataclass(frozen=True)
class Settings:
    """What rushes.toml says."""

    sources: tuple[str, ...]
    """Folders (absolute, or relative to the archive) or object-store URIs; read, never written."""
    profile: Profile = field(default_factory=lambda: profile("embedded"))
    """One that comes with Rushes, or one of [profiles.NAME]."""
    follow_links: bool = False
    """Also read what links inside a source point to outside it."""
    sampling: Sampling = field(default_factory=Sampling)
    size_px: int | None = None
    """What [sampling] says about the size of frames; None: nothing, so that they are as large as the models want."""
    fusion: Mapping[Modality, float] = field(default_factory=lambda: dict(DEFAULT_FUSION))
    """Weight of each modality in a scene vector; 0 leaves it out."""
    truths: str = ""
    """A file with questions and their answers, which the nightly evaluation asks; empty: none."""
    schedule: Schedule = field(default_factory=Schedule)
    arrivals: Arrivals = field(default_factory=Arrivals)
    ray: Cluster = field(default_factory=Cluster)
    keep: Keep = field(default_factory=Keep)


def load_settings(path: Path) -> Settings:
    """Read rushes.toml.

    Raises:
        ConfigError: it is missing, no TOML, or says something that cannot be; the message names file, key and cure.
    """
    try:
        said = tomllib.loads(path.read_text("utf8"))
    except OSError as exc:
        raise ConfigError(f"Cannot read {path} ({exc.strerror}); make it readable, or run `rushes init`.") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not valid TOML: {exc}; correct that place.") from exc
    known = {f.name for f in fields(Settings)} - {"size_px"} | {"profiles"}
    _refuse_unknown(path, "", said, known)
    sampling = _of_type(path, "sampling", said.get("sampling", {}), dict)
    sampled = _sampling(path, sampling)
    return Settings(
        sources=_sources(path, said.get("sources")),
        profile=_profile(path, said.get("profile", "embedded"), said.get("profiles", {})),
        follow_links=_of_type(path, "follow_links", said.get("follow_links", False), bool),
        sampling=sampled,
        size_px=sampled.size_px if "size_px" in sampling else None,
        fusion=_fusion(path, _of_type(path, "fusion", said.get("fusion", {}), dict)),
        truths=_of_type(path, "truths", said.get("truths", ""), str),
        schedule=_table(path, "schedule", said, Schedule),
        arrivals=_table(path, "arrivals", said, Arrivals),
        ray=_table(path, "ray", said, Cluster),
        keep=_table(path, "keep", said, Keep),
    )


def render_settings(sources: tuple[str, ...], profile_name: str) -> str:
    """Return the text of a new rushes.toml: what was asked for, and the defaults to edit, each explained."""
    sampling, schedule, arrivals, keep = Sampling(), Schedule(), Arrivals(), Keep()
    weights = "\n".join(f"{modality} = {weight}" for modality, weight in DEFAULT_FUSION.items())
    return f"""\
# What Rushes does with this archive. Edit it freely: the next `rushes ingest` redoes exactly what a change invalidates.
sources = {json.dumps(list(sources), ensure_ascii=False)}
profile = {json.dumps(profile_name)}       # which encoders
follow_links = false          # true: also read what links inside a source point to outside it
# Beside this file, labels.txt may name what moments are to be labelled with: one label a line, "label: what it means"
# where its name does not say it. Nothing is decoded or encoded anew for a change of it.

[sampling]
mode = "{sampling.mode}"                 # keyframes, snap, exact or shots; auto chooses by how a film is coded
interval_seconds = {sampling.interval_seconds}        # time between frames where they lie on a grid
longest_shot_seconds = {sampling.longest_shot_seconds}   # a longer shot is split
window_seconds = {sampling.window_seconds}         # length of one audio moment

[fusion]                      # weight of each modality in a scene vector
{weights}

# What `rushes up` does with it; a plain `rushes ingest` takes notice of `first` only.
[schedule]
nightly = "{schedule.nightly}"         # cron; "" for never
time_zone = {json.dumps(local_time_zone())}
stop_at = ""                  # such as "06:00": work stops cleanly then, the rest waits for the next night
max_gpu_hours = 0             # of one run; 0 for no limit
first = []                    # collections to begin with, such as ["news/*"]; the newest first within each

[arrivals]
watch = true                  # index what arrives during the day
stable_seconds = {arrivals.stable_seconds}         # a file that changed within this time is still being written
listen = ""                   # such as "127.0.0.1:4300": take S3 and GCS notifications there

[ray]
address = ""                  # a cluster's Jobs API, such as "http://head:8265"; "" for this machine

[keep]
days = {keep.days}                      # how long old index generations and table versions stay
"""


def _refuse_unknown(path: Path, table: str, said: Mapping[str, Any], known: set[str]) -> None:
    for key in said:
        if key not in known:
            where = f"[{table}] " if table else ""
            raise ConfigError(f"{path}: {where}{key!r} means nothing; known are {', '.join(sorted(known))}.")


def _of_type(path: Path, key: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ConfigError(f"{path}: {key} = {value!r} needs to be a {kind.__name__}.")
    return value


def _table(path: Path, name: str, said: Mapping[str, Any], kind: type[_T]) -> _T:
    """Return one table of rushes.toml as the value that it describes; its fields say what they take."""
    given = _of_type(path, name, said.get(name, {}), dict)
    defaults = {f.name: getattr(kind(), f.name) for f in fields(kind)}
    _refuse_unknown(path, name, given, set(defaults))
    values = {key: _like(path, f"{name}.{key}", value, defaults[key]) for key, value in given.items()}
    try:
        return kind(**values)
    except ValueError as exc:
        raise ConfigError(f"{path}: [{name}] {exc}") from exc


def _like(path: Path, key: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ConfigError(f'{path}: {key} = {value!r} needs to be a list of texts, such as ["news/*"].')
        return tuple(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _of_type(path, key, value, type(default))


def _sources(path: Path, said: Any) -> tuple[str, ...]:
    if not isinstance(said, list) or not said or not all(isinstance(s, str) and s for s in said):
        raise ConfigError(f'{path}: sources = {said!r} needs at least one folder, such as sources = ["/media/films"].')
    return tuple(dict.fromkeys(said))


def _profile(path: Path, name: Any, own: Any) -> Profile:
    """Return the profile of this name; all of a person's own are checked, whichever is in force."""
    tables = _of_type(path, "profiles", own, dict)
    mine = {}
    for each, table in tables.items():
        try:
            mine[each] = described(each, _of_type(path, f"profiles.{each}", table, dict))
        except (ValueError, LookupError) as exc:
            raise ConfigError(f"{path}: [profiles.{each}] {str(exc.args[0]).removesuffix('.')}.") from exc
    _of_type(path, "profile", name, str)
    try:
        return mine[name] if name in mine else profile(name)
    except LookupError as exc:
        also = f" There are also yours: {', '.join(mine)}." if mine else ""
        raise ConfigError(f"{path}: {exc.args[0]}{also}") from exc


def _positive(path: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"{path}: {key} = {value!r} needs to be a number above 0.")
    return value


def _sampling(path: Path, said: Mapping[str, Any]) -> Sampling:
    if rate := next((key for key in said if key in ("rate_hz", "rates_hz")), None):
        raise ConfigError(f"{path}: [sampling] {rate} is the encoders' to say, each hears its own; remove the line.")
    defaults = {key: default for key, default in asdict(Sampling()).items() if key != "rates_hz"}
    _refuse_unknown(path, "sampling", said, set(defaults))
    return Sampling(**{key: _sampled(path, f"sampling.{key}", value, defaults[key]) for key, value in said.items()})


def _sampled(path: Path, key: str, value: Any, default: Any) -> Any:
    """Return what rushes.toml says of one field of the sampling, as the kind of value that its default is."""
    if isinstance(default, Mode):
        if value not in set(Mode):
            raise ConfigError(f"{path}: {key} = {value!r} is no way to sample; known are {', '.join(Mode)}.")
        return Mode(value)
    number = _positive(path, key, value)
    if isinstance(default, int) and number != int(number):
        raise ConfigError(f"{path}: {key} = {value!r} needs to be a whole number.")
    return type(default)(number)


def _fusion(path: Path, said: Mapping[str, Any]) -> Mapping[Modality, float]:
    _refuse_unknown(path, "fusion", said, {m.value for m in DEFAULT_FUSION})
    for key, value in said.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise ConfigError(f"{path}: fusion.{key} = {value!r} needs to be a number, 0 or more.")
    weights = dict(DEFAULT_FUSION) | {Modality(key): float(value) for key, value in said.items()}
    if not any(weights.values()):
        raise ConfigError(f"{path}: [fusion] has no weight above 0; give at least one modality some.")
    return weights
