"""The demo's media: real photographs and real speech, films cut from them, and a few computed pieces of music.

`make_demo_media` writes a source folder like one that people have, with names that tell little, and beside it the
picture and the sound that the demo asks with. Where the photographs and the speech come from, and under which licence,
stands in demo_files/SOURCES.txt.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from flows import demo_sounds
from pipeline.media import Media, Modality

if TYPE_CHECKING:
    from pipeline.decode.compose import Box, Still

ORIGINALS = Path(__file__).parent / "demo_files"
_SPEECH_RATE_HZ = 16000


@dataclass(frozen=True)
class DemoQuery:
    """A question that the demo asks of its archive, and the file that answers it."""

    title: str
    """What it shows, for people."""
    kind: Literal["words", "picture", "sound", "like"]
    expected: str
    """The file that should come first, relative to the source folder."""
    words: str = ""
    """For the kind "words"."""
    path: Path | None = None
    """The picture or the sound to ask with, for these kinds."""
    uri: str = ""
    """The file of which more is wanted, relative to the source folder, for the kind "like"."""
    at_seconds: float = 0.0
    """The moment in it."""
    modality: Modality | None = None
    media: Media | None = None
    between_seconds: tuple[float, float] | None = None
    """In which interval of the expected film the answer lies; None: it is a picture or a sound, or anywhere in it."""


@dataclass(frozen=True)
class DemoMedia:
    """What `make_demo_media` wrote."""

    source: Path
    """The folder to ingest."""
    queries: tuple[DemoQuery, ...]
    files: tuple[str, ...]
    """Every file of the source folder, relative to it, sorted."""


_Move = tuple["Box", "Box"]

_REELS: dict[str, tuple[float, dict[str, _Move]]] = {
    "reel-01.mp4": (7.0, {
        "pagoda": ((0.0, 0.0, 0.8, 0.8), (0.2, 0.1, 1.0, 0.9)),
        "cat": ((0.0, 0.0, 1.0, 1.0), (0.15, 0.1, 0.85, 0.8)),
        "retina": ((0.2, 0.2, 0.8, 0.8), (0.0, 0.1, 1.0, 0.9)),
        "dahlia": ((0.2, 0.0, 1.0, 0.8), (0.0, 0.1, 0.8, 0.9)),
    }),
    "reel-02.webm": (6.0, {
        "admiral": ((0.0, 0.0, 1.0, 0.5), (0.0, 0.15, 1.0, 0.65)),
        "rocket": ((0.0, 0.1, 0.9, 1.0), (0.1, 0.1, 1.0, 1.0)),
        "astronaut": ((0.0, 0.2, 1.0, 0.8), (0.0, 0.0, 1.0, 0.56)),
        "galaxies": ((0.3, 0.2, 1.0, 0.9), (0.0, 0.1, 0.7, 0.8)),
    }),
    "reel-03.mkv": (6.0, {
        "horse": ((0.1, 0.0, 0.9, 0.8), (0.0, 0.0, 1.0, 1.0)),
        "cameraman": ((0.1, 0.1, 1.0, 0.6), (0.0, 0.1, 1.0, 0.7)),
        "gravel": ((0.0, 0.1, 0.8, 0.9), (0.2, 0.1, 1.0, 0.9)),
        "grass": ((0.0, 0.0, 1.0, 1.0), (0.15, 0.1, 0.85, 0.8)),
    }),
}  # fmt: skip
"""Film → seconds a picture, and what the camera sees of each picture at first and at last."""

_SUBTITLES = (
    "The ferry to the island leaves when the tide allows it.",
    "Every spring the shepherds walk their flocks over the pass.",
    "Her workshop repairs clocks that nobody else will touch.",
    "At midnight the bakers carry their dough to the common oven.",
)
"""Said by nobody: they stand in the subtitles of reel-03 alone."""


def make_demo_media(folder: Path) -> DemoMedia:
    """Write the demo's media: under 10 MB, the same bytes each time, in a few seconds.

    Args:
        folder: gets `source/`, the folder to ingest, and `asked/`, what the queries ask with; made if it is not there.

    Raises:
        OSError: the folder cannot be written.
    """
    source, asked = folder / "source", folder / "asked"
    for place in (source / "films", source / "stills", source / "sounds", asked):
        place.mkdir(parents=True, exist_ok=True)
    _write_films(source / "films")
    _write_stills(source / "stills")
    _write_sounds(source / "sounds")
    queries = _write_queries(asked)
    files = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    return DemoMedia(source, queries, tuple(files))


def _write_films(films: Path) -> None:
    from pipeline.decode.compose import Sound, read_sound, write_film

    novel = read_sound(ORIGINALS / "austen.flac", _SPEECH_RATE_HZ).samples
    address = read_sound(ORIGINALS / "jfk.flac", _SPEECH_RATE_HZ).samples
    organ = Sound(demo_sounds.organ_chords(seconds=24.0), demo_sounds.RATE_HZ)
    for name, sound, video, audio in (
        ("reel-01.mp4", Sound(_after(0.5, novel), _SPEECH_RATE_HZ), "h264", "aac"),
        ("reel-02.webm", Sound(_after(2.0, address), _SPEECH_RATE_HZ), "vp9", "opus"),
        ("reel-03.mkv", organ, "hevc", "flac"),
    ):
        write_film(films / name, _stills(*_REELS[name]), sound, video=video, audio=audio, frames_per_second=12)
    lines = (
        f"{i + 1}\n00:00:{6 * i + 1:02},000 --> 00:00:{6 * i + 5:02},500\n{text}\n" for i, text in enumerate(_SUBTITLES)
    )
    (films / "reel-03.srt").write_text("\n".join(lines), "utf8")


def _stills(seconds: float, moves: dict[str, _Move]) -> list[Still]:
    from pipeline.decode.compose import WHOLE, Still

    stills = []
    for name, (start, stop) in moves.items():
        pixels = _cropped(name, WHOLE)
        beside = max(0, pixels.shape[0] * 16 // 9 - pixels.shape[1]) // 2 if name == "horse" else 0
        ground = np.pad(pixels, ((0, 0), (beside, beside), (0, 0)), mode="edge")  # the outline whole, on its white
        stills.append(Still(ground, seconds, start, stop))
    return stills


def _write_stills(stills: Path) -> None:
    from PIL import Image

    for name, (original, box) in {
        "IMG_2041.jpg": ("coffee", (0.0, 0.0, 1.0, 1.0)),
        "IMG_2058.jpg": ("dahlia", (0.25, 0.05, 0.85, 0.85)),
        "IMG_2063.webp": ("pagoda", (0.05, 0.0, 0.65, 1.0)),
        "S95-0117.jpg": ("astronaut", (0.0, 0.0, 0.75, 0.8)),
        "N-1984-03.png": ("admiral", (0.05, 0.05, 0.95, 0.7)),
        "scan-0012.jpg": ("cameraman", (0.1, 0.0, 1.0, 1.0)),
        "plate-7.jpg": ("galaxies", (0.0, 0.0, 0.7, 0.7)),
        "exam-0093.tiff": ("retina", (0.0, 0.0, 1.0, 1.0)),
        "surface-b2.png": ("brick", (0.0, 0.0, 1.0, 1.0)),
        "surface-g1.webp": ("gravel", (0.0, 0.0, 0.8, 0.8)),
    }.items():
        Image.fromarray(_cropped(original, box)).save(stills / name, compression="tiff_lzw")
    shape = Image.open(ORIGINALS / "horse.jpg").convert("L")
    outline = Image.new("RGBA", shape.size, (60, 40, 20, 0))
    outline.putalpha(shape.point(lambda light: 255 - light))
    outline.save(stills / "mark-1.png")
    about = {
        "title": "Summer palace, first roll",
        "description": "The tower on the hill above the lake, taken from the boat landing.",
        "tags": ["journey", "Beijing"],
        "date": "2011-08-05",
    }
    (stills / "IMG_2063.json").write_text(json.dumps(about, indent=1), "utf8")


def _write_sounds(sounds: Path) -> None:
    from pipeline.decode.compose import Sound, write_sound

    for name, codec, samples in (
        ("take-01.flac", "flac", demo_sounds.plucked_strings(demo_sounds.LULLABY)),
        ("take-02.mp3", "mp3", demo_sounds.drum_loop()),
        ("take-03.ogg", "opus", demo_sounds.birdsong()),
    ):
        write_sound(sounds / name, Sound(samples, demo_sounds.RATE_HZ), audio=codec)


def _write_queries(asked: Path) -> tuple[DemoQuery, ...]:
    from PIL import Image

    from pipeline.decode.compose import Sound, write_sound

    picture, tune = asked / "whiskers.jpg", asked / "another-tune.wav"
    Image.fromarray(_cropped("cat", (0.05, 0.0, 0.8, 0.9))[:, ::-1]).save(picture)
    played = demo_sounds.plucked_strings(demo_sounds.ROUND, beat_seconds=0.35, seed=9)
    write_sound(tune, Sound(played, demo_sounds.RATE_HZ), audio="pcm")
    return (
        DemoQuery(
            "Words find a moment of a film", "words", "films/reel-02.webm",
            words="a rocket on its launch pad at night", media=Media.VIDEO, between_seconds=(6, 12),
        ),
        DemoQuery(
            "Words find a picture", "words", "stills/IMG_2041.jpg",
            words="a cup of coffee on a wooden table", media=Media.IMAGE,
        ),
        DemoQuery(
            "Something that was said, asked in other words", "words", "films/reel-02.webm",
            words="serve your nation instead of waiting for it to help you", modality=Modality.SPEECH,
            between_seconds=(2, 13),
        ),
        DemoQuery(
            "A line of the subtitles, asked in other words", "words", "films/reel-03.mkv",
            words="bread is baked late at night", modality=Modality.SPEECH, between_seconds=(18, 24),
        ),
        DemoQuery(
            "A picture finds the film that shows the same", "picture", "films/reel-01.mp4",
            path=picture, between_seconds=(7, 14),
        ),
        DemoQuery(
            "Words find a sound", "words", "sounds/take-01.flac",
            words="a gentle melody on a guitar", modality=Modality.AUDIO,
        ),
        DemoQuery(
            "A tune finds another one on the same instrument", "sound", "sounds/take-01.flac", path=tune,
        ),
        DemoQuery(
            "More like this moment of a film", "like", "stills/IMG_2058.jpg", uri="films/reel-01.mp4", at_seconds=24.0,
        ),
    )  # fmt: skip


def _cropped(original: str, box: Box) -> NDArray[np.uint8]:
    """Return a box of an original picture, uint8 [H, W, 3], RGB."""
    from PIL import Image

    picture = Image.open(ORIGINALS / f"{original}.jpg").convert("RGB")
    left, top, right, bottom = box
    return np.asarray(
        picture.crop(
            (round(left * picture.width), round(top * picture.height),
             round(right * picture.width), round(bottom * picture.height))
        )
    )  # fmt: skip


def _after(seconds: float, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return speech, float32 [T] at _SPEECH_RATE_HZ, after that much silence."""
    return np.concatenate([np.zeros(round(seconds * _SPEECH_RATE_HZ), np.float32), samples])
