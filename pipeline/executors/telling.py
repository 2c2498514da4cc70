"""What a run on a cluster tells its watcher at home, as lines of JSON in the log of its job."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline import errors
from pipeline.errors import ArchiveError, RushesError
from pipeline.executors.stages import Made
from pipeline.media import Facts, Media, Modality, Moment
from pipeline.report import Report, Watcher

MARK = "rushes"
"""The key by which our lines are told from others in the log."""
EVERY_SECONDS = 1.0


@dataclass
class _Reached:
    """How far an asset is."""

    media: str = Media.VIDEO
    duration_seconds: float | None = None
    stop_seconds: float = 0.0


class Telling:
    """A `Watcher` that writes lines. News of pieces are gathered: a line a second for each asset that got on."""

    def __init__(self) -> None:
        self._out = sys.stdout  # as it is now: what libraries print while the run goes on is no line of ours
        self._reached: dict[str, _Reached] = defaultdict(_Reached)
        self._told = time.monotonic()

    def planned(self, n_files: int, n_bytes: int) -> None:
        """See `Watcher`."""
        self._say("planned", n_files=n_files, n_bytes=n_bytes)

    def started(self, asset_id: str, n_bytes: int) -> None:
        """See `Watcher`."""
        self._say("started", asset_id=asset_id, n_bytes=n_bytes)

    def made(self, made: Made) -> None:
        """See `Watcher`."""
        reached = self._reached[made.asset_id]
        if isinstance(made.news, Facts):
            reached.media, reached.duration_seconds = made.news.media, made.news.duration_seconds
        stops = [m.stop_seconds for m in made.moments if m.modality != Modality.TEXT]
        reached.stop_seconds = max([reached.stop_seconds, *stops])
        if time.monotonic() - self._told >= EVERY_SECONDS:
            self._told = time.monotonic()
            gathered, self._reached = self._reached, defaultdict(_Reached)
            for asset_id, far in gathered.items():
                self._say("made", asset_id=asset_id, **asdict(far))

    def finished(self, asset_id: str, uri: str, state: str, reason: str) -> None:
        """See `Watcher`."""
        self._reached.pop(asset_id, None)
        self._say("finished", asset_id=asset_id, uri=uri, state=state, reason=reason)

    def ended(self, report: Report) -> None:
        """Tell how it all ended."""
        self._say("report", **vars(report))

    def failed(self, error: RushesError) -> None:
        """Tell the sentence that a person needs."""
        self._say("error", kind=type(error).__name__, text=str(error))

    def _say(self, what: str, **facts: object) -> None:
        # in one write, since threads tell too, and in ASCII: names are data, and may be no UTF-8
        self._out.write(json.dumps({MARK: what, **facts}) + "\n")
        self._out.flush()


def hear(line: str, watcher: Watcher) -> Report | None:
    """Pass a line of the log on to a watcher; return the report if it is that. Lines that are not ours are left.

    Raises:
        RushesError: what ended the run on the cluster.
    """
    said = _ours(line)
    what = said.pop(MARK, "")
    if what == "planned":
        watcher.planned(**said)
    elif what == "started":
        watcher.started(**said)
    elif what == "made":
        watcher.made(_made(**said))
    elif what == "finished":
        watcher.finished(**said)
    elif what == "error":
        kind = getattr(errors, said["kind"], ArchiveError)
        raise kind(said["text"])
    elif what == "report":
        said |= {key: Counter(said[key]) for key in ("states", "reasons", "left_out")}
        return Report(**said)
    return None


def _ours(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) and MARK in said else {}


def _made(asset_id: str, media: str, duration_seconds: float | None, stop_seconds: float) -> Made:
    """Return what a watcher needs of pieces that stayed on the cluster: how long the asset is, how far it is."""
    news = None if duration_seconds is None else Facts(Media(media), "", duration_seconds)
    nothing = np.zeros(0, np.float32)
    moment = Moment(asset_id, Modality.SCENE, "scene", 0.0, stop_seconds, "", nothing)
    return Made(asset_id, 0, (moment,), news)
