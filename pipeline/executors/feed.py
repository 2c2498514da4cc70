"""Jobs on their way to a cluster: a few ahead of what it takes, read by a thread of their own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable

from pipeline.executors.stages import Job

JOBS_AHEAD = 16
JOBS_PER_LANE = 8
READING_SECONDS = 2.0
BYTES_PER_LANE = 8 << 20
"""Files of which several fit in here are decoded by one task."""


class Feed:
    """Takes jobs, which means to read and hash files, while the cluster works on those before; never many ahead."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._queue: queue.Queue[Job | BaseException | None] = queue.Queue(JOBS_AHEAD)
        self._held: Job | BaseException | None = None
        """Taken from the queue, and too large to go with what was before it."""
        self._ended = False
        self._stopped = threading.Event()
        self.taken: dict[str, Job] = {}
        """Jobs that were taken, by asset."""
        self._thread = threading.Thread(target=self._read, args=(jobs,), name="feed", daemon=True)
        self._thread.start()

    def wait(self) -> bool:
        """Wait for the first job; tell whether there is one."""
        if self._held is None and not self._ended:
            self._hold(self._queue.get())
        return not self._ended

    def is_empty(self) -> bool:
        """Tell whether all jobs were taken."""
        return self._ended

    def take(self) -> list[Job]:
        """Return jobs for one task, as many as are ready, small and few; none if none is ready.

        Raises:
            BaseException: what went wrong where jobs are made, in the thread that waits for them.
        """
        jobs: list[Job] = []
        n_bytes = 0
        while len(jobs) < JOBS_PER_LANE and not self._ended:
            if self._held is None:
                try:
                    self._hold(self._queue.get_nowait())
                except queue.Empty:
                    break
            if self._held is None:
                break
            if isinstance(self._held, BaseException):
                raise self._held
            n_bytes += _size(self._held)
            if jobs and n_bytes > BYTES_PER_LANE:
                break
            jobs.append(self._held)
            self.taken[self._held.asset_id], self._held = self._held, None
        return jobs

    def close(self) -> None:
        """Take no more; a large file that is being read is not waited for."""
        self._stopped.set()
        self._thread.join(timeout=READING_SECONDS)

    def _hold(self, item: Job | BaseException | None) -> None:
        self._held, self._ended = item, item is None

    def _read(self, jobs: Iterable[Job]) -> None:
        try:
            for job in jobs:
                if not self._put(job):
                    return
        except BaseException as exc:  # a bug, or an interruption: it belongs to the thread that waits
            self._put(exc)
        self._put(None)

    def _put(self, item: Job | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


def _size(job: Job) -> int:
    try:
        return job.place.size if job.place else job.path.stat().st_size
    except OSError:
        return 0
