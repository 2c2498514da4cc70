"""Files that point at other files, or at the network. Nothing that they name is ever opened."""

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.decode import NotMediaError, decode, probe
from pipeline.errors import MediaError
from tests.pipeline.decode.media import slides, write_film
from tests.pipeline.decode.mutations import SAMPLING, WHOLE, outcome

IN_ACCESS, IN_OPEN = 0x1, 0x20


@pytest.fixture
def canary() -> Iterator[tuple[int, list[bytes]]]:
    """Listen on a port; the list fills with who calls."""
    calls: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        running = True

        def listen() -> None:
            while running:
                try:
                    connection, _ = server.accept()
                except OSError:
                    continue
                connection.settimeout(1)
                calls.append(connection.recv(100))
                connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        yield server.getsockname()[1], calls
        running = False
        thread.join()


@contextmanager
def watched(*paths: Path) -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether one of these files, or one in these folders, was opened or read since."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    for path in paths:
        assert libc.inotify_add_watch(fd, os.fsencode(path), IN_ACCESS | IN_OPEN) >= 0

    def touched() -> bool:
        try:
            return bool(os.read(fd, 2**16))
        except BlockingIOError:
            return False

    yield touched
    os.close(fd)


@pytest.fixture
def secrets(tmp_path) -> tuple[Path, Path]:
    """Return a film outside the source folder, and one inside that only a playlist beside it names."""
    outside, source = tmp_path / "outside", tmp_path / "source"
    outside.mkdir()
    source.mkdir()
    film = write_film(outside / "secret.ts", slides(1, 10), codec="mpeg2video")
    (source / "secret.ts").write_bytes(film.read_bytes())
    return film, source / "secret.ts"


def hls(target: str) -> str:
    return f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\n{target}\n#EXT-X-ENDLIST\n"


def dash(target: str) -> str:
    return (
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT4S"><Period>'
        f'<AdaptationSet mimeType="video/mp2t"><Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>\n"
    )


LISTS: dict[str, Callable[[str], str]] = {
    "hls": hls,
    "hls with a mark and blanks": lambda target: "\ufeff\r\n \t" + hls(target),
    "hls in lower case": lambda target: hls(target).replace("#EXTM3U", "#extm3u"),
    "hls with a key": lambda target: hls(target).replace("#EXTINF", f'#EXT-X-KEY:METHOD=X,URI="{target}"\n#EXTINF'),
    "hls with a map": lambda target: hls(target).replace("#EXTINF", f'#EXT-X-MAP:URI="{target}"\n#EXTINF'),
    "hls of lists": lambda target: f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{target}\n",
    "ffconcat": lambda target: f"ffconcat version 1.0\nfile '{target}'\n",
    "dash": dash,
    "dash with a prologue": lambda target: f'<?xml version="1.0"?>\n<!-- a film -->\n{dash(target)}',
    "smil": lambda target: f'<smil><body><video src="{target}"/></body></smil>\n',
    "asx": lambda target: f'<ASX version="3.0"><Entry><Ref href="{target}"/></Entry></ASX>\n',
    "pls": lambda target: f"[playlist]\nFile1={target}\nNumberOfEntries=1\n",
    "sdp": lambda target: f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nu={target}\nc=IN IP4 127.0.0.1\n"
    "t=0 0\nm=video 9 RTP/AVP 9",
}  # fmt: skip
"""Texts that players take for a list of what to play."""
TEXTS: dict[str, Callable[[str], str]] = {
    "m3u without a head": lambda target: f"{target}\n",
    "concat without a head": lambda target: f"file '{target}'\n",
    "list behind a letter": lambda target: f"Dear Ann,\n\n{hls(target)}",
    "list behind a comment": lambda target: f"<!-- {'x' * 2000} -->\n{dash(target)}",
    "reference": lambda target: f"[Reference]\nRef1={target}\n",
    "rtsp text": lambda target: f"RTSPtext\n{target}\n",
    "avisynth": lambda target: f'AviSource("{target}")\n',
    "graph": lambda target: f"movie={target}\n",
    "vobsub": lambda target: f"# VobSub index file, v7 (do not modify this line!)\n# {target}\nid: en, index: 0\n",
    "metadata": lambda target: f";FFMETADATA1\ntitle={target}\n",
    "imf": lambda target: f'<?xml version="1.0"?><AssetMap><Path>{target}</Path></AssetMap>\n',
}  # fmt: skip
"""Texts that some demuxer takes for its own; ours are none of them."""


def targets(secrets: tuple[Path, Path], port: int) -> list[str]:
    outside, _ = secrets
    return [str(outside), outside.as_uri(), "../outside/secret.ts", "secret.ts", f"http://127.0.0.1:{port}/a.ts",
            f"concat:{outside}", f"subfile,,start,0,end,9,,:{outside}", f"tcp://127.0.0.1:{port}"]  # fmt: skip


@pytest.mark.parametrize("kind", [*LISTS, *TEXTS])
def test_no_text_makes_the_decoder_open_what_it_names(tmp_path, secrets, canary, kind):
    port, calls = canary
    write, reasons = (LISTS | TEXTS)[kind], {"playlist", "sdp"} if kind in LISTS else {"not_media"}
    with watched(*secrets, secrets[0].parent) as touched:
        for target in targets(secrets, port):
            for name in ("list.mp4", "list.m3u8", "list.mkv", "list"):
                path = secrets[1].with_name(name)
                path.write_text(write(target))
                for read in (lambda path: list(decode(path, SAMPLING)), probe):
                    with pytest.raises(MediaError) as error:
                        read(path)
                    assert error.value.reason in reasons, (name, target)
                    assert isinstance(error.value, NotMediaError) == (name in ("list", "list.m3u8"))
        assert not touched()
    assert calls == []


def test_the_canaries_sing(secrets, canary):
    port, calls = canary
    with watched(*secrets) as touched:
        assert not touched()
        list(decode(secrets[1], SAMPLING))
        assert touched()
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.sendall(b"GET")
    for _ in range(50):
        if calls:
            break
        threading.Event().wait(0.05)
    assert calls == [b"GET"]


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + name + body


def alias(path: str) -> bytes:
    """Return the body of a QuickTime alias record that names a file by its path."""
    name = path.rpartition("/")[2].encode()[:27]
    head = bytes(10) + b"\1" + b"d".ljust(27, b"\0") + bytes(12) + bytes([len(name)]) + name.ljust(63, b"\0")
    head += bytes(16) + struct.pack(">hh", -1, -1) + bytes(16)
    carbon = struct.pack(">HH", 2, len(path)) + path.encode() + b"\0" * (len(path) % 2)
    posix = struct.pack(">HH", 18, len(path)) + path.encode() + b"\0" * (len(path) % 2)
    return head + carbon + posix + struct.pack(">HH", 0xFFFF, 0)


def test_a_film_that_keeps_its_data_elsewhere_is_not_followed(tmp_path, secrets, canary):
    """QuickTime may keep its data in another file, by a reference in the header."""
    port, calls = canary
    path = write_film(secrets[1].with_name("film.mov"), slides(1, 25))
    data = path.read_bytes()
    at = data.index(b"url \0\0\0\1") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    with watched(*secrets, secrets[0].parent) as touched:
        for target in targets(secrets, port):
            for body in (b"url \0\0\0\0" + target.encode() + b"\0", b"alis\0\0\0\0" + alias(target)):
                reference = struct.pack(">I", len(body) + 4) + body
                changed = bytearray(data[:at] + reference + data[at + size :])
                for name in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
                    where = changed.rindex(name, 0, at) - 4
                    whole = int.from_bytes(changed[where : where + 4], "big") + len(reference) - size
                    changed[where : where + 4] = whole.to_bytes(4, "big")
                path.write_bytes(changed)
                assert outcome(path) in (WHOLE, "unreadable", "no_streams", "no_content"), (
                    target
                )  # its own bytes are there
        assert not touched()
    assert calls == []


def test_a_film_that_is_only_a_reference_is_not_followed(secrets, canary):
    port, calls = canary
    path = secrets[1].with_name("film.mov")
    with watched(*secrets, secrets[0].parent) as touched:
        for target in targets(secrets, port):
            name = target.encode() + b"\0"
            for kind, body in ((b"url ", name), (b"alis", alias(target))):
                link = box(b"rdrf", bytes(4) + kind + struct.pack(">I", len(body)) + body)
                path.write_bytes(box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(b"moov", box(b"rmra", box(b"rmda", link))))
                assert outcome(path) == "no_streams"
        assert not touched()
    assert calls == []


def test_a_list_inside_another_format_is_not_followed(secrets, canary):
    """FFmpeg probes the bytes of some containers' subtitles and attachments again, which once made it follow them."""
    port, calls = canary
    source = secrets[1].parent
    film = write_film(source / "good.avi", slides(1, 10), codec="mpeg4").read_bytes()
    with watched(secrets[0], secrets[0].parent, secrets[1]) as touched:
        for target in targets(secrets, port):
            text = hls(target).encode()
            name = "x.m3u8\0".encode("utf-16-le")
            gab2 = b"GAB2\0" + struct.pack("<HI", 2, len(name)) + name + struct.pack("<HI", 4, len(text)) + text
            for file, data in {
                "gab2.avi": with_text_stream(film, gab2),
                "tag.mp3": b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + text * 20,
                "padded.ts": (b"G" + bytes(187)) * 5 + text * 20,
                "mdat.mp4": box(b"ftyp", b"isom\0\0\0\0isom") + box(b"mdat", text) + text,
                "void.mkv": b"\x1aE\xdf\xa3\x80" + text * 20,
                "sound.au": b".snd" + struct.pack(">5I", 24, len(text), 1, 8000, 1) + text,
                "comment.jpg": b"\xff\xd8\xff\xfe" + struct.pack(">H", len(text) + 2) + text,
            }.items():
                (source / file).write_bytes(data)
                found = outcome(source / file)
                assert not found.startswith(("timeout", "protocol", "decoder_crash"))
                assert found == WHOLE or file != "gab2.avi"
        assert not touched()
    assert calls == []


def with_text_stream(avi: bytes, payload: bytes) -> bytes:
    """Return an AVI film with one more stream, of subtitles, that holds one chunk."""
    header = struct.pack("<4s4sIHHIIIIIIII4H", b"txts", bytes(4), 0, 0, 0, 0, 1, 25, 0, 10, 0, 0, 0, 0, 0, 0, 0)
    stream = b"strl" + b"strh" + struct.pack("<I", len(header)) + header + b"strf" + struct.pack("<I", 0)
    piece = b"LIST" + struct.pack("<I", len(stream)) + stream
    chunk = b"01tx" + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)
    size = int.from_bytes(avi[16:20], "little")
    assert avi[12:16] == b"LIST"
    changed = bytearray(avi[: 20 + size] + piece + avi[20 + size :])
    changed[16:20] = struct.pack("<I", size + len(piece))
    streams = changed.index(b"avih") + 8 + 24
    changed[streams : streams + 4] = struct.pack("<I", 2)
    movi = changed.index(b"movi")
    whole = int.from_bytes(changed[movi - 4 : movi], "little") + len(chunk)
    changed[movi - 4 : movi] = struct.pack("<I", whole)
    changed[movi + 4 : movi + 4] = chunk
    changed[4:8] = struct.pack("<I", len(changed) - 8)
    return bytes(changed)
