"""Small files of every format that is read, harm done to them by a seeded hand, and what the decoder makes of it."""

import io
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from pipeline.decode import Limits, decode, probe, read_sidecar, read_transcript
from pipeline.errors import MediaError
from pipeline.media import Decoded, Ending, Facts, FrameChunk, Modality, Sampling, SoundChunk, Transcript
from tests.pipeline.decode.media import slides, tone, write_film, write_sound

os.environ.setdefault("SVT_LOG", "0")  # its encoder chats on standard error otherwise

REASON = re.compile(r"[a-z_]{1,40}(:[A-Za-z0-9_.+-]{1,80})?")
SAMPLING = Sampling(size_px=32)
WHOLE, PROBED = "whole", "probed"
"""Outcomes of files in which nothing was found wrong."""

_SIZE, _FRAMES, _SECONDS = (96, 64), 12, 0.5
_QUICK = {
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "dnxhd": {"profile": "dnxhr_lb"},
}
_SHAPES = {"dvvideo": (720, 576), "dnxhd": (256, 120), "h263": (176, 144)}
"""Codecs that do not take every size of frame."""
_FORMS = {"prores_ks": "yuv422p10le", "mjpeg": "yuvj420p", "v210": "yuv422p10le", "dnxhd": "yuv422p",
          "huffyuv": "yuv422p", "rawvideo": "uyvy422"}  # fmt: skip
_RATES_HZ = {"libopencore_amrnb": 8000, "libmp3lame": 44100, "wmav1": 44100, "wmav2": 44100, "ac3": 48000,
             "eac3": 48000, "mp2": 48000, "pcm_s16le": 48000, "libopus": 48000}  # fmt: skip
_STEREO = ("vorbis", "wmav1", "wmav2")
"""Codecs whose encoder takes no single channel."""

FILMS: tuple[tuple[str, str, str], ...] = (
    ("h264.mp4", "libx264", "aac"), ("hevc.mp4", "libx265", "ac3"), ("av1.mp4", "libsvtav1", "libopus"),
    ("mpeg4.mp4", "mpeg4", "libmp3lame"), ("h263.3gp", "h263", "libopencore_amrnb"),
    ("prores.mov", "prores_ks", "pcm_s16le"),
    ("mjpeg.mov", "mjpeg", "pcm_mulaw"), ("dnxhd.mov", "dnxhd", "alac"), ("v210.mov", "v210", ""),
    ("raw.mov", "rawvideo", ""), ("h264.mkv", "libx264", "vorbis"), ("hevc.mkv", "libx265", "flac"),
    ("ffv1.mkv", "ffv1", "wavpack"), ("vp9.webm", "libvpx-vp9", "libopus"), ("vp8.webm", "libvpx", "vorbis"),
    ("av1.webm", "libsvtav1", ""), ("mpeg4.avi", "mpeg4", "libmp3lame"), ("mjpeg.avi", "mjpeg", "pcm_s16le"),
    ("huffyuv.avi", "huffyuv", ""), ("msmpeg4.avi", "msmpeg4", "adpcm_ms"), ("mpeg2.mpg", "mpeg2video", "mp2"),
    ("mpeg1.mpg", "mpeg1video", "mp2"), ("mpeg2.vob", "mpeg2video", "ac3"), ("mpeg2.m2v", "mpeg2video", ""),
    ("h264.ts", "libx264", "aac"), ("hevc.ts", "libx265", "mp2"), ("h264.m2ts", "libx264", "ac3"),
    ("vp8.ogv", "libvpx", "vorbis"), ("flv1.flv", "flv", "libmp3lame"), ("h264.flv", "libx264", "aac"),
    ("wmv1.wmv", "wmv1", "wmav1"), ("wmv2.asf", "wmv2", "wmav2"), ("mpeg2.mxf", "mpeg2video", "pcm_s16le"),
    ("vp9.ivf", "libvpx-vp9", ""), ("pal.dv", "dvvideo", ""),
)  # fmt: skip
"""Name, codec of the pictures, codec of the sound or nothing."""
SOUNDS: tuple[tuple[str, str], ...] = (
    ("pcm.wav", "pcm_s16le"), ("float.wav", "pcm_f32le"), ("adpcm.wav", "adpcm_ms"), ("a.flac", "flac"),
    ("a.mp3", "libmp3lame"), ("aac.m4a", "aac"), ("alac.m4a", "alac"), ("a.aac", "aac"), ("a.opus", "libopus"),
    ("vorbis.ogg", "vorbis"), ("flac.ogg", "flac"), ("a.aiff", "pcm_s16be"), ("a.caf", "alac"),
    ("mulaw.au", "pcm_mulaw"),
    ("a.wv", "wavpack"), ("a.wma", "wmav2"), ("a.amr", "libopencore_amrnb"), ("a.ac3", "ac3"), ("a.eac3", "eac3"),
    ("a.mp2", "mp2"), ("a.mka", "eac3"),
)  # fmt: skip
PICTURES = ("a.png", "alpha.png", "deep.png", "palette.gif", "moving.gif", "a.jpg", "progressive.jpg", "a.webp",
            "lossless.webp", "moving.webp", "a.tiff", "lzw.tiff", "a.bmp", "a.avif")  # fmt: skip
TEXTS = {
    "show.srt": "\n".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n},900\n<i>line</i> {n} näive\n" for n in range(1, 9)),
    "show.vtt": "WEBVTT\n\nNOTE no\n\n"
    + "\n".join(f"00:0{n}.000 --> 00:0{n}.900 align:start\nline {n}\n" for n in range(8)),
    "film.json": '{"title": "A film", "tags": ["one", "two"], "when": {"from": 1.5, "to": null}, "date": "\\u00e9"}',
}  # fmt: skip


def samples(folder: Path) -> dict[str, bytes]:
    """Write one small good file of every format into a folder; return their bytes by name."""
    for name, codec, voice in FILMS:
        _write_film(folder / name, codec, voice)
    write_film(folder / "lines.mp4", _frames("mpeg4"), codec="mpeg4", lines=[(0.1, 0.3, "hello")],
               tags={"title": "A título", "comment": "said"})  # fmt: skip
    for name, codec in SOUNDS:
        sound, rate = _tone(codec)
        write_sound(folder / name, sound, codec, rate, tags={"title": "A tone"})
    for name in PICTURES:
        (folder / name).write_bytes(_picture(name))
    for name, text in TEXTS.items():
        (folder / name).write_text(text, "utf-8")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _frames(codec: str) -> list[np.ndarray]:
    width, height = _SHAPES.get(codec, _SIZE)
    large = width * height > 2**15 or codec in ("rawvideo", "v210", "huffyuv")
    count = 2 if large else _FRAMES
    return [frame[:height, :width] for frame in _sized(slides(2, count // 2), width, height)]


def _sized(frames: Sequence[np.ndarray], width: int, height: int) -> list[np.ndarray]:
    return [np.asarray(Image.fromarray(frame).resize((width, height))) for frame in frames]


def _tone(codec: str) -> tuple[np.ndarray, int]:
    rate = _RATES_HZ.get(codec, 16000)
    return tone(_SECONDS, rate, channels=2 if codec in _STEREO else 1), rate


def _write_film(path: Path, codec: str, voice: str) -> None:
    sound, rate = _tone(voice) if voice else (None, 16000)
    write_film(
        path, _frames(codec), codec=codec, options=_QUICK.get(codec), sound=sound, sound_codec=voice or "aac",
        sound_hz=rate, pix_fmt=_FORMS.get(codec, "yuv420p"),
    )  # fmt: skip


def _picture(name: str) -> bytes:
    image = Image.fromarray(_sized(slides(1, 1), *_SIZE)[0])
    style, _, suffix = name.partition(".")
    options: dict[str, object] = {}
    match style:
        case "alpha":
            image.putalpha(Image.linear_gradient("L").resize(_SIZE))
        case "deep":
            image = Image.fromarray(np.arange(96 * 64, dtype=np.uint16).reshape(64, 96) * 10)
        case "palette":
            image = image.quantize(16)
        case "progressive":
            options = {"progressive": True, "exif": _exif()}
        case "lossless":
            options = {"lossless": True}
        case "lzw":
            options = {"compression": "tiff_lzw"}
        case "moving":
            options = {"save_all": True, "append_images": [image.rotate(90 * k) for k in range(1, 4)]}
    out = io.BytesIO()
    image.save(out, {"jpg": "JPEG"}.get(suffix, suffix.upper()), **options)
    assert next(ImageSequence.Iterator(Image.open(out))).size == _SIZE
    return out.getvalue()


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x0132] = 6, "a picture", "2020:01:02 03:04:05"
    return exif.tobytes()


EXTREMES = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\x80\0\0\0", b"\0\0\0\x01",
            b"\xff\xff", b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\x01" + bytes(7), b"\0\0\0\x08")  # fmt: skip
"""What length fields are set to, in either order of bytes."""


def mutant(number: int, good: dict[str, bytes]) -> tuple[str, bytes]:
    """Return the name and the bytes of the mutation with this number: the same for the same good files."""
    names = sorted(good)
    name = names[number % len(names)]
    rng = np.random.default_rng(number)
    other = good[names[int(rng.integers(len(names)))]]
    data = good[name]
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        data = harmed(data, other, rng)
    return name, data


def harmed(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with one kind of harm done to it.

    Args:
        data: the file.
        other: another one, of any format, of which a piece may end up in it.
        rng: decides what and where.
    """
    if not data:
        return other[:100]
    body = bytearray(data)
    at, length = _place(len(body), rng), int(rng.integers(1, 2 + len(body) // int(rng.choice([2, 8, 64]))))
    match int(rng.integers(10)):
        case 0 | 1 | 2:
            _overwrite(body, rng)
        case 3:
            del body[at:]
        case 4:
            body[at:at] = body[at : at + length]
        case 5:
            del body[at : at + length]
        case 6:
            to = _place(len(body), rng)
            body[at : at + length], body[to : to + length] = body[to : to + length], body[at : at + length]
        case 7:
            start = int(rng.integers(len(other)))
            body[at : at + int(rng.choice([0, length]))] = other[start : start + int(rng.integers(1, 1 + len(other)))]
        case _:
            for _ in range(int(rng.integers(1, 4))):
                where, field = _place(len(body), rng), EXTREMES[int(rng.integers(len(EXTREMES)))]
                body[where : where + len(field)] = field
    return bytes(body)


def _overwrite(body: bytearray, rng: np.random.Generator) -> None:
    """Flip bits here and there, or fill a run of bytes with one value or with noise."""
    at, how = _place(len(body), rng), int(rng.integers(3))
    length = min(len(body) - at, int(rng.integers(1, 2 + len(body) // 8)))
    if how == 0:
        for _ in range(int(rng.integers(1, 60))):
            body[_place(len(body), rng)] ^= 1 << int(rng.integers(8))
    elif how == 1:
        body[at : at + length] = rng.choice([b"\0", b"\xff", b"G", b" "]) * length
    else:
        body[at : at + length] = rng.bytes(length)


def _place(size: int, rng: np.random.Generator) -> int:
    """Return a place in a file; every other time near its start or its end, where headers and indexes are."""
    near = min(size, 1024)
    match int(rng.integers(4)):
        case 0:
            return int(rng.integers(near))
        case 1:
            return size - 1 - int(rng.integers(near))
    return int(rng.integers(size))


def outcome(path: Path, number: int = 0, limits: Limits = Limits(stalled_seconds=20)) -> str:  # noqa: B008
    """Read a file in one of several ways; return the reason of its error or damage, `whole` or `probed`.

    Raises:
        AssertionError: what came is not what the decoder promises, or a reason is badly formed.
    """
    try:
        if path.suffix in (".srt", ".vtt"):
            assert read_transcript(path).lines
            return WHOLE
        if path.suffix == ".json":
            read_sidecar(path)
            return WHOLE
        if number % 7 == 3:
            assert probe(path, limits).container
            return PROBED
        wants = (frozenset(Modality), frozenset(Modality), {Modality.VISUAL}, {Modality.AUDIO}, {Modality.TEXT})
        ending = checked(list(decode(path, SAMPLING, want=frozenset(wants[number % len(wants)]), limits=limits)))
        reason = ending.damage
    except MediaError as error:
        reason = error.reason
        error.detail.encode()
    if reason is None:
        return WHOLE
    assert REASON.fullmatch(reason), reason
    return reason


def checked(items: Sequence[Decoded]) -> Ending:
    """Return the ending of what was decoded, once all of it is as `pipeline.media` promises."""
    facts, *contents, ending = items
    assert isinstance(facts, Facts)
    assert isinstance(ending, Ending)
    shown = heard = 0.0
    for item in contents:
        match item:
            case FrameChunk(pixels, at_seconds, shots):
                assert pixels.dtype == np.uint8
                assert pixels.shape == (len(at_seconds), *pixels.shape[1:3], 3)
                assert (np.diff(at_seconds, prepend=shown) >= 0).all()
                assert [shot.first for shot in shots] == [0, *(shot.last for shot in shots[:-1])]
                assert shots[-1].last == len(pixels)
                assert all(shot.start_seconds <= shot.stop_seconds for shot in shots)
                shown = float(at_seconds[-1])
            case SoundChunk(samples, start_seconds, rate_hz):
                assert samples.dtype == np.float32
                assert (np.abs(samples) <= 1).all()
                assert start_seconds >= heard - 1e-6
                heard = start_seconds + len(samples) / rate_hz
            case _:
                assert isinstance(item, Transcript)
                assert item.lines
    return ending


def is_grave(reason: str) -> bool:
    """Tell whether an outcome is one that nobody foresaw: a crash, a hang, an unknown error, an answer of no sense."""
    return reason.startswith(("decoder_crash", "decoder_error", "timeout", "protocol"))
