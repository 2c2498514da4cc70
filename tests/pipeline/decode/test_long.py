"""Ten hours of film: read to the end, in order, in the memory of ten minutes."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.decode import decode
from pipeline.decode.children import decoders
from pipeline.media import Ending, FrameChunk, Sampling, SoundChunk
from tests.pipeline.decode.media import children_of, encoded_sound, slide, tone

HOURS = 10
RATE_HZ = 2000
MEMORY_MOST = 300 * 2**20


def write_long(path: Path, hours: float) -> float:
    """Write a film of one frame a second by repeating the packets of one minute; return its length in seconds."""
    minutes = round(hours * 60)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=1, options={"g": "10", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 36, "yuv420p"
        audio = out.add_stream("flac", rate=RATE_HZ, layout="mono")
        shown = []
        for second in range(60):
            frame = av.VideoFrame.from_ndarray(slide(second // 6, 64, 36), format="rgb24")
            frame.pts, frame.time_base = second, Fraction(1, 1)
            shown += video.encode(frame)
        shown += video.encode(None)
        heard = encoded_sound(audio, 0.02 * tone(60.0, RATE_HZ, 100.0), RATE_HZ, 0.0)
        out.start_encoding()
        for minute in range(minutes):
            for packet in sorted([*shown, *heard], key=lambda packet: float(packet.dts * packet.time_base)):
                out.mux(moved(packet, minute * 60))
    return minutes * 60.0


def moved(packet: av.Packet, seconds: int) -> av.Packet:
    """Return a copy of a packet so much later."""
    copy = av.Packet(bytes(packet))
    copy.stream, copy.time_base, copy.duration = packet.stream, packet.time_base, packet.duration
    shift = round(seconds / packet.time_base)
    copy.pts, copy.dts, copy.is_keyframe = packet.pts + shift, packet.dts + shift, packet.is_keyframe
    return copy


def most_memory(pid: int) -> int:
    """Return the most bytes that a process ever had in memory, or 0 where it has ended."""
    try:
        rows = dict(row.split(":", 1) for row in Path(f"/proc/{pid}/status").read_text().splitlines())
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(rows.get("VmHWM", "0").split()[0]) * 1024


def followed(items: Iterator, memory: list[int]) -> Iterator:
    """Pass items on and note the memory of the children that make them."""
    for item in items:
        memory.append(max((most_memory(pid) for pid in children_of(decoders()._process.pid)), default=0))
        yield item


@pytest.mark.heavy
def test_ten_hours_are_read_in_order_and_in_bounded_memory(tmp_path):
    path = tmp_path / "long.mkv"
    seconds = write_long(path, HOURS)
    memory: list[int] = []
    shown, heard, n_frames, ending = -1.0, 0.0, 0, None
    shots_end = 0.0
    for item in followed(decode(path, Sampling(size_px=32, rates_hz=(RATE_HZ,))), memory):
        match item:
            case FrameChunk():
                assert item.at_seconds[0] > shown
                assert (np.diff(item.at_seconds) > 0).all()
                assert item.shots[0].start_seconds == pytest.approx(shots_end, abs=0.01)
                shots_end = item.shots[-1].stop_seconds
                shown, n_frames = float(item.at_seconds[-1]), n_frames + len(item.pixels)
            case SoundChunk():
                assert item.start_seconds == pytest.approx(heard, abs=0.2)
                heard = item.start_seconds + len(item.samples) / RATE_HZ
            case Ending():
                ending = item
    assert ending is not None
    assert ending.damage is None
    assert ending.frames_decoded > 0
    assert ending.decoded_seconds == pytest.approx(seconds, rel=0.001)
    assert (shown, shots_end, heard) == pytest.approx((seconds, seconds, seconds), abs=15)
    assert n_frames > seconds / 10
    assert max(memory) > 2**24, "nothing was measured"
    assert max(memory) < MEMORY_MOST, f"{max(memory) / 2**20:.0f} MB"
    early = max(memory[: len(memory) // 10])
    assert max(memory) - early < 32 * 2**20, "it grows with the length"
    megabytes = [round(bytes_ / 2**20) for bytes_ in (path.stat().st_size, max(memory), early)]
    print("{} MB of film, {} MB in the child, {} at first".format(*megabytes))
