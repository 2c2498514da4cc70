"""Time codes: names of frames, with and without drop frame."""

import doctest
from fractions import Fraction

import pytest

from pipeline.decode import decode, timecode
from pipeline.decode.timecode import (
    NTSC_29,
    NTSC_59,
    Timecode,
    at_seconds,
    frame_number,
    normal,
    of_frame,
    of_gop,
    parse,
    seconds_of,
)
from pipeline.media import Facts, Sampling
from tests.pipeline.decode.media import slides, tone, write_film, write_sound

FILM = Fraction(24000, 1001)


def names(rate: int, *, drop: bool):
    """Yield the names of all frames of two hours in order, by the words of the standard."""
    for minute in range(120):
        for second in range(60):
            for frame in range(rate):
                if not (drop and minute % 10 and second == 0 and frame < rate // 15):
                    yield Timecode(minute // 60, minute % 60, second, frame, drop)


@pytest.mark.parametrize(
    ("rate", "count", "drop"),
    [(FILM, 24, False), (Fraction(25), 25, False), (NTSC_29, 30, False), (NTSC_29, 30, True), (NTSC_59, 60, False),
     (NTSC_59, 60, True)],
)  # fmt: skip
def test_every_frame_of_two_hours_has_its_name(rate, count, drop):
    for number, code in enumerate(names(count, drop=drop)):
        if number % 997 == 0 or (code.seconds == 0 and code.frames < 6):
            assert frame_number(code, rate) == number
            assert of_frame(number, rate, drop=drop) == code
            assert parse(str(code)) == code


def test_drop_frame_keeps_to_the_clock():
    assert seconds_of(parse("01:00:00;00"), NTSC_29) == pytest.approx(3600, abs=0.004)
    assert seconds_of(parse("01:00:00:00"), NTSC_29) == pytest.approx(3603.6)
    assert seconds_of(parse("01:00:00;00"), NTSC_59) == pytest.approx(3600, abs=0.004)
    assert str(at_seconds(3600.0, parse("10:00:00;00"), NTSC_29)) == "11:00:00;00"


def test_after_a_day_it_begins_again():
    assert str(at_seconds(1.0, parse("23:59:59:12"), Fraction(25))) == "00:00:00:12"
    assert of_frame(24 * 6 * 17982, NTSC_29, drop=True) == Timecode(0, 0, 0, 0, drop=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [("1 o'clock", "HH:MM:SS:FF"), ("24:00:00:00", "at most 23"), ("00:60:00:00", "at most 59"),
     ("00:00:61:00", "at most 59"), ("00:01:00;01", "start at ;02")],
)  # fmt: skip
def test_what_is_no_time_code_says_why(text, said):
    with pytest.raises(ValueError, match=said):
        parse(text)
    assert normal(text) == ""


def test_what_no_rate_has_says_why():
    with pytest.raises(ValueError, match="at most 24"):
        frame_number(parse("00:00:00:25"), Fraction(25))
    with pytest.raises(ValueError, match="30000/1001"):
        frame_number(parse("00:00:00;02"), Fraction(25))
    with pytest.raises(ValueError, match=";04"):
        frame_number(parse("00:01:00;03"), NTSC_59)
    with pytest.raises(ValueError, match="negative"):
        of_frame(-1, Fraction(25))
    with pytest.raises(ValueError, match="from 1 to 1000"):
        of_frame(1, Fraction(0))


def test_the_examples_in_the_module_hold():
    assert doctest.testmod(timecode).failed == 0


def facts(path) -> Facts:
    return next(item for item in decode(path, Sampling()) if isinstance(item, Facts))


@pytest.mark.parametrize("name", ["a.mov", "a.mxf", "a.mkv"])
@pytest.mark.parametrize("code", ["10:00:00;02", "09:59:58:12"])
def test_a_film_says_the_time_code_of_its_first_frame(tmp_path, name, code):
    def start(out):
        out.streams.video[0].metadata["timecode"] = code
        if name == "a.mkv":
            out.metadata["timecode"] = code

    path = write_film(tmp_path / name, slides(1, 30), codec="mpeg2video", rate=NTSC_29, prepare=start)
    assert facts(path).timecode == code


@pytest.mark.parametrize("name", ["a.mpg", "a.ts", "a.m2v"])
@pytest.mark.parametrize("code", ["10:20:30;12", "23:59:58:29"])
def test_mpeg_2_says_it_in_its_groups_of_pictures(tmp_path, name, code):
    path = write_film(
        tmp_path / name, slides(1, 30), codec="mpeg2video", rate=NTSC_29, options={"gop_timecode": code},
        sound=None if name == "a.m2v" else tone(1.0, 48000), sound_codec="mp2", sound_hz=48000,
    )  # fmt: skip
    assert facts(path).timecode == code


def test_what_has_no_time_code_has_none(tmp_path):
    assert facts(write_film(tmp_path / "a.mp4", slides(1, 25))).timecode == ""
    assert facts(write_film(tmp_path / "b.mkv", slides(1, 25), tags={"timecode": "half past ten"})).timecode == ""
    assert facts(write_sound(tmp_path / "a.wav", tone(1.0), "pcm_s16le")).timecode == ""
    assert of_gop(b"\0\0\1\xb8\0\0") == ""
    assert of_gop(b"\0\0\1\xb8" + bytes(4)) == "", "a mark that is always set is not"
    assert of_gop(b"\0\0\1\xb8" + b"\xff" * 4) == "", "31 hours"
