"""How well questions find their answers, each asked as a user would: `index.open(ARCHIVE).search(…)`.

    python -m tests.benchmarks.retrieval ARCHIVE MEDIA_OUT [--speech-texts FILE] [--misses] [--json]

Each truth counts by itself: a picture of a frog is found only if that picture is among the ten, not another frog.
Recognised speech is asked for without naming a modality; a clip that is heard in a talk and in films counts at any of
these places.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import index
from index.truths import Place, is_file, is_moment
from pipeline.media import Modality
from tests.benchmarks.figures import Figure, at_least, at_most, interval_of_mean, table
from tests.benchmarks.truths import (
    Question,
    Truths,
    begins_strictly,
    begins_where_said,
    files_of,
    read_speech_texts,
    read_truths,
)

if TYPE_CHECKING:
    from index.hits import Hit
    from index.searcher import Searcher

K = 10
PARAPHRASES = Path(__file__).with_name("paraphrases.json")
"""How clips are asked for in words not theirs; each kind was written before any of it was tried. In other words: by one
who remembers what it was about, and some of its nouns. In quite other words: by somebody who was told of it in another
language; many a person would not find these either. Kind → clip → question."""
SAID_FLOORS = {"verbatim": 0.9, "in other words": 0.7}
Right = Callable[["Hit", Place], bool]
Missed = Callable[[str, Question, "Sequence[Hit]"], None]
"""Told of each question whose answer was not found: under which figure, and what was found instead."""


def rank(hits: Sequence[Hit], question: Question, right: Right) -> int | None:
    """Return the rank, from 1, of the first hit that is one of the places; None if none is."""
    return next((n for n, hit in enumerate(hits, 1) if any(right(hit, place) for place in question.places)), None)


def share_found(ranks: Sequence[int | None], within: int) -> float:
    """Return which share of the questions had an answer among the first so many hits."""
    return sum(r is not None and r <= within for r in ranks) / len(ranks) if ranks else 0.0


class Asking:
    """An open archive, and who is told of what it does not find."""

    def __init__(self, searcher: Searcher, missed: Missed | None = None) -> None:
        self.searcher = searcher
        self._missed = missed

    def ranks(
        self, name: str, questions: Sequence[Question], right: Right, within: int = K, **narrowed: str
    ) -> list[int | None]:
        """Ask every question; return for each the rank of its answer among the first `within` hits."""
        ranks = []
        for question in questions:
            hits = self.searcher.search(question.asked, k=K, **narrowed)
            ranks.append(rank(hits[:within], question, right))
            if ranks[-1] is None and self._missed:
                self._missed(name, question, hits)
        return ranks


def figures(
    asking: Asking, truths: Truths, speech_texts: Mapping[str, str], paraphrases: Mapping[str, Mapping[str, str]]
) -> Iterator[Figure]:
    """Yield all figures of retrieval; kinds of truth that the media lack are left out."""
    yield from pictures(asking, truths.pictures)
    yield from moments(asking, truths.moments)
    yield from speech(asking, truths, speech_texts, paraphrases)
    yield from sounds(asking, truths.sounds)


def pictures(asking: Asking, questions: Sequence[Question]) -> Iterator[Figure]:
    """Yield how words find pictures, among pictures and among everything."""
    if not questions:
        return
    name = "text to picture, recall@10"
    ranks = asking.ranks(name, questions, is_file, media="image")
    yield at_least(name, share_found(ranks, K), "share", 0.74, quality=_told(ranks, "media=image"))
    name = "text to picture among everything, recall@10"
    ranks = asking.ranks(name, questions, is_file)
    yield Figure(name, share_found(ranks, K), "share", quality=_told(ranks, "plain search"))


def moments(asking: Asking, questions: Sequence[Question]) -> Iterator[Figure]:
    """Yield how words find the moment of a film that shows something."""
    if not questions:
        return
    name = "text to moment, recall@10"
    ranks = asking.ranks(name, questions, is_moment, media="video")
    yield at_least(name, share_found(ranks, K), "share", 0.70, quality=_told(ranks, "media=video"))


def speech(
    asking: Asking, truths: Truths, texts: Mapping[str, str], paraphrases: Mapping[str, Mapping[str, str]]
) -> Iterator[Figure]:
    """Yield how what is said, or written in subtitles, is found first where it is said."""
    for kind, asked in {"verbatim": texts, **paraphrases}.items():
        questions = truths.said(asked, texts)
        if not questions:
            continue
        name = f"said, {kind}, first hit"
        ranks = asking.ranks(name, questions, begins_where_said, within=1)
        strict = share_found(asking.ranks("", questions, begins_strictly, within=1), 1)
        quality = f"{_told(ranks, 'plain search')}; begins within 2 s of the clip's beginning: {strict:.3g}"
        share, floor = share_found(ranks, 1), SAID_FLOORS.get(kind)
        if floor is None:
            yield Figure(name, share, "share", quality=quality)
        else:
            yield at_least(name, share, "share", floor, quality=quality)
        named = asking.ranks("", questions, begins_where_said, within=1, modality="speech")
        yield Figure(f"{name} among speech", share_found(named, 1), "share", quality=_told(named, "modality=speech"))
    if truths.subtitles:
        name = "subtitles, first hit"
        ranks = asking.ranks(name, truths.subtitles, is_moment, within=1)
        yield at_least(name, share_found(ranks, 1), "share", 0.95, quality=_told(ranks, "plain search"))


def sounds(asking: Asking, questions: Sequence[Question]) -> Iterator[Figure]:
    """Yield how words find sounds, against what chance would find, and how much is "said" by what cannot speak."""
    if not questions:
        return
    assets = asking.searcher.generation.assets
    n_files = assets["media"].to_pylist().count("audio")
    n_moments = sum(each.entry.n_moments for each in asking.searcher.generation.lists)
    ranks = [_file_rank(asking.searcher, question, n_moments) for question in questions]
    chance = min(1.0, K / n_files)
    found = share_found(ranks, K)
    low, high = interval_of_mean([float(r <= K) - chance for r in ranks])
    yield Figure(
        "text to sound, recall@10",
        found,
        "share",
        chance,
        low > 0,
        f"chance: {K} of {n_files} files",
        f"n={len(ranks)}, modality=audio; above chance by {found - chance:+.3f}, 95% [{low:+.3f}, {high:+.3f}]; "
        "holds: the whole interval is above 0",
    )
    median = sorted(ranks)[len(ranks) // 2]
    yield Figure("text to sound, median rank", median, "files", contender=f"chance: {(n_files + 1) / 2:g}")
    spoken = speech_moments_in(asking.searcher, files_of(questions))
    yield at_most("speech heard in animal sounds", spoken, "moments", 0.0, quality=f"{len(questions)} files")


def speech_moments_in(searcher: Searcher, files: set[str]) -> int:
    """Return how many speech moments the files have."""
    n = 0
    for each in searcher.generation.lists:
        if each.entry.modality == Modality.SPEECH:
            uris = searcher.generation.assets["uris"].to_pylist()
            n += sum(bool(files & set(uris[row])) for row in each.asset_rows)
    return n


def _file_rank(searcher: Searcher, question: Question, n_moments: int) -> int:
    """Return the rank of the file among all files with sound; several moments of one file count once."""
    hits = searcher.search(question.asked, k=n_moments, modality="audio", media="audio")
    files = list(dict.fromkeys(hit.uri for hit in hits))
    right = {place.file for place in question.places}
    n_files = searcher.generation.assets["media"].to_pylist().count("audio")
    return next((n for n, file in enumerate(files, 1) if file in right), n_files)


def _told(ranks: Sequence[int | None], how: str) -> str:
    first = share_found(ranks, 1)
    return f"n={len(ranks)}, {how}" + (f"; first hit {first:.3g}" if any(r and r > 1 for r in ranks) else "")


def main() -> None:
    """Print the figures of an archive that was made from the media."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("media_out", type=Path, help="folder with media/ and truth.json")
    parser.add_argument("--speech-texts", type=Path, help="what the clips say: lines `name: text`, plain or gzipped")
    parser.add_argument("--misses", action="store_true", help="tell on stderr what was found instead")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    asking = Asking(index.open(options.archive), tell_missed if options.misses else None)
    texts = read_speech_texts(options.speech_texts) if options.speech_texts else {}
    paraphrases = json.loads(PARAPHRASES.read_text("utf8"))
    found = list(figures(asking, read_truths(options.media_out / "truth.json"), texts, paraphrases))
    print("\n".join(f.as_json() for f in found) if options.json else table(found))


def tell_missed(name: str, question: Question, hits: Sequence[Hit]) -> None:
    """Print one missed question and the best three hits, on stderr."""
    if not name:
        return
    place = question.places[0]
    print(f"\n{name}: {question.asked!r} is {place.file} at {place.start_seconds:g} s", file=sys.stderr)
    for hit in hits[:3]:
        print(f"  {hit.score:.3f} {hit.uri} {hit.start_seconds:g}-{hit.stop_seconds:g} {hit.why}", file=sys.stderr)


if __name__ == "__main__":
    main()
