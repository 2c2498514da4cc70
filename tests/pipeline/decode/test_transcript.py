"""Subtitle files as people make them."""

import pytest

from pipeline.decode import parse_srt, parse_vtt, read_transcript
from pipeline.errors import MediaError
from pipeline.media import Line

SRT = "1\n00:00:01,000 --> 00:00:02,500\nHello <i>there</i>\nsecond row\n\n2\n01:02:03,004 --> 01:02:04,000\nGrüße\n"
LINES = (Line(1.0, 2.5, "Hello there second row"), Line(3723.004, 3724.0, "Grüße"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_srt_in_every_encoding_and_with_every_newline(encoding, newline):
    assert parse_srt(SRT.replace("\n", newline).encode(encoding)) == LINES


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("00:00:01.5 --> 00:00:02,5\nno number", [Line(1.5, 2.5, "no number")]),
        ("1\n00:01 --> 00:02\n\n1\n00:00:03,0 --> 00:00:04,0 X1:40 X2:600\nplaced", [Line(3, 4, "placed")]),
        ("1\n0:0:5,0 --> 0:0:4,0\nbackwards", [Line(5, 5, "backwards")]),
        ("1\n00:00:01,0 --> 00:00:02,0\n{\\an8}<font color='red'>a &amp; b</font>", [Line(1, 2, "a & b")]),
        ("9\n00:00:09,0 --> 00:00:10,0\nb\n\n1\n00:00:01,0 --> 00:00:02,0\na", [Line(1, 2, "a"), Line(9, 10, "b")]),
        ("1\n00:00:01,0 --> 00:00:02,0\n\n2\n00:00:03,0 --> 00:00:04,0\nx", [Line(3, 4, "x")]),
        ("1\n00:00:xx --> 99:99:99\nbad\n\n2\n00:00:03,0 --> 00:00:04,0\ngood", [Line(3, 4, "good")]),
        ("1\n00:00:03,0 --> 00:00:04,0\n5 < 6 and 7 > 2\x07", [Line(3, 4, "5 < 6 and 7 > 2")]),
    ],
)
def test_srt_of_careless_writers(text, lines):
    assert parse_srt(text.encode()) == tuple(lines)


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"1\n00:00:xx --> 99:99:99\n\xff\xfe\x00broken\n", b"1\n00:00:01,0 --> 00:00:02,0\n\0\0", bytes(99),
     b"1\n00:00:01,0 --> 00:00:02,0\n   \n", b"-->" * 10_000, b"<" * 1_000_000],
)  # fmt: skip
def test_garbage_is_a_bad_transcript(data):
    with pytest.raises(MediaError) as error:
        parse_srt(data)
    assert error.value.reason == "bad_transcript"


def test_vtt_with_all_its_parts():
    text = (
        "WEBVTT - a title\nKind: captions\n\nNOTE\nnot --> said\n\nSTYLE\n::cue { color: red }\n\n"
        "intro\n00:01.000 --> 00:02.000 align:start position:0%\n"
        "<v Roger Bingham>We are in <00:01.500><c>New York</c>\n\n"
        "01:00:00.000 --> 01:00:01.000\n- two\n- speakers &lt;here&gt;\n"
    )
    assert parse_vtt(text.encode()) == (Line(1, 2, "We are in New York"), Line(3600, 3601, "- two - speakers <here>"))
    with pytest.raises(MediaError, match="bad_transcript"):
        parse_vtt(SRT.encode())


def test_a_sidecar_names_its_track_and_its_language(tmp_path):
    (tmp_path / "show.pt-BR.srt").write_text(SRT, "utf-8")
    transcript = read_transcript(tmp_path / "show.pt-BR.srt")
    assert (transcript.track, transcript.language) == ("sidecar:show.pt-BR.srt", "pt-br")
    assert transcript.lines == LINES
    (tmp_path / "show.srt").write_text(SRT, "utf-8")
    assert read_transcript(tmp_path / "show.srt").language == ""


def test_a_sidecar_that_is_no_file_or_too_large_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.srt").symlink_to("/etc/passwd")
    with pytest.raises(MediaError, match="link"):
        read_transcript(tmp_path / "a.srt")
    monkeypatch.setattr("pipeline.decode.transcript.BYTES_MOST", 10)
    (tmp_path / "b.srt").write_text(SRT)
    with pytest.raises(MediaError, match="bad_transcript"):
        read_transcript(tmp_path / "b.srt")
    with pytest.raises(MediaError, match="bad_transcript"):
        read_transcript(tmp_path / "b.txt")
