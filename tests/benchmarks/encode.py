"""Encoders against what people would use instead, in one run: `python -m tests.benchmarks.encode [--json]`.

On the CPU the ratios are medians over rounds in which contenders alternate. On a machine with a GPU, `--gpu` runs the
rows that need one, and those alone; elsewhere they say "not run".
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks import encode_gpu, encode_speech
from tests.benchmarks.figures import Figure, report

CPU = ("pictures", "labels", "sentences", "speech", "words", "pipeline")


def main() -> int:
    """Measure what is asked for; return 1 if a figure does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one object a line on stdout")
    parser.add_argument("--only", nargs="+", choices=[*CPU, "gpu"], default=[], help="these parts alone")
    parser.add_argument("--gpu", action="store_true", help="what needs a GPU, and nothing else")
    parser.add_argument("--rounds", type=int, default=5, help="of the alternating measurements")
    parser.add_argument("--seconds", type=float, default=230, help="for all that needs a GPU")
    parser.add_argument("--media", type=Path, help="an archive of tests with speech; else what the demo has")
    parser.add_argument("--out", type=Path, help="a file to which each figure is added as a line of JSON")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    only = ["gpu"] if given.gpu else given.only or [*CPU, "gpu"]
    return report(_figures(only, given), as_json=given.json, out=given.out)


def _figures(only: list[str], given: argparse.Namespace) -> Iterator[Figure]:
    if set(only) & set(CPU):
        from tests.benchmarks import encode_cpu

        yield from encode_cpu.figures(only, given.rounds, given.media)
    if "gpu" in only:
        yield from encode_gpu.figures(given.seconds)
        yield from encode_speech.gpu_figures()


if __name__ == "__main__":
    sys.exit(main())
