"""Time codes as SMPTE ST 12 defines them: hours, minutes, seconds and frames, with or without drop frame.

At 29.97 frames a second a time code that counts 30 of them falls behind the clock by 3.6 s an hour. Drop frame skips
numbers, never pictures: the first two of each minute (four at 59.94) but of every tenth, so that after ten minutes it
is right again. A semicolon before the frames marks it: `01:00:00;02`. All functions are pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

NTSC_29, NTSC_59 = Fraction(30000, 1001), Fraction(60000, 1001)
_FORM = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})([:;.,])(\d{2,3})")
_GOP = b"\0\0\1\xb8"
_TS_PACKET = 188


@dataclass(frozen=True)
class Timecode:
    """The name of a frame."""

    hours: int
    minutes: int
    seconds: int
    frames: int
    drop: bool = False

    def __str__(self) -> str:
        """Return it as `HH:MM:SS:FF`, or `HH:MM:SS;FF` with drop frame."""
        mark = ";" if self.drop else ":"
        return f"{self.hours:02}:{self.minutes:02}:{self.seconds:02}{mark}{self.frames:02}"


def parse(text: str) -> Timecode:
    """Read a time code; `;`, `.` and `,` before the frames mean drop frame.

    >>> parse("01:00:00;02")
    Timecode(hours=1, minutes=0, seconds=0, frames=2, drop=True)

    Raises:
        ValueError: it is none; the message says what it should look like.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text[:40]!r} is no time code; write HH:MM:SS:FF, or HH:MM:SS;FF with drop frame.")
    hours, minutes, seconds, frames = (int(found[n]) for n in (1, 2, 3, 5))
    for value, most, what in ((hours, 23, "hours"), (minutes, 59, "minutes"), (seconds, 59, "seconds")):
        if value > most:
            raise ValueError(f"The time code {text.strip()} has {value} {what}; give at most {most}.")
    drop = found[4] != ":"
    if drop and minutes % 10 and not seconds and frames < 2:
        raise ValueError(f"The time code {text.strip()} names a frame that drop frame leaves out; start at ;02.")
    return Timecode(hours, minutes, seconds, frames, drop)


def normal(text: str) -> str:
    """Return a time code in its one spelling, or an empty string where the text is none.

    >>> normal("1:02:03.04"), normal("25:00:00:00"), normal("")
    ('01:02:03;04', '', '')
    """
    try:
        return str(parse(text))
    except ValueError:
        return ""


def frame_number(code: Timecode, rate: Fraction) -> int:
    """Return how many frames after 00:00:00:00 a time code stands.

    >>> frame_number(parse("00:01:00;02"), NTSC_29), frame_number(parse("00:01:00:00"), Fraction(25))
    (1800, 1500)

    Args:
        code: the time code.
        rate: frames a second, such as 25 or 30000/1001.

    Raises:
        ValueError: there is no such time code at this rate.
    """
    count, dropped = _counting(rate, drop=code.drop)
    if code.frames >= count:
        raise ValueError(f"The time code {code} has {code.frames} frames; at this rate give at most {count - 1}.")
    if code.minutes % 10 and not code.seconds and code.frames < dropped:
        raise ValueError(f"The time code {code} names a frame that drop frame leaves out; start at ;{dropped:02}.")
    minutes = 60 * code.hours + code.minutes
    return (60 * minutes + code.seconds) * count + code.frames - dropped * (minutes - minutes // 10)


def of_frame(number: int, rate: Fraction, *, drop: bool = False) -> Timecode:
    """Return the time code of a frame; after 24 hours it begins again. The inverse of `frame_number`.

    >>> str(of_frame(1800, NTSC_29, drop=True)), str(of_frame(1499, Fraction(25)))
    ('00:01:00;02', '00:00:59:24')

    Args:
        number: frames after 00:00:00:00; 0 or more.
        rate: frames a second.
        drop: whether numbers are skipped.

    Raises:
        ValueError: the number is negative, or drop frame is not defined at this rate.
    """
    count, dropped = _counting(rate, drop=drop)
    if number < 0:
        raise ValueError(f"The frame number {number} is negative; give 0 or more.")
    ten_minutes = 600 * count - 9 * dropped
    tens, rest = divmod(number % (144 * ten_minutes), ten_minutes)
    # The first minute of ten is whole; each of the others lacks the numbers that are skipped.
    skipped = 0 if rest < 60 * count else 1 + (rest - 60 * count) // (60 * count - dropped)
    named = tens * 600 * count + rest + dropped * skipped
    seconds, frames = divmod(named, count)
    return Timecode(seconds // 3600, seconds // 60 % 60, seconds % 60, frames, drop)


def seconds_of(code: Timecode, rate: Fraction) -> float:
    """Return the true seconds after 00:00:00:00; errors as `frame_number`.

    >>> seconds_of(parse("00:10:00;00"), NTSC_29), seconds_of(parse("00:10:00:00"), NTSC_29)
    (599.9994, 600.6)
    """
    return float(frame_number(code, rate) / rate)


def at_seconds(seconds: float, start: Timecode, rate: Fraction) -> Timecode:
    """Return the time code of the frame on screen some seconds after the frame that is called `start`.

    >>> str(at_seconds(60.06, parse("09:59:59:00"), Fraction(24000, 1001)))
    '10:00:59:00'
    """
    return of_frame(frame_number(start, rate) + int(seconds * rate + Fraction(1, 1000)), rate, drop=start.drop)


def of_gop(data: bytes) -> str:
    """Return the time code of the first group of pictures in MPEG-2 video, or an empty string.

    Args:
        data: the beginning of an MPEG program or elementary stream, or of a transport stream (see `payload`).
    """
    at = data.find(_GOP)
    if at < 0 or len(data) < at + 8:
        return ""
    bits = int.from_bytes(data[at + 4 : at + 8]) >> 7  # drop, 5 hours, 6 minutes, a mark, 6 seconds, 6 frames
    code = Timecode(bits >> 19 & 31, bits >> 13 & 63, bits >> 6 & 63, bits & 63, bool(bits >> 24))
    return normal(str(code)) if bits >> 12 & 1 else ""


def payload(data: bytes, pid: int) -> bytes:
    """Return what packets of one stream carry in the beginning of an MPEG transport stream."""
    parts = []
    for at in range(0, len(data) - _TS_PACKET + 1, _TS_PACKET):
        packet = data[at : at + _TS_PACKET]
        if packet[0] == 0x47 and int.from_bytes(packet[1:3]) & 0x1FFF == pid and packet[3] & 0x10:
            parts.append(packet[5 + packet[4] if packet[3] & 0x20 else 4 :])
    return b"".join(parts)


def _counting(rate: Fraction, *, drop: bool) -> tuple[int, int]:
    """Return how many frames a time code counts to a second, and how many numbers drop frame skips a minute."""
    if not 1 <= rate <= 1000:
        raise ValueError(f"{float(rate):g} frames a second have no time code; give a rate from 1 to 1000.")
    count = -(-rate.numerator // rate.denominator)
    if not drop:
        return count, 0
    if rate not in (NTSC_29, NTSC_59):
        raise ValueError(f"Drop frame at {float(rate):g} frames a second is not defined; use 30000/1001 or 60000/1001.")
    return count, count // 15
