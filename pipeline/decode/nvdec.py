"""Decoding on the GPU, with torchcodec and NVDEC; the frames stay there.

On one H200 (tests/benchmarks/decode_gpu.py) H.264 and HEVC of 1080 and 540 lines, their matrix not named, gave the
frames of the sandboxed decoder: all at the same times, 0.6 of 255 apart. Tests run the same code with `device="cpu"`.
Not seen on a GPU so far: other codecs, torchcodec's report of a fallback, and how much memory it takes.

It runs in the process that calls it, not in the sandbox: a CUDA context does not fit the child's limits, and frames
would have to leave the device to leave the child. A hostile file meets FFmpeg's demuxer and the GPU's driver with all
that this process may do: there is no limit on memory or time, and what crashes takes the process along. So it is only
for sources that are trusted. The file's first bytes are looked at as for the sandbox (no links, no playlists).

torchcodec loads the system's FFmpeg and PyAV brings its own, which must not meet: this refuses to start in a process
that has PyAV, and a process that has used this must not import it (faster-whisper does).

Beside `pipeline.decode.decode` it knows less: frames on a grid of times only, no cuts; high dynamic range is refused,
interlaced films are not recognised, and their fields stay woven.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from pipeline.decode.files import open_regular
from pipeline.decode.shape import displayed_size, target_size
from pipeline.decode.sniff import BYTES_NEEDED, sniff
from pipeline.errors import MediaError, RushesError
from pipeline.media import Media

_BATCH_PIXELS = 2**24
"""Of decoded frames that are scaled at once; 12 bytes each while they are."""
_EPSILON = 1e-4
_HD_LINES = 720
_TO_LUMA_CHROMA = {
    name: np.array([
        [kr, 1 - kr - kb, kb],
        np.array([-kr, kr + kb - 1, 1 - kb]) / (2 - 2 * kb),
        np.array([1 - kr, kr + kb - 1, -kb]) / (2 - 2 * kr),
    ])
    for name, kr, kb in (("601", 0.299, 0.114), ("709", 0.2126, 0.0722))
}  # fmt: skip
_AS_HD = torch.from_numpy(np.linalg.inv(_TO_LUMA_CHROMA["709"]) @ _TO_LUMA_CHROMA["601"]).float()
"""[3, 3]: RGB that was made with the matrix of BT.601 → what that of BT.709 would have made."""


class FallbackError(RushesError):
    """The GPU does not decode this film here; the text says why. Decode it on the processor, and say so."""


def seen_gpu() -> tuple[str, tuple[int, int]]:
    """Return the name of the GPU that torch uses and CUDA's number of its generation; ("", (0, 0)) without one."""
    if not torch.cuda.is_available():
        return "", (0, 0)
    return torch.cuda.get_device_name(), torch.cuda.get_device_capability()


def decode_at(
    path: Path,
    at_seconds: Sequence[float],
    size_px: int,
    device: str = "cuda",
    *,
    origin_seconds: float | None = None,
) -> Iterator[tuple[torch.Tensor, NDArray[np.float64]]]:
    """Yield the frames that are on display at these times, each once, scaled as the sandboxed decoder scales them.

    Args:
        path: a regular file of a trusted source.
        at_seconds: rising; those before the first frame or after the last are passed over.
        size_px: shorter side of what comes out.
        device: torch's name of it; "cpu" decodes on the processor, for comparison.
        origin_seconds: the time stamp that is time zero; None: the first frame's.

    Yields:
        uint8 [N, 3, H, W] on the device: RGB, upright, square pixels, standard range; and float64 [N], their
        presentation times in seconds.

    Raises:
        FallbackError: it cannot be decoded on that device. Half-way too, where the GPU fails: it does not tell a
            damaged file from a device that is short of memory, the processor does.
        MediaError: `unreadable`, `not_media`, or as `open_regular` and `sniff`; `corrupt` also half-way.
    """
    film = _Film(path, size_px, device)
    start, stop = film.start_seconds, film.stop_seconds
    origin = start if origin_seconds is None else origin_seconds
    stamps = [at + origin + _EPSILON for at in at_seconds]
    wanted = [stamp for stamp in stamps if start <= stamp < stop]
    last = -np.inf
    for first in range(0, len(wanted), film.n_batch):
        pixels, shown = film.shown_at(wanted[first : first + film.n_batch])
        fresh = np.diff(shown, prepend=last) > 0  # where frames are shown longer than the times lie apart
        last = shown[-1]
        if fresh.any():
            yield pixels[torch.from_numpy(fresh).to(pixels.device)], shown[fresh] - origin
    if any(stop <= stamp <= stop + 2 * _EPSILON for stamp in stamps):
        pixels, shown = film.last_frame()
        if shown[0] >= stop - _EPSILON:  # a container may give the last frame no duration: it is at no time on display
            yield pixels, shown - origin


class _Film:
    """An open decoder, and the size that its frames get."""

    def __init__(self, path: Path, size_px: int, device: str) -> None:
        _check(path)
        self._path, self._device, self._video = path, device, _opened(path, device)
        about = self._video.metadata
        if hdr := _high_range(about):
            raise FallbackError(f"{path.name} is {hdr}, which is mapped to standard range on the processor only.")
        turned = round(about.rotation or 0)
        coded = (about.height, about.width) if turned % 180 else (about.width, about.height)
        self._size = target_size(*displayed_size(*coded, float(about.pixel_aspect_ratio or 1), turned), size_px)
        self._is_untagged_hd = about.color_space is None and coded[1] >= _HD_LINES
        self.n_batch = max(1, _BATCH_PIXELS // (about.width * about.height))
        self.start_seconds, self.stop_seconds = float(about.begin_stream_seconds), float(about.end_stream_seconds)
        if device != "cpu":
            self._scaled("get_frames_at", [0])  # not every way to the GPU knows before the first frame
            if reason := fallback_of(self._video.cpu_fallback):
                raise self._fallen_back(reason)

    def shown_at(self, stamps: list[float]) -> tuple[torch.Tensor, NDArray[np.float64]]:
        """Return the frames on display at these time stamps, scaled, and theirs."""
        return self._scaled("get_frames_played_at", stamps)

    def last_frame(self) -> tuple[torch.Tensor, NDArray[np.float64]]:
        """Return the film's last frame, scaled, and its time stamp."""
        return self._scaled("get_frames_at", [len(self._video) - 1])

    def _scaled(self, method: str, places: list[float] | list[int]) -> tuple[torch.Tensor, NDArray[np.float64]]:
        """Return what a method of the decoder does, in the size and with the colours that are wanted."""
        width, height = self._size
        try:
            batch = getattr(self._video, method)(places)
            small = interpolate(batch.data.float(), (height, width), mode="bilinear", antialias=True)
            if self._is_untagged_hd:
                small = torch.einsum("ij,njhw->nihw", _AS_HD.to(small.device), small)
            return small.round_().clamp_(0, 255).to(torch.uint8), batch.pts_seconds.cpu().numpy()
        except RuntimeError as exc:
            if self._device != "cpu":
                raise self._fallen_back(_first_line(exc)) from exc
            raise MediaError("corrupt", _first_line(exc)) from exc

    def _fallen_back(self, reason: str) -> FallbackError:
        return FallbackError(f"{self._path.name} is not decoded by the GPU ({reason}); decode it on the processor.")


def fallback_of(status: Any) -> str:
    """Return why torchcodec decodes on the processor instead, by its `cpu_fallback`; empty: it does not."""
    return str(status) if status or not status.status_known else ""


def _opened(path: Path, device: str) -> Any:
    if "av" in sys.modules:
        raise FallbackError("PyAV is loaded in this process, and its FFmpeg must not meet torchcodec's; start another.")
    if device != "cpu" and not torch.cuda.is_available():
        raise FallbackError(f"No GPU is seen, so {path.name} cannot be decoded on {device}; use the processor.")
    try:
        import torchcodec.decoders
    except (ImportError, RuntimeError) as exc:
        raise FallbackError(f"torchcodec cannot be used ({_first_line(exc)}); pip install 'rushes[gpu]'.") from exc
    library: Any = torchcodec
    if library.ffmpeg_major_version is None:
        raise FallbackError("torchcodec finds no FFmpeg on this machine; install one (apt install ffmpeg).")
    try:
        # Exact: one pass over the packets first, so that times are true; who samples densely reads all of them anyway.
        return library.decoders.VideoDecoder(f"file:{path}", device=device, seek_mode="exact")
    except (RuntimeError, ValueError) as exc:
        if device != "cpu":
            raise FallbackError(
                f"{path.name} is not opened for the GPU ({_first_line(exc)}); use the processor."
            ) from exc
        raise MediaError("unreadable", _first_line(exc)) from exc


def _check(path: Path) -> None:
    """Refuse links, and what FFmpeg would take for a list of other files to open."""
    with os.fdopen(open_regular(path), "rb") as file:
        kind = sniff(file.read(BYTES_NEEDED), path.name)
    if kind is None or kind.media != Media.VIDEO or not kind.demuxers:
        raise MediaError("not_media", f"{path.name} is no film by its first bytes")


def _high_range(about: Any) -> str:
    transfer, primaries = about.color_transfer_characteristic or "", about.color_primaries or ""
    if transfer in ("smpte2084", "arib-std-b67"):
        return f"of high dynamic range ({transfer})"
    return f"of wide colours ({primaries})" if primaries.startswith(("bt2020", "smpte432")) else ""


def _first_line(exc: BaseException) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0]
