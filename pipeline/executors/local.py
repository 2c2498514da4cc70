"""All stages in this process: the specification of what an executor does.

Decoding runs in child processes, a few files at once, and hands its pieces through a short queue to this thread, which
encodes whatever lies in it together. The queue is what bounds memory: a full one makes the decoders wait.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing

from encoders import gpu
from pipeline.config import Settings
from pipeline.executors.assembling import assemble
from pipeline.executors.contract import PULSE_SECONDS, Pulse
from pipeline.executors.encoding import Encoding
from pipeline.executors.stages import Job, Made, Piece, Result, decode_job
from pipeline.media import FrameChunk, Sampling
from pipeline.recipe import Models, sampling_of

N_DECODERS = 2
LARGE_BYTES = 500_000_000
"""A film of so many bytes is decoded by as many children as there are decoders."""
STOPPING_SECONDS = 10.0
N_QUEUED = 6
"""Pieces that wait; one holds up to a minute of frames, about 20 MB."""
N_FRAMES = 96
"""Frames after which a batch for the encoders is full."""


def run(
    jobs: Iterable[Job], settings: Settings, models: Models, watch: Callable[[Made], None] | None = None
) -> Generator[Result | Pulse]:
    """Do the jobs; yield a result for each, in the order in which they are done, and a pulse now and then.

    Closing the iterator stops the decoders and kills their children.

    Args:
        jobs: taken one by one as decoders become free, from one thread at a time.
        settings: sampling and fusion.
        models: encoders and reader.
        watch: told of each piece that was made, for progress.
    """
    sampling = sampling_of(settings, models)
    encoding = Encoding(models, sampling)
    made_of: dict[str, list[Made]] = {}
    decoders = _Decoders(jobs, sampling)
    try:
        for batch in _batches(decoders):
            yield Pulse(gpu.held())
            for made in encoding.encode(batch):
                if watch:
                    watch(made)
                made_of.setdefault(made.asset_id, []).append(made)
                if made.last:
                    job = decoders.running.pop(made.asset_id)
                    yield assemble(job, made_of.pop(made.asset_id), models, settings.fusion)
    finally:
        decoders.stop()


class _Decoders:
    """Threads that take jobs and put their pieces into a short queue; each thread waits for a child process."""

    def __init__(self, jobs: Iterable[Job], sampling: Sampling) -> None:
        self.running: dict[str, Job] = {}
        self.pieces: queue.Queue[Piece | BaseException | None] = queue.Queue(N_QUEUED)
        """Pieces; None when a thread has run out of jobs; an exception when a job was a bug."""
        self._jobs = iter(jobs)
        self._taking = threading.Lock()
        self._stopped = threading.Event()
        names = [f"decoder-{n}" for n in range(N_DECODERS)]
        self.threads = [threading.Thread(target=self._work, args=(sampling,), name=n, daemon=True) for n in names]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Stop all threads and the children that they wait for; one that reads a large file ends by itself."""
        self._stopped.set()
        for thread in self.threads:
            thread.join(timeout=STOPPING_SECONDS)

    def _work(self, sampling: Sampling) -> None:
        try:
            while job := self._take():
                with closing(decode_job(job, sampling, workers=decoders_for(job))) as stream:
                    for piece in stream:
                        if not self._put(piece):
                            return
        except BaseException as exc:  # a bug, or an interruption: it belongs to the thread that waits
            self._put(exc)
        self._put(None)

    def _take(self) -> Job | None:
        with self._taking:
            job = None if self._stopped.is_set() else next(self._jobs, None)
            if job is not None:
                self.running[job.asset_id] = job
            return job

    def _put(self, item: Piece | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self.pieces.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


def decoders_for(job: Job) -> int:
    """Return how many children share one file: a large one is most likely what is left to do in the end."""
    try:
        n_bytes = job.place.size if job.place else job.path.stat().st_size
        return N_DECODERS if n_bytes >= LARGE_BYTES else 1
    except OSError:
        return 1


def _batches(decoders: _Decoders) -> Iterator[list[Piece]]:
    """Yield what lies in the queue until every thread has said that it is done; nothing when nothing comes."""
    n_running = len(decoders.threads)
    while n_running:
        batch: list[Piece] = []
        n_frames = 0
        while not batch or (n_frames < N_FRAMES and not decoders.pieces.empty()):
            try:
                item = decoders.pieces.get(timeout=PULSE_SECONDS)
            except queue.Empty:
                break
            if isinstance(item, BaseException):
                raise item
            if item is None:
                n_running -= 1
                if not n_running:
                    break
                continue
            batch.append(item)
            n_frames += len(item.body.pixels) if isinstance(item.body, FrameChunk) else 0
        yield batch
