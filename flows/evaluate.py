"""`rushes evaluate`: ask questions whose answers are known."""

from __future__ import annotations

import argparse
import json

from index.compare import compare
from index.evaluate import evaluate as ask
from index.evaluate import truths_of
from pipeline.archive import open_archive


def evaluate(options: argparse.Namespace) -> None:
    """Ask the questions, and print how many found their answers; compare with another generation where one is named."""
    archive = open_archive(options.archive)
    truths = truths_of(archive, options.truths)
    now = ask(archive, truths)
    against = compare(ask(archive, truths, options.against), now) if options.against else None
    if options.json:
        told = {"against": against.as_dict()} if against else {}
        print(json.dumps({**now.as_dict(), **told}, ensure_ascii=False))
    else:
        print("\n".join(each.as_text() for each in (now, against) if each))
