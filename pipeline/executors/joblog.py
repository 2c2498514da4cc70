"""The log of a job on a cluster, line by line, however often the connection breaks."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from pipeline.errors import ArchiveError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

LOST_SECONDS = 300.0
"""So long a cluster may be out of reach."""
SILENT_SECONDS = 30.0
"""A connection that says nothing for so long is opened again: it may be half of one."""
AGAIN_SECONDS = 1.0


def lines(client: JobSubmissionClient, name: str) -> Generator[str]:
    """Yield each line of a job's log once, until the job has ended and all of it was read.

    Raises:
        ArchiveError: the cluster is out of reach for too long, or does not know the job.
    """
    n_read, reached = 0, time.monotonic()
    while True:
        try:
            over = client.get_job_info(name).status.is_terminal()
            reached, n_before = time.monotonic(), n_read
            with closing(_Tail(client, name)) as tail:
                for number, line in enumerate(tail.lines()):
                    if number >= n_read:
                        n_read += 1
                        yield line
            if over:
                return
            if n_read == n_before:
                time.sleep(AGAIN_SECONDS)  # it ended at once, as it does where the job's node cannot be asked
        except (OSError, RuntimeError) as exc:
            if "does not exist" in str(exc):
                raise ArchiveError(
                    f"The Ray cluster no longer knows the job {name}, so it was started anew; run again: what is done "
                    "is kept."
                ) from exc
            if time.monotonic() - reached > LOST_SECONDS:
                said = " ".join(str(exc).split())[:200]
                raise ArchiveError(
                    f"The Ray cluster has not answered for {LOST_SECONDS / 60:.0f} minutes ({said}); the job {name} "
                    "goes on if the cluster does, and is found again by the same run."
                ) from exc
            time.sleep(AGAIN_SECONDS)


class _Tail:
    """One connection to a log: from its first line on, until one of the two ends closes it."""

    def __init__(self, client: JobSubmissionClient, name: str) -> None:
        self._chunks: queue.Queue[str | Exception | None] = queue.Queue()
        self._loop = asyncio.new_event_loop()
        self._reading: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._work, args=(client, name), name="job-log", daemon=True)
        self._thread.start()

    def lines(self) -> Iterator[str]:
        """Yield whole lines; the rest of one that is being written is left to the next connection."""
        begun = ""
        while True:
            try:
                chunk = self._chunks.get(timeout=SILENT_SECONDS)
            except queue.Empty:
                return
            if isinstance(chunk, Exception):
                raise chunk
            if chunk is None:
                return
            *whole, begun = (begun + chunk).split("\n")
            yield from whole

    def close(self) -> None:
        """End it."""
        with suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(lambda: self._reading and self._reading.cancel())
        self._thread.join(timeout=SILENT_SECONDS)

    def _work(self, client: JobSubmissionClient, name: str) -> None:
        try:
            with closing(self._loop):
                self._reading = self._loop.create_task(self._read(client, name))
                self._loop.run_until_complete(self._reading)
            self._chunks.put(None)
        except asyncio.CancelledError:
            self._chunks.put(None)
        except Exception as exc:  # it belongs to the thread that waits; what aiohttp raises is no OSError everywhere
            self._chunks.put(exc if isinstance(exc, OSError | RuntimeError) else RuntimeError(str(exc)))

    async def _read(self, client: JobSubmissionClient, name: str) -> None:
        async for chunk in client.tail_job_logs(name):
            self._chunks.put(chunk)
