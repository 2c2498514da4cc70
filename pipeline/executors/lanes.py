"""The stages on Ray, kept busy: decode tasks in lanes, and encoders that stay.

A lane is a task that decodes a few small files or a large one, and streams parcels of pieces as they are made; Ray
stops it while nobody takes them. Parcels stay where they were made until an encoder fetches them: this process holds
references. New lanes begin as old ones end, so that there is no border at which everything drains.

Whatever dies is tried again a finite number of times: Ray does so for lanes, which continue behind the parcels that
were taken; what an encoder was at when it died is given to another one, alone, parcel by parcel and then asset by
asset, so that the one that kills encoders is found (`suspects`), and quarantined. Errors that are no loss but a bug
are raised as they are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ArchiveError
from pipeline.executors.cluster import ENCODER_CPUS, Demands
from pipeline.executors.contract import PULSE_SECONDS
from pipeline.executors.feed import Feed
from pipeline.executors.local import decoders_for
from pipeline.executors.stages import Made
from pipeline.executors.suspects import Suspect, suspects
from pipeline.executors.workers import Encoder, decode_jobs
from pipeline.media import Sampling
from pipeline.recipe import Models

PARCELS_AHEAD = 2
"""So many a lane may be ahead of what is taken."""
PARCELS_PER_CALL = 8
CALLS_AHEAD = 2
"""One that is worked on, and one whose parcels are on their way."""
MOST_RETRIES = 3
"""Parcels go together, then each alone, then each of its assets alone."""
MOST_DEATHS = 12
"""Of encoders, in one run, beside those that a guilty asset has killed; then it is not the parcels that kill them."""
STALLED_SECONDS = 900.0
"""No file may keep its decoder silent for so long, once it is here."""
SLOWEST_BYTES = 1 << 20
"""A second, of an object that is fetched: its decoder is silent until all of it has come."""
CHECK_SECONDS = 5.0
FEED_SECONDS = 0.02


@dataclass(frozen=True)
class _Load:
    """Parcels to encode together; none of them: the control, for one that is accused."""

    parcels: tuple[Any, ...]
    tries: int = 1
    suspect: Suspect | None = None
    """Whose pieces all of them are, where they have failed before."""

    @property
    def weight(self) -> int:
        """Return how many calls it counts for: what has failed once has an encoder to itself."""
        return 1 if self.tries == 1 else CALLS_AHEAD


@dataclass(frozen=True)
class _Call:
    """What an encoder works on."""

    encoder: Any
    load: _Load


class Lanes:
    """What runs on the cluster for one run."""

    def __init__(self, ray: Any, feed: Feed, models: Models, sampling: Sampling, demands: Demands) -> None:
        self.feed, self.demands = feed, demands
        self._ray, self._models, self._sampling = ray, models, sampling
        self._decode, self._encoder = ray.remote(decode_jobs), ray.remote(Encoder)
        self._lanes: dict[Any, int] = {}
        """Lanes, and how many decoders each has."""
        self._loads: deque[_Load] = deque()
        """What waits for an encoder."""
        self._calls: dict[Any, _Call] = {}
        self._encoders: list[Any] = []
        self._deaths = 0
        self._guilty: frozenset[str] = frozenset()
        """Assets of which encoders have died, and get no more."""

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
            if now - got_on > self._patience_seconds():
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
        return bool(self._lanes or self._loads or self._calls or not self.feed.is_empty())

    def _patience_seconds(self) -> float:
        """Return how long nothing may come back: longer while a large object may be on its way."""
        fetched = max((job.place.size for job in self.feed.taken.values() if job.place), default=0)
        return STALLED_SECONDS + fetched / SLOWEST_BYTES

    def _step(self) -> list[Made] | None:
        """Start what there is room for, and wait for what comes next; None: nothing came."""
        self._begin_lanes()
        self._begin_calls()
        room = len(self._loads) < 2 * CALLS_AHEAD * self.demands.n_encoders
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
            self._loads.append(_Load((next(lane),)))
        except StopIteration:
            del self._lanes[lane]

    def _begin_calls(self) -> None:
        while self._loads:
            busy = dict.fromkeys(self._encoders, 0)
            for call in self._calls.values():
                if call.encoder in busy:  # not one that has just died
                    busy[call.encoder] += call.load.weight
            encoder = min(busy, key=lambda e: busy[e])
            if busy[encoder] + self._loads[0].weight > CALLS_AHEAD:
                return
            load = self._loads.popleft()
            while load.tries == 1 and self._is_next_fresh() and len(load.parcels) < PARCELS_PER_CALL:
                load = _Load(load.parcels + self._loads.popleft().parcels)
            ref = (
                encoder.encode.remote(self._guilty, *load.parcels) if load.parcels else encoder.encode_control.remote()
            )
            self._calls[ref] = _Call(encoder, load)

    def _is_next_fresh(self) -> bool:
        return bool(self._loads) and self._loads[0].tries == 1

    def _ended(self, ref: Any, call: _Call) -> list[Made]:
        errors = self._ray.exceptions
        try:
            made: list[Made] = self._ray.get(ref, timeout=STALLED_SECONDS)
        except errors.RayTaskError as exc:
            if not isinstance(exc.cause, errors.RayError) or isinstance(exc.cause, errors.RayTaskError):
                raise exc.cause from exc  # a bug
            self._again(call.load)
        except (errors.RayActorError, errors.OutOfMemoryError) as exc:
            self._bury(call.encoder, exc)
            self._again(call.load, died=isinstance(exc, errors.ActorDiedError))
        except errors.RayError:
            self._again(call.load)
        else:
            return made if call.load.parcels else [self._convict(call.load.suspect)]
        return []

    def _again(self, load: _Load, *, died: bool = False) -> None:
        """Try parcels once more, each alone; one that has failed alone is lost, and its asset incomplete.

        Args:
            load: what failed.
            died: whether its encoder died, and not for want of memory: the pieces of one asset are accused of it then.
        """
        tries = load.tries + 1
        if tries < MOST_RETRIES:
            self._loads.extendleft(_Load((parcel,), tries) for parcel in load.parcels)
        elif tries == MOST_RETRIES:
            self._loads.extendleft(alone for parcel in load.parcels for alone in self._apart(parcel))
        elif died and load.parcels and load.suspect and load.suspect.asset_id not in self._guilty:
            self._loads.appendleft(_Load((), load.tries, load.suspect))

    def _apart(self, parcel: Any) -> list[_Load]:
        """Fetch a parcel that has failed alone, and divide it by asset; one that is lost gets its last chance whole."""
        try:
            of = suspects(self._ray.get(parcel, timeout=STALLED_SECONDS))
        except self._ray.exceptions.RayError:
            return [_Load((parcel,), MOST_RETRIES)]
        return [
            _Load((parcel if len(of) == 1 else self._ray.put(pieces),), MOST_RETRIES, suspect)
            for suspect, pieces in of
        ]  # fmt: skip

    def _convict(self, suspect: Suspect | None) -> Made:
        """An encoder has lived with the control: it was the asset."""
        if suspect is None:
            raise RuntimeError("Nobody is accused.")
        self._guilty |= {suspect.asset_id}
        self._deaths = max(0, self._deaths - MOST_RETRIES)
        return suspect.guilty()

    def _bury(self, encoder: Any, exc: Exception) -> None:
        if encoder in self._encoders:
            self._encoders.remove(encoder)
            with suppress(Exception):
                self._ray.kill(encoder)  # one that cannot be reached may hold its core
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
