"""Files that arrive in a burst: each is left until it is stable, and all are told once."""

from __future__ import annotations

import stat
import threading
from dataclasses import dataclass
from pathlib import Path

from flows.events import LONGEST_LIST

LONGEST_WAIT_SECONDS = 60.0
"""What has settled is told after this time, even if other files are still being written."""


@dataclass
class _Pending:
    """Something that arrived a moment ago."""

    name: str
    path: Path | None
    facts: tuple[int, int]
    """Size in bytes and modification time in ns, which tell whether it changes."""
    since: float


@dataclass
class Burst:
    """What has arrived for one archive and is not told yet. Safe to share between threads.

    `now` is everywhere a clock that only goes forward. The times of files are compared with each other alone: they may
    come from another machine.
    """

    stable_seconds: float
    n_files: int = 0
    """How many have settled."""
    n_bytes: int = 0
    names: tuple[str, ...] = ()
    """Of the first few, below their source."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[str, _Pending] = {}
        self._settled_since = 0.0

    def touch(self, name: str, now: float, path: Path | None = None) -> None:
        """Note that something has arrived or changed.

        Args:
            name: its path below its source.
            now: the time.
            path: the file to keep an eye on; None: an object, which is whole when it is heard of.
        """
        facts = _facts(path) if path else (0, 0)
        with self._lock:
            key = str(path or name)
            if facts is not None and key not in self._pending:  # else `settle` sees by itself whether it changes
                self._pending[key] = _Pending(name, path, facts, now)

    def settle(self, now: float) -> None:
        """Look at what is pending: count what is stable by now, drop what has gone."""
        with self._lock:
            pending = list(self._pending.items())
        for key, each in pending:
            facts = _facts(each.path) if each.path else each.facts
            if facts is not None and facts != each.facts:
                each.facts, each.since = facts, now
            elif facts is None or now - each.since >= self.stable_seconds:
                with self._lock:
                    del self._pending[key]
                if facts is not None:
                    self._count(each, now)

    def _count(self, settled: _Pending, now: float) -> None:
        if not self.n_files:
            self._settled_since = now
        self.n_files += 1
        self.n_bytes += settled.facts[0]
        if len(self.names) < LONGEST_LIST:
            self.names += (settled.name,)

    def is_due(self, now: float) -> bool:
        """Tell whether there is something to tell, and nothing to wait for."""
        return bool(self.n_files) and (not self._pending or now - self._settled_since >= LONGEST_WAIT_SECONDS)

    def told(self) -> None:
        """Forget what has settled: it was told."""
        self.n_files, self.n_bytes, self.names = 0, 0, ()


def _facts(path: Path) -> tuple[int, int] | None:
    """Return what tells whether a file changes; None: it is no file, or has gone."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return (facts.st_size, facts.st_mtime_ns) if stat.S_ISREG(facts.st_mode) else None
