"""How well and how fast text on the screen is read, by the size of frames: text drawn over real photographs.

    python -m tests.benchmarks.encode_ocr [--json]

Title cards (letters of 90 px), lower thirds (52 px), credits (32 px) and words straight on a photograph (80 px) are
drawn at 1080 lines, and scaled down. The error is that of characters: edits over characters, with and without blanks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from encoders import ocr
from tests.benchmarks.figures import Figure, report
from tests.benchmarks.processes import load

PHOTOGRAPHS = Path(__file__).parents[2] / "flows" / "demo_files"
SIZES_PX = (260, 360, 480, 720, 1080)
TITLES = ("The Lighthouse Keeper", "A film by Anna Berg", "EPISODE 4: NORTHERN ICE", "Directed by Tom Ashworth 1987")
NAMES = ("Dr. Maria Keller\nMarine biologist, Bergen", "LIVE 18:45\nHarbour bridge closed until Monday",
         "Prof. J. R. Whitfield\nUniversity of Leeds", "Weather tomorrow\nRain in the west, 14 degrees")  # fmt: skip
CREDITS = ("Camera Lise Moreau   Sound Piotr Nowak", "Archive material: City Museum, 1962",
           "Subtitles by Joan Whitmore", "Music performed by the Northern Chamber Orchestra")  # fmt: skip
SIGNS = ("Platform 7", "NO ENTRY", "Bakery open daily", "www.example.org")


def figures() -> Iterator[Figure]:
    """Yield for each size the error on each kind of text, and how long a frame takes."""
    reader = ocr.load()
    pictures = _photographs()
    for px in SIZES_PX:
        errors: dict[str, tuple[int, int, int]] = {}
        seconds, n_frames = 0.0, 0
        for kind, frame, said in _cases(pictures):
            small = np.asarray(Image.fromarray(frame).resize((px * 16 // 9, px), Image.Resampling.BICUBIC))
            began = time.perf_counter()
            (read,) = reader.read_frames(small[None])
            seconds += time.perf_counter() - began
            n_frames += 1
            wrong, wrong_tight, n = errors.get(kind, (0, 0, 0))
            tight = _edits(read.replace(" ", ""), said.replace(" ", ""))
            errors[kind] = (wrong + _edits(read, said), wrong_tight + tight, n + len(said))
        for kind, (wrong, tight, n) in errors.items():
            yield Figure(
                f"characters wrong, {kind}, {px} px",
                wrong / n,
                "share",
                quality=f"{n} characters; without blanks {tight / n:.3f}",
            )
        yield Figure(f"a frame of {px} px", seconds / n_frames, "s", quality=f"{n_frames} frames; {load()}")
    empty = [np.asarray(Image.fromarray(p).resize((1280, 720))) for p in pictures]
    found = [text for text in reader.read_frames(np.stack(empty)) if text]
    yield Figure(
        "photographs without text in which some is read", len(found) / len(empty), "share", quality=repr(found)
    )


def _photographs() -> list[NDArray[np.uint8]]:
    paths = sorted(p for p in PHOTOGRAPHS.iterdir() if p.suffix == ".jpg")[:8]
    return [np.asarray(Image.open(p).convert("RGB").resize((1920, 1080))) for p in paths]


def _cases(pictures: list[NDArray[np.uint8]]) -> Iterator[tuple[str, NDArray[np.uint8], str]]:
    for text in TITLES:
        card = Image.new("RGB", (1920, 1080), (12, 12, 16))
        ImageDraw.Draw(card).text((960, 540), text, "white", _font(90), anchor="mm")
        yield "title card", np.asarray(card), text
    for text, photograph in zip(NAMES, pictures, strict=False):
        picture = Image.fromarray(photograph)
        draw = ImageDraw.Draw(picture)
        draw.rectangle((90, 830, 1100, 1000), (20, 40, 110))
        draw.text((120, 845), text, "white", _font(52), spacing=14)
        yield "lower third", np.asarray(picture), " ".join(text.split())
    for text in CREDITS:
        card = Image.new("RGB", (1920, 1080), (0, 0, 0))
        ImageDraw.Draw(card).text((960, 700), text, (220, 220, 220), _font(32), anchor="mm")
        yield "credits", np.asarray(card), " ".join(text.split())
    for text, photograph in zip(SIGNS, pictures[4:], strict=False):
        picture = Image.fromarray(photograph)
        ImageDraw.Draw(picture).text((300, 300), text, "white", _font(80), stroke_width=3, stroke_fill="black")
        yield "on a photograph", np.asarray(picture), text


def _font(height: int) -> Any:
    return ImageFont.load_default(height)


def _edits(one: str, other: str) -> int:
    """Return the Levenshtein distance."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one object a line")
    return report(figures(), as_json=parser.parse_args().json)


if __name__ == "__main__":
    raise SystemExit(main())
