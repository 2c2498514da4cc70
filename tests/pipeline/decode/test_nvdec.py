"""The GPU's decoder, run on the processor in a process of its own: the frames are those of the sandboxed one."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.decode import decode
from pipeline.media import FrameChunk, Mode, Sampling
from tests.pipeline.decode.media import write_film

SIZE_PX = 64
SHOWING = """
import json, sys
import numpy as np
from pathlib import Path
from pipeline.decode import nvdec
from pipeline.errors import RushesError
path, device, out, at = sys.argv[1:]
try:
    parts = list(nvdec.decode_at(Path(path), json.loads(at), {size}, device))
except RushesError as exc:
    print(type(exc).__name__, exc)
else:
    assert "av" not in sys.modules
    np.savez(out, pixels=np.concatenate([p.permute(0, 2, 3, 1).numpy() for p, _ in parts]),
             at=np.concatenate([t for _, t in parts]))
"""

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torchcodec") is None, reason="torchcodec is not installed")


@pytest.fixture
def gpu_decode(root: Path, tmp_path: Path):
    """Return a function that decodes in another process: pixels and times, or the error's name and text."""

    def run(path: Path, at: Sequence[float], device: str = "cpu", first: str = ""):
        out = tmp_path / "frames.npz"
        code = first + SHOWING.replace("{size}", str(SIZE_PX))
        command = [sys.executable, "-c", code, str(path), device, str(out), str([float(t) for t in at])]
        done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
        if "finds no FFmpeg" in done.stdout or "cannot be used" in done.stdout:
            pytest.skip(done.stdout)
        if done.stdout:
            return done.stdout.strip()
        with np.load(out) as saved:
            return saved["pixels"], saved["at"]

    return run


def pattern(width: int, height: int, n: int) -> list[np.ndarray]:
    """Return frames of smooth colours that move, no two alike."""
    y, x = np.mgrid[0:height, 0:width] / height
    waves = [[127 + 100 * np.sin(a * x + b * y + k / 7) for a, b in ((9, 2), (3, 7), (6, -5))] for k in range(n)]
    return [np.stack(wave, -1).astype(np.uint8) for wave in waves]


def exact(path: Path, interval_seconds: float) -> tuple[np.ndarray, np.ndarray]:
    sampling = Sampling(size_px=SIZE_PX, mode=Mode.EXACT, interval_seconds=interval_seconds, rates_hz=(16000,))
    chunks = [item for item in decode(path, sampling) if isinstance(item, FrameChunk)]
    return np.concatenate([c.pixels for c in chunks]), np.concatenate([c.at_seconds for c in chunks])


FILMS = {
    "h264": {"frames": pattern(320, 180, 60)},
    "untagged-hd": {"frames": pattern(1280, 720, 12)},
    "hevc-10": {"frames": pattern(320, 180, 40), "codec": "libx265", "pix_fmt": "yuv420p10le"},
    "narrow-pixels": {"frames": pattern(240, 180, 30), "aspect": Fraction(4, 3)},
    "turned": {"frames": pattern(320, 180, 30), "rotate": 90},
    "uneven": {
        "frames": pattern(320, 180, 30),
        "at_seconds": [k / 25 if k < 10 else k / 10 for k in range(30)],
        "rate": 100,
    },
    "late": {"frames": pattern(320, 180, 40), "start_seconds": 2.0},
}


@pytest.mark.parametrize("name", FILMS)
def test_frames_are_those_of_the_sandboxed_decoder(name: str, tmp_path: Path, gpu_decode) -> None:
    film = write_film(tmp_path / "film.mp4", **FILMS[name])
    ours, ours_at = exact(film, 0.1)
    grid = np.arange(0, 40) * 0.1
    theirs, theirs_at = gpu_decode(film, grid)
    assert theirs_at == pytest.approx(ours_at, abs=1e-3)
    assert theirs.shape == ours.shape
    assert theirs.dtype == np.uint8
    difference = np.abs(theirs.astype(int) - ours)
    assert difference.mean() < 1.5
    assert np.percentile(difference, 99) <= 5
    neighbours = np.abs(ours[1:].astype(int) - ours[:-1]).mean(axis=(1, 2, 3))
    assert neighbours.min() > 3  # or a frame too early would go unnoticed


def test_a_frame_that_is_shown_long_comes_once(tmp_path: Path, gpu_decode) -> None:
    film = write_film(tmp_path / "film.mp4", pattern(320, 180, 6), rate=2)
    _, at = gpu_decode(film, np.arange(0, 3, 0.1))
    assert at.tolist() == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5])


def test_without_a_gpu_it_says_so(tmp_path: Path, gpu_decode) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    film = write_film(tmp_path / "film.mp4", pattern(64, 64, 5))
    assert gpu_decode(film, [0.0], "cuda") == (
        "FallbackError No GPU is seen, so film.mp4 cannot be decoded on cuda; use the processor."
    )


def test_two_ffmpegs_never_meet(tmp_path: Path, gpu_decode) -> None:
    film = write_film(tmp_path / "film.mp4", pattern(64, 64, 5))
    assert gpu_decode(film, [0.0], first="import av\n").startswith("FallbackError PyAV is loaded in this process")


def test_high_dynamic_range_is_left_to_the_processor(tmp_path: Path, gpu_decode) -> None:
    tagged = {"x265-params": "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"}
    film = write_film(
        tmp_path / "film.mp4", pattern(320, 180, 5), codec="libx265", pix_fmt="yuv420p10le", options=tagged
    )
    assert "of high dynamic range (smpte2084)" in gpu_decode(film, [0.0])


def test_no_list_of_other_files_is_opened(tmp_path: Path, gpu_decode) -> None:
    film = write_film(tmp_path / "film.mp4", pattern(64, 64, 5))
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"ffconcat version 1.0\nfile {film.name}\n")
    assert gpu_decode(playlist, [0.0]).startswith("MediaError playlist")
    link = tmp_path / "link.mp4"
    link.symlink_to(film)
    assert gpu_decode(link, [0.0]).startswith("NotMediaError link")


def test_damage_has_a_name(tmp_path: Path, gpu_decode) -> None:
    film = write_film(tmp_path / "film.mp4", pattern(320, 180, 50))
    film.write_bytes(film.read_bytes()[:200])
    assert gpu_decode(film, [0.0]).startswith("MediaError unreadable")


def test_a_fallback_that_torchcodec_reports_is_told(root: Path) -> None:
    code = """
from torchcodec.decoders import CpuFallbackStatus
from pipeline.decode.nvdec import fallback_of
status = CpuFallbackStatus()
print(fallback_of(status))
status.status_known = True
print(repr(fallback_of(status)))
status._is_fallback = status._video_not_supported = True
print(fallback_of(status))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    unknown, none, some = done.stdout.splitlines()
    assert "Unknown" in unknown
    assert none == "''"
    assert "Video not supported" in some
