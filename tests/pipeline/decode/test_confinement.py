"""What a running child may do and has, read from outside while it stands still: by any user, and as nobody by root."""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.decode import DEFAULT_LIMITS, reading, sandbox
from pipeline.decode.children import _KEPT_VARIABLES, _MEMORY_IS_KEPT, ForkServer
from pipeline.errors import MediaError
from pipeline.media import Facts, Modality, Sampling
from tests.pipeline.decode.media import children_of

ROOT = Path(__file__).parents[3]
THREADS = {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"}
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def landlock() -> int:
    """Return the version of Landlock that this kernel has; 0 or less: none."""
    return ctypes.CDLL(None).syscall(444, None, ctypes.c_long(0), ctypes.c_long(1))


def may_leave_network() -> bool:
    """Tell whether this platform lets a process like this one leave its network."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if sandbox.leave_network() else 1)
    return os.waitpid(pid, 0)[1] == 0


@contextmanager
def standing_still(folder: Path) -> Iterator[tuple[int, int, Iterator]]:
    """Give the number of a child that stopped itself, that of its server, and the iterator over its answers."""
    path = folder / "fault.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVEstop")
    server = ForkServer("tests.pipeline.decode.faults:run")
    items = reading.read(path, Sampling(), frozenset(Modality), DEFAULT_LIMITS, server)
    try:
        assert isinstance(next(items), Facts)
        (pid,) = children_of(server._process.pid)
        deadline = time.monotonic() + 10
        while status(pid)["State"][:1] != "T" and time.monotonic() < deadline:
            time.sleep(0.01)
        yield pid, server._process.pid, items
    finally:
        items.close()
        server.close()


def status(pid: int) -> dict[str, str]:
    rows = (row.partition(":") for row in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: value.strip() for name, _, value in rows}


def limits(pid: int) -> dict[str, list[str]]:
    rows = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {row[:25].strip(): [row[25:45].strip(), row[46:66].strip()] for row in rows}


def seen(pid: int) -> dict:
    """Return what can be read about a process from outside."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    found = {
        "pid": pid, "group": int(fields[2]), "session": int(fields[3]), "status": status(pid), "limits": limits(pid),
        "network": [row.split(":")[0].strip() for row in Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]],
        "owner": Path(f"/proc/{pid}/status").stat().st_uid,
    }  # fmt: skip
    try:
        found["environment"] = Path(f"/proc/{pid}/environ").read_bytes().decode().rstrip("\0").split("\0")
        found["descriptors"] = {fd.name: str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    except PermissionError:  # nobody but root may look into a process that may not be dumped
        found["environment"] = found["descriptors"] = None
    return found


def check(found: dict, media: Path) -> None:
    """Assert that a child is confined, from what was seen of it."""
    state, limit = found["status"], found["limits"]
    assert state["State"][:1] == "T"
    assert found["group"] == found["session"] == found["pid"], "a process group of its own"
    assert state["NoNewPrivs"] == "1"
    assert state["Threads"] == "1"
    assert "0" not in state["Uid"].split() + state["Gid"].split(), "root"
    assert [state[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == ["0" * 16] * 4
    assert found["owner"] == 0, "a process that may be dumped or traced belongs to its user"
    assert limit["Max core file size"] == limit["Max file size"] == limit["Max processes"] == ["0", "0"]
    assert limit["Max open files"] == ["6", "6"]
    memory = int(limit["Max address space"][1])
    # What it has, what it may take; and what was freed since the limit was set.
    assert 0 < memory - 1024 * int(state["VmSize"].split()[0]) <= DEFAULT_LIMITS.memory_bytes + 2**25
    assert 0 < int(limit["Max cpu time"][0]) <= 61 + DEFAULT_LIMITS.slowest * 9
    if found["descriptors"] is not None:
        pipe = found["descriptors"].pop("4")
        assert pipe.startswith("pipe:")
        assert found["descriptors"] == {"0": "/dev/null", "1": "/dev/null", "2": "/dev/null", "3": str(media)}
        assert {row.partition("=")[0] for row in found["environment"]} <= {*_KEPT_VARIABLES, *THREADS, *_MEMORY_IS_KEPT}


def test_a_child_has_given_up_what_decoding_does_not_need(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    with standing_still(tmp_path) as (pid, _, _):
        found = seen(pid)
    assert (found["descriptors"] is not None) == (os.geteuid() == 0), "only root looks into it"
    check(found, tmp_path / "fault.wav")
    if os.geteuid() == 0:
        assert found["status"]["Groups"] == ""
    if may_leave_network():
        assert found["network"] in ([], ["lo"])
    assert not list(tmp_path.glob("core*"))


def test_a_child_of_another_process_looks_different(tmp_path):
    """The check above sees the difference: a plain child passes none of it."""
    with subprocess.Popen(["sleep", "60"]) as plain:
        os.kill(plain.pid, signal.SIGSTOP)
        time.sleep(0.1)
        found = seen(plain.pid)
        plain.kill()
    with pytest.raises(AssertionError, match="a process group of its own"):
        check(found, tmp_path)
    assert found["status"]["NoNewPrivs"] == "0"
    assert found["limits"]["Max open files"] != ["6", "6"]


def test_a_stopped_child_dies_with_its_server_and_with_who_asked(tmp_path):
    with standing_still(tmp_path) as (pid, server, items):
        os.kill(server, signal.SIGKILL)
        with pytest.raises(MediaError, match="decoder_crash:lost"):
            next(items)
        assert gone(pid)


def test_a_stopped_child_is_killed_with_its_group_when_nobody_wants_it(tmp_path):
    with standing_still(tmp_path) as (pid, _, items):
        items.close()
        assert gone(pid)


def gone(pid: int) -> bool:
    """Tell whether a process ended within five seconds; one that nobody has reaped yet has ended too."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if status(pid)["State"][:1] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


AS_NOBODY = """
import ctypes, os, struct, sys
libc, nobody, read = ctypes.CDLL(None), 65534, 1 << 2
libc.prctl(8, 1, 0, 0, 0)  # keep capabilities over the change of user
os.setgroups([]); os.setresgid(nobody, nobody, nobody); os.setresuid(nobody, nobody, nobody)
# One stays: to read any file, since the interpreter may lie where only root may look.
libc.capset(struct.pack("Ii", 0x20080522, 0), struct.pack("6I", read, read, read, 0, 0, 0))
libc.prctl(47, 2, 2, 0, 0)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
"""
LOOK = """
import json, os, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from pipeline.decode import DEFAULT_LIMITS, decode, reading
from pipeline.decode.children import ForkServer
from pipeline.errors import MediaError
from pipeline.media import Modality, Sampling
from tests.pipeline.decode.test_confinement import may_leave_network, seen, standing_still
folder = Path(sys.argv[2])
with standing_still(folder) as (pid, *_):
    found = seen(pid)
(folder / "canary").write_text("nobody may read this")
(folder / "look.wav").write_bytes(b"RIFF" + bytes(4) + b"WAVElook " + os.fsencode(folder / "canary"))
server = ForkServer("tests.pipeline.decode.faults:run")
try:
    list(reading.read(folder / "look.wav", Sampling(), frozenset(Modality), DEFAULT_LIMITS, server))
except MediaError as error:
    worked = [error.reason, *error.detail.split()]
server.close()
damage = list(decode(folder / "film.mp4", Sampling()))[-1].damage
print(json.dumps([os.getuid(), found, worked, damage, may_leave_network()]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_it_holds_for_a_user_who_is_not_root(tmp_path):
    from tests.pipeline.decode.media import slides, write_film

    folder = tmp_path / "theirs"
    folder.mkdir()
    write_film(folder / "film.mp4", slides(1, 10))
    for path in (folder, folder / "film.mp4"):
        os.chown(path, 65534, 65534)
    call = [sys.executable, "-c", AS_NOBODY, LOOK, str(ROOT), str(folder)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120, cwd="/", env={})
    assert done.returncode == 0, done.stderr[-3000:]
    user, found, worked, damage, left = json.loads(done.stdout)
    assert user == 65534
    assert damage is None
    check(found, folder / "fault.wav")
    if left:
        assert found["network"] in ([], ["lo"])
    if landlock() >= 6:
        assert worked == ["looked"]
        assert (folder / "canary").read_text() == "nobody may read this"
    else:  # an older kernel leaves a child what it may do to its own user's files without opening them
        assert set(worked) <= {"looked", "rename", "truncate", "unlink", "mkdir", "symlink", "signal", "exec"}


def test_the_limits_of_this_process_are_its_own_still():
    assert resource.getrlimit(resource.RLIMIT_NPROC)[1] != 0
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 16
