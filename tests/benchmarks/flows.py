"""What Prefect and Ray cost: a night as a flow on a real server, working on Ray, against the same work done locally.

    python -m tests.benchmarks.flows MEDIA [--minutes 10] [--rounds 1] [--json]

MEDIA is a folder of media, or what make_archive.py wrote. Where one local run of it takes less than the minutes that
are asked for, it is repeated: each copy of a file has other bytes behind its end, and so is another asset. Flow and
local run alternate, each in a process of its own, with fresh archives. With --json one object a line.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from PIL import Image

from pipeline.archive import create_archive
from tests.benchmarks.figures import Figure, at_most, interval_of_ratio, report
from tests.benchmarks.processes import RUSHES, load, run
from tests.flows.serving import Served, serving

N_SMALL = 64
"""As many files as make a flow choose Ray."""
ROUNDS_OF_SMALL = 3
FLOW = "import sys; from flows.ingest import ingest; ingest(sys.argv[1])"
SIDECARS = frozenset({".srt", ".vtt", ".json"})
FREE_BOX, VOID = b"\0\0\0\x10free", b"\xec\x88"
TAILS: Mapping[str, bytes] = {".mp4": FREE_BOX, ".mov": FREE_BOX, ".m4a": FREE_BOX, ".mkv": VOID, ".webm": VOID}
"""What introduces eight bytes that mean nothing, where a container has such a thing; elsewhere they follow the end."""


@dataclass(frozen=True)
class Work:
    """How one run over some media went."""

    seconds: float
    moments: int
    ended: Mapping[str, int]


def main() -> int:
    """Print all figures; return 1 if one of them does not hold."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="rushes-benchmark-") as scratch, serving(Path(scratch) / "up") as served:
        return report(_figures(options, Path(scratch), served), as_json=options.json)


def _figures(options: argparse.Namespace, scratch: Path, served: Served) -> Iterator[Figure]:
    small = _pictures(scratch / "small")
    rounds = [_round(small, scratch, served) for _ in range(ROUNDS_OF_SMALL)]
    added = [flow.seconds - local.seconds for local, flow in rounds]
    yield at_most(
        "what Prefect and Ray add to a short run", median(added), "s", 15,
        contender=f"local executor, {N_SMALL} small pictures: {median([local.seconds for local, _ in rounds]):.1f} s",
        quality=f"{_spread(added)}; start to end of the process; {load()}",
    )  # fmt: skip
    media = options.media / "media" if (options.media / "media").is_dir() else options.media
    once = _locally(media, scratch)
    n_copies = math.ceil(options.minutes * 60 / once.seconds)
    if n_copies > 1:
        media = _repeated(media, scratch / "media", n_copies)
    rounds = [_round(media, scratch, served) for _ in range(options.rounds)]
    flows, locals_ = [flow.seconds for _, flow in rounds], [local.seconds for local, _ in rounds]
    quality = f"{_spread(flows)}, all of it, from start to end of the process; {load()}"
    if options.rounds > 1:
        low, high = interval_of_ratio(flows, locals_)
        quality = f"95% {low:.3f} to {high:.3f}; {quality}"
    yield at_most(
        f"a flow on Ray over the local executor, run of {median(locals_) / 60:.0f} min",
        median(flows) / median(locals_), "ratio", 1.05,
        contender=f"local executor, {rounds[0][0].moments} moments, {n_copies} copies: {median(locals_):.1f} s",
        quality=quality,
    )  # fmt: skip


def _round(media: Path, scratch: Path, served: Served) -> tuple[Work, Work]:
    """Do the same work locally and as a flow; it has to come to the same."""
    local, flow = _locally(media, scratch), _as_flow(media, scratch, served)
    if (local.moments, local.ended) != (flow.moments, flow.ended):
        raise RuntimeError(f"The flow ended otherwise than the local run: {flow} against {local}")
    return local, flow


def _locally(media: Path, scratch: Path) -> Work:
    root = _fresh(media, scratch)
    ran = run([*RUSHES, "ingest", root, "--json"])
    return _work(ran.seconds, root)


def _as_flow(media: Path, scratch: Path, served: Served) -> Work:
    root = _fresh(media, scratch)
    environment = {
        **served.environment,
        "PREFECT_API_URL": f"{served.url}/api",
        "PREFECT_API_AUTH_STRING": served.home.secret(),
        "PREFECT_HOME": str(served.home.prefect),
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }
    ran = run([sys.executable, "-c", FLOW, root], environment)
    return _work(ran.seconds, root)


def _fresh(media: Path, scratch: Path) -> Path:
    root = scratch / "archive"
    shutil.rmtree(root, ignore_errors=True)
    return create_archive(root, [str(media)]).root


def _work(seconds: float, root: Path) -> Work:
    status = json.loads(run([*RUSHES, "status", root, "--json"]).output)
    return Work(seconds, sum(status["moments"].values()), status["assets"])


def _pictures(folder: Path) -> Path:
    folder.mkdir()
    for n in range(N_SMALL):
        Image.new("RGB", (64 + n, 48), (4 * n % 256, 128, 255 - n)).save(folder / f"{n}.png")
    return folder


def _repeated(media: Path, folder: Path, times: int) -> Path:
    for path in sorted(media.rglob("*")):
        if path.is_file():
            for n in range(times):
                copy = folder / str(n) / path.relative_to(media)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
                if n and path.suffix.lower() not in SIDECARS:
                    with copy.open("ab") as file:
                        file.write(TAILS.get(path.suffix.lower(), b"") + n.to_bytes(8, "big"))
    return folder


def _spread(seconds: list[float]) -> str:
    return ", ".join(f"{one:.1f}" for one in seconds) + " s"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("media", type=Path, metavar="MEDIA", help="a folder of media")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of a local run (default: 10)")
    parser.add_argument("--rounds", type=int, default=1, help="of the long runs (default: 1)")
    parser.add_argument("--json", action="store_true", help="one object a line")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
