"""Where a film's pictures are decoded, and that the plan can say why."""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.decode.device import DeviceChoice, Offer, choose_device, device_of
from pipeline.media import Facts, Media, Mode, Sampling

HOPPER = Offer(torchcodec=True, gpu="H200", capability=(9, 0))
ADA = replace(HOPPER, gpu="L4", capability=(8, 9))
A100 = replace(HOPPER, gpu="A100", capability=(8, 0))
BLACKWELL = replace(HOPPER, gpu="B200", capability=(10, 0))
FILM = Facts(media=Media.VIDEO, container="mp4", width=1920, height=1080, video_codec="h264")


@pytest.mark.parametrize(
    ("width", "height", "codec", "share", "offered", "device", "reason"),
    [
        (1920, 1080, "h264", 1.0, HOPPER, "cuda", "the GPU (H200): H.264 of 1920x1080, 100% of the frames are decoded"),
        (1080, 1920, "hevc", 0.5, HOPPER, "cuda", "the GPU (H200): HEVC of 1080x1920, 50% of the frames are decoded"),
        (3840, 2160, "vp9", 0.9, HOPPER, "cuda", "the GPU (H200): VP9"),
        (1280, 720, "h264", 1.0, HOPPER, "cpu", "frames of 1280x720 are too small"),
        (1920, 1080, "h264", 0.49, HOPPER, "cpu", "49% of the frames are decoded, too few"),
        (1920, 1080, "prores", 1.0, HOPPER, "cpu", "the GPU does not decode prores"),
        (1920, 1080, "", 1.0, HOPPER, "cpu", "the GPU does not decode it"),
        (1920, 1080, "av1", 1.0, HOPPER, "cpu", "H200 does not decode AV1"),
        (1920, 1080, "libdav1d", 1.0, A100, "cpu", "A100 does not decode AV1"),
        (1920, 1080, "libdav1d", 1.0, ADA, "cuda", "the GPU (L4): AV1"),
        (1920, 1080, "av1", 1.0, BLACKWELL, "cuda", "the GPU (B200): AV1"),
        (7680, 4320, "h264", 1.0, HOPPER, "cpu", "H200 does not decode H.264 of 7680x4320"),
        (7680, 4320, "h264", 1.0, BLACKWELL, "cuda", "the GPU (B200)"),
        (7680, 4320, "hevc", 1.0, HOPPER, "cuda", "the GPU (H200)"),
        (10000, 5000, "hevc", 1.0, BLACKWELL, "cpu", "B200 does not decode HEVC of 10000x5000"),
        (1920, 1080, "h264", 1.0, Offer(torchcodec=True), "cpu", "the processor: no GPU is seen"),
        (1920, 1080, "h264", 1.0, Offer(torchcodec=False), "cpu", "installed (pip install 'rushes[gpu]')"),
    ],
)  # fmt: skip
def test_a_choice_and_its_reason(
    width: int, height: int, codec: str, share: float, offered: Offer, device: str, reason: str
) -> None:
    choice = choose_device(width, height, codec, share, offered, trusted=True)
    assert choice.device == device
    assert reason in choice.reason
    assert choice.reason.startswith("the processor: " if device == "cpu" else "the GPU (")


def test_nothing_leaves_the_sandbox_unless_that_was_allowed() -> None:
    assert choose_device(1920, 1080, "h264", 1.0, HOPPER) == DeviceChoice(
        "cpu", "the processor: a GPU decodes outside the sandbox, and that was not allowed"
    )


@pytest.mark.parametrize(
    ("mode", "share", "device"),
    [
        (Mode.EXACT, None, "cuda"),
        (Mode.SNAP, None, "cuda"),
        (Mode.SNAP, 0.1, "cpu"),
        (Mode.KEYFRAMES, 1.0, "cpu"),
        (Mode.SHOTS, 1.0, "cpu"),
    ],
)
def test_a_plan_asks_with_what_it_knows(mode: Mode, share: float | None, device: str) -> None:
    assert device_of(FILM, mode, Sampling(), share=share, offered=HOPPER, trusted=True).device == device


def test_what_is_no_film_stays_on_the_processor() -> None:
    picture = replace(FILM, media=Media.IMAGE)
    assert device_of(picture, Mode.EXACT, Sampling(), offered=HOPPER, trusted=True).reason.endswith("but image")


def test_a_sparse_grid_is_taken_for_few_frames() -> None:
    sparse = Sampling(interval_seconds=60.0)
    assert "0% of the frames" in device_of(FILM, Mode.EXACT, sparse, offered=HOPPER, trusted=True).reason


def test_asking_what_the_machine_has_loads_no_decoder(root: Path) -> None:
    code = (
        "import sys; from pipeline.decode.device import offer; o = offer()\n"
        "print(o.torchcodec, 'torch' in sys.modules, 'torchcodec' in sys.modules, 'av' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    installed = importlib.util.find_spec("torchcodec") is not None
    assert done.stdout.split() == [str(installed), str(installed), "False", "False"]
