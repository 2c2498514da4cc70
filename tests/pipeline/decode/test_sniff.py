"""What a file's first bytes allow."""

from importlib import import_module

import pytest

from pipeline.decode import MEDIA_EXTENSIONS, NotMediaError, sniff
from pipeline.errors import MediaError
from pipeline.media import Media


@pytest.mark.parametrize(
    ("head", "kind", "media"),
    [
        (b"\0\0\0\x20ftypisom", "mp4", Media.VIDEO),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "mp4", Media.VIDEO),
        (b"\0\0\0\x20ftypavif", "avif", Media.IMAGE),
        (b"\x1aE\xdf\xa3\x01\0\0\0", "matroska", Media.VIDEO),
        (b"RIFF\0\0\0\0AVI LIST", "avi", Media.VIDEO),
        (b"RIFF\0\0\0\0WAVEfmt ", "wav", Media.AUDIO),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp", Media.IMAGE),
        (b"\xff\xfb\x90\x64" + bytes(400), "mp3", Media.AUDIO),
        (b"\xff\xf1\x50\x80" + bytes(400), "aac", Media.AUDIO),
        (b"ID3\x04\0\0", "mp3", Media.AUDIO),
        (b"OggS\0\x02", "ogg", Media.VIDEO),
        ((b"G" + bytes(187)) * 5, "mpegts", Media.VIDEO),
        ((bytes(4) + b"G" + bytes(187)) * 5, "mpegts", Media.VIDEO),
        (b"\xff\xd8\xff\xe0", "jpeg", Media.IMAGE),
        (b"BM\x36\0\0\0\0\0\0\0\x36", "bmp", Media.IMAGE),
    ],
)
def test_formats_are_known_by_their_first_bytes(head, kind, media):
    found = sniff(head, "no-extension")
    assert found is not None
    assert (found.name, found.media) == (kind, media)
    assert found.demuxers


@pytest.mark.parametrize("head", [b"", b"x", b"hello world", b"G" * 5, bytes(4096), b"\xff\xff\xff\xff", b"BMW drives"])
def test_what_begins_no_media_is_none(head):
    assert sniff(head, "film.mp4") is None


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"#EXTM3U\n#EXTINF:4\nfile:///etc/passwd", "playlist"),
        (b"\xef\xbb\xbf \n#extm3u8", "playlist"),
        (b"ffconcat version 1.0\nfile a.ts", "playlist"),
        (b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash">', "playlist"),
        (b"<SMIL>", "playlist"),
        (b"[playlist]\nFile1=http://example.org", "playlist"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1", "sdp"),
    ],
)
def test_a_text_that_points_elsewhere_is_refused_under_any_name(head, reason):
    with pytest.raises(NotMediaError) as error:
        sniff(head, "list.m3u8")
    assert error.value.reason == reason
    with pytest.raises(MediaError) as error:
        sniff(head, "film.MP4")
    assert error.value.reason == reason
    assert not isinstance(error.value, NotMediaError), "a name that claims to be a film makes it worth a note"


def test_a_known_format_that_nothing_reads_says_its_name():
    with pytest.raises(MediaError, match="unsupported_format:heic"):
        sniff(b"\0\0\0\x20ftypheic", "photo.heic")


def test_no_demuxer_that_opens_other_files_is_ever_allowed():
    module = import_module("pipeline.decode.sniff")
    kinds = [kind for _, kind in module._STARTS] + [*module._FORMS.values(), *module._BRANDS.values(), module._TS]
    allowed = {name for kind in kinds for name in kind.demuxers}
    assert not allowed & {
        "hls",
        "dash",
        "concat",
        "sdp",
        "rtsp",
        "imf",
        "image2",
        "lavfi",
        "applehttp",
        "webvtt",
        "srt",
    }
    assert not MEDIA_EXTENSIONS & {"m3u8", "m3u", "ffconcat", "sdp", "mpd", "pls", "txt", "srt", "json", ""}
