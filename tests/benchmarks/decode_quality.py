"""Whether the models see in our frames what they would see in full ones, and find as much with fewer of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import encoders
import index
from encoders.packages import MissingPackageError
from encoders.profiles import profile
from index.build import build
from pipeline.archive import create_archive
from pipeline.decode import decode
from pipeline.errors import MediaError
from pipeline.executors.encoding import Encoding
from pipeline.executors.stages import Piece
from pipeline.media import Ending, FrameChunk, Media, Modality, Mode, Moment, Sampling
from pipeline.recipe import Models
from tests.benchmarks.figures import Figure, at_least
from tests.benchmarks.processes import load
from tests.benchmarks.retrieval import Asking, K, share_found
from tests.benchmarks.truths import is_moment, read_truths
from tests.index.archives import fill

PROFILE = "embedded"
VISUAL = frozenset({Modality.VISUAL})
N_COMPARED = 60
WORSE_AT_MOST = 0.02
"""By how much fewer questions may find their answer with `auto` than with `exact`."""
_FRAMES_PER_BATCH = 96


def cosine(film: Path, media_out: Path | None) -> Iterator[Figure]:
    """Yield how alike the encoder finds our frames and those scaled from full size.

    Args:
        film: one whose frames are compared.
        media_out: a folder with films of photographs; None: only `film` is looked at.
    """
    try:
        encoder = encoders.load(profile(PROFILE).visual)
    except MissingPackageError as exc:
        print(f"left out: {exc}", file=sys.stderr)
        return
    films = {"generated": film}
    if media_out is not None:
        shows = sorted(p for p in (media_out / "media" / "films").iterdir() if p.suffix in (".mp4", ".mkv", ".webm"))
        films |= {shows[0].name: shows[0]} if shows else {}
    for name, path in films.items():
        ours, theirs = _both(path)
        vectors = [encoder.encode_frames(frames).vectors for frames in (ours, theirs)]
        alike = np.sum(vectors[0] * vectors[1], axis=1)
        yield at_least(
            f"cosine of our frames with full ones, {name} film", float(alike.mean()), "cosine", 0.99,
            contender="full RGB frame, Pillow's bicubic with antialiasing",
            quality=f"n={len(alike)}, 1% below {np.percentile(alike, 1):.4f}, least {alike.min():.4f}",
        )  # fmt: skip


def retrieval(media_out: Path | None, scratch: Path) -> Iterator[Figure]:
    """Yield how many moments words find where frames are sampled by `auto`, and by `exact`.

    Args:
        media_out: a folder with media/films and truth.json; None: no figure.
        scratch: a folder for the archives.
    """
    if media_out is None:
        return
    questions = read_truths(media_out / "truth.json").moments
    try:
        models = Models.of(PROFILE)
    except MissingPackageError as exc:
        print(f"left out: {exc}", file=sys.stderr)
        return
    found, told = {}, {}
    for mode in (Mode.EXACT, Mode.AUTO):
        asking, counts = _archive(media_out / "media", scratch / f"archive-{mode}", Sampling(mode=mode), models)
        ranks = asking.ranks(f"text to moment, {mode}", questions, is_moment, media="video")
        found[mode] = share_found(ranks, K)
        told[mode] = f"{counts}, first hit {share_found(ranks, 1):.3g}"
        yield Figure(
            f"text to moment, {mode}, recall@10", found[mode], "share", quality=f"n={len(ranks)}; {told[mode]}"
        )
    yield at_least(
        "text to moment, auto less exact", found[Mode.AUTO] - found[Mode.EXACT], "share", -WORSE_AT_MOST,
        contender=f"exact: {found[Mode.EXACT]:.3g}",
        quality=f"n={len(questions)}, films alone, pictures alone; {load()}",
    )  # fmt: skip


def _both(film: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return uint8 [N, H, W, 3]: some of our frames, and the same frames in full size, scaled by Pillow."""
    ours: list[NDArray[np.uint8]] = []
    times: list[float] = []
    for item in decode(film, Sampling(mode=Mode.KEYFRAMES), want=VISUAL):
        if isinstance(item, FrameChunk):
            ours += list(item.pixels)
            times += item.at_seconds.tolist()
    rows = np.unique(np.linspace(0, len(times) - 1, N_COMPARED).round().astype(int))
    height, width = ours[0].shape[:2]
    wanted, theirs = {round(times[row], 2): row for row in rows}, {}
    with av.open(f"file:{film}") as container:
        origin = None
        for frame in container.decode(video=0):
            origin = frame.time if origin is None else origin
            row: Any = wanted.get(round(frame.time - origin, 2))
            if row is not None and row not in theirs:
                full = Image.fromarray(frame.to_ndarray(format="rgb24"))
                theirs[row] = np.asarray(full.resize((width, height), Image.Resampling.BICUBIC))
                if len(theirs) == len(wanted):
                    break
    kept = sorted(theirs)
    return np.stack([ours[row] for row in kept]), np.stack([theirs[row] for row in kept])


def _archive(media: Path, root: Path, sampling: Sampling, models: Models) -> tuple[Asking, str]:
    """Make an archive of the films' pictures alone; return it, and how many frames and moments there are."""
    archive = create_archive(root, [str(media)], PROFILE)
    encoding = Encoding(models, sampling)
    assets, n_frames, n_decoded = {}, 0, 0
    for number, path in enumerate(sorted((media / "films").iterdir())):
        asset_id = f"{number:032x}"
        moments: list[Moment] = []
        pieces: list[Piece] = []
        try:
            for item in decode(path, sampling, want=VISUAL, workers=2):
                if isinstance(item, FrameChunk):
                    n_frames += len(item.pixels)
                    pieces.append(Piece(asset_id, len(pieces), item, VISUAL))
                elif isinstance(item, Ending):
                    n_decoded += item.frames_decoded
                if sum(len(p.body.pixels) for p in pieces if isinstance(p.body, FrameChunk)) >= _FRAMES_PER_BATCH:
                    moments += [m for made in encoding.encode(pieces) for m in made.moments]
                    pieces = []
        except MediaError:  # subtitles, and what else lies beside films
            continue
        moments += [m for made in encoding.encode(pieces) for m in made.moments]
        assets[asset_id] = (path.relative_to(media).as_posix(), Media.VIDEO, moments)
    fill(archive, assets)
    build(archive)
    n_moments = sum(len(moments) for _, _, moments in assets.values())
    return Asking(index.open(root)), f"{n_moments} moments, {n_frames} frames of {n_decoded} decoded"
