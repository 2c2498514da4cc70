"""How a long film is divided among workers: into pieces that begin at key frames. Pure functions of times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_PIECE_SECONDS = 60.0
SLOPPY_SECONDS = 0.1
"""Two sources of a key frame's time, the index and its packet, differ by less."""


def pieces_of(key_seconds: Sequence[float], stop_seconds: float) -> list[float]:
    """Return where the pieces of a long film begin: key frames that are a minute or more apart, at cuts if possible.

    Each piece is decoded by itself, perhaps by another worker, and its shots are its own. So it should begin where a
    shot does: of the key frames in reach, at the one that follows the one before it soonest.

    Args:
        key_seconds: rising times of all key frames.
        stop_seconds: where the film ends.
    """
    keys = np.array(key_seconds)
    starts = [float(keys[0])] if len(keys) else []
    while starts and stop_seconds - starts[-1] > 2 * _PIECE_SECONDS - 1:
        first, last = np.searchsorted(keys, [starts[-1] + _PIECE_SECONDS, starts[-1] + 1.5 * _PIECE_SECONDS])
        if first == len(keys):
            break
        reach = np.arange(first, max(last, first + 1))
        starts.append(float(keys[reach[np.argmin(np.round(keys[reach] - keys[reach - 1], 2))]]))
    return starts


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
