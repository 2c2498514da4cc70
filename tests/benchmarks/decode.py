"""All figures of decoding: speed beside the alternatives, each with a look at what came out, memory, overheads.

    python -m tests.benchmarks.decode [--json] [--rounds 5] [--only NAME …] [--media DIR] [--archive-media MEDIA_OUT]

Films are made on the spot, or found in --media DIR where they were made before (delete them when decode_media.py
changes). All contenders run in one go: the order turns with each round, and ratios are those of medians, with a 95%
bootstrap interval over the rounds. A speed holds only if what came out is right as well. What a process pays once, for
however many films, is not counted for anybody: imports, our fork server, what loads on first use; all of that is over
when frames have been looked at. FFmpeg's command has no such process and starts anew, in some hundredths of a second.
--only takes films (10s, 2s, cuts, hevc, mpeg2, mpeg2-mkv) and other parts (conversion, memory, child, pictures, cosine,
retrieval). MEDIA_OUT holds media/ and truth.json; without it there is no figure of retrieval. With --json one object a
line: name, value, unit, floor, holds, contender, quality; without a floor `holds` is null. All of it takes about 40
minutes on two cores, a quarter of that for the first film.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks import decode_costs, decode_media, decode_pictures, decode_quality, races
from tests.benchmarks.decode_media import FILMS, LONG, SHORT, Film
from tests.benchmarks.figures import Figure, report

NAMES = {"10s": FILMS[0], "2s": FILMS[1], "cuts": FILMS[2], "hevc": FILMS[3], "mpeg2": FILMS[4], "mpeg2-mkv": FILMS[5]}
FLOORS = {
    "10s": races.Floors(keyframes=1.3, keyframes_naive=10.0, auto_naive=5.0, exact=1.0, exact_torchcodec=1.1),
    "2s": races.Floors(keyframes=1.3, exact=1.0, exact_torchcodec=1.1, races_naive=False),
    "cuts": races.Floors(races_naive=False),  # what matters there is which cuts are found
    "hevc": races.Floors(keyframes=1.3, exact=1.0, exact_torchcodec=1.1, races_naive=False),
    "mpeg2": races.Floors(keyframes=1.3, exact=1.0, exact_torchcodec=1.1),
    "mpeg2-mkv": races.Floors(keyframes=1.3, exact=1.0, exact_torchcodec=1.1),
}
PARTS = ("conversion", "memory", "child", "pictures", "cosine", "retrieval")


def main() -> int:
    """Print all figures; return 1 if one of them does not hold."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="rushes-benchmark-") as scratch:
        return report(_figures(options, Path(scratch)), as_json=options.json)


def _figures(options: argparse.Namespace, scratch: Path) -> Iterator[Figure]:
    wanted = options.only or [*NAMES, *PARTS]
    media: Path = options.media or scratch / "media"
    decode_media.make(_films(wanted), media)
    for name in wanted:
        if name in NAMES:
            without = frozenset({races.TORCHCODEC} if FLOORS[name].exact_torchcodec is None else ())
            yield from races.figures(NAMES[name], media, FLOORS[name], options.rounds, scratch, without)
    parts: dict[str, Callable[[], Iterator[Figure]]] = {
        "conversion": lambda: decode_costs.conversion(media / FILMS[0].file),
        "memory": lambda: decode_costs.memory(media / SHORT.file, media / LONG.file),
        "child": lambda: decode_costs.child(scratch),
        "pictures": lambda: decode_pictures.figures(scratch / "pictures", options.rounds),
        "cosine": lambda: decode_quality.cosine(media / FILMS[0].file, options.archive_media),
        "retrieval": lambda: decode_quality.retrieval(options.archive_media, scratch),
    }
    for name in wanted:
        if name in parts:
            yield from parts[name]()


def _films(wanted: list[str]) -> list[Film]:
    films = [film for name, film in NAMES.items() if name in wanted]
    if {"conversion", "cosine"} & set(wanted) and FILMS[0] not in films:
        films.append(FILMS[0])
    return [*films, SHORT, LONG] if "memory" in wanted else films


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs")
    parser.add_argument("--only", nargs="+", choices=[*NAMES, *PARTS], help="leave out the rest")
    parser.add_argument("--media", type=Path, help="where films are kept between runs")
    parser.add_argument("--archive-media", type=Path, help="folder with media/ and truth.json, for retrieval")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
