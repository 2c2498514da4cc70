"""What a night has brought, as one picture: small pictures of its moments, numbered, with a list of what they show."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.archive import Archive
from pipeline.parts import Part, part_of
from pipeline.store.tables import Tables
from pipeline.store.thumbs import read_thumb

COLUMNS, MOST_CELLS = 6, 24
CELL_PX = (160, 90)
QUALITY = 60
"""24 cells come to about 70 kB, which the Prefect server keeps with the report."""


@dataclass(frozen=True)
class Cell:
    """One small picture of a contact sheet."""

    uri: str
    start_seconds: float
    stop_seconds: float
    picture: bytes
    """WebP."""


def cells(archive: Archive, fresh: Mapping[str, str]) -> list[Cell]:
    """Choose moments that have a picture: of each asset one, and more of each while there is room.

    Args:
        archive: the archive.
        fresh: asset_id → path, of what is new; the first `MOST_CELLS` are shown, but for pictures that cannot be read.
    """
    chosen = list(fresh)[:MOST_CELLS]
    columns = ["asset_id", "modality", "track", "start_seconds", "stop_seconds", "thumb"]
    rows = Tables(archive.tables).moments(chosen, columns).to_pylist()
    of: dict[str, list[dict[str, Any]]] = {asset_id: [] for asset_id in chosen}
    for row in sorted(rows, key=lambda row: float(row["start_seconds"])):
        if part_of(row["modality"], row["track"]) == Part.VISUAL and row["thumb"] and row["thumb"]["pack"]:
            of[row["asset_id"]].append(row)
    each = max(MOST_CELLS // max(sum(map(bool, of.values())), 1), 1)
    picked = [(asset_id, row) for asset_id, mine in of.items() for row in _spread(mine, each)]
    shown = (_cell(archive, fresh[asset_id], row) for asset_id, row in picked[:MOST_CELLS])
    return [cell for cell in shown if cell is not None]


def sheet(shown: Sequence[Cell]) -> str:
    """Draw cells into one picture; return it as a data: URI, which both Prefect UIs let through in markdown."""
    from PIL import Image, ImageDraw

    width, height = CELL_PX
    n_rows = -(-len(shown) // COLUMNS)
    whole = Image.new("RGB", (min(len(shown), COLUMNS) * width, n_rows * height), (24, 24, 28))
    pen = ImageDraw.Draw(whole)
    for n, cell in enumerate(shown):
        x, y = n % COLUMNS * width, n // COLUMNS * height
        with Image.open(io.BytesIO(cell.picture)) as picture:
            picture.thumbnail((width - 2, height - 2))
            whole.paste(picture, (x + (width - picture.width) // 2, y + (height - picture.height) // 2))
        label = str(n + 1)
        pen.rectangle((x + 2, y + 2, x + 7 + 7 * len(label), y + 15), fill=(0, 0, 0))
        pen.text((x + 5, y + 3), label, fill=(255, 255, 255))
    out = io.BytesIO()
    whole.save(out, "WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()


def _spread(rows: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """Return at most n rows, evenly over all."""
    return rows if len(rows) <= n else [rows[i * len(rows) // n] for i in range(n)]


def _cell(archive: Archive, uri: str, row: Mapping[str, Any]) -> Cell | None:
    """Return a cell; None where its picture is missing or damaged, which `verify` tells and costs no report."""
    from PIL import Image

    thumb = row["thumb"]
    try:
        picture = read_thumb(archive.thumbs, thumb["pack"], thumb["offset"], thumb["length"])
        with Image.open(io.BytesIO(picture)) as opened:
            opened.load()
    except OSError:  # what PIL raises where it cannot read is one as well
        return None
    return Cell(uri, row["start_seconds"], row["stop_seconds"], picture)
