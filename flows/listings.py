"""What happens in an object store: nobody tells, so it is listed again and again, and compared with the last time."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable

from flows.bursts import Burst
from pipeline.store.discover import Found, Source

LEAST_PAUSE_SECONDS = 60.0
SHARE = 0.1
"""At most this share of the time is spent on listing: large buckets are listed less often."""


def follow(source: Source, name: str, burst: Burst, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Note in a burst what is new or changed in a source since it was listed last, until stopped.

    The first listing is what the others are compared with. One that fails is told once, and changes nothing.

    Args:
        source: what is listed.
        name: the source as people know it.
        burst: what is told.
        stop: set from outside.
        say: takes a sentence for people.
    """
    last: set[int] | None = None
    trouble = False
    while not stop.is_set():
        began = time.monotonic()
        try:
            last = _list(source, last, burst, stop)
        except Exception as error:  # whatever a store's client raises: it may be over the next time
            if not trouble:
                say(f"{name} cannot be listed ({error}); trying again.")
            trouble = True
        else:
            if trouble:
                say(f"{name} can be listed again.")
            trouble = False
        took = time.monotonic() - began
        stop.wait(max(LEAST_PAUSE_SECONDS, took / SHARE - took))


def _list(source: Source, last: set[int] | None, burst: Burst, stop: threading.Event) -> set[int]:
    """Touch what was not there the last time; return what is there: a mark for each file as it is now."""
    now = set()
    for found in source.list():
        mark = _mark(found)
        now.add(mark)
        if last is not None and mark not in last:
            burst.touch(found.place.uri, time.monotonic())
        if stop.is_set():
            break
    return now


def _mark(found: Found) -> int:
    """Return 64 bits that stand for a file as it is now: a million of them fit into memory, names would not."""
    said = repr(found.place).encode("utf8", "backslashreplace")
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "big")
