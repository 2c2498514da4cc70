"""Every sampling mode on real films, however they are coded: compared with a decoder that leaves nothing out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.decode import decode
from pipeline.decode.pixels import Scaler
from pipeline.media import Ending, FrameChunk, Mode, Sampling, Shot
from tests.pipeline.decode.media import slide, write_film

RATE = 25
LENGTHS = (60, 65, 95, 50, 90, 120, 70, 70)
"""Frames of each shot: 24.8 s in all, so that `auto` does not call the film short; key frames miss the fourth."""
CUTS = np.cumsum(LENGTHS)[:-1]
SIZE_PX = 40


def shot(number: int, n_frames: int) -> list[np.ndarray]:
    """Return the frames of a picture under a camera's noise."""
    rng, picture = np.random.default_rng(number), slide(number, 128, 72).astype(int)
    return [np.clip(picture + rng.integers(-4, 5, picture.shape), 0, 255).astype(np.uint8) for _ in range(n_frames)]


MOVING = [frame for number, n_frames in enumerate(LENGTHS) for frame in shot(number, n_frames)]
TIMES = np.arange(len(MOVING)) / RATE


def x264(params: str, **options) -> dict[str, Any]:
    return {"options": {"preset": "veryfast", "crf": "22", "x264-params": params}, **options}


def x265(params: str) -> dict[str, Any]:
    return {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": f"log-level=none:{params}"}}


GROUPS = "keyint=100:min-keyint=100:scenecut=0:bframes=3:b-adapt=0"
UNEVEN = np.cumsum([0.0, *np.random.default_rng(6).choice([0.02, 0.03, 0.04, 0.07], len(MOVING) - 1)])
FILMS: dict[str, dict[str, Any]] = {
    "closed.mp4": x264(f"{GROUPS}:open-gop=0"),
    "open.mp4": x264(f"{GROUPS}:open-gop=1"),
    "open.mkv": x264(f"{GROUPS}:open-gop=1:b-pyramid=normal:ref=4"),
    "open.ts": x264(f"{GROUPS}:open-gop=1"),
    "cuts.mkv": x264("keyint=250:bframes=3"),
    "short.mov": x264("keyint=12:min-keyint=12:scenecut=0:bframes=2"),
    "uneven.mp4": x264(f"{GROUPS}:open-gop=1", at_seconds=UNEVEN.tolist()),
    "edited.mp4": x264(GROUPS, start_seconds=-1.0),
    "late.mkv": x264(GROUPS, start_seconds=7.52),
    "hevc.mp4": x265("keyint=100:min-keyint=100:scenecut=0:open-gop=1:bframes=4"),
    "hevc.mkv": x265("keyint=75:open-gop=0:bframes=3"),
    "vp9.webm": {
        "codec": "libvpx-vp9",
        "options": {"deadline": "realtime", "cpu-used": "8", "g": "100", "lag-in-frames": "12", "auto-alt-ref": "1"},
    },
    "av1.mkv": {"codec": "libsvtav1", "options": {"preset": "12", "g": "96", "svtav1-params": "lp=1"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"g": "15", "bf": "2", "b": "900k"}},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"g": "15", "bf": "2", "b": "900k"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "100", "bf": "2", "b": "600k", "sc_threshold": "1000000000"}},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "refresh.mkv": x264("intra-refresh=1:keyint=50:bframes=0:scenecut=0"),
    "onekey.mp4": x264("keyint=infinite:scenecut=0:bframes=2"),
}  # fmt: skip


every_film = pytest.mark.parametrize("name", FILMS)


@dataclass(frozen=True)
class Naive:
    """A film, wholly decoded."""

    at_seconds: np.ndarray
    key_seconds: np.ndarray
    frames: list[av.VideoFrame]
    stop_seconds: float

    def pixels(self, row: int) -> np.ndarray:
        scaler = Scaler(SIZE_PX)
        scaler.reshaped(self.frames[row], 1.0)
        return scaler.scale(self.frames[row])

    def shown(self, at_seconds: float) -> int:
        """Return the row of the frame on display."""
        return max(0, int(np.searchsorted(self.at_seconds, at_seconds + 1e-3, side="right")) - 1)


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Callable[[str], tuple[Path, Naive]]:
    """Return a function that writes one of the films, once."""
    folder = tmp_path_factory.mktemp("films")

    @lru_cache
    def made(name: str) -> tuple[Path, Naive]:
        path = write_film(folder / name, MOVING, rate=RATE, **FILMS[name])
        return path, naive(path)

    return made


def naive(path: Path) -> Naive:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        origin, tick = stream.start_time or 0, float(stream.time_base)
        packets = [(p.pts if p.pts is not None else p.dts, p.is_keyframe) for p in container.demux(stream) if p.size]
    with av.open(str(path)) as container:
        frames = [frame for frame in container.decode(video=0) if (frame.pts - origin) * tick > -1e-3]
    at = np.array([(frame.pts - origin) * tick for frame in frames])
    keys = np.array([(stamp - origin) * tick for stamp, is_key in packets if is_key])
    return Naive(at, keys[keys > -1e-3], frames, float(at[-1]) + 1 / RATE)


@dataclass(frozen=True)
class Sampled:
    at_seconds: np.ndarray
    pixels: np.ndarray
    shots: list[Shot]
    ending: Ending


def sampled(path: Path, mode: Mode, **sampling) -> Sampled:
    items = list(decode(path, Sampling(size_px=SIZE_PX, mode=mode, **sampling)))
    chunks = [item for item in items if isinstance(item, FrameChunk)]
    first = np.cumsum([0, *[len(chunk.pixels) for chunk in chunks]])
    shots = [replace(shot, first=shot.first + n, last=shot.last + n)
             for n, chunk in zip(first, chunks, strict=False) for shot in chunk.shots]  # fmt: skip
    at = np.concatenate([chunk.at_seconds for chunk in chunks])
    return Sampled(at, np.concatenate([chunk.pixels for chunk in chunks]), shots, items[-1])


def check_frames(got: Sampled, whole: Naive) -> None:
    """Check that each frame is the very one that a decoder gives that leaves nothing out, and the shots are whole."""
    assert got.ending.damage is None
    assert (np.diff(got.at_seconds) > 0).all()
    for at, pixels in zip(got.at_seconds, got.pixels, strict=True):
        row = whole.shown(at)
        assert whole.at_seconds[row] == pytest.approx(at, abs=1.1e-3)
        np.testing.assert_array_equal(pixels, whole.pixels(row), err_msg=f"at {at}")
    assert got.shots[0].start_seconds == pytest.approx(whole.at_seconds[0], abs=0.09)  # the first may be left out
    assert got.shots[-1].stop_seconds == pytest.approx(whole.stop_seconds, abs=0.06)
    for before, after in pairwise(got.shots):
        assert (before.stop_seconds, before.last) == (after.start_seconds, after.first)
    for shot in got.shots:
        at = got.at_seconds[shot.first : shot.last]
        assert len(at) >= 1
        assert (at < shot.stop_seconds).all()


@every_film
@pytest.mark.parametrize("interval", [1.0, 0.3])
def test_exact_gives_the_frame_on_display_at_each_point_of_the_grid(film, name, interval):
    path, whole = film(name)
    got = sampled(path, Mode.EXACT, interval_seconds=interval)
    grid = np.arange(0, whole.stop_seconds - 1e-3, interval)
    grid = grid[grid >= whole.at_seconds[0] - 1e-3]
    expected = whole.at_seconds[sorted({whole.shown(at) for at in grid})]
    np.testing.assert_allclose(got.at_seconds, expected, atol=1.1e-3)
    check_frames(got, whole)


@every_film
def test_keyframes_gives_the_key_frames_and_decodes_little_else(film, name):
    path, whole = film(name)
    got = sampled(path, Mode.KEYFRAMES, smallest_gap_seconds=0.0, largest_gap_seconds=1000.0)
    hidden = whole.key_seconds[0] > 1  # by an edit: then the first frame that is displayed stands for it
    expected = [*whole.at_seconds[:1], *whole.key_seconds] if hidden else whole.key_seconds
    if name == "refresh.mkv":  # the others only say where a refresh begins: no frame can be decoded from there
        expected = expected[:1]
    np.testing.assert_allclose(got.at_seconds, expected, atol=0.09 if hidden else 1.1e-3)
    check_frames(got, whole)
    assert got.ending.frames_decoded < 4 * len(whole.key_seconds)
    spaced = sampled(path, Mode.KEYFRAMES, smallest_gap_seconds=1.0, largest_gap_seconds=3.0)
    gaps = np.diff([*spaced.at_seconds, whole.stop_seconds])
    assert gaps[:-1].min() > 0.95
    assert gaps.max() < 3.1
    check_frames(spaced, whole)


@every_film
def test_snap_stays_within_its_tolerance_and_decodes_less_than_exact(film, name):
    path, whole = film(name)
    got = sampled(path, Mode.SNAP, tolerance_seconds=0.4)
    check_frames(got, whole)
    grid = np.arange(0, whole.stop_seconds - 0.4)
    away = np.abs(np.subtract.outer(grid, got.at_seconds)).min(axis=1)
    assert away.max() <= 0.4 + 1e-3
    exact = sampled(path, Mode.EXACT)
    assert got.ending.frames_decoded <= 1.15 * exact.ending.frames_decoded
    if name == "late.mkv":
        assert got.ending.frames_decoded < exact.ending.frames_decoded


@every_film
@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.SHOTS])
def test_cuts_are_found_and_every_shot_is_seen(film, name, mode):
    path, whole = film(name)
    got = sampled(path, mode)
    check_frames(got, whole)
    cuts = [float(whole.at_seconds[whole.shown(at)]) for at in film_times(name)[CUTS]]
    starts = np.array([shot.start_seconds for shot in got.shots])
    sloppy, unseen = mode == Mode.AUTO, None
    for start, stop in pairwise([*cuts, whole.stop_seconds]):
        has_key = ((whole.key_seconds >= start) & (whole.key_seconds < stop)).any()
        if sloppy and unseen is not None and np.abs(starts - unseen).min() <= 0.2:
            starts = np.append(
                starts, start
            )  # two shots since the last key frame are told from it, but not one another
        unseen = None if has_key else start
        if name == "av1.mkv":
            assert np.abs(starts - start).min() <= 2.0  # what is large there is packed with frames shown long before it
        elif has_key or not sloppy:
            assert np.abs(starts - start).min() <= 0.2, f"the cut at {start:.2f} is not among {starts}"
        if has_key or not sloppy:
            assert ((got.at_seconds >= start - 1e-3) & (got.at_seconds < stop)).any(), f"no frame of {start} to {stop}"
    assert len(got.shots) <= len(cuts) + 4


def film_times(name: str) -> np.ndarray:
    """Return the times of a film's frames as they were written, from its start."""
    written = np.array(FILMS[name].get("at_seconds", TIMES))
    return written + min(0.0, FILMS[name].get("start_seconds", 0.0))


def test_auto_tells_the_mode_and_decodes_what_it_costs(film):
    said = {name: sampled(film(name)[0], Mode.AUTO).ending for name in ("closed.mp4", "mjpeg.avi")}
    assert said["closed.mp4"].sampled.startswith("shots: key frames lie")
    assert said["mjpeg.avi"].sampled.startswith("exact: every frame is a key frame")
    assert said["closed.mp4"].frames_decoded < len(TIMES) / 5
    assert said["mjpeg.avi"].frames_decoded < len(TIMES) / 10


def test_frames_much_larger_than_what_is_kept_are_decoded_a_little_coarser_and_look_the_same(film):
    path, whole = film("closed.mp4")
    for chunk in (c for c in decode(path, Sampling(size_px=24)) if isinstance(c, FrameChunk)):
        for at, pixels in zip(chunk.at_seconds, chunk.pixels, strict=True):
            scaler, frame = Scaler(24), whole.frames[whole.shown(at)]
            scaler.reshaped(frame, 1.0)
            assert np.abs(pixels.astype(int) - scaler.scale(frame)).mean() < 2
