"""Small media, made on the spot: films of plain colours over tones, pictures, sound."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.decode.compose import Sound, Still, write_film, write_sound
from tests.toys import COLOURS, PITCHES

RATE_HZ = 16000


def tone(hz: float, seconds: float) -> Sound:
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return Sound((0.3 * np.sin(2 * np.pi * hz * at)).astype(np.float32), RATE_HZ)


def film(path: Path, colours: Sequence[str], *, pitch: str | None = "middle", seconds: float = 2.0) -> Path:
    """Write a film that shows each colour for so long, over one tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stills = [Still(np.full((72, 128, 3), COLOURS[colour], np.uint8), seconds) for colour in colours]
    sound = tone(PITCHES[pitch], seconds * len(colours)) if pitch else None
    write_film(path, stills, sound, size=(128, 72), frames_per_second=10)
    return path


def picture(path: Path, colour: str, size: tuple[int, int] = (64, 48)) -> Path:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, COLOURS[colour]).save(path)
    return path


def sound(path: Path, pitch: str, seconds: float = 3.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sound(path, tone(PITCHES[pitch], seconds), audio="flac")
    return path
