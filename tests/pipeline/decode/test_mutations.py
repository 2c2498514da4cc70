"""Two thousand files that harm has come to. Each ends with a reason, and the process that asked notices nothing."""

import gc
import os
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.decode.children import decoders
from tests.fuzz.decode import stem
from tests.pipeline.decode.media import children_of
from tests.pipeline.decode.mutations import PROBED, WHOLE, mutant, outcome, samples

COUNT, WARM = 2000, 200
GROWTH_BYTES = 24 * 2**20
"""What the allocator may add; a leak of each mutation's frames alone would be five times as much."""


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> dict[str, bytes]:
    return samples(tmp_path_factory.mktemp("good"))


def held() -> tuple[int, int, int, int]:
    """Return what this process holds: bytes of memory, descriptors, threads, children of its fork server."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    server = decoders()._process
    return pages * os.sysconf("SC_PAGE_SIZE"), descriptors, threading.active_count(), len(children_of(server.pid))


def test_every_good_file_is_good(tmp_path, good):
    outcomes = {}
    for name, data in good.items():
        (tmp_path / name).write_bytes(data)
        outcomes[name] = outcome(tmp_path / name)
    assert outcomes == dict.fromkeys(good, WHOLE)


@pytest.mark.heavy
def test_two_thousand_mutations_end_well(tmp_path, good):
    def attempt(number: int) -> str:
        name, data = mutant(number, good)
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(data)
        reason = outcome(path, number)
        path.unlink()
        assert not reason.startswith(("timeout", "protocol", "decoder_crash:exit")), f"{number} {name}: {reason}"
        return stem(reason)

    with ThreadPoolExecutor(2) as pool:
        counts = Counter(pool.map(attempt, range(WARM)))
        memory, *before = held()
        counts += Counter(pool.map(attempt, range(WARM, COUNT)))
        grown, *after = held()
    assert after == before
    assert after[-1] == 0
    assert grown - memory < GROWTH_BYTES
    assert counts.total() == COUNT
    # The decoder foresaw nearly all of it; and the harm was of every kind, neither too little nor too much.
    assert sum(count for reason, count in counts.items() if reason.startswith("decoder_")) <= COUNT // 100, counts
    assert {"corrupt", "truncated_at", "unreadable", "truncated", "not_media", "no_streams", "bad_transcript",
            "bad_metadata", WHOLE, PROBED} <= set(counts)  # fmt: skip
    assert counts[WHOLE] + counts[PROBED] < 0.8 * COUNT, counts
    assert counts["corrupt"] + counts["truncated_at"] > 0.05 * COUNT, counts


def test_a_mutation_is_the_same_whenever_it_is_made(good):
    assert [mutant(n, good) for n in range(60)] == [mutant(n, good) for n in range(60)]
    changed = sum(mutant(n, good)[1] != good[mutant(n, good)[0]] for n in range(300))
    assert changed > 280


def test_the_fuzz_target_runs_and_counts(tmp_path, in_root):
    call = [sys.executable, "-m", "tests.fuzz.decode", "--minutes", "0.03", "--seed", "5", "--keep", tmp_path / "kept"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120)
    assert done.returncode == (1 if (tmp_path / "kept").exists() else 0), done.stderr
    *rows, last = [line.split() for line in done.stdout.splitlines() if line[:8].strip().isdigit()]
    assert sum(int(count) for count, _ in rows) == int(last[0]) > 10
    assert WHOLE in {reason for _, reason in rows}


def test_the_fuzz_target_keeps_what_was_not_foreseen(tmp_path, monkeypatch):
    from tests.fuzz import decode

    monkeypatch.setattr(decode, "outcome", lambda path, number: "decoder_crash:SIGSEGV" if number == 7 else WHOLE)
    counts, (kept,) = decode.fuzz(0.005, 7, tmp_path, 1)
    assert counts["decoder_crash:SIGSEGV"] == 1
    assert kept.name.startswith("7-decoder_crash_SIGSEGV-")
    assert kept.stat().st_size
