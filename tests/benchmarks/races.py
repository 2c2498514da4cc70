"""One film, all contenders, round after round: how fast each gives frames at the model's size, and which frames."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pipeline.decode.shape import displayed_size, target_size
from tests.benchmarks import contenders, frame_gates
from tests.benchmarks.contenders import AbsentError, Job, Peer, Took
from tests.benchmarks.decode_media import Film
from tests.benchmarks.figures import Figure, interval_of_ratio
from tests.benchmarks.processes import load

SIZE_PX = 260
"""The shorter side that the visual encoder of the default profile asks for."""
_TRIED_SHARE = 0.2
"""How much of a film a setting is tried on before the best is taken."""
KEYFRAMES, AUTO, EXACT = "ours keyframes", "ours auto", "ours exact"
NOKEY, EVERY_SECOND, NAIVE, TORCHCODEC = "ffmpeg -skip_frame nokey", "ffmpeg fps=1,scale", "naive PyAV", "torchcodec"
Runs = Callable[[Path | None], Took]
"""Decodes the film once; frames are kept where it is told to."""


@dataclass(frozen=True)
class Floors:
    """What ratios of speed have to reach; None: nothing."""

    keyframes: float | None = None
    """Of FFmpeg's key frames."""
    keyframes_naive: float | None = None
    auto_naive: float | None = None
    exact: float | None = None
    """Of FFmpeg's one frame a second."""
    exact_torchcodec: float | None = None
    races_naive: bool = True
    """False: the naive decoder runs once, for its frames; on a long film it would take as long as all others."""


class Field:
    """The contenders that are here, warmed up, each with its best setting for one film."""

    def __init__(self, film: Film, path: Path, stack: ExitStack, without: frozenset[str] = frozenset()) -> None:
        """Start them.

        Args:
            film: how it was made.
            path: where it is.
            stack: ends their processes.
            without: contenders that are left out although they may be here.
        """
        self.film, self.path = film, path
        self.size = target_size(*displayed_size(*film.size, float(film.aspect), 0), SIZE_PX)
        self.seconds = tuple(float(second) for second in range(round(film.seconds)))
        self.runs: dict[str, Runs] = {}
        self.settings: dict[str, str] = {}
        """What each was told."""
        self._stack = stack
        self._add_ours()
        others = {NOKEY: self._add_ffmpeg, NAIVE: self._add_naive, TORCHCODEC: self._add_torchcodec}
        for name, add in others.items():
            try:
                if name not in without:
                    add()
            except AbsentError as exc:
                print(f"left out: {exc}", file=sys.stderr)

    def _peer(self, who: str) -> Peer:
        peer = Peer(who)
        self._stack.callback(peer.close)
        return peer

    def _add_ours(self) -> None:
        peer = self._peer("ours")
        for name, setting in (
            (KEYFRAMES, {"mode": "keyframes", "smallest_gap_seconds": 0.0}),  # the same pictures as FFmpeg gives
            (AUTO, {"mode": "auto"}),
            (EXACT, {"mode": "exact"}),
        ):
            job = Job(self.path, self.size, setting={**setting, "workers": 2})
            self._enter(name, lambda keep, job=job: peer.ask(job, keep), "two workers")  # type: ignore[misc]

    def _add_naive(self) -> None:
        peer, job = self._peer("naive"), Job(self.path, self.size, self.seconds)
        self._enter(NAIVE, lambda keep: peer.ask(job, keep), "frame threads")

    def _add_ffmpeg(self) -> None:
        for name, settings in (
            (NOKEY, contenders.keyframes_setting),
            (EVERY_SECOND, contenders.every_second_setting),
        ):
            jobs = {f"{n} threads": Job(self.path, self.size, setting=dict(settings(self.size, n))) for n in "12"}
            tried = {told: contenders.ffmpeg(job).seconds for told, job in jobs.items()} if name == NOKEY else {}
            best = min(tried, key=lambda told: tried[told]) if tried else "2 threads"
            self._enter(name, lambda keep, job=jobs[best]: contenders.ffmpeg(job, keep), best)  # type: ignore[misc]

    def _add_torchcodec(self) -> None:
        peer = self._peer("torchcodec")
        some = self.seconds[: max(2, round(_TRIED_SHARE * len(self.seconds)))]

        def tried(**setting: object) -> float:
            took = peer.ask(Job(self.path, self.size, some, setting))
            return float("inf") if took.said["n_wrong"] else took.seconds  # wrong frames are no setting

        setting: dict[str, object] = {
            "seek_mode": "approximate", "num_ffmpeg_threads": 2, "resize": True, "decoders": 1,
        }  # fmt: skip
        tried(**setting)  # what loads on first use
        if all(tried(**{**setting, "seek_mode": mode}) == float("inf") for mode in ("approximate", "exact")):
            raise AbsentError(f"torchcodec gives wrong frames of {self.path.name}, whichever way it seeks")
        for choices in (  # one after the other: all of them together would take longer than the rounds
            [{}, {"num_ffmpeg_threads": 1}, {"num_ffmpeg_threads": 1, "decoders": 2}],
            [{}, {"resize": False}],
            [{}, {"seek_mode": "exact"}],
        ):
            setting |= min(choices, key=lambda choice: tried(**{**setting, **choice}))
        job = Job(self.path, self.size, self.seconds, setting)
        told = ", ".join(f"{key} {value}" for key, value in setting.items())
        self._enter(TORCHCODEC, lambda keep: peer.ask(job, keep), told)

    def _enter(self, name: str, run: Runs, told: str) -> None:
        self.runs[name], self.settings[name] = run, told


def figures(
    film: Film, folder: Path, floors: Floors, rounds: int, scratch: Path, without: frozenset[str] = frozenset()
) -> Iterator[Figure]:
    """Yield the speeds of all contenders on one film, their ratios, and how good the frames were.

    Args:
        film: how it was made.
        folder: where it is.
        floors: what ratios have to reach.
        rounds: how often each contender runs, beside the first time, when its frames are looked at.
        scratch: a folder for frames.
        without: contenders that are left out although they may be here.
    """
    with ExitStack() as stack:
        field = Field(film, folder / film.file, stack, without)
        gates = frame_gates.look(field, scratch)
        racing = {name: run for name, run in field.runs.items() if name != NAIVE or floors.races_naive}
        took = race(racing, rounds)
    yield from _speeds(film, field, took, gates.theirs)
    for name, against, floor, gate in (
        (KEYFRAMES, NOKEY, floors.keyframes, gates.keyframes),
        (KEYFRAMES, NAIVE, floors.keyframes_naive, gates.keyframes),
        (AUTO, NAIVE, floors.auto_naive, gates.auto),
        (AUTO, EVERY_SECOND, None, gates.auto),
        (EXACT, EVERY_SECOND, floors.exact, gates.exact),
        (EXACT, TORCHCODEC, floors.exact_torchcodec, gates.exact),
        (EXACT, NAIVE, None, gates.exact),
    ):
        if against in took:
            yield _ratio(f"{film.name}: {name} over {against}", took[against], took[name], floor, gate)
    yield from gates.figures(film.name)


def race(runs: dict[str, Runs], rounds: int) -> dict[str, list[Took]]:
    """Let all contenders run so many times, in an order that turns; return what each took."""
    names = list(runs)
    took: dict[str, list[Took]] = {name: [] for name in names}
    for n in range(rounds):
        turn = n % len(names)
        for name in [*names[turn:], *names[:turn]]:
            took[name].append(runs[name](None))
    return took


def _speeds(film: Film, field: Field, took: dict[str, list[Took]], seen: dict[str, str]) -> Iterator[Figure]:
    for name, runs in took.items():
        wall, cores = [run.seconds for run in runs], median(run.core_seconds for run in runs)
        quality = f"{runs[0].n_frames} frames, {field.settings[name]}; {min(wall):.2f} to {max(wall):.2f} s"
        if cores:
            quality += f", {cores:.2f} core-seconds, {film.seconds / cores:.0f} s of film a core-second"
        if name in seen:
            quality += f"; {seen[name]}"
        yield Figure(f"{film.name}: {name}", median(wall), "s", quality=f"{quality}; {load()}")


def _ratio(name: str, theirs: list[Took], ours: list[Took], floor: float | None, gate: frame_gates.Gate) -> Figure:
    above, below = [run.seconds for run in theirs], [run.seconds for run in ours]
    low, high = interval_of_ratio(above, below)
    value = median(above) / median(below)
    cores = [median(run.core_seconds for run in runs) for runs in (theirs, ours)]
    quality = f"95% [{low:.2f}, {high:.2f}]"
    if all(cores):
        quality += f", by core-seconds {cores[0] / cores[1]:.2f}"
    quality += f"; {'' if gate.passed else 'NOT THE RIGHT FRAMES: '}{gate.told}"
    holds = None if floor is None else bool(value >= floor and gate.passed)
    return Figure(name, value, "ratio", floor, holds, f"{median(above):.2f} s against {median(below):.2f} s", quality)
