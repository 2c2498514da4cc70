"""Files that were made to do harm, or that harm has come to. None may hang, crash or reach out."""

import os
import re
import socket
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.decode import Limits, NotMediaError, decode
from pipeline.errors import MediaError
from pipeline.media import Ending, FrameChunk, Sampling, SoundChunk
from tests.pipeline.decode.media import slide, slides, tone, write_film, write_sound

SAMPLING = Sampling(size_px=32)
REASON = re.compile(r"[a-z_]+(:[A-Za-z0-9_.+-]+)?")


def reason_of(path: Path, limits: Limits = Limits()) -> str:  # noqa: B008
    with pytest.raises(MediaError) as error:
        list(decode(path, SAMPLING, limits=limits))
    skipped = isinstance(error.value, NotMediaError)
    return f"skipped {error.value.reason}" if skipped else error.value.reason


@pytest.fixture
def canary():
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
                calls.append(connection.recv(100))
                connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        yield server.getsockname()[1], calls
        running = False
        thread.join()


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.ts", "list.mkv", "list"])
def test_playlists_open_nothing(tmp_path, canary, name):
    port, calls = canary
    secret = write_film(tmp_path / "secret.ts", slides(1, 10), codec="mpeg2video")
    folder = tmp_path / "source"
    folder.mkdir()
    hls = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\n{}\n#EXT-X-ENDLIST\n"
    texts = {
        "playlist": [hls.format(secret.as_uri()), hls.format("../secret.ts"), hls.format(f"http://127.0.0.1:{port}/a.ts"),
                     f"ffconcat version 1.0\nfile {secret}\n", "ffconcat version 1.0\nfile ../secret.ts\n"],
        "sdp": [f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"],
    }  # fmt: skip
    read_before = secret.stat().st_atime_ns
    for reason, bodies in texts.items():
        for body in bodies:
            (folder / name).write_text(body)
            claims = name.endswith((".mp4", ".ts", ".mkv"))
            assert reason_of(folder / name) == (reason if claims else f"skipped {reason}")
    assert secret.stat().st_atime_ns == read_before
    assert calls == []


def test_a_film_that_names_other_files_inside_does_not_open_them(tmp_path, canary):
    """QuickTime may keep its data in another file, by a reference in the header."""
    port, calls = canary
    path = write_film(tmp_path / "film.mov", slides(1, 25))
    data = path.read_bytes()
    url = f"http://127.0.0.1:{port}/x.mov\0".encode()
    at = data.index(b"url \0\0\0\1") - 4
    for reference in (b"url \0\0\0\0" + url, b"alis\0\0\0\0" + bytes(10) + url):
        box = struct.pack(">I", len(reference) + 4) + reference
        grown = len(box) - struct.unpack(">I", data[at : at + 4])[0]
        changed = bytearray(data[:at] + box + data[at + struct.unpack(">I", data[at : at + 4])[0] :])
        for name in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
            where = changed.rindex(name, 0, at) - 4
            changed[where : where + 4] = struct.pack(">I", struct.unpack(">I", changed[where : where + 4])[0] + grown)
        path.write_bytes(changed)
        list(_harmless(path))
    assert calls == []


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.mp4", b"", "empty"),
        ("empty.txt", b"", "skipped empty"),
        ("letter.mp4", b"this is a letter, not a film\n" * 50, "not_media"),
        ("letter.txt", b"this is a letter, not a film\n" * 50, "skipped not_media"),
        ("types.ts", b"export const film: string = 'no';\n" * 50, "skipped not_media"),
        ("noise.ts", bytes(range(256)) * 40, "not_media"),
        ("noise", b"\x03" * 5000, "skipped not_media"),
        ("head.mp4", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41\0\0\0\x08free", "unreadable"),
        ("noise.wav", b"RIFF\xff\xff\xff\x7fWAVEfmt " + bytes(n * 37 % 256 for n in range(5000)), "unreadable"),
        ("photo.heic", b"\0\0\0\x20ftypheic\0\0\0\0mif1heic", "unsupported_format:heic"),
        ("old.rm", b".RMF\0\0\0\x12\0\1\0\0", "unsupported_format:realmedia"),
    ],
)
def test_what_is_no_media_says_so(tmp_path, name, data, reason):
    (tmp_path / name).write_bytes(data)
    assert reason_of(tmp_path / name) == reason


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to("/etc/passwd")
    (tmp_path / "dangling.mp4").symlink_to("/nonexistent/film.mp4")
    (tmp_path / "folder.mp4").mkdir()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket.mp4"))
    began = time.monotonic()
    assert reason_of(tmp_path / "pipe.mp4") == "skipped not_a_file"
    assert reason_of(tmp_path / "folder.mp4") == "skipped not_a_file"
    assert reason_of(tmp_path / "socket.mp4") == "skipped not_a_file"
    assert reason_of(Path("/dev/zero")) == "skipped not_a_file"
    assert reason_of(tmp_path / "link.mp4") == reason_of(tmp_path / "dangling.mp4") == "skipped link"
    assert reason_of(tmp_path / "gone.mp4") == "vanished"
    assert reason_of(tmp_path / "nul\0.mp4") == "vanished"
    assert time.monotonic() - began < 2
    server.close()


@pytest.mark.parametrize(
    "name",
    ["http:film.mp4", "concat:a.mp4|b.mp4", "subfile,,start,0,end,9,,:x.mp4", "-rf.mp4", "a\nb.mp4", "файл 日本 🎬.mp4",
     "pipe:0", "quote'\".mp4", "%d.mp4", "fd:", "~.mp4", b"\xff\xfe.mp4"],
)  # fmt: skip
def test_names_mean_nothing(tmp_path, name):
    film = write_film(tmp_path / "film.mp4", slides(1, 10))
    path = tmp_path / os.fsdecode(name)
    film.rename(path)
    assert list(decode(path, SAMPLING))[-1].damage is None


def test_a_small_file_that_claims_a_huge_picture_is_refused_before_it_is_decoded(tmp_path):
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def png(width: int, height: int, pixels: bytes) -> bytes:
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")

    (tmp_path / "huge.png").write_bytes(png(60000, 60000, bytes(4096)))
    assert reason_of(tmp_path / "huge.png") == "too_large:60000x60000"
    (tmp_path / "half.png").write_bytes(png(640, 480, bytes(4096))[:80])
    assert reason_of(tmp_path / "half.png") == "truncated"
    (tmp_path / "bomb.png").write_bytes(png(10000, 12000, bytes(10000 * 3 + 1) * 100))
    assert reason_of(tmp_path / "bomb.png", Limits(memory_bytes=2**27)) == "memory"


def test_a_film_of_huge_frames_is_refused(tmp_path):
    path = write_film(tmp_path / "large.mkv", [slide(0, 2048, 1024)] * 2, codec="mpeg4")
    assert reason_of(path, Limits(frame_pixels=2**20)) == "too_large:2048x1024"


def test_time_stamps_that_leap_do_not_cost_time_or_moments(tmp_path):
    frames = slides(3, 10)
    times = [n / 25 for n in range(10)] + [36_000 + n / 25 for n in range(10)] + [90_000 + n / 25 for n in range(10)]
    path = write_film(tmp_path / "leap.mkv", frames, at_seconds=times, options={"bf": "0"})
    began = time.monotonic()
    *items, _ = decode(path, SAMPLING)
    at = np.concatenate([item.at_seconds for item in items if isinstance(item, FrameChunk)])
    assert at.max() < 60
    assert time.monotonic() - began < 5


def test_metadata_of_any_bytes_and_any_size_gets_through_or_is_cut(tmp_path):
    path = write_film(tmp_path / "film.mkv", slides(1, 5), tags={"title": "TITLE" * 10, "comment": "x" * 100_000})
    path.write_bytes(path.read_bytes().replace(b"TITLE" * 10, b"\xff\xfe<b>\x80" * 8 + b"\xed\xa0"))
    facts = next(iter(decode(path, SAMPLING)))
    assert len(facts.metadata["comment"]) <= 20_000
    facts.metadata["title"].encode()


def test_thousands_of_streams_are_refused(tmp_path):
    path = write_film(tmp_path / "many.mkv", slides(1, 5), prepare=lambda out: [out.add_stream("flac", rate=8000)
                                                                                for _ in range(80)])  # fmt: skip
    assert reason_of(path) == "too_many_streams:81"


def _harmless(path: Path, limits: Limits = Limits(stalled_seconds=20)):  # noqa: B008
    """Decode whatever it is; yield its items. Every error has a proper reason."""
    try:
        for item in decode(path, SAMPLING, limits=limits):
            if isinstance(item, Ending) and item.damage is not None:
                assert REASON.fullmatch(item.damage)
            yield item
    except MediaError as error:
        assert REASON.fullmatch(error.reason)  # noqa: PT017  only some of these files raise
        assert error.reason not in ("timeout", "protocol")  # noqa: PT017


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> dict[str, bytes]:
    """Return small good files of many formats, by name."""
    folder = tmp_path_factory.mktemp("good")
    frames, sound = slides(2, 15), tone(1.2)
    write_film(folder / "a.mp4", frames, sound=sound)
    write_film(folder / "b.mkv", frames, codec="libx265", options={"x265-params": "log-level=none"}, sound=sound,
               sound_codec="flac")  # fmt: skip
    write_film(folder / "c.webm", frames, codec="libvpx-vp9", sound=sound, sound_codec="libopus",
               options={"deadline": "realtime", "cpu-used": "8"})  # fmt: skip
    write_film(
        folder / "d.avi", frames, codec="mpeg4", sound=tone(1.2, 44100), sound_hz=44100, sound_codec="libmp3lame"
    )
    write_film(folder / "e.mpg", frames, codec="mpeg2video", sound=sound, sound_codec="mp2")
    write_film(folder / "f.ts", frames, sound=sound)
    write_film(folder / "g.mov", frames, codec="prores_ks", pix_fmt="yuv422p10le")
    write_film(folder / "h.mp4", frames, codec="libsvtav1", options={"preset": "12"}, lines=[(0.1, 0.9, "hello")])
    write_film(folder / "i.wmv", frames, codec="wmv2")
    for name, codec in (("a.flac", "flac"), ("a.wav", "pcm_s16le"), ("a.opus", "libopus"), ("a.m4a", "aac")):
        write_sound(folder / name, sound, codec)
    for name in ("a.png", "a.jpg", "a.webp", "a.gif", "a.tiff", "a.bmp"):
        Image.fromarray(slide(3)).save(folder / name)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the file with bits flipped, a piece lost, doubled, zeroed or filled, or its end cut off."""
    body = bytearray(data)
    how = rng.integers(6)
    at, length = int(rng.integers(len(body))), int(rng.integers(1, 1 + len(body) // 4))
    if how == 0:
        for place in rng.integers(0, len(body), rng.integers(1, 60)):
            body[place] ^= 1 << int(rng.integers(8))
    elif how == 1:
        del body[at : at + length]
    elif how == 2:
        body[at:at] = body[at : at + length]
    elif how == 3:
        body[at : at + length] = bytes(len(body[at : at + length]))
    elif how == 4:
        body[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0"])
    else:
        del body[at:]
    return bytes(body)


def test_two_hundred_mutations_end_well(tmp_path, good):
    rng = np.random.default_rng(20)
    for number in range(200):
        name = list(good)[number % len(good)]
        path = tmp_path / name
        path.write_bytes(mutated(good[name], rng))
        list(_harmless(path))


def test_every_good_file_is_good(tmp_path, good):
    for name, data in good.items():
        (tmp_path / name).write_bytes(data)
        *items, ending = decode(tmp_path / name, SAMPLING)
        assert ending.damage is None, name
        assert any(isinstance(item, FrameChunk | SoundChunk) for item in items), name


@pytest.mark.parametrize("name", ["a.mp4", "b.mkv", "d.avi", "a.flac", "a.png"])
def test_a_file_cut_anywhere_ends_well_and_is_never_taken_for_whole(tmp_path, good, name):
    path = tmp_path / name
    for share in (0.02, 0.1, 0.3, 0.6, 0.9):
        path.write_bytes(good[name][: int(len(good[name]) * share)])
        items = list(_harmless(path))
        if share < 0.9 and items and isinstance(items[-1], Ending):
            assert items[-1].damage is not None or name in ("b.mkv", "d.avi", "a.flac"), share
