"""Children that misbehave as a decoder might that read hostile bytes. The file's bytes say how."""

import ctypes
import json
import os
import pickle
import signal
import socket
import struct
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.decode import wire
from pipeline.media import Ending, Facts, Media, SoundChunk

FACTS = Facts(Media.AUDIO, "wav", duration_seconds=9.0)
SOUND = SoundChunk(np.zeros(1600, np.float32), 0.0, 16000)


class Opener:
    """What a malicious answer would run if somebody unpickled it."""

    def __reduce__(self):
        return os.system, ("touch /tmp/rushes-canary-was-unpickled",)


def run(request: dict, media: int, answers: int) -> None:
    """Do what the file asks for: its bytes after the first twelve name a function here."""
    name, _, argument = os.pread(media, 4096, 12).rstrip(b"\0").decode().partition(" ")
    out = os.fdopen(answers, "wb", buffering=0)
    FAULTS[name](out, argument)


def raw(out, header: object, body: bytes = b"") -> None:
    """Write a header that `wire.write` would not."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    out.write(struct.pack(">I", len(encoded)) + encoded + body)


def crash_late(out, _: str) -> None:
    for message in (FACTS, SOUND, wire.Beat(4.5)):
        wire.write(out, message)
    os.kill(os.getpid(), signal.SIGSEGV)


def spin(out, _: str) -> None:
    while True:
        wire.write(out, wire.Beat(1.0))
        time.sleep(0.01)


def flood(out, _: str) -> None:
    for _ in range(1000):
        sys.stderr.write("x" * 100_000)
        print("y" * 100_000)
    for message in (FACTS, SOUND, Ending()):
        wire.write(out, message)


def mute(out, _: str) -> None:
    out.close()
    time.sleep(60)


def look(out, path: str) -> None:
    """Try what the sandbox forbids and report what worked."""
    os.dup(0)  # a film's child may have one descriptor more, which FFmpeg takes before it reads a byte
    worked = [name for name, attempt in ATTEMPTS.items() if _works(attempt, path)]
    worked += sorted(os.environ)
    wire.write(out, wire.Refusal("looked", " ".join(worked)))


def _works(attempt, path: str) -> bool:
    try:
        attempt(path)
    except (OSError, RuntimeError):  # the second is what a thread that cannot start raises
        return False
    return True


def fork(_: str) -> None:
    if os.fork() == 0:
        os._exit(0)


ATTEMPTS = {
    "read": lambda path: os.open(path, os.O_RDONLY),
    "list": os.listdir,
    "write": lambda path: os.open(path, os.O_WRONLY | os.O_CREAT),
    "dup": lambda _: os.dup(0),
    "socket": lambda _: socket.create_connection(("127.0.0.1", 1)),
    "udp": lambda _: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "rename": lambda path: Path(path).rename(path + "-renamed"),
    "truncate": lambda path: os.truncate(path, 0),
    "unlink": os.unlink,
    "mkdir": lambda path: Path(path + "-made").mkdir(),
    "symlink": lambda path: Path(path + "-linked").symlink_to(path),
    "signal": lambda _: os.kill(os.getppid(), 0),
    "fork": fork,
    "thread": lambda _: threading.Thread(target=int).start(),
    "exec": lambda _: os.execv("/bin/true", ["true"]),
}

FRAMES = {"is": "FrameChunk", "shape": [1, 2, 2, 3], "at_seconds": [0.0], "shots": [[0, 1, 0, 1]]}
HEARD = {"is": "SoundChunk", "length": 4, "start_seconds": 0, "rate_hz": 16000, "track": "a:0", "main": True}


TOLD = {"is": "Facts", **asdict(FACTS), "metadata": {}}


LIES = {
    "shape": {**FRAMES, "shape": [2**19, 2**19, 2**19, 3]},
    "flat": {**FRAMES, "shape": [1, 2, 3]},
    "words": {**FRAMES, "shape": ["1", "2", "2", "3"]},
    "truth": {**FRAMES, "shape": [True, 2, 2, 3]},
    "grey": {**FRAMES, "shape": [1, 2, 2, 1]},
    "backwards": {**FRAMES, "shape": [2, 2, 2, 3], "at_seconds": [1.0, 0.0], "shots": [[0, 1, 0, 2]]},
    "never": {**FRAMES, "at_seconds": [1e300]},
    "inverted": {**FRAMES, "shots": [[1, 0, 0, 1]]},
    "text": {"is": "Transcript", "track": "s:0", "language": "", "lines": [[0, 1, ["no"]]]},
    "negative": {**FRAMES, "shape": [-1, 2, 2, 3]},
    "times": {**FRAMES, "at_seconds": [0.0, 1.0]},
    "nan": b'{"is": "Beat", "at_seconds": NaN}',
    "shots": {**FRAMES, "shots": [[0, 1, 0, 7]]},
    "sound": {**HEARD, "length": 2**40},
    "rate": {**HEARD, "rate_hz": 2**31},
    "track": {**HEARD, "track": "a:0; DROP TABLE"},
    "main": {**HEARD, "main": "yes"},
    "timecode": {**TOLD, "timecode": "99:99:99:99"},
    "unknown": {"is": "Surprise"},
    "list": [1, 2, 3],
    "deep": b"[" * 100_000,
    "binary": b"\xff" * 100,
    "pickle": pickle.dumps(Opener()),
    "reason": {"is": "Refusal", "reason": "<script>", "detail": ""},
    "early": {"is": "Ending", "damage": None, "decoded_seconds": 1, "frames_decoded": 1},
}


def stop(out, _: str) -> None:
    """Stand still, to be looked at."""
    wire.write(out, FACTS)
    os.kill(os.getpid(), signal.SIGSTOP)
    wire.write(out, Ending())


def hang_in_c(out, _: str) -> None:
    """Wait in C, holding the interpreter's lock, deaf to signals."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.PyDLL(None).sleep(60)


def allocate(out, _: str) -> None:
    blocks = []
    while True:
        blocks.append(bytearray(2**22))


def burn(out, _: str) -> None:
    while True:
        pass


def deaf(out, _: str) -> None:
    """Use up processor time and take no notice of the system's complaint."""
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    burn(out, "")


def lie(out, which: str) -> None:
    raw(out, LIES[which])
    time.sleep(60)


def loud(out, _: str) -> None:
    raw(out, HEARD, np.full(4, np.inf, "<f4").tobytes())


def huge(out, _: str) -> None:
    out.write(struct.pack(">I", 2**32 - 1))
    time.sleep(60)


FAULTS = {
    "segfault": lambda out, _: ctypes.string_at(0),
    "abort": lambda out, _: os.abort(),
    "exit": lambda out, _: os._exit(7),
    "raise": lambda out, _: 1 / 0,
    "killed": lambda out, _: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda out, _: time.sleep(60),
    "half": lambda out, _: out.write(b"\0\0"),
    "crash_late": crash_late,
    "spin": spin,
    "flood": flood,
    "mute": mute,
    "look": look,
    "lie": lie,
    "loud": loud,
    "huge": huge,
    "stop": stop,
    "hang_in_c": hang_in_c,
    "allocate": allocate,
    "burn": burn,
    "deaf": deaf,
}
