"""Moments as they are stored, back as values: what scenes are fused from when only the fusion changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from encoders.spec import Label
from pipeline.media import Modality, Moment
from pipeline.parts import Part, part_of
from pipeline.store.tables import Tables
from pipeline.store.thumbs import read_thumb


def stored_moments(tables: Tables, thumbs: Path, asset_id: str, parts: frozenset[Part]) -> Iterator[Moment]:
    """Yield some parts of the visible moments of one asset, in the order of time."""
    rows = tables.moments([asset_id]).sort_by([("start_seconds", "ascending"), ("moment_id", "ascending")])
    for row in rows.to_pylist():
        if part_of(row["modality"], row["track"]) in parts:
            thumb = row["thumb"]
            yield Moment(
                asset_id=asset_id,
                modality=Modality(row["modality"]),
                track=row["track"],
                start_seconds=row["start_seconds"],
                stop_seconds=row["stop_seconds"],
                space=row["space"],
                vector=np.array(row["vector"], np.float32),
                text=row["text"],
                language=row["language"],
                labels=tuple(Label(label["name"], label["score"]) for label in row["labels"] or ()),
                thumb=read_thumb(thumbs, **thumb) if thumb and thumb["pack"] else b"",
            )
