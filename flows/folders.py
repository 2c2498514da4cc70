"""What happens in a folder: told by the system where it can, looked for where it cannot."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flows.bursts import Burst, is_left_out

LOOK_AGAIN_SECONDS = 10.0
"""How often a folder that is not there is looked for, and one that is there is checked to be the same."""
POLL_SECONDS = 30.0
"""How often a folder is looked through where the system does not tell: on network mounts, or beyond its limits."""
REMOTE = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "ncpfs",
    "virtiofs", "vboxsf", "davfs", "drvfs", "fuse",
})  # fmt: skip
"""File systems whose files change without this machine's doing."""
_UNDECODABLE = "Unable to decode path"
"""What watchfiles raises when something happens to a file whose name is not UTF-8; it has no class of its own."""
_STEP_MS = 100
_GATHER_MS = 1000


def follow(folder: Path, archive: Path, burst: Burst, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Note in a burst what arrives in a folder and below, until stopped. Compares nothing at the start.

    A folder that is not there (an unplugged disk) is told once and looked for again; when it is back, something may
    have come with it, so that alone counts as an arrival.

    Args:
        folder: the source.
        archive: the archive's own folder; what happens there is its own doing.
        burst: what is told.
        stop: set from outside.
        say: takes a sentence for people.
    """
    away = polling = False
    while not stop.is_set():
        place = _place(folder)
        if place is None:
            if not away:
                say(f"The source {folder} is not there; connect it, or correct sources in rushes.toml. Looking again.")
            away = True
            stop.wait(LOOK_AGAIN_SECONDS)
            continue
        if away:
            say(f"The source {folder} is back.")
            _touch_all(folder, folder, archive, burst)
        away = False
        try:
            _listen(folder, place, archive, burst, stop, polling=polling)
        except (OSError, RuntimeError) as error:
            if _place(folder) != place:
                continue  # it went while it was looked at
            if _UNDECODABLE in str(error):
                stop.wait(LOOK_AGAIN_SECONDS)  # all below is watched anew, so not for each time that such a file grows
                _touch_all(folder, folder, archive, burst, only=lambda name: not _is_utf8(name))
            elif polling:
                say(f"{folder} cannot be looked through ({error}); trying again.")
                stop.wait(LOOK_AGAIN_SECONDS)
            else:
                polling = True
                say(
                    f"The system does not watch {folder} ({error}), so it is looked through every {POLL_SECONDS:g} "
                    "seconds; if a limit is reached, raise fs.inotify.max_user_watches and max_user_instances with "
                    "sysctl, and start again."
                )


def is_remote(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Tell whether a folder, or one that is mounted below it, changes without this system knowing.

    Args:
        folder: the source.
        mounts: what is mounted where, as Linux tells it; where there is no such file, nothing is remote.
    """
    try:
        lines = mounts.read_text("utf8", "surrogateescape").splitlines()
    except OSError:
        return False
    root = folder.resolve()
    on, kind_on, below = Path("/"), "", []
    for line in lines:
        left, _, right = line.partition(" - ")
        mounted = Path(re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), left.split(" ")[4]))
        kind = right.split(" ")[0].partition(".")[0]
        if root.is_relative_to(mounted) and len(mounted.parts) >= len(on.parts):
            on, kind_on = mounted, kind  # a later line lies over an earlier one
        elif mounted.is_relative_to(root):
            below.append(kind)
    return not REMOTE.isdisjoint({kind_on, *below})


def _listen(
    folder: Path, place: tuple[int, int], archive: Path, burst: Burst, stop: threading.Event, *, polling: bool
) -> None:
    """Note changes until stopped, or until the folder is another than it was."""
    import watchfiles

    changes = watchfiles.watch(
        folder,
        watch_filter=None,
        stop_event=stop,
        debounce=_GATHER_MS,
        step=_STEP_MS,
        rust_timeout=round(LOOK_AGAIN_SECONDS * 1000),
        yield_on_timeout=True,
        force_polling=True if polling or is_remote(folder) else None,  # None: WATCHFILES_FORCE_POLLING decides
        poll_delay_ms=round(POLL_SECONDS * 1000),
        ignore_permission_denied=True,
    )
    for changed in changes:
        there = [Path(name) for change, name in changed if change != watchfiles.Change.deleted]
        for path in there:
            _touch_all(path, folder, archive, burst)
        if not polling and (new := next((path for path in there if path.is_dir()), None)):
            _try_to_watch(new)
        if _place(folder) != place:
            return


def _try_to_watch(folder: Path) -> None:
    """Watch a folder once more: beyond the limit a new one is silently not watched, but this is refused aloud."""
    import watchfiles

    with contextlib.suppress(FileNotFoundError):
        next(watchfiles.watch(folder, recursive=False, step=1, rust_timeout=1, yield_on_timeout=True))


def _touch_all(
    path: Path, folder: Path, archive: Path, burst: Burst, only: Callable[[str], bool] = lambda _: True
) -> None:
    """Touch a file, or all files below a folder: what came with a new folder may have come before it was watched."""
    for each in _files(path, folder, archive):
        name = each.relative_to(folder)
        if not is_left_out(name.parts) and only(name.as_posix()):
            burst.touch(name.as_posix(), time.monotonic(), each)


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf8")
    except UnicodeEncodeError:  # the system's bytes, as surrogates
        return False
    return True


def _files(path: Path, folder: Path, archive: Path) -> Iterator[Path]:
    if path.is_relative_to(archive):
        return
    if not path.is_dir() or (path.is_symlink() and path != folder):
        yield path
        return
    for here, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not is_left_out([name]) and Path(here, name) != archive]
        yield from (Path(here, name) for name in names)


def _place(folder: Path) -> tuple[int, int] | None:
    """Return which folder this is: another one may be mounted in its place; None: it is not there."""
    try:
        facts = folder.stat()
    except OSError:
        return None
    return (facts.st_dev, facts.st_ino) if folder.is_dir() else None
