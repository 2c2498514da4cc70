"""The stages on Ray, kept busy: decode tasks in lanes, and encoders that stay.

A lane is a task that decodes a few small files or a large one, and streams parcels of pieces as they are made; Ray
stops it while nobody takes them. Parcels stay where they were made until an encoder fetches them: this process holds
references. New lanes begin as old ones end, so that there is no border at which everything drains.

Whatever dies is tried again a finite number of times: Ray does so for lanes, which continue behind the parcels that
were taken; what an encoder was at when it died is given to another one, parcel by parcel, so that the one that kills
encoders is found, and left out. Errors that are no loss but a bug are raised as they are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ArchiveError
from pipeline.executors.cluster import ENCODER_CPUS, Demands
from pipeline.executors.contract import PULSE_SECONDS
from pipeline.executors.encoding import Encoding
from pipeline.executors.feed import Feed
from pipeline.executors.local import N_FRAMES, decoders_for
from pipeline.executors.stages import Job, Made, Piece, decode_job
from pipeline.media import FrameChunk, Sampling, SoundChunk
from pipeline.recipe import Models

PARCEL_BYTES = 4 << 20
"""Several pictures, or a stretch of film: small enough to keep encoders fed, large enough not to cost."""
PARCELS_AHEAD = 2
"""So many a lane may be ahead of what is taken."""
PARCELS_PER_CALL = 8
CALLS_AHEAD = 2
"""One that is worked on, and one whose parcels are on their way."""
MOST_RETRIES = 3
MOST_DEATHS = 12
"""Of encoders, in one run; then it is not the parcels that kill them."""
STALLED_SECONDS = 900.0
"""No file may keep its decoder silent for so long."""
CHECK_SECONDS = 5.0
FEED_SECONDS = 0.02


@dataclass
class _Call:
    """Parcels that an encoder works on."""

    encoder: Any
    parcels: list[Any]
    tries: int = 1


class Lanes:
    """What runs on the cluster for one run."""

    def __init__(self, ray: Any, feed: Feed, models: Models, sampling: Sampling, demands: Demands) -> None:
        self.feed, self.demands = feed, demands
        self._ray, self._models, self._sampling = ray, models, sampling
        self._decode, self._encoder = ray.remote(_decode), ray.remote(_Encoder)
        self._lanes: dict[Any, int] = {}
        """Lanes, and how many decoders each has."""
        self._parcels: deque[tuple[list[Any], int]] = deque()
        """Parcels to encode together, and how often that was tried."""
        self._calls: dict[Any, _Call] = {}
        self._encoders: list[Any] = []
        self._deaths = 0

    def run(self) -> Generator[list[Made]]:
        """Yield what was made, as it comes; an empty list when for a while there was nothing."""
        for _ in range(self.demands.n_encoders):
            self._add_encoder()
        got_on = checked = time.monotonic()
        anything = False
        while self._has_work():
            made = self._step()
            now = time.monotonic()
            if made is not None:
                got_on, anything = now, anything or bool(made)
            elif now - checked > CHECK_SECONDS:
                checked = now
                self._check_node()
            if now - got_on > STALLED_SECONDS:
                if anything:
                    return  # what is missing is tried again by the next run
                raise ArchiveError(
                    f"Ray has done nothing for {STALLED_SECONDS / 60:.0f} minutes; see in its dashboard what it waits "
                    "for (cores that others hold, most likely), and run again."
                )
            yield made or []

    def close(self) -> None:
        """Drop what is running."""
        for lane in self._lanes:
            with suppress(Exception):
                self._ray.cancel(lane, force=True)
        for encoder in self._encoders:
            with suppress(Exception):
                self._ray.kill(encoder)

    def _has_work(self) -> bool:
        return bool(self._lanes or self._parcels or self._calls or not self.feed.is_empty())

    def _step(self) -> list[Made] | None:
        """Start what there is room for, and wait for what comes next; None: nothing came."""
        self._begin_lanes()
        self._begin_calls()
        room = len(self._parcels) < 2 * CALLS_AHEAD * self.demands.n_encoders
        waited_for = [*self._calls, *(self._lanes if room else ())]
        if not waited_for:
            time.sleep(FEED_SECONDS)  # a file is being read
            return []
        ready, _ = self._ray.wait(waited_for, timeout=PULSE_SECONDS, fetch_local=False)
        if not ready:
            return None
        (first,) = ready
        if first in self._calls:
            return self._ended(first, self._calls.pop(first))
        self._take_parcel(first)
        return []

    def _begin_lanes(self) -> None:
        # never one more, that waits for a core: it would take the core of an encoder that died, and wait for its heir
        while (free := self.demands.n_lanes - sum(self._lanes.values())) > 0 and (jobs := self.feed.take()):
            n_decoders = min(decoders_for(jobs[0]), free)
            task = self._decode.options(
                num_cpus=self.demands.lane_cpus * n_decoders,
                num_returns="streaming",
                max_retries=MOST_RETRIES,
                _generator_backpressure_num_objects=PARCELS_AHEAD,
            )
            self._lanes[task.remote(jobs, self._sampling, n_decoders)] = n_decoders

    def _take_parcel(self, lane: Any) -> None:
        try:
            self._parcels.append(([next(lane)], 1))
        except StopIteration:
            del self._lanes[lane]

    def _begin_calls(self) -> None:
        while self._parcels:
            busy = dict.fromkeys(self._encoders, 0)
            for call in self._calls.values():
                if call.encoder in busy:  # not one that has just died
                    busy[call.encoder] += 1
            encoder = min(busy, key=lambda e: busy[e])
            if busy[encoder] >= CALLS_AHEAD:
                return
            parcels, tries = self._parcels.popleft()
            while tries == 1 and self._parcels and len(parcels) < PARCELS_PER_CALL and self._parcels[0][1] == 1:
                parcels += self._parcels.popleft()[0]
            self._calls[encoder.encode.remote(*parcels)] = _Call(encoder, parcels, tries)

    def _ended(self, ref: Any, call: _Call) -> list[Made]:
        errors = self._ray.exceptions
        try:
            made: list[Made] = self._ray.get(ref, timeout=STALLED_SECONDS)
        except errors.RayTaskError as exc:
            if not isinstance(exc.cause, errors.RayError) or isinstance(exc.cause, errors.RayTaskError):
                raise exc.cause from exc  # a bug
            self._again(call)
        except errors.RayActorError as exc:
            self._bury(call.encoder, exc)
            self._again(call)
        except errors.RayError:
            self._again(call)
        else:
            return made
        return []

    def _again(self, call: _Call) -> None:
        """Try parcels once more, each alone; one that has failed alone is lost, and its asset incomplete."""
        if call.tries < MOST_RETRIES:
            tries = call.tries + 1
            self._parcels.extendleft(([parcel], tries) for parcel in call.parcels)

    def _bury(self, encoder: Any, exc: Exception) -> None:
        if encoder in self._encoders:
            self._encoders.remove(encoder)
            self._deaths += 1
            if self._deaths > MOST_DEATHS:
                raise ArchiveError(
                    f"{self._deaths} encoders died on Ray in this run, the last because {_reason(exc)}; give them more "
                    "memory, and run again: what is done is kept."
                ) from exc
            self._check_node()
            self._add_encoder()

    def _add_encoder(self) -> None:
        options = self._encoder.options(num_cpus=ENCODER_CPUS, num_gpus=self.demands.gpu_share, max_restarts=0)
        self._encoders.append(options.remote(self._models, self._sampling))

    def _check_node(self) -> None:
        """Raise ArchiveError when the part of Ray on this machine has died, without which nothing ever comes back."""
        here = self._ray.get_runtime_context().get_node_id()
        if not any(node["Alive"] for node in self._ray.nodes() if node["NodeID"] == here):
            raise ArchiveError("Ray has died on this machine; run again: what is done is kept.")


def _reason(exc: Exception) -> str:
    said = " ".join(str(exc).split())
    return said.partition("The actor is dead because ")[2][:300] or said[:300]


def _decode(jobs: Sequence[Job], sampling: Sampling, n_decoders: int) -> Iterator[list[Piece]]:
    """The first stage as a task: yield the pieces of some assets in parcels, the same ones each time."""
    parcel: list[Piece] = []
    n_bytes = 0
    for job in jobs:
        for piece in decode_job(job, sampling, workers=n_decoders):
            parcel.append(piece)
            n_bytes += _n_bytes(piece)
            if n_bytes >= PARCEL_BYTES:
                yield parcel
                parcel, n_bytes = [], 0
    if parcel:
        yield parcel


def _n_bytes(piece: Piece) -> int:
    if isinstance(piece.body, FrameChunk):
        return piece.body.pixels.nbytes
    return piece.body.samples.nbytes if isinstance(piece.body, SoundChunk) else 0


class _Encoder:
    """The second stage as an actor: weights load once, when they are first used."""

    def __init__(self, models: Models, sampling: Sampling) -> None:
        self.encoding = Encoding(models, sampling)

    def encode(self, *parcels: list[Piece]) -> list[Made]:
        """Encode parcels in batches of about N_FRAMES frames."""
        made: list[Made] = []
        batch: list[Piece] = []
        n_frames = 0
        for piece in (piece for parcel in parcels for piece in parcel):
            batch.append(piece)
            n_frames += len(piece.body.pixels) if isinstance(piece.body, FrameChunk) else 0
            if n_frames >= N_FRAMES:
                made += self.encoding.encode(batch)
                batch, n_frames = [], 0
        return made + (self.encoding.encode(batch) if batch else [])
