"""Files that were made to do harm, or that harm has come to. None may hang, crash or reach out."""

import gzip
import re
import struct
import time
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from pipeline.decode import Limits, NotMediaError, decode
from pipeline.errors import MediaError
from pipeline.media import FrameChunk, SoundChunk
from tests.pipeline.decode.media import slide, slides, write_film
from tests.pipeline.decode.mutations import FILMS, SAMPLING, WHOLE, checked, is_grave, outcome, samples


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> dict[str, bytes]:
    return samples(tmp_path_factory.mktemp("good"))


def reason_of(path: Path, limits: Limits = Limits()) -> str:  # noqa: B008
    with pytest.raises(MediaError) as error:
        list(decode(path, SAMPLING, limits=limits))
    skipped = isinstance(error.value, NotMediaError)
    return f"skipped {error.value.reason}" if skipped else error.value.reason


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


def test_thousands_of_streams_are_refused(tmp_path, good):
    path = write_film(tmp_path / "many.mkv", slides(1, 5), prepare=lambda out: [out.add_stream("flac", rate=8000)
                                                                                for _ in range(80)])  # fmt: skip
    assert reason_of(path) == "too_many_streams:81"
    data = good["aac.m4a"]
    header, track = data.index(b"moov") - 4, data.index(b"trak") - 4
    size = int.from_bytes(data[track : track + 4], "big")
    for count, reason in ((500, "too_many_streams:500"), (5000, "memory")):  # so FFmpeg calls it, from 1000 on
        more = data[track : track + size] * (count - 1)
        whole = int.from_bytes(data[header : header + 4], "big") + len(more)
        path = tmp_path / "many.m4a"
        path.write_bytes(data[:header] + struct.pack(">I", whole) + data[header + 4 : track] + more + data[track:])
        began = time.monotonic()
        assert reason_of(path) == reason
        assert time.monotonic() - began < 10


def packet_of(stream, data: bytes, at: int, time_base: Fraction = Fraction(1, 8000)) -> av.Packet:
    packet = av.Packet(data)
    packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = stream, time_base, at, at, 1
    return packet


def test_a_hundred_thousand_tiny_packets_are_all_read(tmp_path):
    path = tmp_path / "tiny.mkv"
    with av.open(str(path), "w", options={"cluster_time_limit": "5000"}) as out:
        stream = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        for at in range(100_000):
            out.mux(packet_of(stream, b"\0\x20", at))
    began = time.monotonic()
    items = list(decode(path, SAMPLING))
    assert checked(items).damage is None
    assert sum(len(item.samples) for item in items if isinstance(item, SoundChunk)) == pytest.approx(200_000, rel=0.01)
    assert time.monotonic() - began < 30


def boxes(data: bytes, start: int, stop: int) -> Iterator[int]:
    """Yield where each box of an ISO file begins, and where its body does, at all depths."""
    while start + 8 <= stop:
        size, name = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        yield start
        yield start + 8
        if name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"edts", b"udta"):
            yield from boxes(data, start + 8, start + size)
        start += max(8, size)


@pytest.mark.parametrize("flags", ["", "faststart", "frag_keyframe+empty_moov"])
def test_a_film_cut_at_any_box_is_never_taken_for_whole(tmp_path, flags):
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w", options={"movflags": flags} if flags else {}) as out:
        stream = out.add_stream("libx264", rate=25, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        for number, pixels in enumerate(slides(2, 40)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    data = path.read_bytes()
    places = sorted({place for place in boxes(data, 0, len(data)) if 0 < place < len(data)})
    assert len(places) > (30 if "frag" not in flags else 40)
    assert outcome(path) == WHOLE
    tags = data.rindex(b"udta") - 4  # who cuts only these off leaves the film whole
    for place in places:
        for end in (place, place + 4):
            path.write_bytes(data[:end])
            found = outcome(path)
            assert not is_grave(found)
            if flags == "faststart" or (not flags and end < tags):  # a film in pieces may end after any of them
                assert found != WHOLE, f"cut at {end} of {len(data)}"


@pytest.mark.parametrize(
    "name", ["h264.mp4", "hevc.mkv", "mpeg4.avi", "a.flac", "a.png", "pcm.wav", "a.jpg", "wmv1.wmv"]
)
def test_a_file_cut_anywhere_ends_well_and_is_never_taken_for_whole(tmp_path, good, name):
    path = tmp_path / name
    for share in (0.02, 0.1, 0.3, 0.6, 0.9):
        path.write_bytes(good[name][: int(len(good[name]) * share)])
        found = outcome(path)
        assert not is_grave(found)
        assert found != WHOLE or share == 0.9 or name in ("hevc.mkv", "mpeg4.avi", "a.flac", "wmv1.wmv"), share


def test_a_name_says_nothing_about_what_a_file_is(tmp_path, good):
    """Each format under the extension of every other kind."""
    for name, data in good.items():
        if not name.endswith((".srt", ".vtt", ".json")):
            for wrong in ("x.png" if name in [film for film, *_ in FILMS] else "x.mkv", "x"):
                (tmp_path / wrong).write_bytes(data)
                assert outcome(tmp_path / wrong) == WHOLE, (name, wrong)


def test_frames_of_144_million_pixels_are_refused_whoever_says_so(tmp_path, good):
    data = good["mjpeg.avi"]
    side = struct.pack(">H", 12000)
    inside = re.sub(rb"(\xff\xc0\x00\x11\x08)....", lambda head: head[1] + side + side, data, flags=re.DOTALL)
    assert inside != data
    (tmp_path / "inside.avi").write_bytes(inside)
    size = struct.pack("<II", 96, 64)
    assert data.count(size) >= 2
    both = inside.replace(size, struct.pack("<II", 12000, 12000))
    (tmp_path / "both.avi").write_bytes(both)
    (tmp_path / "outside.avi").write_bytes(data.replace(size, struct.pack("<II", 12000, 12000)))
    assert len(both) < 400_000
    assert outcome(tmp_path / "both.avi") == "too_large:12000x12000"
    assert outcome(tmp_path / "inside.avi").startswith("corrupt:")  # each frame of it that was tried
    assert not is_grave(outcome(tmp_path / "outside.avi"))  # the frames are as small as ever


def test_a_rate_of_frames_that_cannot_be_costs_no_time(tmp_path, good):
    """A header may say one frame a century, or a billion a second."""
    data = good["vp9.ivf"]
    for rate, scale in ((1, 2**31 - 1), (2**31 - 1, 1), (1, 10**6), (0, 0), (0, 1), (1, 0)):
        (tmp_path / "odd.ivf").write_bytes(data[:16] + struct.pack("<II", rate, scale) + data[24:])
        began = time.monotonic()
        assert not is_grave(outcome(tmp_path / "odd.ivf"))
        assert time.monotonic() - began < 3, (rate, scale)


def test_a_rate_of_sound_that_cannot_be_costs_no_time(tmp_path, good):
    data = good["mulaw.au"]
    for rate in (0, 1, 2, 7, 2**31 - 1, 2**32 - 1, 500_000_000, 999_983):
        (tmp_path / "odd.au").write_bytes(data[:16] + struct.pack(">I", rate) + data[20:])
        began = time.monotonic()
        assert not is_grave(outcome(tmp_path / "odd.au"))
        assert time.monotonic() - began < 40, rate


def test_frames_that_span_ten_hours_keep_their_times(tmp_path):
    times = [n * 3599.0 for n in range(11)]
    path = write_film(tmp_path / "sparse.mkv", slides(11, 1), at_seconds=times, options={"bf": "0"})
    began = time.monotonic()
    items = list(decode(path, SAMPLING))
    checked(items)
    at = np.concatenate([item.at_seconds for item in items if isinstance(item, FrameChunk)])
    np.testing.assert_allclose(at, times, atol=0.01)
    assert time.monotonic() - began < 10


def test_a_header_that_unpacks_to_gigabytes_is_given_up(tmp_path):
    """QuickTime may compress its header, PNG its texts."""

    def box(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body) + 8) + name + body

    packed = zlib.compress(bytes(2**24), 9)
    for claimed in (2**24, 2**31 - 1, 2**32 - 1):
        inner = box(b"dcom", b"zlib") + box(b"cmvd", struct.pack(">I", claimed) + packed)
        (tmp_path / "bomb.mov").write_bytes(box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(b"moov", box(b"cmov", inner)))
        assert outcome(tmp_path / "bomb.mov") in ("unreadable", "no_streams", "memory")
    Image.new("RGB", (8, 8)).save(tmp_path / "bomb.png")
    data = (tmp_path / "bomb.png").read_bytes()
    text = b"Comment\0\0" + zlib.compress(bytes(2**28), 9)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    (tmp_path / "bomb.png").write_bytes(data[:33] + chunk + data[33:])
    assert outcome(tmp_path / "bomb.png") in (WHOLE, "unreadable")


def test_a_packed_transcript_is_not_unpacked(tmp_path):
    (tmp_path / "show.srt").write_bytes(gzip.compress(b"1\n00:00:01,000 --> 00:00:02,000\nhello\n" * 100_000))
    (tmp_path / "show.vtt").write_bytes(b"PK\3\4" + zlib.compress(bytes(2**24)))
    (tmp_path / "film.json").write_bytes(gzip.compress(b'{"title": "x"}'))
    assert outcome(tmp_path / "show.srt") == outcome(tmp_path / "show.vtt") == "bad_transcript"
    assert outcome(tmp_path / "film.json") == "bad_metadata"
