"""What can be wrong with a machine, whatever archive it works on. Each check yields a sentence for each thing."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from flows.server.pins import wrong_pins

GIGABYTE = 10**9
LEAST_FREE_BYTES = 2 * GIGABYTE
LEAST_SHARED_BYTES = GIGABYTE
LEAST_FFMPEG = (8, 1, 2)
"""Older ones write out of bounds for a crafted file (CVE-2026-8461)."""
LEAST_LANDLOCK = 1
NOT_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)


def packages() -> Iterator[str]:
    """What pyproject.toml asks for is installed, and nothing that overwrites it."""
    yield from wrong_pins()
    if all(_is_installed(name) for name in ("faiss-gpu", "faiss-cpu")):
        yield (
            "faiss-cpu and faiss-gpu overwrite each other's files; "
            "run: pip uninstall -y faiss-cpu faiss-gpu && pip install faiss-gpu"
        )


def ffmpeg() -> Iterator[str]:
    """The FFmpeg inside PyAV is one without known ways in."""
    from pipeline.decode.libraries import ffmpeg_version

    found = ffmpeg_version()
    digits = tuple(int(part) for part in found.partition("-")[0].lstrip("n").split(".") if part.isdecimal())
    if digits < LEAST_FFMPEG:
        yield f"PyAV brings FFmpeg {found}, where a crafted file can write out of bounds; run: pip install -U 'av<19'"


def sandbox() -> Iterator[str]:
    """The child that decodes can be shut off from network and files, beyond what its limits already forbid."""
    if not sys.platform.startswith("linux"):
        yield f"{sys.platform} has no namespaces; the decoder's child is held by its limits alone."
        return
    asks = "from pipeline.decode.sandbox import landlock_version as l, leave_network as n; print(n(), l())"
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    network, _, landlock = done.stdout.strip().partition(" ")
    if network != "True":
        yield (
            "The decoder's child cannot have a network of its own; allow user namespaces "
            "(sysctl kernel.unprivileged_userns_clone=1, or a container's seccomp profile)."
        )
    if not landlock.lstrip("-").isdecimal() or int(landlock) < LEAST_LANDLOCK:
        yield "The kernel has no Landlock, which keeps the decoder's child from paths; add it to lsm= of the boot line."


def ray_address() -> Iterator[str]:
    """No variable sends Ray elsewhere than rushes.toml says."""
    if address := os.environ.get("RAY_ADDRESS"):
        yield f"RAY_ADDRESS = {address!r} overrides what rushes.toml says; unset it, and set [ray] address there."


def ray_token() -> Iterator[str]:
    """Ray's token, with which anybody may run anything, is readable by its owner only."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    if token.is_file() and (mode := stat.S_IMODE(token.stat().st_mode)) & 0o077:
        yield f"{token} has mode {mode:o}, and lets others run code in Ray; run: chmod 600 {token}"


def shared_memory() -> Iterator[str]:
    """Shared memory has room for what Ray's workers hand to each other."""
    shared = Path("/dev/shm")  # noqa: S108
    if shared.is_dir() and (free := shutil.disk_usage(shared).free) < LEAST_SHARED_BYTES:
        yield (
            f"{shared} has {free / 10**6:.0f} MB free, and Ray needs {LEAST_SHARED_BYTES / 10**6:.0f}; "
            "give it more, in a container with --shm-size=2g"
        )


def scratch() -> Iterator[str]:
    """The folder for temporary files, where Ray spills what does not fit into memory, can be written and has room."""
    folder = Path(tempfile.gettempdir())
    if (free := shutil.disk_usage(folder).free) < LEAST_FREE_BYTES:
        yield f"{folder} has {free / GIGABYTE:.1f} GB free, and Ray spills there; free some, or set TMPDIR elsewhere."


def clock() -> Iterator[str]:
    """The clock goes right, roughly: what is older than another file is told by it."""
    if (now := datetime.now(UTC)) < NOT_BEFORE:
        yield f"The clock says {now:%Y-%m-%d %H:%M}; set it, and switch on time synchronisation."


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
