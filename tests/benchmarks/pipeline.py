"""All figures of the main job: media in, searchable moments out.

    python -m tests.benchmarks.pipeline MEDIA_OUT [--speech-texts FILE] [--ray] [--misses] [--json]
    python -m tests.benchmarks.pipeline MEDIA_OUT --archive DIR     of an archive that is there; no ingest is timed

MEDIA_OUT holds media/ (the source) and truth.json (a list of objects: kind, query or clip, file, start, stop). With
--json one object a line: name, value, unit, floor, holds, contender, quality; without a floor `holds` is null.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import index
from pipeline.archive import Archive, open_archive
from tests.benchmarks import fusion, retrieval, speed
from tests.benchmarks.figures import Figure, report
from tests.benchmarks.processes import load
from tests.benchmarks.truths import read_speech_texts, read_truths


def main() -> int:
    """Print all figures; return 1 if one of them does not hold."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="rushes-benchmark-") as scratch:
        return report(_figures(options, Path(scratch)), as_json=options.json)


def _figures(options: argparse.Namespace, scratch: Path) -> Iterator[Figure]:
    media = options.media_out / "media"
    if options.archive:
        archive = open_archive(options.archive)
    else:
        ran = speed.make(scratch / "archive", media)
        archive = open_archive(scratch / "archive")
        yield from speed.ingest_figures(ran, archive, scratch / "bare")
    if options.ray:
        ran = speed.make(scratch / "ray", media, engine="ray")
        quality = f"peak {ran.peak_bytes / speed.GB:.2f} GB; {load()}"
        yield Figure("whole ingest, ray on this machine", ran.seconds, "s", quality=quality)
    yield from _of_archive(archive, options)


def _of_archive(archive: Archive, options: argparse.Namespace) -> Iterator[Figure]:
    truths = read_truths(options.media_out / "truth.json")
    texts = read_speech_texts(options.speech_texts) if options.speech_texts else {}
    paraphrases = json.loads(retrieval.PARAPHRASES.read_text("utf8"))
    questions = (*truths.pictures, *truths.moments, *truths.subtitles)
    if not options.archive:
        yield from speed.again_figures(archive)
    if questions:
        yield from speed.command_figures(archive, questions[0].asked)
        yield from speed.search_figures(archive, questions)
    asking = retrieval.Asking(index.open(archive.root), retrieval.tell_missed if options.misses else None)
    yield from retrieval.figures(asking, truths, texts, paraphrases)
    mixes = fusion.mixes(truths, texts or paraphrases["in other words"])
    for mix in mixes:
        yield from fusion.figures(asking, mix)
    if mixes:
        yield from fusion.grid_figures(archive, mixes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("media_out", type=Path, help="folder with media/ and truth.json")
    parser.add_argument("--archive", type=Path, help="an archive made of media/ before; the ingest is not timed")
    parser.add_argument("--speech-texts", type=Path, help="what the clips say: lines `name: text`, plain or gzipped")
    parser.add_argument("--ray", action="store_true", help="also time an ingest with Ray")
    parser.add_argument("--misses", action="store_true", help="tell on stderr what was found instead of the answers")
    parser.add_argument("--json", action="store_true", help="one object a line")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
