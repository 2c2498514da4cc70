"""How a long film is divided among workers: into pieces that begin at key frames. Pure functions of times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_PIECE_SECONDS = 60.0
_REACH_SECONDS = 20.0
"""How far from where equal pieces would begin a better place is looked for."""
_LEAST_SECONDS = 30.0
SLOPPY_SECONDS = 0.1
"""Two sources of a key frame's time, the index and its packet, differ by less."""


def even_starts(start_seconds: float, stop_seconds: float) -> list[float]:
    """Return where pieces of equal length would begin, the first included: each a minute long, or a little more."""
    seconds = stop_seconds - start_seconds
    n = int((seconds + 0.5) // _PIECE_SECONDS)
    return [start_seconds + seconds * i / n for i in range(n)] if n > 1 else [start_seconds]


def pieces_of(key_seconds: Sequence[float], stop_seconds: float) -> list[float]:
    """Return where the pieces of a long film begin: key frames about a minute apart, at cuts if possible.

    Each piece is decoded by itself, perhaps by another worker, and its shots are its own. So it should begin where a
    shot does: of the key frames in reach, at the one that follows the one before it soonest.

    Args:
        key_seconds: rising times of all key frames.
        stop_seconds: where the film ends.
    """
    keys = np.array(key_seconds)
    starts = [float(keys[0])] if len(keys) else []
    for even in even_starts(starts[0], stop_seconds)[1:] if starts else ():
        first, last = np.searchsorted(keys, [even - _REACH_SECONDS, even + _REACH_SECONDS])
        reach = keys[first:last] if first < last else keys[last : last + 1]
        if not len(reach):
            break
        since = np.round(reach - keys[np.searchsorted(keys, reach) - 1], 2)
        soonest = reach[since == since.min()]
        start = float(soonest[np.abs(soonest - even).argmin()])
        if min(start - starts[-1], stop_seconds - start) >= _LEAST_SECONDS:
            starts.append(start)
    return starts


def soonest(key_seconds: Sequence[float]) -> float | None:
    """Return the one of some key frames that follows the one before it soonest; None: there are none.

    >>> soonest([60.1, 60.6, 60.8, 61.3])
    60.8
    """
    since = np.round(np.diff(key_seconds), 2)
    return key_seconds[int(since.argmin()) + 1] if len(since) else next(iter(key_seconds), None)


def owners_of(starts: Sequence[float], stop_seconds: float, workers: int) -> list[int]:
    """Return which worker decodes each piece, counted from 0: who has the least to do so far takes the next.

    >>> owners_of([0.0, 75.0, 120.0, 180.0], 240.0, 2)
    [0, 1, 1, 0]
    """
    busy = [0.0] * workers
    owners = []
    for start, stop in zip(starts, [*starts[1:], stop_seconds], strict=True):
        owners.append(busy.index(min(busy)))
        busy[owners[-1]] += stop - start
    return owners


class Pieces:
    """Tells, group by group, which piece of a film one is in."""

    def __init__(self, starts: Sequence[float]) -> None:
        """Begin before the first group.

        Args:
            starts: where the pieces begin; fewer than two: the film is one piece.
        """
        self.starts = tuple(starts)
        self.current = 0

    def ends_at(self, key_seconds: float) -> bool:
        """Tell whether a key frame at this time begins the next piece."""
        following = self.starts[self.current + 1 : self.current + 2]
        return bool(following) and key_seconds >= following[0] - SLOPPY_SECONDS


@dataclass(frozen=True)
class Share:
    """Which pieces of a film one worker decodes."""

    starts: tuple[float, ...] = ()
    """Where the pieces begin, in seconds; fewer than two: the film is one piece."""
    owners: tuple[int, ...] = (0,)
    """Of each piece, the worker that decodes it."""
    worker: int = 0
    offsets: tuple[int, ...] = ()
    """For each piece, a byte from which its beginning is found; empty: it is found by its time."""

    def owns(self, piece: int) -> bool:
        """Tell whether a piece is this worker's."""
        return self.owners[piece] == self.worker
