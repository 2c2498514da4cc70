"""Who decodes a film for a benchmark, each in processes of its own, timed in the same way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.processes import family_seconds

ROOT = Path(__file__).parents[2]


class AbsentError(RuntimeError):
    """The contender cannot run here; the message says why."""


@dataclass(frozen=True)
class Job:
    """What is wanted of a film."""

    path: Path
    size: tuple[int, int]
    """Width and height that frames leave at."""
    at_seconds: tuple[float, ...] = ()
    """For contenders that are told times."""
    setting: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Took:
    """What a contender took, and what else it said."""

    seconds: float
    core_seconds: float
    """Of all its processes; 0 where there is no /proc."""
    n_frames: int
    said: dict[str, Any] = field(default_factory=dict)


class Peer:
    """A process that answers one request after the other; see contending.py."""

    def __init__(self, who: str) -> None:
        """Start it.

        Raises:
            AbsentError: what it needs is not installed.
        """
        if who == "torchcodec":
            asked = subprocess.run(
                [sys.executable, "-c", "import torchcodec.decoders"], capture_output=True, text=True, cwd=ROOT
            )
            if asked.returncode:
                said = asked.stderr.strip().splitlines()
                raise AbsentError(f"torchcodec cannot be imported: {said[-1] if said else asked.returncode}")
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(os.cpu_count() or 1))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.contending", who], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, cwd=ROOT, env={**os.environ, **threads},
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """Return the number of its process."""
        return self._process.pid

    def ask(self, job: Job, keep: Path | None = None) -> Took:
        """Let it decode.

        Args:
            job: what is wanted.
            keep: where to leave frames, times and cuts as .npz; None: nothing is kept.

        Raises:
            RuntimeError: it could not; the message is its error.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "path": str(job.path), "size": job.size, "at_seconds": job.at_seconds, "setting": job.setting,
            "keep": str(keep) if keep else None,
        }  # fmt: skip
        before = family_seconds(self.pid)
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        cores = family_seconds(self.pid) - before
        answer = json.loads(line) if line else {"error": "its process ended"}
        if "error" in answer:
            raise RuntimeError(f"{job.path.name} with {job.setting}: {answer['error']}")
        return Took(answer.pop("seconds"), cores, answer.pop("n_frames"), answer)

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]


def ffmpeg(job: Job, keep: Path | None = None) -> Took:
    """Run FFmpeg's command; `setting`: `before` and `after` the input. It writes RGB frames into a pipe.

    Args:
        job: what is wanted.
        keep: a file for the bytes of the frames.

    Raises:
        AbsentError: it is not on the PATH.
        subprocess.CalledProcessError: it failed.
    """
    if shutil.which("ffmpeg") is None:
        raise AbsentError("there is no ffmpeg on the PATH")
    command = ["ffmpeg", "-v", "error", "-nostdin", *job.setting["before"], "-i", str(job.path), "-an", "-sn"]
    command += [*job.setting["after"], "-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"]
    frame_bytes, n_bytes = job.size[0] * job.size[1] * 3, 0
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)
    assert process.stdout is not None
    buffer = memoryview(bytearray(2**20))
    with Path(keep or os.devnull).open("wb") as kept:
        while n := process.stdout.readinto(buffer):  # type: ignore[attr-defined]
            n_bytes += n
            if keep:
                kept.write(buffer[:n])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Took(seconds, usage.ru_utime + usage.ru_stime, n_bytes // frame_bytes)


def keyframes_setting(size: tuple[int, int], threads: str) -> dict[str, Sequence[str]]:
    """Return what FFmpeg is told to write each key frame once, at this size."""
    passed = ["-fps_mode", "passthrough"]
    before = ["-threads", threads, "-skip_frame", "nokey"]
    return {"before": before, "after": [*passed, "-vf", f"scale={size[0]}:{size[1]}"]}


def every_second_setting(size: tuple[int, int], threads: str) -> dict[str, Sequence[str]]:
    """Return what FFmpeg is told to write one frame a second, at this size."""
    return {"before": ["-threads", threads], "after": ["-vf", f"fps=1,scale={size[0]}:{size[1]}"]}
