"""Which decoder takes a film's pictures: FFmpeg on the processor, or NVDEC on the GPU; and what this machine offers.

A choice is a pure function of a film, of how densely it is sampled and of an `Offer`; its reason is a sentence for the
plan. The rules are from published figures, for many films at once, and from NVIDIA's table of what its GPUs decode. Of
one short film alone an H200 was 3 to 15 times as fast as the processor, small frames included: tests/benchmarks.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from typing import Literal

from pipeline.media import Facts, Media, Mode, Sampling

_CODECS = {
    "h264": "H.264", "hevc": "HEVC", "vp9": "VP9", "libvpx-vp9": "VP9", "av1": "AV1", "libdav1d": "AV1",
    "libaom-av1": "AV1",
}  # fmt: skip
"""FFmpeg's decoders of what NVDEC decodes too → the codec."""
_LEAST_PIXELS = 1920 * 1080
"""Frames delivered a second, processor against GPU (torchcodec's benchmark, 22 cores, 50 frames of a film each): 2.3
against 7.5 at 1080p, 86 against 15 at 540p. Between the two nobody has measured: the processor."""
_LEAST_SHARE = 0.5
"""The same benchmark at 1080p with 10 frames of two minutes, about half of each group of pictures: 1.5 against 1.2."""
_AV1_GENERATIONS = ((8, 6), (8, 7), (8, 9))
"""CUDA's numbers of the GPUs before Blackwell that decode AV1: Ampere but for A100, and Ada. Hopper does not."""
_BLACKWELL = (10, 0)
_WIDEST_PX, _WIDEST_H264_PX = 8192, 4096
"""Longest side that is decoded; before Blackwell less of H.264."""


@dataclass(frozen=True)
class Offer:
    """What a machine has to decode with, beside its processor."""

    torchcodec: bool
    """It is installed; whether it finds an FFmpeg is only known when it is used."""
    gpu: str = ""
    """The GPU's name; empty: torch sees none, or was not asked because torchcodec is missing."""
    capability: tuple[int, int] = (0, 0)
    """CUDA's number of the GPU's generation: (9, 0) is Hopper."""


@dataclass(frozen=True)
class DeviceChoice:
    """Where pictures are decoded, and why."""

    device: Literal["cpu", "cuda"]
    reason: str
    """One line for the plan, such as "the processor: no GPU is seen"."""


@cache
def offer() -> Offer:
    """Return what this machine has. Loads torch only where torchcodec is installed, and torchcodec not at all."""
    if importlib.util.find_spec("torchcodec") is None:
        return Offer(torchcodec=False)
    from pipeline.decode import nvdec

    return Offer(True, *nvdec.seen_gpu())


def choose_device(
    width: int, height: int, codec: str, share: float, offered: Offer, *, trusted: bool = False
) -> DeviceChoice:
    """Return where to decode a film's pictures.

    Args:
        width: of a frame, in pixels.
        height: of a frame.
        codec: FFmpeg's name of the decoder, as in `Facts`.
        share: of the film's frames that have to be decoded for those that are kept, in [0, 1].
        offered: what the machine has.
        trusted: the film may be decoded outside the sandbox, which is the only place where a GPU can be used.
    """
    if obstacle := _obstacle(width, height, codec, share, offered, trusted):
        return DeviceChoice("cpu", f"the processor: {obstacle}")
    reason = f"the GPU ({offered.gpu}): {_CODECS[codec]} of {width}x{height}, {share:.0%} of the frames are decoded"
    return DeviceChoice("cuda", reason)


def device_of(
    facts: Facts,
    mode: Mode,
    sampling: Sampling,
    *,
    share: float | None = None,
    offered: Offer | None = None,
    trusted: bool = False,
) -> DeviceChoice:
    """Return where a film's pictures would be decoded, for its plan.

    Args:
        facts: of the film.
        mode: that was chosen for it, not `auto`.
        sampling: what is kept of it.
        share: of the frames that the plan decodes; None: taken for all in `exact` and `snap` if their grid is finer
            than 30 seconds, otherwise for none.
        offered: what the machine has; None: this machine.
        trusted: as in `choose_device`.
    """
    if facts.media != Media.VIDEO:
        return DeviceChoice("cpu", f"the processor: it is no film, but {facts.media}")
    if mode not in (Mode.EXACT, Mode.SNAP):
        return DeviceChoice("cpu", f"the processor: {mode} decodes few frames, and looks for cuts while it does")
    if share is None:
        share = 1.0 if sampling.interval_seconds < 30 else 0.0
    return choose_device(facts.width, facts.height, facts.video_codec, share, offered or offer(), trusted=trusted)


def _obstacle(width: int, height: int, codec: str, share: float, offered: Offer, trusted: bool) -> str:
    """Return why not on the GPU; empty: nothing is in the way. What a person can change comes first."""
    if not offered.torchcodec:
        return "torchcodec is not installed (pip install 'rushes[gpu]')"
    if not offered.gpu:
        return "no GPU is seen"
    if not trusted:
        return "a GPU decodes outside the sandbox, and that was not allowed"
    if codec not in _CODECS:
        return f"the GPU does not decode {codec or 'it'}"
    if width * height < _LEAST_PIXELS:
        return f"frames of {width}x{height} are too small to gain by a GPU"
    if share < _LEAST_SHARE:
        return f"{share:.0%} of the frames are decoded, too few to gain by a GPU"
    name, modern = _CODECS[codec], offered.capability >= _BLACKWELL
    if name == "AV1" and not modern and offered.capability not in _AV1_GENERATIONS:
        return f"{offered.gpu} does not decode AV1"
    if max(width, height) > (_WIDEST_H264_PX if name == "H.264" and not modern else _WIDEST_PX):
        return f"{offered.gpu} does not decode {name} of {width}x{height}"
    return ""
