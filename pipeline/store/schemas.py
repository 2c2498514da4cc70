"""The columns of the tables, and how assets and moments become rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.media import Facts, Media, Moment, Outcome
from pipeline.parts import part_of

LOCATION = pa.struct(
    [("uri", pa.string()), ("location", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64()),
     ("sidecars", pa.string())]
)  # fmt: skip

ASSETS = pa.schema(
    [
        ("asset_id", pa.string()),
        ("media", pa.string()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("locations", pa.list_(LOCATION)),
        ("duration_seconds", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("frames_per_second", pa.float64()),
        ("container", pa.string()),
        ("video_codec", pa.string()),
        ("audio_codec", pa.string()),
        ("metadata", pa.map_(pa.string(), pa.string())),
        ("words", pa.string()),
        ("recipe", pa.map_(pa.string(), pa.string())),
        ("timecode", pa.string()),
        ("audio_tracks", pa.int32()),
    ]
)
"""New columns go to the end and may be null: `Tables.create` adds them to the tables of an older archive."""

MOMENTS = pa.schema(
    [
        ("moment_id", pa.int64()),
        ("asset_id", pa.string()),
        ("modality", pa.string()),
        ("track", pa.string()),
        ("space", pa.string()),
        ("start_seconds", pa.float64()),
        ("stop_seconds", pa.float64()),
        ("text", pa.string()),
        ("language", pa.string()),
        ("labels", pa.list_(pa.struct([("name", pa.string()), ("score", pa.float32())]))),
        ("thumb", pa.struct([("pack", pa.string()), ("offset", pa.int64()), ("length", pa.int32())])),
        ("recipe", pa.string()),
        ("vector", pa.list_(pa.float32())),  # not fixed-size: DuckDB, Polars and pandas read it as it is
    ]
)

SCHEMAS = {"assets": ASSETS, "moments": MOMENTS}
"""The columns of each table."""


@dataclass(frozen=True, order=True)
class Location:
    """One place where an asset's bytes lie, as it was when last looked at."""

    uri: str
    """Path below its source, as people see it."""
    location: str
    """URI that the file is read from."""
    size: int
    mtime_ns: int
    sidecars: str = ""
    """Names, sizes and times of the transcripts and metadata beside it."""


@dataclass(frozen=True)
class AssetRow:
    """One row of the table assets: an asset's state in the ledger."""

    asset_id: str
    outcome: Outcome
    reason: str = ""
    locations: tuple[Location, ...] = ()
    facts: Facts | None = None
    """None: it was never understood as media."""
    words: str = ""
    """Hash of the transcripts, metadata and names that came with it."""
    recipe: Mapping[str, str] = field(default_factory=dict)
    """Part → fingerprint of what made its moments."""


def asset_table(rows: Iterable[AssetRow]) -> pa.Table:
    """Return rows for the table assets."""
    return pa.Table.from_pylist([_asset(row) for row in rows], schema=ASSETS)


def asset_rows(table: pa.Table) -> list[AssetRow]:
    """Return the rows of the table assets as values."""
    return [_asset_row(row) for row in table.to_pylist()]


def moment_table(
    moments: Sequence[Moment], recipes: Mapping[str, Mapping[str, str]], thumbs: Sequence[Mapping[str, object] | None]
) -> pa.Table:
    """Return rows for the table moments.

    Args:
        moments: the moments.
        recipes: asset_id → part → fingerprint of what made them.
        thumbs: for each moment where its picture lies (pack, offset, length), or None.
    """
    rows = [
        {
            "moment_id": m.moment_id,
            "asset_id": m.asset_id,
            "modality": m.modality,
            "track": m.track,
            "space": m.space,
            "start_seconds": m.start_seconds,
            "stop_seconds": m.stop_seconds,
            "text": m.text,
            "language": m.language,
            "labels": [{"name": label.name, "score": label.score} for label in m.labels],
            "thumb": thumb,
            "recipe": recipes[m.asset_id][part_of(m.modality, m.track)],
        }
        for m, thumb in zip(moments, thumbs, strict=True)
    ]
    table = pa.Table.from_pylist(rows, schema=MOMENTS.remove(len(MOMENTS) - 1))
    vectors = pa.array([m.vector for m in moments], type=pa.list_(pa.float32()))
    return table.append_column(MOMENTS.field("vector"), vectors)


def _asset(row: AssetRow) -> dict[str, object]:
    facts = row.facts
    return {
        "asset_id": row.asset_id,
        "media": facts.media if facts else "",
        "outcome": row.outcome,
        "reason": row.reason,
        "locations": [vars(place) for place in sorted(row.locations)],
        "duration_seconds": facts.duration_seconds if facts else 0.0,
        "width": facts.width if facts else 0,
        "height": facts.height if facts else 0,
        "frames_per_second": facts.frames_per_second if facts else 0.0,
        "container": facts.container if facts else "",
        "video_codec": facts.video_codec if facts else "",
        "audio_codec": facts.audio_codec if facts else "",
        "metadata": list(facts.metadata.items()) if facts else [],
        "words": row.words,
        "recipe": list(row.recipe.items()),
        "timecode": facts.timecode if facts else "",
        "audio_tracks": facts.audio_tracks if facts else 0,
    }


def _asset_row(row: Mapping[str, Any]) -> AssetRow:
    names = ("container", "duration_seconds", "width", "height", "frames_per_second", "video_codec", "audio_codec")
    facts = None
    if row["media"]:
        facts = Facts(
            media=Media(row["media"]),
            metadata=dict(row["metadata"] or ()),
            timecode=str(row.get("timecode") or ""),  # no such columns, or no values, in what an older version wrote
            audio_tracks=int(row.get("audio_tracks") or 0),
            **{name: row[name] for name in names},
        )
    return AssetRow(
        asset_id=str(row["asset_id"]),
        outcome=Outcome(row["outcome"]),
        reason=str(row["reason"] or ""),
        locations=tuple(Location(**place) for place in row["locations"] or ()),
        facts=facts,
        words=str(row["words"] or ""),
        recipe=dict(row["recipe"] or ()),
    )
