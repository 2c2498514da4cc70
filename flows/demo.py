"""`rushes demo`: a small archive of free media, from nothing to answers, in one go."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

import index
from flows.demo_media import DemoMedia, DemoQuery, make_demo_media
from flows.models import pull_missing
from flows.progress import watching
from flows.run import executor, ingest_and_publish
from index.hits import Hits
from pipeline.archive import Archive, create_archive, open_archive
from pipeline.errors import ArchiveError

K = 3


def demo(options: argparse.Namespace) -> None:
    """Make media, an archive of them, and ask it one question of each kind."""
    began = time.monotonic()
    pull_missing()
    media, archive = _prepared(options.folder)
    _say(f"Made {len(media.files)} files in {media.source}; ingesting them into {archive.root} …")
    with watching() as watcher:
        run = ingest_and_publish(archive, executor(options.engine), watcher)
    _say(run.as_text())
    searcher = index.open(archive.root)
    for query in media.queries:
        print(f"\n{query.title}: {_asked(query)}")
        print(answer(searcher, query))
    rushes, shown = _command(), _shown(archive.root)
    film = next(query for query in media.queries if query.kind == "like")
    _say(f"\nDone in {time.monotonic() - began:.0f} seconds. Three commands to try next:")
    _say(f'  {rushes} search {shown} "a cat looks into the camera" -k 3')
    _say(f"  {rushes} recommend {shown} --like {film.uri}@{film.at_seconds:g}")
    _say(f"  {rushes} init my-archive --source ~/Pictures && {rushes} ingest my-archive")


def _prepared(folder: Path) -> tuple[DemoMedia, Archive]:
    """Return media and archive; those of an earlier demo are taken up again."""
    root = folder / "archive"
    if folder.exists() and {path.name for path in folder.iterdir()} - {"source", "asked", "archive"}:
        raise ArchiveError(f"{folder} holds other things; name a new folder: `rushes demo FOLDER`.")
    media = make_demo_media(folder)
    if (root / "rushes.toml").exists():
        return media, open_archive(root)
    return media, create_archive(root, [str(media.source)])


def answer(searcher: index.Searcher, query: DemoQuery) -> Hits:
    """Ask one of the demo's questions."""
    match query.kind:
        case "words":
            return searcher.search(query.words, k=K, modality=query.modality, media=query.media)
        case "picture":
            return searcher.search(image=query.path, k=K, modality=query.modality, media=query.media)
        case "sound":
            return searcher.search(audio=query.path, k=K, modality=query.modality, media=query.media)
        case "like":
            return searcher.recommend(
                query.uri, at_seconds=query.at_seconds, k=K, modality=query.modality, media=query.media
            )


def _asked(query: DemoQuery) -> str:
    """Return the command that asks this question."""
    where = "".join(
        f" --{name} {value}" for name, value in (("modality", query.modality), ("media", query.media)) if value
    )
    match query.kind:
        case "words":
            return f'search "{query.words}"{where}'
        case "picture":
            return f"search --image {query.path}{where}"
        case "sound":
            return f"search --audio {query.path}{where}"
        case "like":
            return f"recommend --like {query.uri}@{query.at_seconds:g}{where}"


def _command() -> str:
    """Return how this command can be called again from here."""
    return "rushes" if shutil.which("rushes") else str(_shown(Path(sys.argv[0]).absolute()))


def _shown(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _say(text: str) -> None:
    print(text, file=sys.stderr)
