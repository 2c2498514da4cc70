"""How long things take, and how much memory: the whole ingest, a second one, the command line, a search."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import index
from flows.run import ingest_and_publish
from index.query import Questioner
from pipeline.archive import Archive
from pipeline.executors import local
from pipeline.executors.stages import Made
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.processes import RUSHES, Ran, load, repeated, run
from tests.benchmarks.stages import bare_seconds, list_files
from tests.benchmarks.truths import Question

GB = 1e9
N_TIMED = 50


def make(root: Path, source: Path, engine: str = "local") -> Ran:
    """Make an archive of a source and ingest it, as a person would; return how the ingest went."""
    run([*RUSHES, "init", root, "--source", source])
    return run([*RUSHES, "ingest", root, "--engine", engine, "--json"])


def ingest_figures(ran: Ran, archive: Archive, scratch: Path) -> Iterator[Figure]:
    """Yield the whole ingest's time against its bare stages, and its memory."""
    load_then = load()
    bare = bare_seconds(archive, scratch)
    shutil.rmtree(scratch)
    total = sum(bare.values())
    parts = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in bare.items())
    yield Figure("whole ingest, local", ran.seconds, "s", quality=f"start to end of the command; {load_then}")
    yield at_most(
        "whole ingest over bare stages", ran.seconds / total, "ratio", 1.15,
        contender=f"bare stages one after the other: {total:.1f} s", quality=f"{parts}; {load()}",
    )  # fmt: skip
    quality = f"all pages of all processes by share (PSS); without pages of files {ran.peak_private_bytes / GB:.2f} GB"
    yield at_most("memory of an ingest", ran.peak_bytes / GB, "GB", 3.0, quality=quality)


def again_figures(archive: Archive) -> Iterator[Figure]:
    """Yield how long a run takes that finds nothing to do."""
    listing, n_files = _timed(lambda: list_files(archive))
    seconds, report = _timed(lambda: ingest_and_publish(archive, local.run, Quiet()))
    if report.ingested.changed:
        raise RuntimeError(f"The second ingest of {archive.root} changed it: {report.as_text()}")
    best, middle = repeated([*RUSHES, "ingest", archive.root, "--json"], 3)
    yield Figure(
        "second ingest, nothing to do", seconds, "s", contender=f"listing {n_files} files: {listing:.3f} s",
        quality=f"as a command: median {middle:.2f} s, best {best:.2f} s; {load()}",
    )  # fmt: skip


def command_figures(archive: Archive, asked: str) -> Iterator[Figure]:
    """Yield how long `rushes --help` and a search from a fresh process take."""
    for name, command, bound, times in (
        ("rushes --help", ["--help"], 0.3, 5),
        ("rushes search, cold", ["search", archive.root, asked], 4.0, 3),
    ):
        best, middle = repeated([*RUSHES, *command], times)
        yield at_most(name, middle, "s", bound, quality=f"median of {times}, best {best:.2f} s; {load()}")


def search_figures(archive: Archive, questions: Sequence[Question]) -> Iterator[Figure]:
    """Yield how long a search takes in a process that has searched before, and how much of it encodes the question."""
    searcher = index.open(archive.root)
    step = max(1, len(questions) // N_TIMED)
    asked = [question.asked for question in questions[::step]][:N_TIMED]
    searcher.search("a question that loads what is needed")
    encoding, rest = [], []
    for question in asked:
        with _timing_encoding() as spent:
            whole, _ = _timed(partial(searcher.search, question))
        encoding.append(spent[0] * 1e3)
        rest.append((whole - spent[0]) * 1e3)
    yield at_most(
        "search in process, without the question's encoding", median(rest), "ms", 20.0,
        quality=f"median of {len(rest)}, 19 of 20 below {quantiles(rest, n=20)[-1]:.1f} ms; {load()}",
    )  # fmt: skip
    quality = f"median of {len(encoding)}, 19 of 20 below {quantiles(encoding, n=20)[-1]:.1f} ms; never asked before"
    yield Figure("encoding of a question", median(encoding), "ms", quality=quality)


@contextmanager
def _timing_encoding() -> Iterator[list[float]]:
    """Yield a list whose one number grows by the seconds that questions are encoded for."""
    encode, spent = Questioner.words, [0.0]

    def timed(questioner: Questioner, texts: Sequence[str]) -> Any:
        seconds, vectors = _timed(partial(encode, questioner, texts))
        spent[0] += seconds
        return vectors

    Questioner.words = timed  # type: ignore[assignment,method-assign]
    try:
        yield spent
    finally:
        Questioner.words = encode  # type: ignore[method-assign]


class Quiet:
    """A watcher that tells nobody."""

    def planned(self, n_files: int, n_bytes: int) -> None: ...
    def started(self, asset_id: str, n_bytes: int) -> None: ...
    def made(self, made: Made) -> None: ...
    def finished(self, asset_id: str, uri: str, state: str, reason: str) -> None: ...


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result
