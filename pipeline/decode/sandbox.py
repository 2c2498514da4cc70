"""What a child may do: compute on two descriptors, within limits. Called in the child, before it sees a byte.

No step depends on another: where the platform refuses one, the rest still hold. The strongest needs no privilege: a
process that may have no more descriptors than it has can open no file and no socket. Where the kernel knows Landlock it
cannot delete or rename one either, although it runs as the user who owns the archive.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
from contextlib import suppress

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CLONE_NEWNET, _CLONE_NEWUSER = 0x40000000, 0x10000000
_NOBODY = 65534
_CAPABILITIES_3 = 0x20080522
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF, _LANDLOCK_VERSION = 444, 446, 1
"""Numbers of system calls that are the same on every processor; the C library has no names for them."""


def leave_network() -> bool:
    """Move this process into a network of its own without any device; tell whether the platform allowed it.

    Called once, in the fork server: its children inherit it, and a namespace costs milliseconds.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return any(libc.unshare(flags) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET))


def enter(parent: int, descriptors: int, memory_bytes: int, cpu_seconds: float) -> None:
    """Give up everything that decoding does not need.

    Args:
        parent: the process with which this one is to die.
        descriptors: how many it may have; those that it has are counted.
        memory_bytes: address space beyond what the process has now.
        cpu_seconds: processor time; see `allow_cpu`.
    """
    os.setsid()
    for name in list(os.environ):
        del os.environ[name]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    # Before the limit on descriptors, since reading the size opens a file.
    _limit(resource.RLIMIT_AS, _size_bytes() + memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NPROC, 0)  # no process that would outlive it, no thread
    allow_cpu(cpu_seconds)
    _drop_user()
    _harden(parent)
    _limit(resource.RLIMIT_NOFILE, descriptors)


def landlock_version() -> int:
    """Return the version of this kernel's Landlock, 1 or more; less where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    ask = ctypes.CDLL(None, use_errno=True).syscall
    return int(ask(_LANDLOCK_CREATE_RULESET, None, ctypes.c_long(0), ctypes.c_long(_LANDLOCK_VERSION)))


def allow_cpu(seconds: float) -> None:
    """Let the system kill this process once it has used so much processor time in all."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _limit(kind: int, value: int) -> None:
    with suppress(OSError, ValueError):  # macOS refuses a limit on address space
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _size_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 2**30


def _drop_user() -> None:
    """Stop being root: the file is open already, and nothing else is to be opened."""
    if os.geteuid() == 0:
        with suppress(OSError):
            os.setgroups([])
        with suppress(OSError):  # a container that knows only its own users
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)


def _harden(parent: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # after the change of user, which clears it
    if os.getppid() != parent:
        os._exit(1)  # it died before the line above
    # What a namespace of one's own users, or root whom `_drop_user` could not take off, may do.
    libc.capset(struct.pack("Ii", _CAPABILITIES_3, 0), bytes(24))
    _lock_paths(libc)


def _lock_paths(libc: ctypes.CDLL) -> None:
    """Refuse every action on a path, every connection, and signals to others, as far as this kernel's Landlock can."""
    version = landlock_version()
    if version < 1:
        return
    actions = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)  # how many actions on files this version knows
    rules = struct.pack("=3Q", 2**actions - 1, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    ruleset = libc.syscall(_LANDLOCK_CREATE_RULESET, rules, ctypes.c_long(len(rules)), ctypes.c_long(0))
    if ruleset >= 0:
        libc.syscall(_LANDLOCK_RESTRICT_SELF, ctypes.c_long(ruleset), ctypes.c_long(0))
        os.close(ruleset)
