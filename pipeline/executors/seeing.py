"""What is seen in pieces, shot by shot: frames, clips, and the words that readers have for frames.

All frames of one shape go through an encoder or a reader together, whatever asset they are of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.fusion import pool
from encoders.spec import ClipEncoder, FrameEncoder, FrameReader, Label
from pipeline.executors.hearing import N_LABELS, Wording
from pipeline.executors.pictures import thumbnail
from pipeline.executors.stages import Piece, Unread
from pipeline.media import FrameChunk, Modality, Moment, Shot
from pipeline.parts import OWN_TRACKS, Part
from pipeline.writing import frames_read

Picked = tuple[int, float, float]
"""A row of a chunk's frames, and the interval that it stands for."""


def pictures(encoder: FrameEncoder, pieces: Sequence[Piece], thumbs: Thumbs) -> Iterator[tuple[int, Moment]]:
    """Yield a moment for each shot, of its frames one by one, with the number of its piece."""
    by_shape: dict[tuple[int, ...], list[tuple[int, FrameChunk]]] = defaultdict(list)
    for at, chunk in _chunks(pieces, Part.VISUAL):
        by_shape[chunk.pixels.shape[1:]].append((at, chunk))
    for group in by_shape.values():
        encoded = encoder.encode_frames(np.concatenate([chunk.pixels for _, chunk in group]))
        first = 0
        for at, chunk in group:
            for shot in chunk.shots:
                rows = slice(first + shot.first, first + shot.last)
                yield at, Moment(
                    pieces[at].asset_id, Modality.VISUAL, "v:0", shot.start_seconds, shot.stop_seconds,
                    encoder.spec.space, pool(encoded.vectors[rows]), labels=_mean_labels(encoded.labels[rows]),
                    thumb=thumbs.of(at, chunk, shot),
                )  # fmt: skip
            first += len(chunk.pixels)


def clips(encoder: ClipEncoder, pieces: Sequence[Piece], thumbs: Thumbs) -> Iterator[tuple[int, Moment]]:
    """Yield a moment for each shot of a film, of its frames as one clip, with the number of its piece."""
    modality, track = OWN_TRACKS[Part.CLIPS]
    shots = [
        (at, chunk, shot)
        for at, chunk in _chunks(pieces, Part.CLIPS)
        for shot in chunk.shots
        if shot.stop_seconds > shot.start_seconds  # nothing happens in a still picture
    ]
    if not shots:
        return
    encoded = encoder.encode_clips([chunk.pixels[shot.first : shot.last] for _, chunk, shot in shots])
    for (at, chunk, shot), vector, labels in zip(shots, encoded.vectors, encoded.labels, strict=True):
        yield at, Moment(
            pieces[at].asset_id, modality, track, shot.start_seconds, shot.stop_seconds, encoder.spec.space, vector,
            labels=labels[:N_LABELS], thumb=thumbs.of(at, chunk, shot),
        )  # fmt: skip


def captions(reader: FrameReader, pieces: Sequence[Piece], thumbs: Thumbs) -> Iterator[tuple[int, Wording | Unread]]:
    """Yield for each shot what its middle frame shows, in words, with the number of its piece."""

    def middle(_: FrameChunk, shot: Shot) -> list[Picked]:
        return [(_middle(shot), shot.start_seconds, shot.stop_seconds)]

    yield from _read(reader, Part.CAPTIONS, pieces, middle, thumbs)


def writing(reader: FrameReader, pieces: Sequence[Piece], thumbs: Thumbs) -> Iterator[tuple[int, Wording | Unread]]:
    """Yield what is written in some frames of each shot, frame by frame, with the number of its piece."""
    yield from _read(reader, Part.WRITING, pieces, frames_read, thumbs)


class Thumbs:
    """Small pictures of the shots of one batch: each is made once, whoever shows it."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int], bytes] = {}

    def of(self, at: int, chunk: FrameChunk, shot: Shot) -> bytes:
        """Return the picture of a shot of the batch's piece with this number."""
        key = (at, shot.first)
        if key not in self._made:
            self._made[key] = thumbnail(chunk.pixels[_middle(shot)])
        return self._made[key]


def _middle(shot: Shot) -> int:
    return (shot.first + shot.last) // 2 if shot.stop_seconds else shot.first


def _chunks(pieces: Sequence[Piece], part: Part) -> Iterator[tuple[int, FrameChunk]]:
    for at, piece in enumerate(pieces):
        if isinstance(piece.body, FrameChunk) and part in piece.makes:
            yield at, piece.body


def _read(
    reader: FrameReader,
    part: Part,
    pieces: Sequence[Piece],
    pick: Callable[[FrameChunk, Shot], list[Picked]],
    thumbs: Thumbs,
) -> Iterator[tuple[int, Wording | Unread]]:
    modality, track = OWN_TRACKS[part]
    by_shape: dict[tuple[int, ...], list[tuple[int, FrameChunk, Shot, Picked]]] = defaultdict(list)
    for at, chunk in _chunks(pieces, part):
        for shot in chunk.shots:
            by_shape[chunk.pixels.shape[1:]] += [(at, chunk, shot, picked) for picked in pick(chunk, shot)]
    for group in by_shape.values():
        texts = _texts(reader, np.stack([chunk.pixels[row] for _, chunk, _, (row, _, _) in group]))
        for (at, chunk, shot, (_, start, stop)), text in zip(group, texts, strict=True):
            if isinstance(text, Exception):
                yield at, Unread(track, f"{type(text).__name__}: {text}")
            elif text.strip():
                thumb = thumbs.of(at, chunk, shot)
                yield at, Wording(at, modality, track, start, stop, text.strip(), thumb=thumb)


def _texts(reader: FrameReader, frames: NDArray[np.uint8]) -> Sequence[str | Exception]:
    """Return what a reader says of each frame; where it raises, that, for the frames alone that make it raise."""
    try:
        return reader.read_frames(frames)
    except ImportError:
        raise  # the model is not here: that is no frame's fault
    except Exception as exc:  # whatever a library raises for a picture
        if len(frames) == 1:
            return [exc]
        return [text for n in range(len(frames)) for text in _texts(reader, frames[n : n + 1])]


def _mean_labels(frames: Sequence[Sequence[Label]]) -> tuple[Label, ...]:
    total: dict[str, float] = defaultdict(float)
    for labels in frames:
        for label in labels:
            total[label.name] += label.score / len(frames)
    best = sorted(total.items(), key=lambda item: (-item[1], item[0]))[:N_LABELS]
    return tuple(Label(name, score) for name, score in best)
