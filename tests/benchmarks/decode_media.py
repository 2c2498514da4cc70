"""Films whose cuts are known, made on the spot: textured pictures under a moving camera, grain, things that move.

    python -m tests.benchmarks.decode_media FOLDER

A loop of up to one minute is encoded and its packets are repeated (the groups are closed), so that ten minutes, or ten
hours, cost little time. The camera begins and ends a loop within one shot, so no cut lies on the seam. Shots last two
to nine seconds, every third under a still camera, and no cut falls within a fifth of a second of a whole two seconds,
where fixed key frames lie. Decoders find such films neither easier nor harder than their bit rate says; encoders of
pictures see nothing in them that has a name.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

LEAST_SECONDS, MOST_SECONDS = 2.0, 9.0
"""How long shots last."""
_AWAY_SECONDS = 0.2
"""How far cuts stay from where fixed key frames are."""
_ROOM = 1.3
"""How much larger than the film a picture is, so that the camera has where to go."""
_SPARSE = "scenecut=0:open-gop=0"


@dataclass(frozen=True)
class Film:
    """How a film is made."""

    name: str
    file: str
    encoder: str
    options: tuple[tuple[str, str], ...]
    size: tuple[int, int] = (1280, 720)
    """Width and height as coded, both even."""
    loop_seconds: float = 60.0
    """What is rendered and encoded; a whole number of groups."""
    repeats: int = 10
    group_seconds: float | None = None
    """Between key frames, where that is fixed."""
    aspect: Fraction = Fraction(1)
    """Width of a pixel over its height."""
    grain: float = 3.5
    """Standard deviation, of 255."""
    frames_per_second: int = 25

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.loop_seconds * self.repeats

    @property
    def look(self) -> tuple[Any, ...]:
        """What films have in common that are rendered once for all."""
        return self.size, self.loop_seconds, self.grain, self.frames_per_second

    def cuts_seconds(self) -> list[float]:
        """Return the times of the first frames of all shots but the first."""
        cuts = loop_cuts(self.loop_seconds, self.frames_per_second)
        return [cut + n * self.loop_seconds for n in range(self.repeats) for cut in cuts]


_X264 = (("preset", "faster"), ("b", "3000000"))
_MPEG2 = (("b", "5000000"), ("maxrate", "8000000"), ("bufsize", "1835008"), ("g", "12"), ("bf", "2"))
FILMS = (
    Film(
        "h264 720p, key frames 10 s apart", "h264-10s.mp4", "libx264",
        (*_X264, ("x264-params", f"keyint=250:min-keyint=250:{_SPARSE}")), group_seconds=10.0,
    ),
    Film(
        "h264 720p, key frames 2 s apart", "h264-2s.mp4", "libx264",
        (*_X264, ("x264-params", f"keyint=50:min-keyint=50:{_SPARSE}")), group_seconds=2.0,
    ),
    Film("h264 720p, key frames at cuts", "h264-cuts.mp4", "libx264", _X264, repeats=3),
    Film(
        "hevc 1080p", "hevc.mp4", "libx265",
        (("preset", "superfast"), ("crf", "22"), ("x265-params", "log-level=none:open-gop=0")),
        size=(1920, 1080), loop_seconds=30.0, repeats=4, grain=5.0,
    ),
    Film("mpeg-2 576p", "mpeg2.mpg", "mpeg2video", _MPEG2, size=(720, 576), repeats=4, aspect=Fraction(64, 45)),
    Film(  # in a container with an index: by a program stream's times not everybody seeks rightly
        "mpeg-2 576p in matroska", "mpeg2.mkv", "mpeg2video", _MPEG2, size=(720, 576), repeats=4,
        aspect=Fraction(64, 45),
    ),
)  # fmt: skip
LONG = Film(
    "h264 360p, ten hours", "h264-10h.mp4", "libx264",
    (("preset", "veryfast"), ("crf", "33"), ("x264-params", f"keyint=250:min-keyint=250:{_SPARSE}")),
    size=(640, 360), loop_seconds=60.0, repeats=600, group_seconds=10.0, grain=0.0,
)  # fmt: skip
SHORT = Film(
    "h264 360p, one minute", "h264-1min.mp4", "libx264", LONG.options, size=LONG.size, loop_seconds=60.0, repeats=1,
    group_seconds=10.0, grain=0.0,
)  # fmt: skip


def make(films: Sequence[Film], folder: Path) -> None:
    """Write those films that the folder does not hold yet, two looks at once."""
    missing = sorted((film for film in films if not (folder / film.file).exists()), key=lambda film: repr(film.look))
    folder.mkdir(parents=True, exist_ok=True)
    groups = [list(group) for _, group in groupby(missing, key=lambda film: film.look)]
    if len(groups) <= 1:
        for group in groups:
            write(group, folder)
        return
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for done in [pool.submit(write, group, folder) for group in sorted(groups, key=_cost, reverse=True)]:
            done.result()


def write(films: Sequence[Film], folder: Path) -> None:
    """Write films of one look: render it once, encode it for each, repeat the packets."""
    first = films[0]
    loops = [folder / f".loop-{film.file}" for film in films]
    formats = ["mpegts" if loop.suffix == ".mpg" else "mp4" for loop in loops]  # both keep the times of decoding
    outs = [av.open(f"file:{loop}", "w", format=kind) for loop, kind in zip(loops, formats, strict=True)]
    streams = [_stream(out, film) for out, film in zip(outs, films, strict=True)]
    for n, planes in enumerate(render(first.size, first.loop_seconds, first.grain, first.frames_per_second)):
        for out, stream in zip(outs, streams, strict=True):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, first.frames_per_second)
            out.mux(stream.encode(frame))
    for out, stream in zip(outs, streams, strict=True):
        out.mux(stream.encode(None))
        out.close()
    for film, loop in zip(films, loops, strict=True):
        _repeat(loop, folder / film.file, film)
        loop.unlink()


def loop_cuts(loop_seconds: float, frames_per_second: int) -> list[float]:
    """Return where shots begin in a loop: rising, on whole frames, none near its ends or near a whole two seconds."""
    drawn = np.random.default_rng(round(loop_seconds * frames_per_second))
    cuts: list[float] = []
    at = float(drawn.uniform(1.0, 2.0))
    while at < loop_seconds - 1.0:
        at = round(at * frames_per_second) / frames_per_second
        if abs(at - 2 * round(at / 2)) < _AWAY_SECONDS:
            at = 2 * round(at / 2) + 0.4
        cuts.append(round(at, 6))
        at += float(drawn.uniform(LEAST_SECONDS, MOST_SECONDS))
    return cuts


def render(
    size: tuple[int, int], loop_seconds: float, grain: float, frames_per_second: int
) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a loop: uint8 [H * 3 / 2, W], planar YUV 4:2:0, limited range."""
    cuts = loop_cuts(loop_seconds, frames_per_second) or [0.0]
    drawn = np.random.default_rng(len(cuts))
    width, height = size
    noise = drawn.normal(0, grain, (height + 64, width + 64)).astype(np.int16) if grain else None
    shot, scene = -1, None
    for n in range(round(loop_seconds * frames_per_second)):
        at = n / frames_per_second
        now = (bisect_right(cuts, at + 1e-6) - 1) % len(cuts)
        if now != shot or scene is None:
            shot, scene = now, _Scene(now, size)
        stop = cuts[now + 1] if now + 1 < len(cuts) else cuts[0] + loop_seconds
        done = ((at - cuts[now]) % loop_seconds) / (stop - cuts[now])
        y, u, v = scene.planes(done, (at - cuts[now]) % loop_seconds)
        if noise is not None:
            down, right = drawn.integers(0, 64, 2)
            y = np.clip(y + noise[down : down + height, right : right + width], 16, 235).astype(np.uint8)
        yield np.concatenate([y, u.reshape(-1, width), v.reshape(-1, width)])


class _Scene:
    """One shot: a large picture, the way of the camera over it, and something that moves in front."""

    def __init__(self, number: int, size: tuple[int, int]) -> None:
        drawn = np.random.default_rng(1000 + number)
        self._size = size
        room = (round(size[0] * _ROOM) // 2 * 2, round(size[1] * _ROOM) // 2 * 2)
        picture = textured_picture(drawn, room, number).convert("YCbCr")
        y, u, v = picture.split()
        self._y = y.point([16 + value * 219 // 255 for value in range(256)])
        half = (room[0] // 2, room[1] // 2)
        self._u, self._v = (
            plane.resize(half, Image.Resampling.BILINEAR).point([16 + value * 224 // 255 for value in range(256)])
            for plane in (u, v)
        )
        spare = np.array(room) - size
        still = number % 3 == 2
        self._from = drawn.uniform(0, 1, 2) * spare
        self._to = self._from if still else drawn.uniform(0, 1, 2) * spare
        self._zoom = 1.0 if still else float(drawn.uniform(0.85, 1.0))
        side = size[1] // 5
        self._thing = Image.fromarray(_fractal(drawn, side, side, 0.8, 128, 50))
        self._mask = Image.new("L", (side, side))
        ImageDraw.Draw(self._mask).ellipse((0, 0, side - 1, side - 1), fill=255)
        self._speed = drawn.uniform(0.05, 0.3)

    def planes(self, done: float, seconds: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """Return Y, U and V after a share of the shot, in [0, 1), and so many seconds of it."""
        width, height = self._size
        zoom = 1 - (1 - self._zoom) * done
        left, top = (1 - done) * self._from + done * self._to
        box = (left, top, left + width * zoom, top + height * zoom)
        y = self._y.resize(self._size, Image.Resampling.BILINEAR, box=box)
        across = (seconds * self._speed) % 1.0
        y.paste(self._thing, (round(across * width), round(height * (0.4 + 0.2 * np.sin(3 * seconds)))), self._mask)
        halves = [
            np.asarray(p.resize((width // 2, height // 2), Image.Resampling.BILINEAR, box=tuple(c / 2 for c in box)))
            for p in (self._u, self._v)
        ]
        return np.asarray(y), halves[0], halves[1]


def textured_picture(drawn: np.random.Generator, size: tuple[int, int], number: int) -> Image.Image:
    """Return a picture with what photographs have: texture at all scales, gradients, edges, words."""
    middles = drawn.uniform(70, 185, 3)
    rough = drawn.uniform(0.5, 0.75)
    bands = [_fractal(drawn, *size, rough, middle, drawn.uniform(20, 45)) for middle in middles]
    light = np.linspace(drawn.uniform(-40, 0), drawn.uniform(0, 40), size[1])[:, None]
    picture = Image.fromarray(np.stack([np.clip(b + light, 0, 255).astype(np.uint8) for b in bands], axis=2))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(drawn.integers(4, 12))):
        x, y = drawn.uniform(0, size[0]), drawn.uniform(0, size[1])
        w, h = drawn.uniform(0.05, 0.25, 2) * size[1]
        colour = tuple(int(c) for c in drawn.integers(0, 256, 3))
        (pen.rectangle if drawn.uniform() < 0.5 else pen.ellipse)((x, y, x + w, y + h), fill=colour)
    font = ImageFont.load_default(size[1] // 12)
    for line in range(3):
        pen.text((size[0] * 0.2, size[1] * (0.3 + 0.15 * line)), f"Shot {number}, line {line + 1}", "white", font)
    return picture


def _fractal(
    drawn: np.random.Generator, width: int, height: int, rough: float, middle: float, spread: float
) -> NDArray[np.uint8]:
    """Return uint8 [H, W]: noise whose octaves fade by `rough`."""
    total, cells, share = np.zeros((height, width), np.float32), 4, 1.0
    while cells < width:
        grid = drawn.standard_normal((max(2, cells * height // width), cells)).astype(np.float32)
        total += share * np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BILINEAR))
        cells, share = cells * 2, share * rough
    return np.asarray(np.clip(middle + spread * total / total.std(), 0, 255), np.uint8)


def _stream(out: Any, film: Film) -> Any:
    stream = out.add_stream(film.encoder, rate=film.frames_per_second, options=dict(film.options))
    stream.width, stream.height = film.size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.sample_aspect_ratio = film.aspect
    context = stream.codec_context
    context.color_range = 1
    matrix = 1 if film.size[1] >= 720 else 5  # BT.709 or BT.601, said in the stream so that no decoder has to guess
    context.colorspace = context.color_primaries = matrix
    context.color_trc = matrix if matrix == 1 else 6
    context.thread_count = 2
    return stream


def _repeat(loop: Path, path: Path, film: Film) -> None:
    """Write the packets of a loop so many times, one after the other."""
    with av.open(f"file:{loop}") as source:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.size]
        base, length = stream.time_base, Fraction(round(film.loop_seconds * film.frames_per_second))
        step = int(length / film.frames_per_second / base)
        times = [(packet.pts, packet.dts) for packet in packets]
        shift = min(pts for pts, _ in times)
        partial = path.with_name(f".partial-{path.name}")
        with av.open(f"file:{partial}", "w", format="vob" if path.suffix == ".mpg" else None) as out:
            target = out.add_stream_from_template(stream)
            for n in range(film.repeats):
                for packet, (pts, dts) in zip(packets, times, strict=True):
                    packet.time_base = base
                    packet.pts, packet.dts = pts + n * step - shift, dts + n * step - shift
                    packet.stream = target
                    out.mux_one(packet)
    partial.rename(path)


def _cost(films: Sequence[Film]) -> float:
    return sum(film.loop_seconds * film.size[0] * film.size[1] for film in films)


if __name__ == "__main__":
    make([*FILMS, SHORT, LONG], Path(sys.argv[1]))
