"""Damages small files of every format without end and decodes them, to find what the decoder was not ready for.

    python -m tests.fuzz.decode --minutes 30 [--seed N] [--keep DIR] [--workers 2]

Counts the outcomes by reason. A file that crashes its child, hangs it, is slow, or breaks a promise of the decoder is
kept as DIR/NUMBER-REASON-NAME; run again with `--seed NUMBER`, the first file is the same one. Exits 1 if any was.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from tests.pipeline.decode.mutations import is_grave, mutant, outcome, samples

SLOW_SECONDS = 5.0
"""These files hold half a second of media; none has a reason to take so long."""


def fuzz(minutes: float, seed: int, keep: Path, workers: int) -> tuple[Counter[str], list[Path]]:
    """Decode mutations from this number on until time is up.

    Returns:
        How often each reason was the outcome, and the files that were kept.
    """
    counts: Counter[str] = Counter()
    kept: list[Path] = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        good = samples(Path(folder))
        deadline = time.monotonic() + 60 * minutes

        def attempt(number: int) -> tuple[int, str]:
            name, data = mutant(number, good)
            path = Path(folder) / f"{number}-{name}"
            path.write_bytes(data)
            reason = _reason(path, number)
            if is_grave(reason):
                keep.mkdir(parents=True, exist_ok=True)
                kept.append(keep / f"{number}-{reason.replace(':', '_')}-{name}")
                kept[-1].write_bytes(data)
                print(kept[-1], file=sys.stderr, flush=True)
            path.unlink()
            return number, reason

        running: set[Future[tuple[int, str]]] = set()
        try:
            while time.monotonic() < deadline or running:
                while time.monotonic() < deadline and len(running) < 2 * workers:
                    running.add(pool.submit(attempt, seed))
                    seed += 1
                done, running = wait(running, return_when=FIRST_COMPLETED)
                counts.update(stem(future.result()[1]) for future in done)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
    return counts, kept


def _reason(path: Path, number: int) -> str:
    began = time.monotonic()
    try:
        reason = outcome(path, number)
    except AssertionError as broken:
        print(f"{number}: {broken}", file=sys.stderr)
        return "protocol:promise"
    return "timeout:slow" if time.monotonic() - began > SLOW_SECONDS and not is_grave(reason) else reason


def stem(reason: str) -> str:
    """Return what an outcome is counted under: its reason, without numbers and sizes."""
    return reason if is_grave(reason) else reason.partition(":")[0]


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.decode", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1_000_000, help="number of the first mutation")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-decode"), help="where files that do harm are kept")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(arguments)
    counts, kept = fuzz(args.minutes, args.seed, args.keep, args.workers)
    for reason, count in counts.most_common():
        print(f"{count:8d}  {reason}")
    print(f"{counts.total():8d}  in all, {len(kept)} kept")
    return 1 if kept else 0


if __name__ == "__main__":
    sys.exit(main())
