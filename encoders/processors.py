"""How many processors an encoder may compute on."""

from __future__ import annotations

import os


def usable() -> int:
    """Return what OMP_NUM_THREADS says, where several encoders share the machine; else all of this process."""
    if threads := os.environ.get("OMP_NUM_THREADS", ""):
        return max(1, int(threads)) if threads.isdecimal() else 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
